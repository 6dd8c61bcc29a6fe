package authcore_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/password"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// freeWrites lets batches of audit entries cost nothing: what is left is the decision.
type freeWrites struct {
	store.Records
	free bool
}

func (f *freeWrites) Apply(ctx context.Context, p string, ops ...store.Op) (int64, error) {
	if f.free {
		return 1, nil
	}
	return f.Records.Apply(ctx, p, ops...)
}

// budget is what an app-password decision on a warm record may cost of a processor, without the audit write.
const budget = 50 * time.Microsecond

func decideOften(tb testing.TB, s *stage, n int) {
	a := authtest.Attempt("imap", s.address("app-only"), s.app("app-only"))
	for range n {
		d, err := s.Authenticate(tb.Context(), a)
		if err != nil || !d.Allowed() {
			tb.Fatal(d.Reason, err)
		}
		s.Ended(tb.Context(), d.Session, authcore.End{})
	}
}

func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (f *freeWrites) under(o *authcore.Options) {
	f.Records = o.Records
	o.Records = f
}

// warm reads what a decision needs, and lets writes cost nothing from then on.
func (f *freeWrites) warm(tb testing.TB, s *stage) {
	decideOften(tb, s, 2)
	f.free = true
	decideOften(tb, s, 1)
	s.counts.Take()
}

// An app-password decision on a warm record reads nothing from the store.
func TestWarmDecisionReadsNothing(t *testing.T) {
	free := &freeWrites{}
	inBubble(t, free.under, func(t *testing.T, s *stage) {
		synctest.Wait() // the cache hears the bus
		free.warm(t, s)
		hashes := s.Stats().Hashes
		for range 100 {
			decideOften(t, s, 1)
			synctest.Wait()
		}
		if got, want := s.counts.Take(), (storetest.Counts{Applies: 100, Ops: 100}); got != want {
			t.Errorf("100 decisions: %+v, want the audit writes alone: %+v", got, want)
		}
		if n := s.Stats().Hashes - hashes; n != 0 {
			t.Errorf("%d slow hashes", n)
		}
	})
}

func BenchmarkAppPasswordDecision(b *testing.B) {
	free := &freeWrites{}
	s := newStage(b, free.under)
	free.warm(b, s)
	b.ReportAllocs()
	b.ResetTimer()
	start := cpu(b)
	decideOften(b, s, b.N)
	used := (cpu(b) - start) / time.Duration(b.N)
	b.ReportMetric(float64(used), "cpu-ns/op")
	b.ReportMetric(float64(s.counts.Take().Gets)/float64(b.N), "gets/op") // above zero when the bus fell behind a loop that nothing slows
	if b.N > 1000 && used > budget {
		b.Errorf("%v of processor, at most %v", used, budget)
	}
}

func BenchmarkAppPasswordDecisionDAV(b *testing.B) {
	free := &freeWrites{}
	s := newStage(b, free.under)
	free.warm(b, s)
	a := authtest.Attempt("caldav", s.address("app-only"), s.app("app-only"))
	b.ReportAllocs()
	for b.Loop() {
		if d, err := s.Authenticate(b.Context(), a); err != nil || !d.Allowed() {
			b.Fatal(d.Reason, err)
		}
	}
}

// With the audit write on SQLite: durable before it is told.
func BenchmarkAppPasswordDecisionSQLite(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := newStage(b, func(o *authcore.Options) { onSQLite(b)(o); o.PerDoor = 1000 })
			decideOften(b, s, 1)
			b.SetParallelism((clients + 1) / 2)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					decideOften(b, s, 1)
				}
			})
		})
	}
}

// An account password: a slow hash of the default cost, lease and settle on SQLite; and a verdict of the last minute.
func BenchmarkAccountPasswordDecision(b *testing.B) {
	for _, c := range []struct {
		name string
		each time.Duration // how far apart attempts are: past a minute each is hashed
	}{{"hashed", 2 * time.Minute}, {"verdict of the last minute", 0}} {
		b.Run(c.name, func(b *testing.B) {
			var ahead time.Duration
			s := newStage(b, func(o *authcore.Options) {
				onSQLite(b)(o)
				o.Hash = password.Params{}
				o.Now = func() time.Time { return time.Now().Add(ahead) }
			})
			a := authtest.Attempt("imap", s.address("account"), s.account("account"))
			for b.Loop() {
				ahead += c.each
				d, err := s.Authenticate(b.Context(), a)
				if err != nil || !d.Allowed() {
					b.Fatal(d.Reason, err)
				}
				s.Ended(b.Context(), d.Session, authcore.End{})
			}
		})
	}
}

// A source that is throttled costs a look and a merged audit entry. The client does not wait for it: the entry is
// gathered with others for 20 ms.
func BenchmarkThrottled(b *testing.B) {
	s := newStage(b, nil)
	for i := range 15 {
		s.from(b, there, "imap", s.address("account"), fmt.Sprint("wrong ", i))
	}
	b.ReportAllocs()
	b.SetParallelism(256)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		a := authtest.AttemptFrom(there, "imap", s.address("account"), "wrong")
		for pb.Next() {
			d, err := s.Authenticate(b.Context(), a)
			if err != nil || d.Reason != authcore.Throttled {
				b.Error(errors.Join(err, fmt.Errorf("got %q", d.Reason)))
				return
			}
		}
	})
}
