package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"latchkey/authcore/apppass"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/store"
)

const (
	// rereaders bounds the re-reads under way: at a millisecond each, 10 000 domains take 0.16 s of every half second.
	rereaders = 64
	// rereadTime bounds one. A store that hangs is asked again.
	rereadTime = 2 * time.Second
	// latePeriods is after how many of them a re-read is overdue.
	latePeriods = 3
	// webUseFor is how long a domain stays under the net after the last request of a web session.
	webUseFor = time.Minute
)

// net re-reads what was revoked in the domains in use on this node. Its goroutine owns it.
type net struct {
	c       *Core
	found   chan<- Revocation
	domains map[member.DomainID]*watched
	queue   []member.DomainID // to be re-read, each at most once
	last    time.Time         // the start of the last round
	looks   chan look
	seen    chan seen
}

// watched is what is known of a domain.
type watched struct {
	look
	queued, reading bool
	anew            bool // being read, and there was a gap since
	late            bool // told to be
}

// look is one re-read to be made: over what was seen before.
type look struct {
	domain   member.DomainID
	known    bool
	revision int64     // of the record "revoked"; 0: there was none
	good     time.Time // when the last re-read that was answered began; before the first: since when sessions may be there
}

// seen is what a re-read found.
type seen struct {
	look
	revocations []Revocation
	err         error
}

// recheck is the net under the bus, until ctx ends.
func (c *Core) recheck(ctx context.Context, found chan<- Revocation, gaps <-chan struct{}) {
	n := &net{c: c, found: found, domains: make(map[member.DomainID]*watched), last: time.Now(), looks: make(chan look), seen: make(chan seen)}
	var readers sync.WaitGroup
	defer readers.Wait()
	for range rereaders {
		readers.Go(func() { n.read(ctx) })
	}
	period := time.NewTicker(c.o.Recheck)
	defer period.Stop()
	for ctx.Err() == nil {
		next, looks := n.next()
		select {
		case now := <-period.C:
			n.round(ctx, now)
		case <-gaps:
			n.again()
		case looks <- next:
			n.begun()
		case s := <-n.seen:
			n.learn(ctx, s)
		case <-ctx.Done():
		}
	}
}

// next answers what to re-read next and where to send it, nowhere if there is nothing.
func (n *net) next() (look, chan<- look) {
	if len(n.queue) == 0 {
		return look{}, nil
	}
	return n.domains[n.queue[0]].look, n.looks
}

func (n *net) begun() {
	d := n.domains[n.queue[0]]
	d.queued, d.reading = false, true
	n.queue = n.queue[1:]
}

// round queues all domains in use, takes in new ones, lets go of those that are not in use any more, and tells of those
// whose re-read is overdue.
func (n *net) round(ctx context.Context, now time.Time) {
	since := n.last // what was not in use then was judged later
	n.last = now
	used := n.c.doors.Domains()
	n.c.webUse.add(used, now)
	for id := range used {
		if n.domains[id] == nil {
			n.domains[id] = &watched{look: look{domain: id, good: since}}
		}
	}
	var oldest time.Duration
	late := 0
	for id, d := range n.domains {
		if !used[id] && !d.queued && !d.reading {
			n.letGo(ctx, d)
			continue
		}
		n.enqueue(d)
		age := now.Sub(d.good)
		oldest = max(oldest, age)
		if age <= latePeriods*n.c.o.Recheck {
			continue
		}
		if late++; !d.late {
			d.late = true
			send(ctx, n.found, Revocation{Domain: id, Unread: d.good})
		}
	}
	n.c.recheckAge.Store(int64(oldest))
	n.c.recheckLate.Store(int64(late))
}

func (n *net) letGo(ctx context.Context, d *watched) {
	if d.late {
		send(ctx, n.found, Revocation{Domain: d.domain, Reread: true})
	}
	delete(n.domains, d.domain)
}

// again queues all domains, after a gap.
func (n *net) again() {
	for _, d := range n.domains {
		d.anew = d.anew || d.reading
		n.enqueue(d)
	}
}

func (n *net) enqueue(d *watched) {
	if !d.queued && !d.reading {
		d.queued = true
		n.queue = append(n.queue, d.domain)
	}
}

