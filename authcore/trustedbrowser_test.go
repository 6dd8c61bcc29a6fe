package authcore_test

import (
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/oidc"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/policy"
)

func (s *stage) trustBrowsers(t testing.TB, on bool) {
	t.Helper()
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TrustBrowser = on })
}

// spared signs in with a browser's token and says whether it was spared the second step.
func (s *stage) spared(t testing.TB, state string, token secret.String) bool {
	t.Helper()
	c := authtest.Client()
	c.TrustedBrowser = token
	r, err := s.SignIn(t.Context(), c, s.address(state), s.People[state].Account)
	if err != nil {
		t.Fatal(err)
	}
	return r.State == authcore.SignedIn
}

func TestTrustedBrowser(t *testing.T) {
	s := newStage(t, nil)
	s.trustBrowsers(t, true)
	if r := s.full(t, false); !r.Trust.Empty() {
		t.Error("trusted without being asked")
	}
	token := s.full(t, true).Trust
	if token.Empty() || s.signedIn(t, token) {
		t.Fatal("no token of the browser, or one that signs in")
	}
	if !s.spared(t, "two-step", token) {
		t.Error("asked for the second step all the same")
	}
	for name, bad := range map[string]secret.String{
		"none": {}, "made up": session.NewToken(s.domain(t, sample.Old).ID), "another text": secretOf(token.Reveal()[:len(token.Reveal())-1] + "-"), "not a token": secretOf("x"),
	} {
		if s.spared(t, "two-step", bad) {
			t.Errorf("%s: spared", name)
		}
	}
	if _, err := s.SignIn(t.Context(), authcore.Client{Addr: addr(here), TrustedBrowser: token}, s.address("two-step"), secretOf("wrong")); !denied(err, authcore.DenialReason(authcore.BadCredentials)) {
		t.Errorf("a wrong password from a trusted browser: %v", err)
	}
}

// A token is one member's, and does not spare enrolment.
func TestTrustedBrowserIsOneMembers(t *testing.T) {
	s := newStage(t, nil)
	s.trustBrowsers(t, true)
	token := s.full(t, true).Trust
	s.required(t)
	if s.spared(t, "opted-in", token) {
		t.Error("spared enrolment with another's token")
	}
	s.contacts(t, "opted-in", member.Contact{Kind: member.Email, Value: "x@personal.example"})
	if s.spared(t, "opted-in", token) {
		t.Error("spared with another's token")
	}
	s.contacts(t, "two-step")
	if s.spared(t, "two-step", token) {
		t.Error("spared enrolment")
	}
}

func TestWhatEndsTrust(t *testing.T) {
	operator := authtest.Operator()
	for name, c := range map[string]struct {
		do   func(t *testing.T, s *stage, r authcore.SignInResult) error
		want bool
	}{
		"almost thirty days": {func(*testing.T, *stage, authcore.SignInResult) error {
			time.Sleep(30*24*time.Hour - time.Second)
			return nil
		}, true},
		"thirty days": {func(*testing.T, *stage, authcore.SignInResult) error { time.Sleep(30 * 24 * time.Hour); return nil }, false},
		"a password change": {func(t *testing.T, s *stage, r authcore.SignInResult) error {
			p := s.People["two-step"]
			_, err := s.ChangePassword(t.Context(), r.Actor, p.Account, secretOf(nextPassword), false)
			p.Account = secretOf(nextPassword)
			s.People["two-step"] = p
			return err
		}, false},
		"sign-out everywhere": {func(t *testing.T, s *stage, r authcore.SignInResult) error {
			return s.EndMySessions(t.Context(), r.Actor)
		}, false},
		"sign-out": {func(t *testing.T, s *stage, r authcore.SignInResult) error { return s.SignOut(t.Context(), r.Actor) }, true},
		"a suspension, lifted": {func(t *testing.T, s *stage, _ authcore.SignInResult) error {
			if _, err := s.Suspend(t.Context(), operator, s.address("two-step")); err != nil {
				return err
			}
			_, err := s.Lift(t.Context(), operator, s.address("two-step"))
			return err
		}, false},
		"the policy": {func(t *testing.T, s *stage, _ authcore.SignInResult) error { s.trustBrowsers(t, false); return nil }, false},
		"the member, this one": {func(t *testing.T, s *stage, r authcore.SignInResult) error {
			l, err := s.TrustedBrowsers(t.Context(), r.Actor)
			if err != nil || len(l) != 1 || l[0].From != here {
				t.Fatalf("listed %+v, %v", l, err)
			}
			return s.EndTrust(t.Context(), r.Actor, l[0].ID)
		}, false},
		"the member, all": {func(t *testing.T, s *stage, r authcore.SignInResult) error {
			return s.EndTrust(t.Context(), r.Actor, "")
		}, false},
		"another's id": {func(t *testing.T, s *stage, r authcore.SignInResult) error {
			if err := s.EndTrust(t.Context(), r.Actor, "0123456789abcdef"); !denied(err, authcore.NotFound) {
				t.Errorf("got %v", err)
			}
			return nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *stage) {
				s.trustBrowsers(t, true)
				r := s.full(t, true)
				if err := c.do(t, s, r); err != nil {
					t.Fatal(err)
				}
				if got := s.spared(t, "two-step", r.Trust); got != c.want {
					t.Errorf("spared %v, want %v", got, c.want)
				}
			})
		})
	}
}

