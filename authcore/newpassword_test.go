package authcore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/store/memory"
	"latchkey/policy"
)

// rules answers the rules that a denial names.
func rules(t *testing.T, err error) (l []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	var d *authcore.Denial
	if !errors.As(err, &d) || d.Reason != authcore.Invalid {
		t.Fatalf("got %v, want rules", err)
	}
	for _, m := range d.Mistakes {
		l = append(l, m.Reason)
	}
	return l
}

// A setter changes one member's password, each time from the one before.
type setter struct {
	s       *stage
	r       authcore.SignInResult
	current string
}

func (s *stage) setter(t *testing.T, state string) *setter {
	return &setter{s: s, r: s.signIn(t, state, s.People[state].Account), current: s.account(state)}
}

func (p *setter) set(t *testing.T, next string) []string {
	t.Helper()
	r, err := p.s.ChangePassword(t.Context(), p.r.Actor, secretOf(p.current), secretOf(next), false)
	if broken := rules(t, err); broken != nil {
		return broken
	}
	p.r, p.current = r, next
	return nil
}

func TestReuseOfTheLast(t *testing.T) {
	onEngines(t, func(t *testing.T, s *stage) {
		limit := func(n int) {
			s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.NoReuseOfLast = n })
		}
		p := s.setter(t, "account")
		if got := p.set(t, p.current); got != nil {
			t.Errorf("no limitation, the current one again: %v", got)
		}
		for i := 1; i <= 7; i++ {
			if got := p.set(t, fmt.Sprintf("horse number %d", i)); got != nil {
				t.Fatal(got)
			}
		}
		reused := []string{string(policy.Reused)}
		for n := range policy.ReuseHigh + 1 { // raised each time: it holds at once
			limit(n)
			for last := 1; last <= n; last++ {
				if got := p.set(t, fmt.Sprintf("horse number %d", 8-last)); !slices.Equal(got, reused) {
					t.Errorf("the last %d may not be used again, the one %d back: got %v", n, last, got)
				}
			}
		}
		if got := p.set(t, "horse number 2"); got != nil {
			t.Errorf("the sixth last: got %v", got)
		}
	})
}

// What cannot be prepared breaks rules like any other, and every one of them is told.
func TestEveryRuleIsToldOfWhatCannotBeAPassword(t *testing.T) {
	s := newStage(t, nil)
	p := s.setter(t, "account")
	for name, c := range map[string]struct {
		next string
		want []string
	}{
		"nothing":              {"", []string{"too_short", "needs_letter", "needs_digit"}},
		"far too long":         {strings.Repeat("a1b2", 150), []string{"too_long"}},
		"a control character":  {"ab\x00", []string{"too_short", "needs_digit", "character_not_allowed"}},
		"an unassigned one":    {"ab\u0378", []string{"too_short", "needs_digit", "character_not_allowed"}},
		"beside a common word": {"account\x07", []string{"needs_digit", "character_not_allowed", "contains_login_name"}},
	} {
		if got := p.set(t, c.next); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestReuseIsToldBesideEveryOtherRule(t *testing.T) {
	s := newStage(t, nil)
	p := s.setter(t, "account")
	if got := p.set(t, "Accounts777"); !slices.Equal(got, []string{"contains_login_name"}) {
		t.Errorf("the default policy: got %v", got)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.RefuseCommon = false })
	if got := p.set(t, "account777"); got != nil {
		t.Fatal(got)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) {
		p.Password = policy.Password{Format: policy.LettersNumbersSpecial, MinLength: 20, NoReuseOfLast: 1, MaxFailures: 10, RefuseSequences: true, RefuseCommon: true}
	})
	before := s.Stats().Hashes
	want := []string{"too_short", "needs_special", "has_sequence", "contains_login_name", "reused"}
	if got := p.set(t, "account777"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := s.Stats().Hashes - before; n > 2 {
		t.Errorf("%d hashes to verify the current one and compare with the last", n)
	}
}

// A temporary password is nobody's choice: it is never kept as the new one, and never counts among the last.
func TestTemporaryIsNeverKept(t *testing.T) {
	s := newStage(t, nil)
	name := s.address("account")
	for _, n := range []int{0, 1, 5} {
		s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.NoReuseOfLast = n })
		own := fmt.Sprintf("own horse %d", n)
		temporary, _, err := s.ResetPassword(t.Context(), authtest.Operator(), name, true)
		if err != nil {
			t.Fatal(err)
		}
		tk := s.signIn(t, "account", temporary).Ticket
		_, err = s.SignInPassword(t.Context(), authtest.Client(), tk, temporary)
		if got := rules(t, err); !slices.Equal(got, []string{string(policy.SameAsCurrent)}) {
			t.Errorf("no reuse of the last %d, the temporary one: got %v", n, got)
		}
		if n == 1 {
			_, err = s.SignInPassword(t.Context(), authtest.Client(), tk, secretOf("own horse 0"))
			if got := rules(t, err); !slices.Equal(got, []string{string(policy.Reused)}) {
				t.Errorf("the last own one, behind a temporary one: got %v", got)
			}
		}
		r, err := s.SignInPassword(t.Context(), authtest.Client(), tk, secretOf(own))
		if err != nil {
			t.Fatal(err)
		}
		s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.NoReuseOfLast = 0 })
		p := &setter{s: s, r: r, current: own}
		if got := p.set(t, temporary.Reveal()); got != nil { // later on it is a password like another
			t.Errorf("the temporary one, later on: got %v", got)
		}
		if got := p.set(t, own); got != nil {
			t.Fatal(got)
		}
	}
}

