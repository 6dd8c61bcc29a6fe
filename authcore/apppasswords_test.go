package authcore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

func TestTenRacingCreationsMakeFive(t *testing.T) {
	for _, engine := range []struct {
		name   string
		change func(*authcore.Options)
	}{{"memory", nil}, {"sqlite", onSQLite(t)}} {
		t.Run(engine.name, func(t *testing.T) {
			s := newStage(t, engine.change)
			a := s.Actor(t, "account")
			var mu sync.Mutex
			made, refused := 0, 0
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					_, plain, err := s.CreateAppPassword(t.Context(), a, wish(fmt.Sprint("program ", i)))
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil && !plain.Empty():
						made++
					case denied(err, authcore.AppPasswordLimit) && plain.Empty():
						refused++
					default:
						t.Errorf("neither made nor refused: %v", err)
					}
				})
			}
			wg.Wait()
			l, err := s.AppPasswords(t.Context(), a)
			if made != 5 || refused != 5 || len(l) != 5 || err != nil {
				t.Errorf("%d made, %d refused, %d listed, %v", made, refused, len(l), err)
			}
			if n := s.inbox(t, s.address("account"), notify.AppPasswordCreated); n != 5 {
				t.Errorf("%d messages for 5 app passwords", n)
			}
		})
	}
}

func TestPolicyLowersTheLimit(t *testing.T) {
	s := newStage(t, nil)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.ThirdParty.MaxAppPasswords = 1 })
	a := s.Actor(t, "account")
	if _, _, err := s.CreateAppPassword(t.Context(), a, wish("one")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateAppPassword(t.Context(), a, wish("two")); !denied(err, authcore.AppPasswordLimit) {
		t.Errorf("the second: %v", err)
	}
	if _, _, err := s.CreateAppPassword(t.Context(), a, wish("  ")); !denied(err, authcore.Invalid) {
		t.Errorf("a name of spaces: %v", err)
	}
}

// The message and the app password are written together, or neither is.
func TestMessageIsInTheSameBatch(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		s := newStage(t, nil)
		a := s.Actor(t, "account")
		s.fail(func(string, []store.Op) storetest.Fault { return fault })
		if _, plain, err := s.CreateAppPassword(t.Context(), a, wish("phone")); err == nil || !plain.Empty() {
			t.Errorf("%v: %v", fault, err)
		}
		s.fail(nil)
		l, err := s.AppPasswords(t.Context(), a)
		if err != nil || len(l) != s.inbox(t, s.address("account"), notify.AppPasswordCreated) || (len(l) == 1) != (fault == storetest.FailAfter) {
			t.Errorf("%v: %d app passwords, %d messages, %v", fault, len(l), s.inbox(t, s.address("account"), notify.AppPasswordCreated), err)
		}
	}
}

func TestCreationNeedsARecentSignIn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.Actor(t, "account")
		time.Sleep(10*time.Minute - time.Nanosecond)
		if _, _, err := s.CreateAppPassword(t.Context(), a, wish("one")); err != nil {
			t.Errorf("just before: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, _, err := s.CreateAppPassword(t.Context(), a, wish("two")); !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("after ten minutes: %v", err)
		}
		l, _ := s.AppPasswords(t.Context(), a)
		if err := s.DeleteAppPassword(t.Context(), a, l[0].ID); err != nil {
			t.Errorf("deleting needs none: %v", err)
		}
		r, err := s.Reauthenticate(t.Context(), a, s.People["account"].Account)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.CreateAppPassword(t.Context(), r.Actor, wish("three")); err != nil {
			t.Errorf("re-authenticated: %v", err)
		}
	})
}

func TestNobodyElseMakesAppPasswords(t *testing.T) {
	s := newStage(t, nil)
	admin := s.Actor(t, "admin")
	if _, _, err := s.CreateAppPasswordFor(t.Context(), admin, s.address("account"), wish("x")); !denied(err, authcore.Forbidden) {
		t.Errorf("an administrator: %v", err)
	}
	if err := s.SetAppPasswordOptionFor(t.Context(), admin, s.address("account"), true); !denied(err, authcore.Forbidden) {
		t.Errorf("the option: %v", err)
	}
	l, err := s.AppPasswordsOf(t.Context(), admin, s.address("opted-in"))
	if err != nil || len(l) != 1 {
		t.Fatal(l, err)
	}
	if err := s.DeleteAppPasswordOf(t.Context(), admin, s.address("opted-in"), l[0].ID); err != nil {
		t.Errorf("deleting is theirs: %v", err)
	}
	if got := s.try(t, s.address("opted-in"), s.app("opted-in")); got != authcore.BadCredentials {
		t.Errorf("deleted, and %q", got)
	}
}

