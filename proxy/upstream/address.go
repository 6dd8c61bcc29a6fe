package upstream

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// The addresses of an upstream are alike, and each member has one of his own: the same on every node, so that his
// connections and the server's caches meet. When it dies, its members and no others go elsewhere; when it is back, they come
// back one by one. A dead address costs one client a time-out: from then on it is asked by Run alone, or by one client in a
// while where Run is not running.

const (
	// ramp is how long it takes until all of its members are led to an address that is back: it starts with cold caches.
	ramp = 30 * time.Second
	// reviveEvery is how often Run asks a dead address; with jitter, for the nodes of a fleet ask too.
	reviveEvery = time.Second
	// trialEvery is how often a client may try a dead address that nobody asks.
	trialEvery = 5 * time.Second
	// hungFor is how long nobody is led to an address that accepts and then says nothing; then one client may try, unless
	// probes have found that it still is so.
	hungFor = 10 * time.Second
	// hungAfter members who waited in vain, with nobody let in between, make it so: one alone may have a mailbox that is stuck.
	hungAfter = 3
)

// address is one of an upstream's and how it is.
type address struct {
	at   string // as configured
	warm warm

	mu      sync.Mutex
	down    bool      // nobody is led there; guarded by mu
	ill     bool      // a probe failed: others are tried first; guarded by mu
	since   time.Time // of down, ill or well; zero: it was always well; guarded by mu
	trial   time.Time // when a client may try it though it is down or hung; guarded by mu
	hung    bool      // it accepts, and nobody is let in; guarded by mu
	waited  []string  // members who waited in vain since somebody was let in, hungAfter at most; guarded by mu
	problem string    // guarded by mu
}

func addresses(at []string) []*address {
	all := make([]*address, len(at))
	for i, a := range at {
		all[i] = &address{at: a, warm: warm{taken: make(chan struct{}, 1)}}
	}
	return all
}

// weight is how much a member belongs to an address: rendezvous hashing. part tells two uses apart.
func (a *address) weight(part, member string) uint64 {
	h := sha256.Sum256([]byte(part + "\x00" + a.at + "\x00" + member))
	return binary.BigEndian.Uint64(h[:8])
}

// rank is in which order an address is tried; unranked: not at all.
type rank int

const (
	first    rank = iota
	ramping       // back, and not yet for this member
	sick          // a probe failed
	unranked      // down
)

// rank takes the trial of a dead address when one is due.
func (a *address) rank(member string, now time.Time) rank {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.standing(member, now)
	switch {
	case r == unranked:
	case a.down:
		a.trial = now.Add(trialEvery)
	case a.hung:
		a.trial = now.Add(hungFor)
	}
	return r
}

// wouldRank is rank for who may not connect at all: it leaves the trial to who does.
func (a *address) wouldRank(member string, now time.Time) rank {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.standing(member, now)
}

// standing needs mu.
func (a *address) standing(member string, now time.Time) rank {
	switch {
	case (a.down || a.hung) && now.Before(a.trial):
		return unranked
	case a.down:
		return sick
	case a.hung:
		return first
	case a.ill:
		return sick
	case a.since.IsZero() || member == "":
		return first
	}
	const steps = 1 << 16
	if back := now.Sub(a.since); back < ramp && a.weight("ramp", member)%steps >= uint64(int64(back)*steps/int64(ramp)) {
		return ramping
	}
	return first
}

// choose answers the addresses to try for a member, in this order.
func choose(all []*address, member string, now time.Time) []*address {
	return ordered(all, member, now, (*address).rank)
}

func ordered(all []*address, member string, now time.Time, by func(a *address, member string, now time.Time) rank) []*address {
	type candidate struct {
		*address
		rank   rank
		weight uint64
	}
	var l []candidate
	for _, a := range all {
		if r := by(a, member, now); r != unranked {
			c := candidate{address: a, rank: r}
			if len(all) > 1 {
				c.weight = a.weight("member", member)
			}
			l = append(l, c)
		}
	}
	slices.SortFunc(l, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.weight, a.weight))
	})
	order := make([]*address, len(l))
	for i, c := range l {
		order[i] = c.address
	}
	return order
}

// failed remembers that nobody could connect; false: that was so before.
func (a *address) failed(err error, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.down
	if !was {
		a.since = now
	}
	a.down, a.problem, a.trial = true, err.Error(), now.Add(trialEvery)
	return !was
}

