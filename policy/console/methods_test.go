package console

import (
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/store/memory"
	"latchkey/policy"
)

// openMethods is a stage where what may be lost passes with the clock too, as the limits of codes do.
func openMethods(t testing.TB, change func(*policy.Policy)) *stage {
	t.Helper()
	s := open(t, Options{}, func(o *authcore.Options) {
		o.Records, o.Ephemeral = memory.NewRecords(memory.Options{Now: o.Now}), memory.NewEphemeral(memory.Options{Now: o.Now})
	})
	if change != nil {
		s.rule(change)
	}
	return s
}

// rule changes the policy of the old domain.
func (s *stage) rule(change func(*policy.Policy)) {
	s.t.Helper()
	p, rev, err := s.Policy(s.t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		s.t.Fatal(err)
	}
	change(&p)
	if _, err := s.SetPolicy(s.t.Context(), authtest.Operator(), sample.Old, p, rev); err != nil {
		s.t.Fatal(err)
	}
}

// entered are the contacts of a person of the sample, by an administrator: not verified.
func (s *stage) entered(state string, l ...member.Contact) {
	s.t.Helper()
	if _, err := s.UpdateMember(s.t.Context(), authtest.Operator(), s.People[state].Address, authcore.MemberChange{Contacts: &l}, 0); err != nil {
		s.t.Fatal(err)
	}
}

// code is the last verification number that was sent to a contact.
func (s *stage) code(to string) string { s.t.Helper(); return s.Code(s.t, sample.Old, to) }

// notThe is a number of six digits that code is not.
func notThe(code string) string {
	if code == "111111" {
		return "222222"
	}
	return "111111"
}

// leadsToConfirm fails the test unless what was pressed leads to the re-authentication and back to a path.
func (p *shown) leadsToConfirm(back string) {
	p.b.s.t.Helper()
	if p.at.Path != "/reauthenticate" || p.at.Query().Get("next") != back {
		p.b.s.t.Errorf("it leads to %s, want /reauthenticate and back to %s", p.at, back)
	}
}

var (
	ann  = member.Contact{Kind: member.Email, Value: "ann@mail.example"}
	cell = member.Contact{Kind: member.Mobile, Value: "+819012345678"}
)

// Every page of a member's own is for whoever is signed in, and what its forms do besides is for a fresh sign-in.
func TestMethodPagesAskWhoItIs(t *testing.T) {
	t.Parallel()
	s := openMethods(t, func(p *policy.Policy) { p.SignIn.Phone, p.SignIn.Passkey = policy.Allow, policy.Allow })
	pages := []string{"/security/two-step", "/security/two-step/app", "/security/two-step/recovery-codes", "/security/two-step/browsers", "/contacts",
		"/contacts/add", "/contacts/x", "/security/links", "/security/phone", "/security/phone/number", "/security/passkeys", "/security/quick"}
	for _, path := range pages {
		if p := s.browser().get(path); p.at.Path != "/sign-in" || p.at.Query().Get("next") != path {
			t.Errorf("%s leads nobody to %s", path, p.at)
		}
	}
	s.entered("account", ann)
	b := s.signedIn("account")
	s.clock.pass(11 * time.Minute)
	for path, press := range map[string]func(*shown) *shown{
		"/security/two-step":                func(p *shown) *shown { return p.press("Switch on 2-step verification") },
		"/security/two-step/app":            func(p *shown) *shown { return p.press("Set up the app") },
		"/security/two-step/recovery-codes": func(p *shown) *shown { return p.press("Create new recovery codes") },
		"/contacts":                         func(p *shown) *shown { return p.press("Remove") },
		"/contacts/add?kind=email": func(p *shown) *shown {
			return p.having("Send verification number").fill("E-mail address", "x@mail.example").press("Send verification number")
		},
		"/security/phone": func(p *shown) *shown {
			return p.having("Send verification number").fill("Mobile phone number", "+819012345678").press("Send verification number")
		},
		"/security/passkeys": func(p *shown) *shown {
			return p.having("Continue").fill("Name of the device", "Laptop").press("Continue")
		},
	} {
		press(b.get(path).is(200)).leadsToConfirm(path)
	}
	if len(s.Sent(t, sample.Old, "x@mail.example")) != 0 {
		t.Error("a number was sent without a fresh sign-in")
	}
}

// A form whose word no page knows does nothing.
func TestUnknownDeed(t *testing.T) {
	t.Parallel()
	b := openMethods(t, nil).signedIn("account")
	b.send("POST", "/security/two-step", map[string][]string{"do": {"everything"}}).is(404)
}

// What is refused for a number of codes says for how long.
func TestWaitFor(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		time.Second: "wait a minute", time.Minute: "wait a minute", time.Minute + 1: "in an hour", time.Hour: "in an hour", 2 * time.Hour: "tomorrow",
	} {
		if got := waitFor(d); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q in it", d, got, want)
		}
	}
}

// told says whether the outbox has something else than a number for an address.
func (s *stage) told(to string, about string) bool {
	return slices.ContainsFunc(s.Sent(s.t, sample.Old, to), isAbout(about))
}