// A saved policy signs nobody out and holds from the next password on.
func TestASavedPolicyHoldsFromTheNextPasswordOn(t *testing.T) {
	s := newStage(t, nil)
	name := s.address("account")
	p := s.setter(t, "account")
	if got := p.set(t, "short horse 1"); got != nil {
		t.Fatal(got)
	}
	door := s.open(t, "imap", name, p.current)
	s.policy(t, sample.Old, func(pol *policy.Policy) {
		pol.Password.MinLength, pol.Password.Format, pol.Password.NoReuseOfLast = 20, policy.LettersNumbersSpecial, 5
		pol.Password.RefuseSequences = true
	})
	if !s.signedIn(t, p.r.Token) || !s.stands(t, door) {
		t.Error("saving a policy ended a session")
	}
	if got := s.try(t, name, p.current); got != authcore.Allowed {
		t.Errorf("the old password at a door after saving: %q", got)
	}
	if r := s.signIn(t, "account", secretOf(p.current)); r.State != authcore.SignedIn {
		t.Errorf("the old password on the web after saving: %q", r.State)
	}
	if got := p.set(t, "short horse 2"); !slices.Equal(got, []string{"too_short"}) {
		t.Errorf("the next one: %v", got)
	}
}

// Members with an expired password register a new one when they sign in; at a door it is refused.
func TestExpiryByEveryValue(t *testing.T) {
	for _, days := range policy.ExpiryDays() {
		t.Run(fmt.Sprint(days), func(t *testing.T) {
			now := sampleDay
			s := newStage(t, func(o *authcore.Options) {
				o.Now = func() time.Time { return now }
				o.Records, o.Ephemeral = memory.NewRecords(memory.Options{Now: o.Now}), memory.NewEphemeral(memory.Options{Now: o.Now})
			})
			s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.ExpiresAfterDays = days })
			want := func(when string, web authcore.SignInState, door authcore.Reason) {
				t.Helper()
				s := s.anew() // with nothing in memory
				if got := s.signIn(t, "account", s.People["account"].Account).State; got != web {
					t.Errorf("%s, web: got %q, want %q", when, got, web)
				}
				if got := s.try(t, s.address("account"), s.account("account")); got != door {
					t.Errorf("%s, door: got %q, want %q", when, got, door)
				}
			}
			if days == 0 {
				now = now.AddDate(4, 0, 0)
				want("years later", authcore.SignedIn, authcore.Allowed)
				return
			}
			now = now.AddDate(0, 0, days).Add(-time.Second)
			want("a second before", authcore.SignedIn, authcore.Allowed)
			now = now.Add(time.Second)
			want("from then on", authcore.PasswordChangeRequires, authcore.PasswordExpired)
			if got := s.anew().try(t, s.address("opted-in"), s.app("opted-in")); got != authcore.Allowed {
				t.Errorf("an app password: %q", got)
			}
		})
	}
}

func TestTemporaryAndAskedForChange(t *testing.T) {
	s := newStage(t, nil)
	name := s.address("account")
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), name, authcore.MemberChange{MustChange: new(true)}, 0); err != nil {
		t.Fatal(err)
	}
	if got := s.signIn(t, "account", s.People["account"].Account).State; got != authcore.PasswordChangeRequires {
		t.Errorf("asked to change, web: %q", got)
	}
	if got := s.try(t, name, s.account("account")); got != authcore.PasswordChangeRequired {
		t.Errorf("asked to change, door: %q", got)
	}
	temporary, _, err := s.ResetPassword(t.Context(), authtest.Operator(), name, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.signIn(t, "account", temporary).State; got != authcore.PasswordChangeRequires {
		t.Errorf("temporary, web: %q", got)
	}
	if got := s.try(t, name, temporary.Reveal()); got != authcore.PasswordChangeRequired {
		t.Errorf("temporary, door: %q", got)
	}
}
