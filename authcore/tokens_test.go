package authcore_test

import (
	"sync"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
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
