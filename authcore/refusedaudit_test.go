package authcore_test

import (
	"slices"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

// strange are the attempts of those whom no domain knows, as the audit keeps them.
func (s *stage) strange(t testing.TB, kind string) (reasons []string) {
	t.Helper()
	l, _, err := audit.List(t.Context(), s.options.Records, member.Root, audit.Filter{}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l {
		if e.Action == audit.SignIn && e.Kind == kind {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// Every attempt at a provider is on record, one that is nobody's too: merged, for there may be many.
func TestAttemptsAtProvidersAreAudited(t *testing.T) {
	t.Parallel()
	s := newProviderStage(t, nil)
	for range 3 {
		if _, err := s.come(t, "line", "nobody's"); !denied(err, authcore.NotLinked) {
			t.Fatal(err)
		}
	}
	b, err := s.SignInProvider(t.Context(), authtest.Client(), "line")
	if err != nil {
		t.Fatal(err)
	}
	given := s.line.Authorize(t, b.AuthorizeURL, "subject")
	given.State = secret.New("another")
	if _, err := s.SignInProviderCallback(t.Context(), authtest.Client(), "line", b.Ticket, given); !denied(err, authcore.ProviderRefused) {
		t.Fatal(err)
	}
	got := s.strange(t, policy.WayLINE)
	slices.Sort(got)
	if !slices.Equal(slices.Compact(got), []string{"not_linked", "provider_refused"}) || len(got) > 4 {
		t.Errorf("audited: %v", got)
	}
	a := s.Actor(t, "account")
	again, err := s.ReauthenticateProvider(t.Context(), a, "corp")
	if err != nil {
		t.Fatal(err)
	}
	given = s.corp.Authorize(t, again.AuthorizeURL, "nobody's")
	if _, err := s.ReauthenticateProviderCallback(t.Context(), a, "corp", again.Ticket, given); !denied(err, authcore.NotLinked) {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.entries(t), func(e audit.Entry) bool {
		return e.Reason == "not_linked" && e.Target == a.Address && e.Kind == "oidc.corp"
	}) {
		t.Error("who is signed in and comes with an account of nobody's is not on record")
	}
}

// A right code that lets nobody in is on record too.
func TestRightPhoneCodeThatIsRefusedIsAudited(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.phones(t).actor(t, "account")
		if err := s.link(t, a, number); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		tk := s.call(t, number)
		code := secretOf(s.Code(t, sample.Old, number))
		s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.Phone = policy.Deny })
		if _, err := s.SignInPhoneCode(t.Context(), app(), tk, code); !denied(err, authcore.WayDenied) {
			t.Fatal(err)
		}
		if e := s.last(t, audit.SignIn); e.Reason != string(authcore.WayDenied) || e.Target != a.Address {
			t.Errorf("audit: %+v", e)
		}
	})
}