// connected remembers that somebody could; false: that was so before.
func (a *address) connected(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.down
	if was {
		a.down, a.since, a.problem = false, now, ""
	}
	return was
}

// unanswered remembers that a member waited in vain, or was hung up on, before the server said whether he may come in; true:
// from now on nobody is led there. A refusal is an answer.
func (a *address) unanswered(member string, err error, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hung {
		a.trial = now.Add(hungFor)
		return false
	}
	if !slices.Contains(a.waited, member) {
		a.waited = append(a.waited, member)
	}
	if len(a.waited) < hungAfter {
		return false
	}
	a.hung, a.since, a.trial, a.problem = true, now, now.Add(hungFor), "it accepts, and then: "+err.Error()
	return true
}

// answered remembers that somebody was let in; true: that was not so before.
func (a *address) answered(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.hung
	a.waited = nil
	if was {
		a.hung, a.since, a.problem = false, now, ""
	}
	return was
}

// probed remembers what a whole probe said. signedIn: it went as far as clients do.
func (a *address) probed(err error, signedIn bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.down:
		return
	case a.hung && err != nil:
		a.trial = now.Add(hungFor)
		return
	case a.hung && signedIn:
		a.hung, a.waited, a.since = false, nil, now
	case a.hung:
		return
	}
	if ill := err != nil; ill != a.ill {
		a.ill, a.since = ill, now
	}
	a.problem = ""
	if err != nil {
		a.problem = err.Error()
	}
}

func (a *address) isDown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.down
}

func (a *address) isWell() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.down && !a.ill && !a.hung
}

func (a *address) isHung() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hung
}

// AddressHealth is how one address is.
type AddressHealth struct {
	Address string    `json:"address"`
	Well    bool      `json:"well"`
	Since   time.Time `json:"since,omitzero"` // zero: from the start
	Problem string    `json:"problem,omitempty"`
	Warm    int       `json:"warm,omitempty"` // connections that wait there for members
}

func (a *address) health() AddressHealth {
	warm := a.warm.count()
	a.mu.Lock()
	defer a.mu.Unlock()
	return AddressHealth{Address: a.at, Well: !a.down && !a.ill && !a.hung, Since: a.since, Problem: a.problem, Warm: warm}
}

// errDown: every address is known to be dead, and it is not yet time to try again.
var errDown = errors.New("every address is down")

func (s *server) downError() error {
	var all []error
	for _, a := range s.addresses {
		h := a.health()
		all = append(all, fmt.Errorf("%s since %s: %s", h.Address, h.Since.UTC().Format(time.RFC3339), h.Problem))
	}
	return fmt.Errorf("%w: %w", errDown, errors.Join(all...))
}

// blameless says whether an error of a connect says nothing about the address: this process lacks what it needs.
func blameless(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, errNoPort} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// revive asks dead addresses whether they are back, until ctx ends.
func (p *Pool) revive(ctx context.Context, s *server) {
	for ctx.Err() == nil {
		for _, a := range s.addresses {
			switch {
			case a.isDown():
				p.knock(ctx, s, a)
			case a.isHung():
				p.listen(ctx, s, a)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(jittered(reviveEvery)):
		}
	}
}

func (p *Pool) knock(ctx context.Context, s *server, a *address) {
	conn, err := s.connectOne(ctx, a, 1)
	if err == nil {
		_ = conn.Close() // nothing was said
		p.o.Log.Info("upstream address is back", "upstream", s.Name, "address", a.at)
	}
}

// listen asks an address that said nothing whether it speaks again.
func (p *Pool) listen(ctx context.Context, s *server, a *address) {
	bounded, cancel := context.WithTimeout(ctx, p.o.SignInTimeout)
	defer cancel()
	as := s.probeUser()
	_, err := p.look(bounded, p.only(s, a), as)
	if ctx.Err() != nil {
		return
	}
	if a.probed(err, as != nil, time.Now()); !a.isHung() {
		p.o.Log.Info("upstream address is back", "upstream", s.Name, "address", a.at)
	}
}

// only answers the upstream with one of its addresses, for probes.
func (p *Pool) only(s *server, a *address) *server {
	one := &server{Server: s.Server, tls: s.tls, timeout: s.timeout, addresses: []*address{a}, sources: s.sources, log: s.log, probing: true}
	one.Addresses = []string{a.at}
	if s.http != nil {
		one.http = newHTTP(p, one)
	}
	return one
}
