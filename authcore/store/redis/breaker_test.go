package redis

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/store"
)

var errHung = fmt.Errorf("%w: i/o timeout", store.ErrUnavailable)

func wantAllowed(t *testing.T, b *breaker, want bool) {
	t.Helper()
	err := b.allow()
	if err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("allow: got %v, want store.ErrUnavailable", err)
	}
	if (err == nil) != want {
		t.Fatalf("allowed: %v (%v), want %v", err == nil, err, want)
	}
}

func wantState(t *testing.T, b *breaker, want string) {
	t.Helper()
	if got := b.state(); got.State != want {
		t.Errorf("got state %+v, want %s", got, want)
	}
}

// call lets one call through the breaker, which ends so.
func call(t *testing.T, b *breaker, end outcome) {
	t.Helper()
	wantAllowed(t, b, true)
	b.done(end, errHung)
}

func TestBreakerOpens(t *testing.T) {
	for _, c := range []struct {
		name string
		ends []outcome
		want string
	}{
		{"answers", []outcome{answered, answered}, BreakerClosed},
		{"callers who left", []outcome{deserted, deserted}, BreakerClosed},
		{"no answer", []outcome{answered, deserted, unanswered}, BreakerOpen},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBreaker()
			for _, end := range c.ends {
				call(t, b, end)
			}
			wantState(t, b, c.want)
			wantAllowed(t, b, c.want == BreakerClosed)
		})
	}
}

func TestBreakerTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker()
		opened := time.Now()
		call(t, b, unanswered)
		for pause := shortestOpen; pause < 4*longestOpen; pause *= 2 {
			time.Sleep(min(pause, longestOpen) - time.Millisecond)
			wantAllowed(t, b, false)
			wantState(t, b, BreakerOpen)
			time.Sleep(time.Millisecond)
			wantState(t, b, BreakerHalfOpen)
			wantAllowed(t, b, true)
			wantAllowed(t, b, false) // one trial at a time
			b.done(unanswered, errHung)
		}
		if got := b.state(); !got.Since.Equal(opened) || got.Cause == "" || got.Refused == 0 {
			t.Errorf("got %+v, want it open since %v, with its cause", got, opened)
		}
		time.Sleep(longestOpen)
		call(t, b, deserted) // tells nothing: the next one is the trial
		call(t, b, answered)
		wantState(t, b, BreakerClosed)
		call(t, b, unanswered)
		time.Sleep(shortestOpen) // short again
		wantAllowed(t, b, true)
	})
}

// Calls that were under way when it opened neither prolong it nor end the trial.
func TestBreakerLateFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker()
		for range 100 {
			wantAllowed(t, b, true)
		}
		for range 100 {
			b.done(unanswered, errHung)
		}
		time.Sleep(shortestOpen)
		wantAllowed(t, b, true)
		if got := b.state().Waiting; got != 1 {
			t.Errorf("%d callers wait, want 1", got)
		}
	})
}

func TestBreakerBoundsCallers(t *testing.T) {
	b := newBreaker()
	var through atomic.Int64
	var wg sync.WaitGroup
	for range 2 * maxWaiting {
		wg.Go(func() {
			if b.allow() == nil {
				through.Add(1)
			}
		})
	}
	wg.Wait()
	if got := through.Load(); got != maxWaiting {
		t.Errorf("%d callers wait, want %d", got, maxWaiting)
	}
	b.done(answered, nil)
	wantAllowed(t, b, true)
}
