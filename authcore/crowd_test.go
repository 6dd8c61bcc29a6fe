package authcore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
)

// While as many are held back as there is room for, the next one is told at once to come again, whoever he says he is,
// and one with a right app password goes in as ever.
func TestCrowdIsBounded(t *testing.T) {
	inBubble(t, func(o *authcore.Options) { o.Hold = 2 * time.Second }, func(t *testing.T, s *stage) {
		const room = 1024
		var all sync.WaitGroup
		defer all.Wait()
		for i := range room {
			all.Go(func() {
				if d := s.from(t, source(i), "imap", fmt.Sprintf("nobody-%d@new.example", i), "wrong"); d.Reason != authcore.AppPasswordRequired {
					t.Errorf("one for whom there is room: %q", d.Reason)
				}
			})
		}
		time.Sleep(time.Second) // all of them are held back for another one
		for _, name := range []string{s.address("app-only"), "nobody@new.example", "nobody@old.example", s.address("account")} {
			began := time.Now()
			if d := s.from(t, there, "imap", name, "wrong"); d.Reason != authcore.Throttled || d.RetryAfter <= 0 || time.Since(began) > time.Second/2 {
				t.Errorf("%s: %q after %v, want throttled at once", name, d.Reason, time.Since(began))
			}
			if _, err := s.SignIn(t.Context(), authtest.Client(), name, secretOf("wrong")); !denied(err, authcore.DenialReason(authcore.Throttled)) {
				t.Errorf("%s on the web: %v, want throttled", name, err)
			}
		}
		if d := s.from(t, here, "imap", s.address("app-only"), s.app("app-only")); !d.Allowed() {
			t.Errorf("a right app password: %q", d.Reason)
		}
		time.Sleep(2 * time.Second)
		if d := s.from(t, there, "imap", "nobody@new.example", "wrong"); d.Reason != authcore.AppPasswordRequired {
			t.Errorf("when they have left: %q", d.Reason)
		}
	})
}

// Who waits for a hash slot gives up while his lease outlasts what is left to do, and is not told that something broke.
func TestWaitForASlotIsShorterThanTheLease(t *testing.T) {
	inBubble(t, func(o *authcore.Options) { o.HashSlots = 1 }, func(t *testing.T, s *stage) {
		free := s.HoldSlot(t.Context())
		began := time.Now()
		d := s.from(t, here, "imap", s.address("account"), s.account("account"))
		if took := time.Since(began); d.Reason != authcore.Throttled || took < time.Second || took > 4*time.Second {
			t.Errorf("%q after %v, want throttled after three seconds", d.Reason, took)
		}
		free()
		if d := s.from(t, here, "imap", s.address("account"), s.account("account")); !d.Allowed() {
			t.Errorf("with a slot: %q", d.Reason)
		}
	})
}
