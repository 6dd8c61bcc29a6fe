package api_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/oidc"
	"latchkey/authcore/otp"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

const personal = "two-step" + sample.Personal

// policyOf changes the policy of the old domain.
func (h *house) policyOf(t testing.TB, change func(*policy.Policy)) {
	t.Helper()
	p, rev, err := h.Policy(t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		t.Fatal(err)
	}
	change(&p)
	if _, err := h.SetPolicy(t.Context(), authtest.Operator(), sample.Old, p, rev); err != nil {
		t.Fatal(err)
	}
}

// begin proves a person's account password.
func (h *house) begin(t testing.TB, state string, more m) answer {
	t.Helper()
	p := h.People[state]
	body := m{"login": p.Address, "password": p.Account.Reveal()}
	for k, v := range more {
		body[k] = v
	}
	return h.call(t, "", "POST", "/sign-in", body).is(200)
}

func (a answer) state(want string) answer {
	a.t.Helper()
	if a.text("state") != want || (a.text("token") != "") != (want == "signed_in") || (a.text("ticket") != "") == (want == "signed_in") {
		a.t.Fatalf("want the state %s: %s", want, a.body)
	}
	return a
}

// Every state of a sign-in over HTTP: the second step, then a new password, then signed in.
func TestWalkTwoStepAndPassword(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["two-step"]
	if _, err := h.UpdateMember(t.Context(), authtest.Operator(), p.Address, authcore.MemberChange{MustChange: new(true)}, 0); err != nil {
		t.Fatal(err)
	}
	first := h.begin(t, "two-step", nil).state("two_step_required")
	methods, _ := first.value()["methods"].([]any)
	if len(methods) != 1 || methods[0].(m)["method"] != "email" || strings.Contains(string(first.body), personal) {
		t.Fatalf("methods: %s", first.body)
	}
	ticket := first.text("ticket")
	h.call(t, "", "POST", "/sign-in/password", m{"ticket": ticket, "new_password": "better-word-2"}).is(401, "ticket_invalid")
	h.call(t, "", "POST", "/sign-in/two-step/send", m{"ticket": ticket, "method": "mobile"}).is(422, "invalid")
	if h.call(t, "", "POST", "/sign-in/two-step/send", m{"ticket": ticket, "method": "email", "id": methods[0].(m)["id"]}).is(200).text("expires_at") == "" {
		t.Error("nobody is told until when the code is good")
	}
	h.call(t, "", "POST", "/sign-in/two-step/send", m{"ticket": ticket, "method": "email"}).is(429, "throttled")
	code := h.Code(t, sample.Old, personal)
	pass := func(code string) answer {
		return h.call(t, "", "POST", "/sign-in/two-step", m{"ticket": ticket, "method": "email", "code": code})
	}
	pass("x"+code[1:]).is(422, "bad_code")
	second := pass(code).is(200).state("password_change_required")
	pass(code).is(401, "ticket_invalid")
	set := func(word string) answer {
		return h.call(t, "", "POST", "/sign-in/password", m{"ticket": second.text("ticket"), "new_password": word})
	}
	set("short").is(422, "invalid")
	done := set("better-word-2").is(200).state("signed_in")
	h.call(t, done.text("token"), "GET", "/me", nil).is(200)
}

