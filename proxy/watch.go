package proxy

import (
	"context"
	"iter"
	"sync"
	"time"

	"latchkey/authcore"
)

const (
	// judges bounds how many sessions are judged at the same time: 5 000 of them at 10 ms each take 0.8 s.
	judges = 64
	// judgeTime bounds one question. It is asked again, within the lease.
	judgeTime = 5 * time.Second
	// lease is how long a session may go on after a revocation that might have been its own, while the records cannot be
	// asked.
	lease = 30 * time.Second
	// again is the pause before a failed question is repeated.
	again = time.Second
)

// Watch judges the sessions that a revocation may have ended, by the records, and cuts those that do not stand. A
// question that fails is repeated for a lease; then the session is cut with ErrUnjudged. It returns when the
// revocations end, as they must when ctx does, and all its goroutines with it.
func (l *Live) Watch(ctx context.Context, auth Authenticator, revocations iter.Seq[authcore.Revocation]) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{auth: auth, live: l, open: make(map[*Entry]*question)}
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
	auth Authenticator
	live *Live

	mu    sync.Mutex
	more  sync.Cond
	queue []*Entry             // to be judged, each at most once; guarded by mu
	open  map[*Entry]*question // what has no answer yet; guarded by mu
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

// ask puts the question for every session that r matches.
func (w *watch) ask(r authcore.Revocation) {
	matching := w.live.matching(func(e *Entry) bool { return r.Matches(e.standing) })
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
	stands, err := w.auth.Stands(ctx, e.standing)
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
	t := time.NewTicker(again)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			for _, e := range w.overdue(now) {
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
		switch age := now.Sub(q.since); {
		case age > lease-again: // the next look would be too late
			late = append(late, e)
			delete(w.open, e)
		case age >= again:
			w.enqueue(e, q)
		}
	}
	return late
}
