package authcore_test

import (
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/policy"
)

// BenchmarkRevocation is how long it takes from the change that ends 5000 sessions of one member until each of them was
// judged by the records and is over, with as many judges as a node has.
func BenchmarkRevocation(b *testing.B) {
	const sessions, judges = 5000, 64
	s := newStage(b, func(o *authcore.Options) { onSQLite(b)(o); o.PerDoor = sessions })
	var begin, judge time.Duration
	for b.Loop() {
		began := time.Now()
		standing := make(chan authcore.Standing, sessions)
		for range sessions {
			d := s.from(b, here, policy.IMAP, s.address("app-only"), s.app("app-only"))
			standing <- d.Standing(authtest.Attempt(policy.IMAP, "", ""))
		}
		close(standing)
		begin += time.Since(began)
		began = time.Now()
		must(b, s.EndSessions(b.Context(), authtest.Operator(), s.address("app-only")))
		var judging sync.WaitGroup
		for range judges {
			judging.Go(func() {
				for v := range standing {
					if ok, err := s.Stands(b.Context(), v); ok || err != nil {
						b.Errorf("stands: %v, %v", ok, err)
					}
					s.Ended(b.Context(), v.Session, authcore.End{})
				}
			})
		}
		judging.Wait()
		judge += time.Since(began)
	}
	b.ReportMetric(float64(judge.Microseconds())/1e3/float64(b.N), "ms/revocation")
	b.ReportMetric(float64(begin.Microseconds())/float64(b.N)/sessions, "µs/sign-in")
}
