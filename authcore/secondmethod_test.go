package authcore_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/signin"
	"latchkey/policy"
)

// onlyPasskey is a member who chose two-step and has a passkey for it and nothing else.
func (s *stage) onlyPasskey(t *testing.T, state string) *authenticator {
	t.Helper()
	k := s.withPasskey(t, state)
	if _, err := s.SwitchTwoStep(t.Context(), s.Actor(t, state), true, false); err != nil {
		t.Fatal(err)
	}
	return k
}

// Who proved a method once does not enrol another one by the password alone, though his passkey may not be used any more;
// and the preview counts him among those who are locked out.
func TestClosedPasskeysOpenNoEnrolment(t *testing.T) {
	deny := func(p *policy.Policy) { p.SignIn.Passkey = policy.Deny }
	s := newStage(t, nil)
	s.onlyPasskey(t, "account")
	s.begin(t, "account", authcore.TwoStepRequired)
	if v := s.preview(t, func(*policy.Policy) {}); v.LockedOut != 0 {
		t.Errorf("as it is, %d are locked out: %+v", v.LockedOut, v.LockedOutList)
	}
	v := s.preview(t, deny)
	if v.LockedOut != 1 || v.AlreadyOut != 0 || v.LockedOutList[0].Address != s.address("account") {
		t.Errorf("the preview: %d, %d already, %+v", v.LockedOut, v.AlreadyOut, v.LockedOutList)
	}
	s.policy(t, sample.Old, deny)
	if r, err := s.SignIn(t.Context(), authtest.Client(), s.address("account"), s.People["account"].Account); !denied(err, authcore.TwoStepMethodMissing) {
		t.Errorf("by the password alone: %q, %v", r.State, err)
	}
	if v := s.preview(t, func(*policy.Policy) {}); v.LockedOut != 1 || v.AlreadyOut != 1 {
		t.Errorf("afterwards: %d, %d already", v.LockedOut, v.AlreadyOut)
	}
}

// A passkey that may not be used is no last method.
func TestClosedPasskeysAreNoLastMethod(t *testing.T) {
	s := newStage(t, nil)
	s.withPasskey(t, "account")
	a := s.Actor(t, "account")
	s.withApp(t, a)
	if _, err := s.SwitchTwoStep(t.Context(), a, true, false); err != nil {
		t.Fatal(err)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.Passkey = policy.Deny })
	if err := s.RemoveApp(t.Context(), a); !denied(err, authcore.TwoStepMethodMissing) {
		t.Errorf("remove the app: %v", err)
	}
	b := s.Actor(t, "opted-in")
	s.allow(t, sample.Old, policy.Allow)
	if _, err := s.passkey(t, b, newAuthenticator()); err != nil {
		t.Fatal(err)
	}
	s.allow(t, sample.Old, policy.Deny)
	if _, err := s.SwitchTwoStep(t.Context(), b, true, false); !denied(err, authcore.TwoStepMethodMissing) {
		t.Errorf("switch on: %v", err)
	}
}

// A trusted browser is spared the second step of a sign-in, and not that of a confirmation: a sign-in from it does not
// stand for one.
func TestSignInFromATrustedBrowserConfirmsNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.trustBrowsers(t, true)
		c := authtest.Client()
		c.TrustedBrowser = s.full(t, true).Trust
		time.Sleep(time.Minute)
		r, err := s.SignIn(t.Context(), c, s.address("two-step"), s.People["two-step"].Account)
		if err != nil || r.State != authcore.SignedIn {
			t.Fatalf("%q, %v", r.State, err)
		}
		if _, err := s.SwitchTwoStep(t.Context(), r.Actor, false, false); !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("two-step off: %v", err)
		}
		again, err := s.Reauthenticate(t.Context(), r.Actor, s.People["two-step"].Account)
		if err != nil || again.State != authcore.TwoStepRequired {
			t.Fatalf("%q, %v", again.State, err)
		}
		done, err := s.pass(t, again.Ticket, s.sendTo(t, again.Ticket, signin.ByEmail, personal), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.SwitchTwoStep(t.Context(), done.Actor, false, false); err != nil {
			t.Errorf("after both steps: %v", err)
		}
	})
}

// What happens to a method is told in the member's language, down to the last word.
func TestMethodsAreToldInTheMembersLanguage(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		for _, language := range notify.Languages()[1:] {
			if _, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address("account"), authcore.MemberChange{Language: &language}, 0); err != nil {
				t.Fatal(err)
			}
			a := s.Actor(t, "account")
			s.withApp(t, a)
			codes, err := s.NewRecoveryCodes(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			for _, code := range codes[:8] {
				if err := s.second(t, a, signin.ByRecovery, code.Reveal()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.RemoveApp(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			l, _, err := s.Messages(t.Context(), a, "", 100)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, m := range l {
				english := regexp.MustCompile(`[a-z_]{4,}`).FindString(strings.ReplaceAll(m.Text, s.address("account"), ""))
				if m.Kind == notify.MethodChanged && english != "" {
					t.Errorf("%s: %q in %q", language, english, m.Text)
				}
				n++
			}
			if n < 4 {
				t.Errorf("%s: %d messages", language, n)
			}
		}
	})
}

// However many sessions ended, those that live are listed.
func TestSessionsAreListedBehindThoseThatEnded(t *testing.T) {
	s := newStage(t, nil)
	for range 250 {
		s.begin(t, "account", authcore.SignedIn)
	}
	if err := s.EndSessions(t.Context(), authtest.Operator(), s.address("account")); err != nil {
		t.Fatal(err)
	}
	var r authcore.SignInResult
	for range 20 {
		r = s.begin(t, "account", authcore.SignedIn)
	}
	l, err := s.MySessions(t.Context(), r.Actor)
	if err != nil || len(l.Web) != 20 {
		t.Errorf("%d listed, %v", len(l.Web), err)
	}
}

// A member whom somebody else's wrong codes keep out is let in again by an administrator.
func TestResetTwoStepEndsTheDay(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		for range 2 {
			asked, err := s.ForgotPassword(t.Context(), authtest.Client(), s.address("two-step"), "email")
			if err != nil {
				t.Fatal(err)
			}
			for n := range 5 {
				if _, err := s.ForgotPasswordCode(t.Context(), authtest.Client(), asked.Ticket, secretOf(fmt.Sprintf("00000%d", n))); !denied(err, authcore.BadCode) {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Minute)
		}
		r := s.begin(t, "two-step", authcore.TwoStepRequired)
		if _, err := s.pass(t, r.Ticket, s.sendTo(t, r.Ticket, signin.ByEmail, personal), false); throttled(err) == 0 {
			t.Fatalf("after ten wrong codes: %v", err)
		}
		if _, err := s.ResetTwoStep(t.Context(), authtest.Operator(), s.address("two-step")); err != nil {
			t.Fatal(err)
		}
		s.required(t)
		time.Sleep(2 * time.Minute)
		r = s.begin(t, "two-step", authcore.TwoStepRequired)
		if done, err := s.pass(t, r.Ticket, s.sendTo(t, r.Ticket, signin.ByEmail, personal), false); err != nil || done.State != authcore.SignedIn {
			t.Errorf("after the administrator's help: %q, %v", done.State, err)
		}
	})
}
