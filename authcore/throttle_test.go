package authcore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/policy"
)

func cancelled(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

func holding(o *authcore.Options) { o.Hold = 2 * time.Second }

// Refusals leave at start + hold, which grows with distinct failures from a source for a name; then throttled.
func TestHoldGrowsAndThenThrottles(t *testing.T) {
	inBubble(t, holding, func(t *testing.T, s *stage) {
		s.maxFailures(t, 0)
		want := []time.Duration{2, 2, 2, 4, 4, 4, 8, 8, 8, 8, 15, 15, 15, 15, 15}
		for i, w := range want {
			start := time.Now()
			d := s.from(t, there, "imap", s.address("account"), fmt.Sprint("wrong ", i))
			if got := time.Since(start); d.Reason != authcore.BadCredentials || got != w*time.Second {
				t.Errorf("refusal %d: %q after %v, want %v", i, d.Reason, got, w*time.Second)
			}
		}
		start := time.Now()
		d := s.from(t, there, "imap", s.address("account"), s.account("account"))
		if d.Reason != authcore.Throttled || d.RetryAfter <= 0 || time.Since(start) > time.Second {
			t.Errorf("after 15: %q, retry after %v, told after %v", d.Reason, d.RetryAfter, time.Since(start))
		}
		if d := s.from(t, here, "imap", s.address("account"), s.account("account")); !d.Allowed() {
			t.Errorf("from elsewhere: %q", d.Reason)
		}
		time.Sleep(11 * time.Minute)
		if d := s.from(t, there, "imap", s.address("account"), s.account("account")); !d.Allowed() {
			t.Errorf("after the window: %q", d.Reason)
		}
	})
}

// What an attempt takes is part of the hold, not added to it; for a name that nobody has it is the same.
func TestHoldIsADeadline(t *testing.T) {
	inBubble(t, holding, func(t *testing.T, s *stage) {
		for i, name := range []string{s.address("account"), "nobody@old.example", s.address("suspended"), s.address("app-only"), "nobody@new.example", "nobody@other.example", ""} {
			start := time.Now()
			s.from(t, source(i), "imap", name, "wrong")
			if got := time.Since(start); got != 2*time.Second {
				t.Errorf("%q: told after %v, want 2s", name, got)
			}
		}
		start := time.Now()
		if d := s.from(t, here, "imap", s.address("account"), s.account("account")); !d.Allowed() || time.Since(start) > 0 {
			t.Errorf("a right password: %q after %v", d.Reason, time.Since(start))
		}
	})
}

func TestHoldEndsWithTheClientAndTheFailureIsCounted(t *testing.T) {
	inBubble(t, holding, func(t *testing.T, s *stage) {
		s.maxFailures(t, 3)
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the hash is over by then
			start := time.Now()
			if d, err := s.Authenticate(ctx, authtest.AttemptFrom(source(i), "imap", s.address("account"), fmt.Sprint("wrong ", i))); d.Allowed() {
				t.Error(d.Reason, err)
			}
			if got := time.Since(start); got != time.Second {
				t.Errorf("held for %v though the client is gone", got)
			}
			cancel()
		}
		if got := s.try(t, s.address("account"), s.account("account")); got != authcore.BadCredentials {
			t.Errorf("after three who hung up, N is 3: %q", got)
		}
	})
}

func TestRepeatsStayAtTheFirstStep(t *testing.T) {
	inBubble(t, holding, func(t *testing.T, s *stage) {
		for range 40 {
			start := time.Now()
			d := s.from(t, there, "imap", s.address("account"), "stale")
			if got := time.Since(start); got != 2*time.Second || d.Reason != authcore.BadCredentials {
				t.Fatalf("%q after %v", d.Reason, got)
			}
		}
	})
}

// A known source is not slowed by what others fail from it, for other names and from elsewhere.
func TestKnownSourceIsNotSlowedByOthers(t *testing.T) {
	inBubble(t, holding, func(t *testing.T, s *stage) {
		s.maxFailures(t, 0)
		if d := s.from(t, here, "imap", s.address("account"), s.account("account")); !d.Allowed() {
			t.Fatal(d.Reason)
		}
		for i := range 90 { // an office behind one address, somebody in it guesses
			d, err := s.Authenticate(short(t), authtest.AttemptFrom(here, "imap", fmt.Sprintf("other-%d@old.example", i), fmt.Sprint("guess ", i)))
			if err != nil {
				t.Fatal(d, err)
			}
		}
		if d := s.from(t, here, "imap", s.address("opted-in"), s.app("opted-in")); d.Reason != authcore.Throttled {
			t.Errorf("one who never signed in from there: %q", d.Reason)
		}
		start := time.Now()
		if d := s.from(t, here, "imap", s.address("account"), "mistyped"); d.Reason != authcore.BadCredentials || time.Since(start) != 2*time.Second {
			t.Errorf("a known source: %q after %v", d.Reason, time.Since(start))
		}
		if d := s.from(t, here, "imap", s.address("account"), s.account("account")); !d.Allowed() {
			t.Errorf("a known source: %q", d.Reason)
		}
		time.Sleep(31 * 24 * time.Hour)
		for i := range 90 {
			_, _ = s.Authenticate(short(t), authtest.AttemptFrom(here, "imap", fmt.Sprintf("other-%d@old.example", i), fmt.Sprint("guess ", i)))
		}
		if d := s.from(t, here, "imap", s.address("account"), s.account("account")); d.Reason != authcore.Throttled {
			t.Errorf("a source not used for 31 days: %q", d.Reason)
		}
	})
}

