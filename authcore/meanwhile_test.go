package authcore_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// What an administrator or the member himself does between two operations of a step counts as if it had come before.

// reads runs do before one of the reads of a record whose name begins with prefix: the n-th since arm.
type reads struct {
	prefix string
	left   atomic.Int64
	do     func()
}

func (r *reads) on(o *authcore.Options) {
	o.Records = &storetest.Faulty{Records: o.Records, OnGet: func(k store.Key) error {
		if strings.HasPrefix(k.Name, r.prefix) && r.left.Add(-1) == 0 {
			r.do()
		}
		return nil
	}}
}

// writes runs do before the first batch that has an operation on a record whose name begins with prefix.
func (s *stage) writes(prefix string, do func()) {
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		for _, op := range ops {
			if strings.HasPrefix(op.Name, prefix) {
				s.fail(nil)
				do()
				break
			}
		}
		return storetest.NoFault
	})
}

// A reset that comes while a new password is being set stays: who knew the old password does not set the one after it.
func TestResetMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		state string
		begin func(t *testing.T, s *stage) func() error
	}{
		"a routine change": {"account", func(t *testing.T, s *stage) func() error {
			a := s.Actor(t, "account")
			return func() error {
				_, err := s.ChangePassword(t.Context(), a, s.People["account"].Account, secretOf(nextPassword), false)
				return err
			}
		}},
		"a change that the sign-in asks for": {"expired", func(t *testing.T, s *stage) func() error {
			tk := s.begin(t, "expired", authcore.PasswordChangeRequires).Ticket
			return func() error {
				_, err := s.SignInPassword(t.Context(), authtest.Client(), tk, secretOf(nextPassword))
				return err
			}
		}},
		"a forgotten password": {"two-step", func(t *testing.T, s *stage) func() error {
			asked, err := s.ForgotPassword(t.Context(), authtest.Client(), s.address("two-step"), member.Email)
			if err != nil {
				t.Fatal(err)
			}
			next, err := s.ForgotPasswordCode(t.Context(), authtest.Client(), asked.Ticket, secretOf(s.Code(t, "old.example", personal)))
			if err != nil {
				t.Fatal(err)
			}
			return func() error {
				return s.SetForgottenPassword(t.Context(), authtest.Client(), next.Ticket, secretOf(nextPassword), false)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			met := 0
			for n := range int64(8) {
				hook := &reads{prefix: "password/"}
				s := newStage(t, hook.on)
				set := c.begin(t, s)
				var temporary secret.String
				hook.do = func() {
					var err error
					if temporary, _, err = s.ResetPassword(t.Context(), authtest.Operator(), s.address(c.state), true); err != nil {
						t.Error(err)
					}
				}
				hook.left.Store(n + 1)
				err := set()
				hook.left.Store(0)
				if temporary.Empty() {
					continue
				}
				met++
				if err == nil {
					t.Errorf("read %d: the new password was set over the reset", n)
				}
				if r, err := s.SignIn(t.Context(), authtest.Client(), s.address(c.state), temporary); err != nil || r.State == authcore.SignedIn {
					t.Errorf("read %d: by the temporary password: %q, %v", n, r.State, err)
				}
			}
			if met == 0 {
				t.Error("no reset came in between")
			}
		})
	}
}

// Nobody enrols a method in a sign-in whose password was reset, however late.
func TestNoEnrolmentAfterAReset(t *testing.T) {
	s := newStage(t, nil)
	s.required(t)
	ticket := s.begin(t, "account", authcore.EnrolmentRequired).Ticket
	code := s.enrolSend(t, ticket, "thief@personal.example")
	s.writes("member/", func() {
		if _, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), true); err != nil {
			t.Error(err)
		}
	})
	r, err := s.SignInEnrol(t.Context(), authtest.Client(), ticket, authcore.SecondAnswer{Method: signin.ByEmail, Code: code})
	if !denied(err, authcore.TicketInvalid) || !r.Token.Empty() {
		t.Errorf("got %q, %v", r.State, err)
	}
	if m := s.profile(t, s.address("account")).Member; len(m.Contacts) != 0 || m.TwoStep != "" {
		t.Errorf("enrolled: %+v", m)
	}
	if s.told(t, "thief@personal.example", notify.MethodChanged) {
		t.Error("told")
	}
}

// A new password that a sign-in asks for is not set for a member who was suspended meanwhile.
func TestSuspensionWhileANewPasswordIsSet(t *testing.T) {
	s := newStage(t, nil)
	ticket := s.begin(t, "expired", authcore.PasswordChangeRequires).Ticket
	s.writes("password/", func() {
		if _, err := s.Suspend(t.Context(), authtest.Operator(), s.address("expired")); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.SignInPassword(t.Context(), authtest.Client(), ticket, secretOf(nextPassword)); !denied(err, authcore.TicketInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Lift(t.Context(), authtest.Operator(), s.address("expired")); err != nil {
		t.Fatal(err)
	}
	s.begin(t, "expired", authcore.PasswordChangeRequires) // by the old one
}

// A session that is ended while it is confirmed is over: its new token too.
func TestEndOfASessionThatIsBeingConfirmed(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *stage, a authcore.Actor) error{
		"sign-out":      func(t *testing.T, s *stage, a authcore.Actor) error { return s.SignOut(t.Context(), a) },
		"by the member": func(t *testing.T, s *stage, a authcore.Actor) error { return s.EndMySession(t.Context(), a, a.Session) },
		"by administrator": func(t *testing.T, s *stage, a authcore.Actor) error {
			return s.EndSession(t.Context(), authtest.Operator(), a.Address, a.Session)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			first := s.begin(t, "account", authcore.SignedIn)
			var r authcore.SignInResult
			s.writes("session/", func() {
				var err error
				if r, err = s.Reauthenticate(t.Context(), first.Actor, s.People["account"].Account); err != nil {
					t.Error(err)
				}
			})
			if err := end(t, s, first.Actor); err != nil {
				t.Fatal(err)
			}
			if r.Token.Empty() || s.signedIn(t, r.Token) || s.signedIn(t, first.Token) {
				t.Error("a session went on that was ended")
			}
		})
	}
}