func TestWalkEnrolment(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.policyOf(t, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	first := h.begin(t, "expired", nil).state("password_change_required")
	second := h.call(t, "", "POST", "/sign-in/password", m{"ticket": first.text("ticket"), "new_password": "better-word-2"}).is(200).state("two_step_enrolment_required")
	if l, _ := second.value()["enrol"].([]any); len(l) != 3 {
		t.Errorf("what may be enrolled: %s", second.body)
	}
	ticket := second.text("ticket")
	h.call(t, "", "POST", "/sign-in/enrolment/send", m{"ticket": ticket, "method": "mobile", "contact": "12"}).is(422, "invalid")
	h.call(t, "", "POST", "/sign-in/enrolment/send", m{"ticket": ticket, "method": "mobile", "contact": "+81 90-1234-5678"}).is(200)
	code := h.Code(t, sample.Old, "+819012345678")
	enrol := func(method, code string) answer {
		return h.call(t, "", "POST", "/sign-in/enrolment", m{"ticket": ticket, "method": method, "code": code})
	}
	enrol("mobile", "x"+code[1:]).is(422, "bad_code")
	done := enrol("mobile", code).is(200).state("signed_in")
	enrol("mobile", code).is(401, "ticket_invalid")
	me := h.call(t, done.text("token"), "GET", "/me", nil).is(200)
	if !strings.Contains(string(me.body), "+819012345678") || me.value()["two_step"] != true {
		t.Errorf("me: %s", me.body)
	}
}

func TestWalkEnrolmentOfAnApp(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.policyOf(t, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	ticket := h.begin(t, "account", nil).state("two_step_enrolment_required").text("ticket")
	app := h.call(t, "", "POST", "/sign-in/enrolment/totp", m{"ticket": ticket}).is(200)
	if !strings.HasPrefix(app.text("url"), "otpauth://totp/") || !strings.Contains(app.text("url"), app.text("secret")) {
		t.Fatalf("the app: %s", app.body)
	}
	h.call(t, "", "POST", "/sign-in/enrolment", m{"ticket": ticket, "method": "totp", "code": appCode(t, app.text("secret"), h.clock.now())}).is(200).state("signed_in")
	next := h.begin(t, "account", nil).state("two_step_required")
	h.clock.pass(30 * time.Second)
	h.call(t, "", "POST", "/sign-in/two-step", m{"ticket": next.text("ticket"), "method": "totp", "code": appCode(t, app.text("secret"), h.clock.now())}).is(200).state("signed_in")
}

func TestWalkMethodMissing(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.policyOf(t, func(p *policy.Policy) {
		p.SignIn.TwoStep, p.ProfileManagedExternally, p.SignIn.Phone = policy.TwoStepRequired, true, policy.Allow
	})
	p := h.People["account"]
	a := h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": p.Account.Reveal()}).is(403, "two_step_method_missing")
	if !strings.Contains(a.text("detail"), "phone") {
		t.Errorf("the other ways in are not named: %s", a.body)
	}
	h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": "wrong-word-1"}).is(401, "bad_credentials")
}

func TestWalkTrustedBrowser(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.policyOf(t, func(p *policy.Policy) { p.SignIn.TrustBrowser = true })
	ticket := h.begin(t, "two-step", nil).state("two_step_required").text("ticket")
	h.call(t, "", "POST", "/sign-in/two-step/send", m{"ticket": ticket, "method": "email"}).is(200)
	done := h.call(t, "", "POST", "/sign-in/two-step", m{"ticket": ticket, "method": "email", "code": h.Code(t, sample.Old, personal), "trust_browser": true}).is(200).state("signed_in")
	trusted, _ := done.value()["trusted_browser"].(m)
	if trusted["token"] == nil || trusted["expires_at"] == nil {
		t.Fatalf("no token of the browser: %s", done.body)
	}
	spared := h.begin(t, "two-step", m{"trusted_browser": trusted["token"]}).state("signed_in").text("token")
	h.call(t, trusted["token"].(string), "GET", "/me", nil).is(401, "not_signed_in")
	l := h.call(t, spared, "GET", "/me/trusted-browsers", nil).is(200)
	if len(l.items()) != 1 || strings.Contains(string(l.body), trusted["token"].(string)) || l.items()[0]["hash"] != nil {
		t.Fatalf("listed: %s", l.body)
	}
	h.call(t, spared, "DELETE", "/me/trusted-browsers/"+l.items()[0]["id"].(string), nil).is(204)
	h.call(t, spared, "DELETE", "/me/trusted-browsers/"+l.items()[0]["id"].(string), nil).is(404, "not_found")
	h.begin(t, "two-step", m{"trusted_browser": trusted["token"]}).state("two_step_required")
}

func TestWalkReauthentication(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["two-step"]
	ticket := h.begin(t, "two-step", nil).text("ticket")
	h.call(t, "", "POST", "/sign-in/two-step/send", m{"ticket": ticket, "method": "email"}).is(200)
	token := h.call(t, "", "POST", "/sign-in/two-step", m{"ticket": ticket, "method": "email", "code": h.Code(t, sample.Old, personal)}).is(200).text("token")
	if ways, _ := h.call(t, token, "GET", "/reauthenticate", nil).is(200).value()["ways"].([]any); len(ways) != 1 || ways[0] != "password" {
		t.Errorf("ways %v", ways)
	}
	h.clock.pass(11 * time.Minute)
	h.call(t, token, "POST", "/me/app-passwords", m{"name": "Late"}).is(403, "reauthentication_required")
	again := h.call(t, token, "POST", "/reauthenticate", m{"password": p.Account.Reveal()}).is(200).state("two_step_required").text("ticket")
	h.call(t, token, "POST", "/me/app-passwords", m{"name": "Late"}).is(403, "reauthentication_required")
	h.call(t, "", "POST", "/sign-in/two-step/send", m{"ticket": again, "method": "email"}).is(200)
	fresh := h.call(t, "", "POST", "/sign-in/two-step", m{"ticket": again, "method": "email", "code": h.Code(t, sample.Old, personal)}).is(200).state("signed_in").text("token")
	h.call(t, token, "GET", "/me", nil).is(401, "not_signed_in")
	h.call(t, fresh, "POST", "/me/app-passwords", m{"name": "In time"}).is(201)
}

func TestWaysToSignIn(t *testing.T) {
	t.Parallel()
	line, acme := authtest.NewProvider(t, oidc.LINE).Party(t, "line"), authtest.NewProvider(t, oidc.OpenID).Party(t, "acme")
	h := open(t, func(o *authcore.Options) {
		o.Providers = func() []*oidc.Provider { return []*oidc.Provider{line, acme} }
	})
	h.policyOf(t, func(p *policy.Policy) {
		p.SignIn.LINE, p.SignIn.OIDC, p.SignIn.TrustBrowser = policy.Allow, map[string]policy.Way{"acme": policy.Allow}, true
	})
	if a := h.call(t, "", "GET", "/sign-in/ways?domain=old.example", nil).is(200); string(a.body) != `{"ways":["password","line","oidc.acme"],"trust_browser":true}`+"\n" {
		t.Errorf("got %s", a.body)
	}
	for _, domain := range []string{"new.example", "nowhere.example"} {
		if a := h.call(t, "", "GET", "/sign-in/ways?domain="+domain, nil).is(200); string(a.body) != `{"ways":["password"],"trust_browser":false}`+"\n" {
			t.Errorf("%s: %s", domain, a.body)
		}
	}
	h.call(t, "", "GET", "/sign-in/ways", nil).is(422, "invalid")
}

func TestSignOutEverywhere(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	one, other := h.token(t, "account"), h.token(t, "account")
	d, err := h.Authenticate(t.Context(), authtest.Attempt("imap", h.People["account"].Address, h.People["account"].Account.Reveal()))
	if err != nil || !d.Allowed() {
		t.Fatal(d.Reason, err)
	}
	h.call(t, one, "DELETE", "/me/sessions/"+current(h.call(t, other, "GET", "/me/sessions", nil)), nil).is(204)
	h.call(t, other, "GET", "/me", nil).is(401, "not_signed_in")
	h.call(t, one, "DELETE", "/me/sessions/none", nil).is(404, "not_found")
	h.call(t, one, "DELETE", "/me/sessions", nil).is(204)
	h.call(t, one, "GET", "/me", nil).is(401, "not_signed_in")
	if ok, err := h.Stands(t.Context(), d.Standing(authtest.Attempt("imap", "", ""))); ok || err != nil {
		t.Errorf("the session at the door stands: %v, %v", ok, err)
	}
}

// Enrolled contacts keep what an administrator saved: the first right code verifies it.
func TestSavedContactIsVerifiedByUse(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.policyOf(t, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	saved := []member.Contact{{Kind: member.Email, Value: "saved@personal.example"}}
	if _, err := h.UpdateMember(t.Context(), authtest.Operator(), h.People["account"].Address, authcore.MemberChange{Contacts: &saved}, 0); err != nil {
		t.Fatal(err)
	}
	ticket := h.begin(t, "account", nil).state("two_step_required").text("ticket")
	h.call(t, "", "POST", "/sign-in/two-step/send", m{"ticket": ticket, "method": "email"}).is(200)
	done := h.call(t, "", "POST", "/sign-in/two-step", m{"ticket": ticket, "method": "email", "code": h.Code(t, sample.Old, "saved@personal.example")}).is(200).state("signed_in")
	if me := h.call(t, done.text("token"), "GET", "/me", nil).is(200); !strings.Contains(string(me.body), `"verified":true`) {
		t.Errorf("me: %s", me.body)
	}
}

func appCode(t testing.TB, key string, at time.Time) string {
	t.Helper()
	code, err := otp.CodeAt(secret.New(key), at)
	if err != nil {
		t.Fatal(err)
	}
	return code.Reveal()
}
