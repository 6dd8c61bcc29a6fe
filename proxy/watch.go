package proxy

import (
	"context"
	"hash/maphash"
	"iter"
	"maps"
	"sync"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
)

const (
	// judges bounds how many sessions are judged at the same time: 5 000 of them at 10 ms each take 0.8 s.
	judges = 64
	// judgeTime bounds one question. It is asked again, within the lease.
	judgeTime = 5 * time.Second
	// again is the pause before a failed question is repeated.
	again = time.Second
	// DefaultLease is Live.Lease where none is set.
	DefaultLease = 30 * time.Second
)

// Watch judges the sessions that a revocation may have ended, by the records, and cuts those that do not stand. A
// question that fails is repeated for a lease; then the session is cut with ErrUnjudged, and so it is when the revocations
// of its domain could not be read for a lease. The ends of a lease are spread over its last tenth, so that not all clients
// come back at once. It returns when the revocations end, as they must when ctx does, and all its goroutines with it.
func (l *Live) Watch(ctx context.Context, auth Authenticator, revocations iter.Seq[authcore.Revocation]) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{auth: auth, live: l, lease: l.Lease, seed: maphash.MakeSeed(), open: make(map[*Entry]*question), unread: make(map[member.DomainID]time.Time)}
	if w.lease <= 0 {
		w.lease = DefaultLease
	}
	w.look = min(again, w.lease/10)
	w.more.L = &w.mu
	var wg sync.WaitGroup
	defer wg.Wait()
	defer w.wake()
	defer cancel()
	for range judges {
		wg.Go(func() { w.judge(ctx) })
	}
	wg.Go(func() { w.watchLeases(ctx) })
	for r := range revocations {
		w.ask(r)
		if ctx.Err() != nil {
			return
		}
	}
}

// watch is one call of Watch.
type watch struct {
	auth  Authenticator
	live  *Live
	lease time.Duration
	look  time.Duration // between two looks at the leases
	seed  maphash.Seed

	mu     sync.Mutex
	more   sync.Cond
	queue  []*Entry                      // to be judged, each at most once; guarded by mu
	open   map[*Entry]*question          // what has no answer yet; guarded by mu
	unread map[member.DomainID]time.Time // since when revocations of a domain could not be read; guarded by mu
}

// question is whether one session stands.
type question struct {
	since  time.Time
	queued bool // else it is being asked, or has failed
}

// wake lets the judges see that ctx has ended. The lock makes sure that none is just about to wait.
func (w *watch) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.more.Broadcast()
}

// ask puts the question for every session that r matches, or notes whether its domain's revocations can be read.
func (w *watch) ask(r authcore.Revocation) {
	if r.Reread || !r.Unread.IsZero() {
		w.note(r)
		return
	}
	matching := w.live.matching(func(e *Entry) bool { return r.Matches(e.Standing()) })
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range matching {
		q := w.open[e]
		if q == nil {
			q = &question{since: now}
			w.open[e] = q
		}
		w.enqueue(e, q)
	}
}

func (w *watch) note(r authcore.Revocation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Reread {
		delete(w.unread, r.Domain)
		return
	}
	w.unread[r.Domain] = r.Unread
}

// enqueue needs mu.
func (w *watch) enqueue(e *Entry, q *question) {
	if q.queued {
		return
	}
	q.queued = true
	w.queue = append(w.queue, e)
	w.more.Signal()
}

// next waits for a session to judge; nil: ctx has ended. What is asked from now on needs a new look.
func (w *watch) next(ctx context.Context) *Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && ctx.Err() == nil {
		w.more.Wait()
	}
	if ctx.Err() != nil {
		return nil
	}
	e := w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	if q := w.open[e]; q != nil { // else it was overdue
		q.queued = false
	}
	return e
}

func (w *watch) judge(ctx context.Context) {
	for {
		e := w.next(ctx)
		if e == nil {
			return
		}
		w.judgeOne(ctx, e)
	}
}

func (w *watch) judgeOne(ctx context.Context, e *Entry) {
	if e.left() {
		w.answered(e)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTime)
	defer cancel()
	stands, err := w.auth.Stands(ctx, e.Standing())
	if err != nil {
		return // it stays open
	}
	if !stands {
		e.Cut(ErrRevoked)
	}
	w.answered(e)
}

// answered closes the question, unless it has come up anew.
func (w *watch) answered(e *Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.open[e]; q != nil && !q.queued {
		delete(w.open, e)
	}
}

// watchLeases repeats what was not answered, and cuts when it is too late.
func (w *watch) watchLeases(ctx context.Context) {
	t := time.NewTicker(w.look)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			for _, e := range append(w.overdue(now), w.unheard(now)...) {
				e.Cut(ErrUnjudged)
			}
		case <-ctx.Done():
			return
		}
	}
}

// overdue answers the sessions whose lease has run out, and queues the other open questions again.
func (w *watch) overdue(now time.Time) []*Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	var late []*Entry
	for e, q := range w.open {
		switch {
		case w.over(e, q.since, now):
			late = append(late, e)
			delete(w.open, e)
		case now.Sub(q.since) >= again:
			w.enqueue(e, q)
		}
	}
	return late
}

// unheard answers the sessions of domains whose revocations could not be read for a lease.
func (w *watch) unheard(now time.Time) []*Entry {
	w.mu.Lock()
	unread := maps.Clone(w.unread)
	w.mu.Unlock()
	if len(unread) == 0 {
		return nil
	}
	return w.live.matching(func(e *Entry) bool {
		since, is := unread[e.open.Domain]
		return is && w.over(e, since, now)
	})
}

// over says whether a lease that began at since would be over at the next look. Each session has its own share of the last
// tenth of it.
func (w *watch) over(e *Entry, since, now time.Time) bool {
	age, last := now.Sub(since), w.lease-w.look
	if spread := w.lease / 10; age > last-spread {
		return age > last-time.Duration(maphash.String(w.seed, string(e.open.Session))%uint64(spread))
	}
	return false
}
