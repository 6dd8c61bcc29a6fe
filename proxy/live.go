package proxy

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
)

// Open is a live session as the API shows it.
type Open struct {
	Session        session.ID
	Domain         member.DomainID
	Member         member.ID
	Credential     string // id of the app password, or "account"
	CredentialName string
	Door           string
	Listener       string
	Upstream       string
	Client         netip.AddrPort
	Agent          string
	Since          time.Time
	Until          time.Time // the credential's expiry; zero: none
}

// OpenOf describes the session that d has allowed to a, from now on.
func OpenOf(a authcore.Attempt, d authcore.Decision) Open {
	return Open{
		Session: d.Session, Domain: d.Domain, Member: d.Member, Credential: d.Credential, CredentialName: d.CredentialName,
		Door: a.Door, Listener: a.Conn.Listener, Upstream: d.Upstream.Name, Client: a.Conn.Client, Agent: a.Conn.Agent,
		Since: time.Now(), Until: d.Until,
	}
}

// Cutter ends a session. Cut returns at once, may be called at any time, from anywhere and more than once; only the
// first cause counts. *relay.Session is one, and so is what a DAV session needs.
type Cutter interface{ Cut(cause error) }

// Drainer is a Cutter that can wait for what is in flight, for at most d.
type Drainer interface {
	Cutter
	Drain(cause error, d time.Duration)
}

// CutFunc makes a function a Cutter. It must not block.
type CutFunc func(cause error)

// Cut calls f.
func (f CutFunc) Cut(cause error) { f(cause) }

// Live is the registry of this node's open sessions, those of DAV among them. It cuts by itself when a session's
// credential expires. The zero value is not ready; NewLive makes one, and Close ends its timer.
type Live struct {
	// Lease is how long a session may go on after a revocation that might have been its own, while the records cannot be
	// asked; 0: DefaultLease. Set it before Watch.
	Lease time.Duration

	mu       sync.Mutex
	entries  map[session.ID]*Entry // guarded by mu
	expiring expiries              // guarded by mu
	timer    *time.Timer           // rings at the first expiry; nil: none was ever set; guarded by mu
	closed   bool                  // guarded by mu
}

// NewLive is empty.
func NewLive() *Live { return &Live{entries: make(map[session.ID]*Entry)} }

// Entry is one session in the registry. Whoever entered it calls Leave. There is one for each idle session, so it says
// everything once.
type Entry struct {
	live   *Live
	open   Open
	doors  []string      // what its Standing has beyond Open
	epochs member.Epochs // this too

	index int // in live.expiring, -1 if not there; guarded by live.mu

	mu    sync.Mutex
	with  Cutter // ends the session as it is now; nil after Leave; guarded by mu
	cause error  // of the first cut; guarded by mu
}

// Enter registers a session, before its upstream is dialled: whatever revokes it from now on finds it. with ends it. Open
// and Standing say the same of it, as far as both say it.
func (l *Live) Enter(o Open, s authcore.Standing, with Cutter) *Entry {
	e := &Entry{live: l, open: o, doors: s.Doors, epochs: s.Epochs, with: with, index: -1}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[o.Session] = e
	if !o.Until.IsZero() && !l.closed {
		heap.Push(&l.expiring, e)
		l.wind()
	}
	return e
}

// Hand lets with end the session from now on: the relay has taken it over. If the session was cut before, with is cut
// at once with that cause.
func (e *Entry) Hand(with Cutter) {
	e.mu.Lock()
	cause := e.cause
	if e.with != nil {
		e.with = with
	}
	e.mu.Unlock()
	if cause != nil {
		with.Cut(cause)
	}
}

// Cut ends the session. Only the first cause counts.
func (e *Entry) Cut(cause error) {
	e.mu.Lock()
	if e.cause != nil || e.with == nil {
		e.mu.Unlock()
		return
	}
	e.cause = cause
	with := e.with
	e.mu.Unlock()
	with.Cut(cause)
}

// Cause answers why the session was cut; nil: it was not.
func (e *Entry) Cause() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cause
}

// Leave takes the session out of the registry. Later calls do nothing.
func (e *Entry) Leave() {
	e.mu.Lock()
	e.with = nil
	e.mu.Unlock()
	l := e.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries[e.open.Session] == e {
		delete(l.entries, e.open.Session)
	}
	if e.index >= 0 {
		heap.Remove(&l.expiring, e.index)
	}
}

func (e *Entry) left() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.with == nil
}

// Open lists the sessions that match, in no order.
func (l *Live) Open(match func(Open) bool) []Open {
	var open []Open
	for _, e := range l.matching(func(e *Entry) bool { return match(e.open) }) {
		open = append(open, e.open)
	}
	return open
}

// Entries are all of them, in no order.
func (l *Live) Entries() []*Entry { return l.matching(func(*Entry) bool { return true }) }

// Open describes the session.
func (e *Entry) Open() Open { return e.open }

// Standing is what the session is judged by.
func (e *Entry) Standing() authcore.Standing {
	return authcore.Standing{
		Session: e.open.Session, Domain: e.open.Domain, Member: e.open.Member, Credential: e.open.Credential, Door: e.open.Door,
		Doors: e.doors, Epochs: e.epochs, Until: e.open.Until,
	}
}

// Find answers one session; nil: it is not here.
func (l *Live) Find(id session.ID) *Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[id]
}

// Cut ends the sessions that match and answers how many.
func (l *Live) Cut(match func(Open) bool, cause error) int {
	found := l.matching(func(e *Entry) bool { return match(e.open) })
	for _, e := range found {
		e.Cut(cause)
	}
	return len(found)
}

// drainRate is how many sessions a second are asked to leave: their clients come back at once, and each costs its next
// node a TLS handshake, about a millisecond of a core.
const drainRate = 200

// Drain asks the sessions that can to end as soon as nothing is in flight, and at the latest after what within answers
// for each. Not all in one moment, but within spread all the same. The others are not touched. ctx ends the asking.
func (l *Live) Drain(ctx context.Context, cause error, spread time.Duration, within func() time.Duration) {
	all := l.Entries()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	pace := min(time.Second/drainRate, spread/time.Duration(len(all)+1))
	began := time.Now()
	for i, e := range all {
		if e.left() {
			continue
		}
		if ahead := time.Until(began.Add(time.Duration(i) * pace)); ahead > 0 && ctx.Err() == nil {
			t := time.NewTimer(ahead)
			select {
			case <-t.C:
			case <-ctx.Done():
			}
			t.Stop()
		}
		e.mu.Lock()
		d, ok := e.with.(Drainer)
		e.mu.Unlock()
		if ok {
			d.Drain(cause, within())
		}
	}
}

// Len answers how many sessions are open.
func (l *Live) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

func (l *Live) matching(match func(*Entry) bool) []*Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*Entry
	for _, e := range l.entries {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}
