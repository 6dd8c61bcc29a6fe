package api_test

import (
	"net/http"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

// phoneApp plays the part of the mobile app that signs in by phone number and helps who forgot something: a reference for
// the calls and their order. It holds a ticket between two calls, and a token in the end.
type phoneApp struct {
	h      *house
	ticket string
	token  string
}

func (p *phoneApp) call(t testing.TB, method, path string, body any) answer {
	t.Helper()
	return p.h.call(t, p.token, method, path, body, "User-Agent", "app/1.0")
}

// ask keeps the ticket that an answer carries.
func (p *phoneApp) ask(t testing.TB, path string, body any) {
	t.Helper()
	a := p.call(t, "POST", path, body).is(200)
	if a.text("ticket") == "" || a.text("expires_at") == "" {
		t.Fatalf("%s: %s", path, a.body)
	}
	p.ticket = a.text("ticket")
}

func (p *phoneApp) link(t testing.TB, number string, code func() string) answer {
	t.Helper()
	p.ask(t, "/me/phone-link", m{"number": number})
	return p.call(t, "POST", "/me/phone-link/confirm", m{"ticket": p.ticket, "code": code()})
}

// signIn goes on to the token, or to what the next step asks.
func (p *phoneApp) signIn(t testing.TB, number string, code func() string) answer {
	t.Helper()
	p.ask(t, "/sign-in/phone", m{"number": number})
	a := p.call(t, "POST", "/sign-in/phone/code", m{"ticket": p.ticket, "code": code()})
	if a.status == http.StatusOK {
		p.ticket, p.token = a.text("ticket"), a.text("token")
	}
	return a
}

func (p *phoneApp) forgot(t testing.TB, login, channel string, code func() string) {
	t.Helper()
	p.ask(t, "/forgotten-password", m{"login": login, "channel": channel})
	p.ask(t, "/forgotten-password/code", m{"ticket": p.ticket, "code": code()})
}

func (p *phoneApp) set(t testing.TB, word string) answer {
	t.Helper()
	return p.call(t, "POST", "/forgotten-password/password", m{"ticket": p.ticket, "new_password": word})
}

const phoneNumber = "+819012345678"

func (h *house) allowPhone(t testing.TB, change func(*policy.Policy)) {
	t.Helper()
	p, rev, err := h.Policy(t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		t.Fatal(err)
	}
	p.SignIn.Phone = policy.Allow
	if change != nil {
		change(&p)
	}
	if _, err := h.SetPolicy(t.Context(), authtest.Operator(), sample.Old, p, rev); err != nil {
		t.Fatal(err)
	}
}

func TestPhoneApp(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.allowPhone(t, nil)
	code := func() string { return h.Code(t, sample.Old, phoneNumber) }
	p := &phoneApp{h: h}
	web := h.call(t, "", "POST", "/sign-in", m{"login": h.People["account"].Address, "password": h.People["account"].Account.Reveal()}, "User-Agent", "app/1.0").is(200)
	p.token = web.text("token")
	if a := p.call(t, "GET", "/me/phone-link", nil).is(200); a.value()["linked"] != false {
		t.Errorf("at first: %s", a.body)
	}
	if a := p.link(t, "+81 90-1234-5678", code).is(200); a.value()["linked"] != true || a.text("number") == "" || a.text("number") == phoneNumber {
		t.Errorf("linked: %s", a.body)
	}
	h.clock.pass(11 * time.Minute)
	p.call(t, "DELETE", "/me/phone-link", nil).is(403, "reauthentication_required")
	p.ask(t, "/reauthenticate/phone", nil)
	p.token = p.call(t, "POST", "/reauthenticate/phone/code", m{"ticket": p.ticket, "code": code()}).is(200).text("token")

	h.clock.pass(time.Minute)
	other := &phoneApp{h: h}
	if a := other.signIn(t, phoneNumber, code).is(200); a.text("state") != "signed_in" || other.token == "" {
		t.Fatalf("sign in: %s", a.body)
	}
	other.call(t, "GET", "/me", nil).is(200)
	other.ask(t, "/sign-in/phone", m{"number": "+819066666666"})
	other.call(t, "POST", "/sign-in/phone/code", m{"ticket": other.ticket, "code": "000000"}).is(422, "bad_code")
	other.call(t, "POST", "/sign-in/phone", m{"number": "12"}).is(422, "invalid")

	h.clock.pass(time.Minute)
	other.ask(t, "/sign-in/phone", m{"number": phoneNumber})
	other.call(t, "POST", "/sign-in/phone/message", m{"ticket": other.ticket}).is(429, "throttled")
	p.call(t, "DELETE", "/me/phone-link", nil).is(204)
	if a := p.call(t, "GET", "/me/phone-link", nil).is(200); a.value()["linked"] != false {
		t.Errorf("in the end: %s", a.body)
	}
}

func TestForgottenPasswordApp(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.allowPhone(t, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	contacts := []member.Contact{{Kind: member.Email, Value: "ann@mail.example"}, {Kind: member.Mobile, Value: phoneNumber}}
	address := h.People["account"].Address
	h.contactsOf(t, address, contacts)
	p := &phoneApp{h: h}
	p.forgot(t, address, "sms", func() string { return h.Code(t, sample.Old, phoneNumber) })
	if a := p.set(t, "a"); a.is(422, "invalid").value()["errors"] == nil {
		t.Errorf("no rule is named: %s", a.body)
	}
	p.set(t, "another-word-2").is(204)
	p.set(t, "another-word-3").is(401, "ticket_invalid")
	a := p.call(t, "POST", "/sign-in", m{"login": address, "password": "another-word-2"}).is(200)
	if a.text("state") != "two_step_required" {
		t.Fatalf("sign in: %s", a.body)
	}
	h.clock.pass(time.Minute)
	p.call(t, "POST", "/sign-in/two-step/send", m{"ticket": a.text("ticket"), "method": "mobile"}).is(422, "invalid")
	p.call(t, "POST", "/sign-in/two-step/send", m{"ticket": a.text("ticket"), "method": "email"})
	done := p.call(t, "POST", "/sign-in/two-step", m{"ticket": a.text("ticket"), "method": "email", "code": h.Code(t, sample.Old, "ann@mail.example")}).is(200)
	if done.text("state") != "signed_in" {
		t.Errorf("second step: %s", done.body)
	}

	known := p.call(t, "POST", "/forgotten-address", m{"contact": "Ann@mail.example"}).is(202)
	nobody := p.call(t, "POST", "/forgotten-address", m{"contact": "nobody@mail.example"}).is(202)
	if string(known.body) != string(nobody.body) {
		t.Errorf("%q, for nobody %q", known.body, nobody.body)
	}
}

func (h *house) contactsOf(t testing.TB, address string, l []member.Contact) {
	t.Helper()
	if _, err := h.UpdateMember(t.Context(), authtest.Operator(), address, authcore.MemberChange{Contacts: &l}, 0); err != nil {
		t.Fatal(err)
	}
}