// short is the context of a client that does not wait for its refusal.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestThrottleNeverSuspendsAndCostsNoHash(t *testing.T) {
	s := newStage(t, nil)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.MaxFailures = 20 })
	for i := range 15 {
		s.from(t, there, "imap", s.address("account"), fmt.Sprint("wrong ", i))
	}
	hashes := s.Stats().Hashes
	for i := range 30 {
		if d := s.from(t, there, "imap", s.address("account"), fmt.Sprint("more ", i)); d.Reason != authcore.Throttled {
			t.Fatalf("%q", d.Reason)
		}
	}
	if n := s.Stats().Hashes - hashes; n != 0 {
		t.Errorf("%d hashes for throttled attempts", n)
	}
	if d := s.from(t, here, "imap", s.address("account"), s.account("account")); !d.Allowed() {
		t.Errorf("throttled attempts were counted: %q", d.Reason)
	}
}

// One network of IPv6 is one source, however many addresses it has.
func TestIPv6NetworkIsOneSource(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 0)
	for i := range 15 {
		s.from(t, fmt.Sprintf("2001:db8:1:2::%x", i+1), "imap", s.address("account"), fmt.Sprint("wrong ", i))
	}
	if d := s.from(t, "2001:db8:1:2:3::9", "imap", s.address("account"), "wrong"); d.Reason != authcore.Throttled {
		t.Errorf("the same /64: %q", d.Reason)
	}
	if d := s.from(t, "2001:db8:1:3::1", "imap", s.address("account"), "wrong"); d.Reason != authcore.BadCredentials {
		t.Errorf("another /64: %q", d.Reason)
	}
}

// When all slots and the queue are taken, the answer is throttled, and nothing is counted.
func TestBusyHashingIsThrottled(t *testing.T) {
	s := newStage(t, func(o *authcore.Options) { o.HashSlots = 1; o.Hash.MemoryKiB = 32 << 10 })
	s.maxFailures(t, 3)
	type end struct {
		d   authcore.Decision
		err error
	}
	ends := make(chan end)
	const n = 60
	for i := range n {
		go func() {
			d, err := s.Authenticate(t.Context(), authtest.AttemptFrom(source(i), "imap", fmt.Sprintf("nobody-%d@old.example", i), "x"))
			ends <- end{d, err}
		}()
	}
	busy := 0
	for range n {
		e := <-ends
		if e.err != nil {
			t.Error(e.err)
		}
		if e.d.Reason == authcore.Throttled && e.d.RetryAfter > 0 {
			busy++
		} else if e.d.Reason != authcore.BadCredentials {
			t.Errorf("%q", e.d.Reason)
		}
	}
	if busy == 0 || busy == n {
		t.Errorf("%d of %d throttled, want some", busy, n)
	}
}

// asked counts what is asked of an Ephemeral.
type asked struct {
	store.Ephemeral
	reads, deletes atomic.Int64
}

func (a *asked) Members(ctx context.Context, k store.Key, window time.Duration, limit int) ([]string, error) {
	a.reads.Add(1)
	return a.Ephemeral.Members(ctx, k, window, limit)
}

func (a *asked) Delete(ctx context.Context, k store.Key) error {
	a.deletes.Add(1)
	return a.Ephemeral.Delete(ctx, k)
}

// Over Redis each question is a journey: where nothing failed there is one, and nothing to forgive.
func TestThrottleAsksNoMoreThanItMust(t *testing.T) {
	a := &asked{}
	inBubble(t, func(o *authcore.Options) { a.Ephemeral, o.Ephemeral = o.Ephemeral, a }, func(t *testing.T, s *stage) {
		name, other := s.address("opted-in"), s.address("two-step")
		for _, step := range []struct {
			what           string
			do             func()
			reads, deletes int64
		}{
			{"nothing failed", func() { s.from(t, here, "imap", name, s.app("opted-in")) }, 1, 0},
			{"wrong, for the first time", func() { s.from(t, here, "imap", name, "wrong") }, 1, 0},
			{"another one right from the same source", func() { s.from(t, here, "imap", other, s.app("two-step")) }, 2, 0},
			{"right after wrong", func() { s.from(t, here, "imap", name, s.app("opted-in")) }, 2, 1},
			{"it is forgiven", func() { s.from(t, here, "imap", name, s.app("opted-in")) }, 2, 0},
		} {
			a.reads.Store(0)
			a.deletes.Store(0)
			step.do()
			if r, d := a.reads.Load(), a.deletes.Load(); r != step.reads || d != step.deletes {
				t.Errorf("%s: %d reads and %d deletes, want %d and %d", step.what, r, d, step.reads, step.deletes)
			}
		}
	})
}
