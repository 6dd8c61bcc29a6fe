package store

import (
	"context"
	"sync"
	"time"
)

// Limited is a context that ends at an instant. It has no timer until somebody waits for its Done: an engine that bounds
// its own waiting takes it apart with Until, and pays for none.
type Limited struct {
	context.Context // beneath
	until           time.Time

	mu    sync.Mutex
	timed context.Context // nil: nobody has waited; guarded by mu
	stop  context.CancelFunc
	ended bool // guarded by mu
}

// Within is ctx until an instant. End it when the call has returned.
func Within(ctx context.Context, until time.Time) *Limited {
	return &Limited{Context: ctx, until: until}
}

// Until takes apart what Within made: the context beneath, and the instant. Of any other context it is that one, and zero.
func Until(ctx context.Context) (context.Context, time.Time) {
	if l, is := ctx.(*Limited); is {
		return l.Context, l.until
	}
	return ctx, time.Time{}
}

// Deadline keeps context.Context.
func (l *Limited) Deadline() (time.Time, bool) {
	if d, is := l.Context.Deadline(); is && d.Before(l.until) {
		return d, true
	}
	return l.until, true
}

// Done keeps context.Context: from now on there is a timer.
func (l *Limited) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timed == nil {
		l.timed, l.stop = context.WithDeadline(l.Context, l.until)
		if l.ended {
			l.stop()
		}
	}
	return l.timed.Done()
}

// Err keeps context.Context.
func (l *Limited) Err() error {
	l.mu.Lock()
	timed, ended := l.timed, l.ended
	l.mu.Unlock()
	switch {
	case timed != nil:
		return timed.Err()
	case l.Context.Err() != nil:
		return l.Context.Err()
	case !time.Now().Before(l.until):
		return context.DeadlineExceeded
	case ended:
		return context.Canceled
	}
	return nil
}

// End gives back what waiting took. Whoever still waits has it cancelled.
func (l *Limited) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.stop != nil {
		l.stop()
	}
}