// learn takes in what a re-read found.
func (n *net) learn(ctx context.Context, s seen) {
	d := n.domains[s.domain]
	d.reading = false
	if s.err == nil {
		d.look = s.look
		for _, r := range s.revocations {
			n.c.forget(r)
			send(ctx, n.found, r)
		}
		if d.late {
			d.late = false
			send(ctx, n.found, Revocation{Domain: d.domain, Reread: true})
		}
	}
	if d.anew {
		d.anew = false
		n.enqueue(d)
	}
}

// read makes re-reads until ctx ends.
func (n *net) read(ctx context.Context) {
	for {
		select {
		case l := <-n.looks:
			s := n.c.reread(ctx, l)
			select {
			case n.seen <- s:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// reread answers what was revoked in a domain since l.
func (c *Core) reread(ctx context.Context, l look) seen {
	ctx, cancel := context.WithTimeout(ctx, rereadTime)
	defer cancel()
	now := seen{look: look{domain: l.domain, known: true, good: time.Now()}}
	rec, err := c.o.Records.Get(ctx, store.Key{Partition: member.Partition(l.domain), Name: revokedName})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		now.err = err
		return now
	}
	now.revision = rec.Revision
	if l.known && now.revision == l.revision {
		return now
	}
	now.revocations = []Revocation{{Domain: l.domain}} // all of them, if it cannot be told whose
	if l.known && now.revision > l.revision && passed(l.good, now.good) < revokedFor/2 {
		if some, err := c.revokedBetween(ctx, l.domain, l.revision, now.revision); err == nil {
			now.revocations = some
		}
	}
	return now
}

// passed is how long it was from a to b, where the machine may have slept meanwhile: then the wall clock went on alone.
func passed(a, b time.Time) time.Duration { return max(b.Sub(a), b.Round(0).Sub(a.Round(0))) }

var errUntold = errors.New("not every revocation is told")

// revokedBetween answers the revocations of a domain behind one revision up to another one, and perhaps later ones.
func (c *Core) revokedBetween(ctx context.Context, d member.DomainID, behind, upTo int64) ([]Revocation, error) {
	recs, err := c.o.Records.List(ctx, member.Partition(d), store.Query{Prefix: revokedPrefix})
	if err != nil {
		return nil, err
	}
	if len(recs) == store.MaxListLimit {
		return nil, errUntold
	}
	whose, last := map[Revocation]bool{}, false
	for _, rec := range recs {
		if rec.Revision <= behind {
			continue
		}
		r := Revocation{}
		if err := json.Unmarshal(rec.Value, &r); err != nil || r.Domain != d {
			return nil, fmt.Errorf("%w: %s", errUntold, rec.Name)
		}
		whose[r] = true
		last = last || rec.Revision == upTo
	}
	if !last {
		return nil, errUntold // a clock is wrong by minutes
	}
	if whose[Revocation{Domain: d}] {
		return []Revocation{{Domain: d}}, nil
	}
	l := make([]Revocation, 0, len(whose))
	for r := range maps.Keys(whose) {
		l = append(l, r)
	}
	return l, nil
}

// forget drops from the cache what a revocation may have changed: its messages may be lost too.
func (c *Core) forget(r Revocation) {
	p := member.Partition(r.Domain)
	if r.Member == "" {
		c.records.Forget(p)
		return
	}
	c.records.Forget(p, member.Key(r.Domain, r.Member).Name, password.Key(r.Domain, r.Member).Name, apppass.Key(r.Domain, r.Member).Name)
}

// webUse is which domains web sessions were used of: their epochs are looked up in the cache, so the net is under them too.
type webUse struct {
	mu   sync.Mutex
	last map[member.DomainID]time.Time // guarded by mu; swept by add
}

func (u *webUse) mark(d member.DomainID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = make(map[member.DomainID]time.Time)
	}
	u.last[d] = time.Now()
}

// add puts the domains that were used lately into used.
func (u *webUse) add(used map[member.DomainID]bool, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for d, at := range u.last {
		if now.Sub(at) >= webUseFor {
			delete(u.last, d)
			continue
		}
		used[d] = true
	}
}
