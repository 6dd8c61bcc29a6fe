package authcore_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/signin"
)

// One ticket signs in once, though ten right codes come with it at the same time.
func TestTicketsSignInOnceByAnyOfTenCodes(t *testing.T) {
	onEngines(t, func(t *testing.T, s *stage) {
		codes, err := s.NewRecoveryCodes(t.Context(), s.full(t, false).Actor)
		if err != nil {
			t.Fatal(err)
		}
		ticket := s.begin(t, "two-step", authcore.TwoStepRequired).Ticket
		var in atomic.Int64
		var wg sync.WaitGroup
		for _, code := range codes {
			wg.Go(func() {
				r, err := s.SignInTwoStep(t.Context(), authtest.Client(), ticket, authcore.SecondAnswer{Method: signin.ByRecovery, Code: code})
				if err == nil && r.State == authcore.SignedIn {
					in.Add(1)
				}
			})
		}
		wg.Wait()
		if in.Load() != 1 {
			t.Errorf("one ticket signed in %d times", in.Load())
		}
	})
}