// However many ask, a member's trusted browsers have a bound; the newest stay.
func TestTrustedBrowsersAreBounded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.trustBrowsers(t, true)
		var last authcore.SignInResult
		for range session.MaxTrust + 3 {
			time.Sleep(3 * time.Hour) // ten codes a day
			last = s.full(t, true)
		}
		l, err := s.TrustedBrowsers(t.Context(), last.Actor)
		if err != nil || len(l) != session.MaxTrust || !s.spared(t, "two-step", last.Trust) {
			t.Errorf("%d browsers, %v", len(l), err)
		}
	})
}

// To confirm oneself is to do every step, from a trusted browser too.
func TestReauthenticationAsksForTheSecondStep(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.trustBrowsers(t, true)
		first := s.full(t, true)
		time.Sleep(11 * time.Minute)
		c := authtest.Client()
		c.TrustedBrowser = first.Trust
		a, err := s.Session(t.Context(), first.Token, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.CreateAppPassword(t.Context(), a, wish("x")); !denied(err, authcore.ReauthenticationRequired) {
			t.Fatalf("before: %v", err)
		}
		r, err := s.Reauthenticate(t.Context(), a, s.People["two-step"].Account)
		if err != nil || r.State != authcore.TwoStepRequired || !r.Token.Empty() || !s.signedIn(t, first.Token) {
			t.Fatalf("after the password alone: %q, %v", r.State, err)
		}
		if _, _, err := s.CreateAppPassword(t.Context(), a, wish("x")); !denied(err, authcore.ReauthenticationRequired) {
			t.Fatalf("after the password alone: %v", err)
		}
		done, err := s.pass(t, r.Ticket, s.sendTo(t, r.Ticket, signin.ByEmail, personal), false)
		if err != nil || done.Actor.Session != first.Actor.Session || s.signedIn(t, first.Token) || !done.ExpiresAt.Equal(first.ExpiresAt) {
			t.Fatalf("after both: %q, %v", done.State, err)
		}
		if _, _, err := s.CreateAppPassword(t.Context(), done.Actor, wish("x")); err != nil {
			t.Errorf("after both: %v", err)
		}
	})
}

// A change of password with two-step on confirms nothing: the current password is one step of two.
func TestPasswordChangeIsNoSecondStep(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		first := s.full(t, false)
		time.Sleep(11 * time.Minute)
		r, err := s.ChangePassword(t.Context(), first.Actor, s.People["two-step"].Account, secretOf(nextPassword), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.CreateAppPassword(t.Context(), r.Actor, wish("x")); !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("got %v", err)
		}
	})
}

// A session that ended while its member confirmed himself stays ended.
func TestReauthenticationOfAnEndedSession(t *testing.T) {
	s := newStage(t, nil)
	first := s.full(t, false)
	r, err := s.Reauthenticate(t.Context(), first.Actor, s.People["two-step"].Account)
	if err != nil {
		t.Fatal(err)
	}
	code := s.sendTo(t, r.Ticket, signin.ByEmail, personal)
	if err := s.SignOut(t.Context(), first.Actor); err != nil {
		t.Fatal(err)
	}
	if done, err := s.pass(t, r.Ticket, code, false); !denied(err, authcore.NotSignedIn) || !done.Token.Empty() {
		t.Errorf("got %q, %v", done.State, err)
	}
	late := s.begin(t, "account", authcore.SignedIn)
	if err := s.EndSessions(t.Context(), authtest.Operator(), s.address("account")); err != nil {
		t.Fatal(err)
	}
	if done, err := s.Reauthenticate(t.Context(), late.Actor, s.People["account"].Account); !denied(err, authcore.NotSignedIn) || !done.Token.Empty() {
		t.Errorf("signed out between the request and its password: %q, %v", done.State, err)
	}
}

