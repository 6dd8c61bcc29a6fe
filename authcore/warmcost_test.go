package authcore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
)

// A member who is about his day is in the memory of the process, and a name or number that nobody has is not: what is
// asked for costs the same all the same, the first time too.
func TestWhatIsInMemoryCostsTheSame(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		linked, _ := s.strangers(t)
		s.forgets(t, "account")
		warm := func() {
			for range 2 {
				s.signIn(t, "account", s.People["account"].Account)
				s.actorOf(t, "is-linked@old.example", secretOf("right horse 1"))
			}
			_, _ = s.ForgotPassword(t.Context(), authtest.Client(), "warmed-up@old.example", member.Email)
			_, _ = s.SignInPhone(t.Context(), authtest.Client(), "+819077777777")
			synctest.Wait() // what goes on beside the attempts reads records too
		}
		for name, c := range map[string]struct {
			known, unknown string
			ask            func(typed string) (authcore.Asked, error)
			try            func(a authcore.Asked) error
		}{
			"phone": {linked, "+819088888888",
				func(typed string) (authcore.Asked, error) { return s.SignInPhone(t.Context(), app(), typed) },
				func(a authcore.Asked) error {
					_, err := s.SignInPhoneCode(t.Context(), app(), a.Ticket, secretOf("x"))
					return err
				}},
			"message": {linked, "+819088888899",
				func(typed string) (authcore.Asked, error) { return s.SignInPhone(t.Context(), app(), typed) },
				func(a authcore.Asked) error {
					time.Sleep(time.Minute)
					return s.SignInPhoneMessage(t.Context(), app(), a.Ticket)
				}},
			"forgotten password": {s.address("account"), "nobody@old.example",
				func(typed string) (authcore.Asked, error) {
					return s.ForgotPassword(t.Context(), app(), typed, member.Email)
				},
				func(a authcore.Asked) error {
					_, err := s.ForgotPasswordCode(t.Context(), app(), a.Ticket, secretOf("x"))
					return err
				}},
		} {
			spend := func(typed string) (ask, try string) {
				var a authcore.Asked
				ask = s.costs(func() (err error) { a, err = c.ask(typed); return err })
				return ask, s.costs(func() error { return c.try(a) })
			}
			warm()
			wantAsk, wantTry := spend(c.known)
			warm()
			ask, try := spend(c.unknown)
			if ask != wantAsk || try != wantTry {
				t.Errorf("%s: unknown %s then %s, known %s then %s", name, ask, try, wantAsk, wantTry)
			}
		}
	})
}