// A sign-in that races with the deletion either is refused or does not stand.
func TestDeletionAgainstSignIn(t *testing.T) {
	for range 50 {
		s := newStage(t, nil)
		name, app, id := s.address("app-only"), s.app("app-only"), s.People["app-only"].AppPasswords[0].ID
		var wg sync.WaitGroup
		var st authcore.Standing
		wg.Go(func() {
			a := authtest.Attempt("imap", name, app)
			if d, err := s.Authenticate(t.Context(), a); err != nil {
				t.Error(err)
			} else if d.Allowed() {
				st = d.Standing(a)
			}
		})
		wg.Go(func() {
			if err := s.DeleteAppPasswordOf(t.Context(), authtest.Operator(), name, id); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if s.stands(t, st) {
			t.Fatal("a session of a deleted app password stands")
		}
	}
}

func (s *stage) use(t *testing.T, state string) *apppass.Use {
	t.Helper()
	l, err := s.AppPasswordsOf(t.Context(), authtest.Operator(), s.address(state))
	if err != nil || len(l) == 0 {
		t.Fatal(l, err)
	}
	return l[0].Use
}

func TestLastUseIsWrittenOnceAMinute(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name, app := s.address("app-only"), s.app("app-only")
		var written atomic.Int64
		s.fail(func(_ string, ops []store.Op) storetest.Fault {
			if has(ops, "app-password-use/") {
				written.Add(1)
			}
			return storetest.NoFault
		})
		if u := s.use(t, "app-only"); u != nil {
			t.Errorf("used before it was: %+v", u)
		}
		for range 600 { // ten minutes, once a second
			s.open(t, "caldav", name, app)
			if written.Load() > 0 && s.use(t, "app-only").Door != "caldav" {
				t.Errorf("use %+v", s.use(t, "app-only"))
			}
			time.Sleep(time.Second)
		}
		if n := written.Load(); n < 9 || n > 11 {
			t.Errorf("written %d times in ten minutes", n)
		}
		last := s.options.Now().Add(-time.Second)
		time.Sleep(2 * time.Minute)
		if u := s.use(t, "app-only"); u == nil || last.Sub(u.At) > time.Second || u.From != here || u.Door != "caldav" {
			t.Errorf("use %+v, want at %v", u, last)
		}
	})
}

func TestDeletedAppPasswordLeavesNoUse(t *testing.T) {
	for _, c := range []struct {
		name   string
		delete func(t *testing.T, s *stage, a authcore.Actor) error
	}{
		{"deleted", func(t *testing.T, s *stage, a authcore.Actor) error {
			return s.DeleteAppPassword(t.Context(), a, s.People["opted-in"].AppPasswords[0].ID)
		}},
		{"reset", func(t *testing.T, s *stage, _ authcore.Actor) error {
			_, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("opted-in"), false)
			return err
		}},
		{"password changed", func(t *testing.T, s *stage, a authcore.Actor) error {
			_, err := s.ChangePassword(t.Context(), a, s.People["opted-in"].Account, secretOf("another word 1"), true)
			return err
		}},
	} {
		for _, flushed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, use written %v", c.name, flushed), func(t *testing.T) {
				inBubble(t, nil, func(t *testing.T, s *stage) {
					a := s.Actor(t, "opted-in")
					s.open(t, "imap", s.address("opted-in"), s.app("opted-in"))
					if flushed {
						time.Sleep(2 * time.Minute)
					}
					if err := c.delete(t, s, a); err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Minute)
					if left := s.all(t, sample.Old, "app-password-use/"); len(left) > 0 {
						t.Errorf("left: %v", values(left))
					}
				})
			})
		}
	}
}

func TestOption(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.Actor(t, "account")
		p, err := s.SetAppPasswordOption(t.Context(), a, true)
		if err != nil || !p.AcceptsApps {
			t.Fatalf("on: %+v, %v", p, err)
		}
		time.Sleep(11 * time.Minute)
		if _, err := s.SetAppPasswordOption(t.Context(), a, false); !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("off, after a while: %v", err)
		}
		if _, err := s.SetAppPasswordOption(t.Context(), s.Actor(t, "app-only"), true); !denied(err, authcore.OptionFixed) {
			t.Errorf("where it is fixed: %v", err)
		}
		s.policy(t, sample.Old, func(p *policy.Policy) { p.ThirdParty.AppPasswords = policy.Required })
		if _, err := s.SetAppPasswordOption(t.Context(), s.Actor(t, "account"), true); !denied(err, authcore.OptionFixed) {
			t.Errorf("where the policy fixes it: %v", err)
		}
	})
}
