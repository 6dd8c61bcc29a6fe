package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// signInGrace is what clients get to finish a sign-in after the Server was told to stop.
	signInGrace = 2 * time.Second
	// defaultDrain is for a Shutdown without a deadline: a message of 20 MB over a slow line.
	defaultDrain = 30 * time.Second
	// drainMargin is kept to close and account for what was cut at the end.
	drainMargin = time.Second
)

// Finish stops accepting and lets sign-ins finish: two seconds, then the temporary answer. Sessions go on, but those that
// begin now are drained. Not one connection that the kernel has not handed out yet is touched: whoever holds the same
// socket serves it. Shutdown must follow, with ctx's deadline or an earlier one.
func (s *Server) Finish(ctx context.Context) {
	s.stop(ctx)
	s.loops.Wait()
	visits := waited(&s.visits)
	s.grace(ctx, visits)
	s.end(ErrDrain)
	select {
	case <-visits:
	case <-ctx.Done():
	}
}

// Shutdown stops accepting and ends what is there: sign-ins get two seconds, then the temporary answer; idle sessions
// are ended, 200 a second, or within half of the time there is if they are many, with a farewell where the protocol has one; a
// message in flight is finished. What is left shortly
// before ctx's deadline (without one: after 30 s) is cut, not all in one moment, for every client will come back. It
// waits for every goroutine of the Server; an error says how many sessions did not end in time.
//
// The sessions of a Live are drained whoever entered them; those that cannot drain (DAV) are not touched.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(ctx)
	s.loops.Wait()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		s.o.Live.Drain(ctx, ErrDrain, s.drainTime()/2, s.drainTime)
	}()
	defer func() { <-asked }()
	visits := waited(&s.visits)
	s.grace(ctx, visits)
	s.end(ErrDrain)
	for _, done := range []<-chan struct{}{visits, afterwards(visits, &s.sessions)} {
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("shut down with %d sessions open: %w", s.o.Live.Len(), context.Cause(ctx))
		}
	}
	return nil
}

// stop closes the listeners; from now on Serve ends and what becomes a session is drained. A second call changes nothing.
func (s *Server) stop(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopping() {
		return
	}
	by, ok := ctx.Deadline()
	if !ok {
		by = time.Now().Add(defaultDrain)
	}
	left := time.Until(by)
	s.drainBy = by.Add(-min(drainMargin, left/4))
	close(s.stopping)
	for ln := range s.listeners {
		_ = ln.Close() // closed in any case
	}
}

// drainTime is how long one session may take to leave: somewhere in the last quarter of the time there is.
func (s *Server) drainTime() time.Duration {
	s.mu.Lock()
	left := max(time.Until(s.drainBy), 0)
	s.mu.Unlock()
	return left - time.Duration(rand.Int64N(int64(left/4)+1))
}

// grace lets sign-ins finish.
func (s *Server) grace(ctx context.Context, visits <-chan struct{}) {
	t := time.NewTimer(signInGrace)
	defer t.Stop()
	select {
	case <-visits:
	case <-t.C:
	case <-ctx.Done():
	}
}

// waited is closed when wg is done; its goroutine ends then.
func waited(wg *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()
	return done
}

// afterwards is the same for what may be counted up until first is done.
func afterwards(first <-chan struct{}, wg *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-first
		wg.Wait()
	}()
	return done
}
