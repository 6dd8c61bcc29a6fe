package authcore_test

import (
	"fmt"
	"slices"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

// Pages show what comes before it is typed: the rules of a new password, and whether a browser may be trusted.
func TestStepsTellWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.MinLength, p.SignIn.TrustBrowser = 15, true })
	r, err := s.SignIn(t.Context(), authtest.Client(), s.address("expired"), s.People["expired"].Account)
	if err != nil || r.State != authcore.PasswordChangeRequires || r.Rules.MinLength != 15 {
		t.Errorf("a new password: %q, rules %+v, %v", r.State, r.Rules, err)
	}
	r, err = s.SignIn(t.Context(), authtest.Client(), s.address("two-step"), s.People["two-step"].Account)
	if err != nil || r.State != authcore.TwoStepRequired || !r.MayTrust {
		t.Errorf("a second step: %q, may trust %t, %v", r.State, r.MayTrust, err)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep, p.SignIn.TrustBrowser = policy.TwoStepRequired, false })
	r, err = s.SignIn(t.Context(), authtest.Client(), s.address("account"), s.People["account"].Account)
	if err != nil || r.State != authcore.EnrolmentRequired || r.MayTrust {
		t.Errorf("an enrolment: %q, may trust %t, %v", r.State, r.MayTrust, err)
	}
	s.forgets(t, "account")
	asked, err := s.ForgotPassword(t.Context(), authtest.Client(), s.address("account"), member.Email)
	if err != nil || asked.Rules != (policy.Password{}) {
		t.Errorf("before the code: rules %+v, %v", asked.Rules, err)
	}
	set, err := s.ForgotPasswordCode(t.Context(), authtest.Client(), asked.Ticket, secretOf(s.Code(t, sample.Old, mailed)))
	if err != nil || set.Rules.MinLength != 15 {
		t.Errorf("after the code: rules %+v, %v", set.Rules, err)
	}
}

// Where every domain has the same ways, nobody has to say which is his.
func TestWaysOfAllDomains(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	check := func(what string, want []string) {
		t.Helper()
		w, ok, err := s.WaysOfAll(t.Context())
		if err != nil || ok != (want != nil) || !slices.Equal(w.Ways, want) && ok {
			t.Errorf("%s: %v, %t, %v", what, w.Ways, ok, err)
		}
	}
	check("as they are born", []string{"password"})
	allow := func(p *policy.Policy) { p.SignIn.Phone = policy.Allow }
	s.policy(t, sample.Old, allow)
	check("one allows more", nil)
	s.policy(t, sample.New, allow)
	check("both allow more", []string{"password", "phone"})
	s.policy(t, sample.New, func(p *policy.Policy) { p.SignIn.TrustBrowser = true })
	check("one trusts browsers", nil)
	s.policy(t, sample.New, func(p *policy.Policy) { p.SignIn.TrustBrowser = false })
	for i := range 9 {
		d, err := s.CreateDomain(t.Context(), authtest.Operator(), authcore.NewDomain{Name: fmt.Sprintf("d%d.example", i)})
		if err != nil {
			t.Fatal(err)
		}
		s.policy(t, d.Domain.Name, allow)
		if i == 7 {
			check("ten alike", []string{"password", "phone"})
		}
	}
	check("too many to compare", nil)
}
