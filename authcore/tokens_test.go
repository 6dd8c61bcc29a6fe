package authcore_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// onEngines runs a test over memory and over a file.
func onEngines(t *testing.T, f func(t *testing.T, s *stage)) {
	for name, change := range map[string]func(*authcore.Options){"memory": nil, "sqlite": onSQLite(t)} {
		t.Run(name, func(t *testing.T) { f(t, newStage(t, change)) })
	}
}

// raced does n at once and answers how each ended.
func raced(n int, do func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errs
}

func tokenWish(name string) authcore.TokenWish {
	return authcore.TokenWish{Name: name, Scopes: []session.Scope{session.Read}}
}

func (s *stage) apiToken(t testing.TB, state string) secret.String {
	t.Helper()
	_, token, err := s.CreateAPIToken(t.Context(), s.Actor(t, state), tokenWish("x"))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// What ends an API token, and what does not.
func TestAPITokenEnds(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*stage) error
		want bool // it is still good
	}{
		"a routine password change": {func(s *stage) error {
			_, err := s.ChangePassword(t.Context(), s.Actor(t, "admin"), s.People["admin"].Account, secretOf(nextPassword), false)
			return err
		}, true},
		"a reset": {func(s *stage) error {
			_, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("admin"), true)
			return err
		}, false},
		"a forgotten password": {func(s *stage) error {
			s.forgets(t, "admin")
			return s.setForgotten(t, s.reset(t, "admin", member.Email, mailed), nextPassword)
		}, false},
		"sign-out everywhere": {func(s *stage) error {
			_, err := s.SignOutEverywhere(t.Context(), authtest.Operator(), s.address("admin"))
			return err
		}, false},
		"suspension": {func(s *stage) error {
			_, err := s.Suspend(t.Context(), authtest.Operator(), s.address("admin"))
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			token := s.apiToken(t, "admin")
			if err := c.do(s); err != nil {
				t.Fatal(err)
			}
			if got := s.signedIn(t, token); got != c.want {
				t.Errorf("the token is good: %v, want %v", got, c.want)
			}
		})
	}
}

// What ends a session while a credential is made with it ends that too, however the two meet.
func TestCredentialsAreNotMadeByASessionThatEnds(t *testing.T) {
	for name, end := range map[string]func(*stage, authcore.Actor) error{
		"a reset": func(s *stage, _ authcore.Actor) error {
			_, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("admin"), true)
			return err
		},
		"sign-out everywhere": func(s *stage, _ authcore.Actor) error {
			_, err := s.SignOutEverywhere(t.Context(), authtest.Operator(), s.address("admin"))
			return err
		},
		"suspension": func(s *stage, _ authcore.Actor) error {
			_, err := s.Suspend(t.Context(), authtest.Operator(), s.address("admin"))
			return err
		},
		"its own sign-out": func(s *stage, a authcore.Actor) error { return s.SignOut(t.Context(), a) },
	} {
		for record, create := range map[string]func(*stage, authcore.Actor) error{
			"api-tokens/": func(s *stage, a authcore.Actor) error {
				_, _, err := s.CreateAPIToken(t.Context(), a, tokenWish("x"))
				return err
			},
			"app-passwords/": func(s *stage, a authcore.Actor) error {
				_, _, err := s.CreateAppPassword(t.Context(), a, apppass.Wish{Name: "x"})
				return err
			},
		} {
			t.Run(name+" "+record, func(t *testing.T) {
				s := newStage(t, nil)
				a := s.Actor(t, "admin")
				s.fail(func(_ string, ops []store.Op) storetest.Fault {
					if slices.ContainsFunc(ops, func(o store.Op) bool { return strings.HasPrefix(o.Name, record) }) {
						s.fail(nil)
						if err := end(s, a); err != nil {
							t.Error(err)
						}
					}
					return storetest.NoFault
				})
				if err := create(s, a); !denied(err, authcore.NotSignedIn) {
					t.Errorf("got %v", err)
				}
				if err := create(s, a); !denied(err, authcore.NotSignedIn) {
					t.Errorf("after it: %v", err)
				}
			})
		}
	}
}

// Rights that were taken away take the API tokens along: they are not good again with the rights.
func TestAPITokensEndWithTheRights(t *testing.T) {
	s := newStage(t, nil)
	token := s.apiToken(t, "admin")
	for _, role := range []member.Role{member.RoleMember, member.RoleAdministrator} {
		if _, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address("admin"), authcore.MemberChange{Role: &role}, 0); err != nil {
			t.Fatal(err)
		}
		if s.signedIn(t, token) {
			t.Errorf("the token is good when its member is made %s", role)
		}
	}
	if l, err := s.APITokens(t.Context(), s.Actor(t, "admin")); err != nil || len(l) != 0 {
		t.Errorf("%d are listed, %v", len(l), err)
	}
}

// The longest life is reckoned by whoever asks, whose clock may be a little ahead; none lives longer.
func TestAPITokenOfTheLongestLife(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		for _, c := range []struct {
			ahead time.Duration
			made  bool
		}{{0, true}, {20 * time.Millisecond, true}, {time.Minute, true}, {time.Minute + time.Second, false}} {
			w, longest := tokenWish("x"), s.options.Now().Add(session.MaxTokenFor)
			w.ExpiresAt = longest.Add(c.ahead)
			made, _, err := s.CreateAPIToken(t.Context(), s.Actor(t, "admin"), w)
			if c.made && (err != nil || !made.ExpiresAt.Equal(longest)) {
				t.Errorf("%v ahead: until %v, %v, want %v", c.ahead, made.ExpiresAt, err, longest)
			}
			if !c.made && !denied(err, authcore.Invalid) {
				t.Errorf("%v ahead: %v", c.ahead, err)
			}
		}
	})
}

// A hundred racing requests make no more than there may be; a token of somebody who is no administrator is none.
func TestAPITokenLimitIsExact(t *testing.T) {
	onEngines(t, func(t *testing.T, s *stage) {
		a := s.Actor(t, "admin")
		made, limit := 0, 0
		for _, err := range raced(100, func(int) error {
			_, _, err := s.CreateAPIToken(t.Context(), a, tokenWish("x"))
			return err
		}) {
			switch {
			case err == nil:
				made++
			case denied(err, authcore.LimitReached):
				limit++
			default:
				t.Error(err)
			}
		}
		l, err := s.APITokens(t.Context(), a)
		if made != session.MaxTokens || limit != 100-made || len(l) != made || err != nil {
			t.Errorf("%d made, %d refused, %d listed, %v", made, limit, len(l), err)
		}
		if _, _, err := s.CreateAPIToken(t.Context(), s.Actor(t, "account"), tokenWish("x")); !denied(err, authcore.Forbidden) {
			t.Errorf("a member's: %v", err)
		}
	})
}