// A provider that the policy allows and the configuration does not have is no way.
func TestReauthenticationWays(t *testing.T) {
	line, acme := authtest.NewProvider(t, oidc.LINE).Party(t, "line"), authtest.NewProvider(t, oidc.OpenID).Party(t, "acme")
	s := newStage(t, func(o *authcore.Options) {
		o.Providers = func() []*oidc.Provider { return []*oidc.Provider{line, acme} }
	})
	a := s.begin(t, "account", authcore.SignedIn).Actor
	s.policy(t, sample.Old, func(p *policy.Policy) {
		p.SignIn.LINE, p.SignIn.Quick = policy.Allow, policy.Allow
		p.SignIn.OIDC = map[string]policy.Way{"acme": policy.Allow, "other": policy.Deny, "gone": policy.Allow}
	})
	got, err := s.ReauthenticationWays(t.Context(), a)
	if err != nil || len(got) != 4 || got[0] != "password" || got[1] != "line" || got[2] != "quick" || got[3] != "oidc.acme" {
		t.Errorf("%v, %v", got, err)
	}
	here, err := s.WaysOf(t.Context(), "OLD.example")
	if err != nil || len(here.Ways) != 4 {
		t.Errorf("of the domain: %v, %v", here, err)
	}
	for _, none := range []string{"nowhere.example", "", "\x00"} {
		if w, err := s.WaysOf(t.Context(), none); err != nil || len(w.Ways) != 1 || w.TrustBrowser {
			t.Errorf("of %q: %v, %v", none, w, err)
		}
	}
}

// A session keeps the lifetimes of the policy that it began under.
func TestLifetimesByPolicy(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		lifetimes := func(hours, days int) {
			s.policy(t, sample.Old, func(p *policy.Policy) { p.Sessions = policy.Sessions{IdleHours: hours, AbsoluteDays: days} })
		}
		long := s.begin(t, "account", authcore.SignedIn)
		lifetimes(2, 1)
		idle, used := s.begin(t, "account", authcore.SignedIn), s.begin(t, "account", authcore.SignedIn)
		lifetimes(720, 365)
		if want := sampleDay.Add(24 * time.Hour); used.ExpiresAt.Sub(want) > time.Minute {
			t.Errorf("ends at %v", used.ExpiresAt)
		}
		for hour := range 23 {
			time.Sleep(time.Hour)
			if !s.signedIn(t, used.Token) {
				t.Fatalf("over after %d hours though used every hour", hour+1)
			}
			if hour == 1 && s.signedIn(t, idle.Token) {
				t.Error("stands after two idle hours")
			}
		}
		time.Sleep(time.Hour)
		if s.signedIn(t, used.Token) || !s.signedIn(t, long.Token) {
			t.Error("after a day: the short one stands, or the one from before the policy is over")
		}
	})
}

// Signing out everywhere cuts the doors too; one's own sessions end one by one.
func TestEndMySessions(t *testing.T) {
	s := newStage(t, nil)
	one, other := s.begin(t, "account", authcore.SignedIn), s.begin(t, "account", authcore.SignedIn)
	foreign := s.begin(t, "opted-in", authcore.SignedIn)
	imap, smtp := s.open(t, "imap", s.address("account"), s.account("account")), s.open(t, "smtp", s.address("account"), s.account("account"))
	if err := s.EndMySession(t.Context(), foreign.Actor, one.Actor.Session); !denied(err, authcore.NotFound) {
		t.Errorf("another's: %v", err)
	}
	if err := s.EndMySession(t.Context(), one.Actor, other.Actor.Session); err != nil || s.signedIn(t, other.Token) || !s.signedIn(t, one.Token) {
		t.Errorf("one of them: %v", err)
	}
	if err := s.EndMySession(t.Context(), one.Actor, imap.Session); err != nil || s.stands(t, imap) || !s.stands(t, smtp) {
		t.Errorf("one at a door: %v", err)
	}
	if err := s.EndMySessions(t.Context(), one.Actor); err != nil || s.signedIn(t, one.Token) || s.stands(t, smtp) {
		t.Errorf("everywhere: %v, web %v, door %v", err, s.signedIn(t, one.Token), s.stands(t, smtp))
	}
	if !s.signedIn(t, foreign.Token) {
		t.Error("another's session ended")
	}
}
