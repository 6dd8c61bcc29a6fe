package console

import (
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"latchkey/policy"
)

const personal = "two-step@personal.example"

func TestSecondStepByCode(t *testing.T) {
	t.Parallel()
	s := timed(t, nil)
	b := s.browser()
	p := b.begin("two-step").path("/sign-in/two-step").is(200, "2-step verification", s.address("two-step")).hides("Trust this browser", personal)
	b.out()
	send := ""
	for n := range p.doc.Descendants() {
		if n.Data == "button" && strings.HasPrefix(words(n), "Send a verification number to t") {
			send = words(n)
		}
	}
	p = p.press(send).is(200, "A verification number was sent.", "Verification number", "5 minutes")
	p.press("Send it again").is(429, "Too many attempts: try again in ")
	first := s.code(personal)
	p.having("Confirm").fill("Verification number", notThe(first)).press("Confirm").is(422, "The code is wrong, used or too old")
	b.out()
	s.clock.pass(61 * time.Second)
	p = b.get("/sign-in/two-step").press("Send it again").is(200, "A verification number was sent.")
	if s.code(personal) != first {
		p.having("Confirm").fill("Verification number", first).press("Confirm").is(422, "The code is wrong, used or too old")
	}
	p.having("Confirm").fill("Verification number", s.code(personal)).press("Confirm").path("/reauthenticate")
	b.in("two-step")
}

// Where there are several methods one chooses, and may choose another.
func TestSecondStepMethods(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	a := s.Actor(t, "account")
	app, err := s.BeginApp(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ConfirmApp(t.Context(), a, secretOf(appCode(t, app.Secret.Reveal(), s.clock.now()))); err != nil {
		t.Fatal(err)
	}
	recovery, err := s.NewRecoveryCodes(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SwitchTwoStep(t.Context(), a, true, false); err != nil {
		t.Fatal(err)
	}
	b := s.browser()
	p := b.begin("account").is(200, "Choose how you prove that it is you.", "Authenticator app", "Recovery code")
	p = p.press("Authenticator app").is(200, "Open your authenticator app").press("Choose another method").is(200, "Choose how you prove")
	p = p.press("Recovery code").is(200, "Each is good once.")
	p = p.having("Confirm").fill("Recovery code", "aaaa-bbbb-cccc").press("Confirm").is(422, "The code is wrong")
	p.having("Confirm").fill("Recovery code", recovery[0].Reveal()).press("Confirm")
	b.in("account")
	s.clock.pass(time.Minute)
	other := s.browser()
	other.begin("account").press("Authenticator app").having("Confirm").
		fill("Verification number", appCode(t, app.Secret.Reveal(), s.clock.now())).press("Confirm")
	other.in("account")
}

func appCode(t *testing.T, key string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(key, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// A browser that is trusted is spared the second step, where the policy allows it.
func TestTrustedBrowser(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.rule(func(p *policy.Policy) { p.SignIn.TrustBrowser = true })
	b := s.browser()
	p := b.begin("two-step")
	form := p.within("", "Send a verification number to "+masked(t, p))
	form.press("Send a verification number to "+masked(t, p)).having("Confirm").fill("Verification number", s.code(personal)).
		tick("Trust this browser for 30 days").press("Confirm")
	b.in("two-step")
	b.http.Jar.SetCookies(mustParse(s.url), expired(sessionCookie))
	b.begin("two-step").path("/reauthenticate")
	b.in("two-step")
	s.browser().begin("two-step").path("/sign-in/two-step") // another browser
}

// masked is where the only contact of the page's choice is.
func masked(t *testing.T, p *shown) string {
	t.Helper()
	for n := range p.doc.Descendants() {
		if to, ok := strings.CutPrefix(words(n), "Send a verification number to "); ok && n.Data == "button" {
			return to
		}
	}
	t.Fatal("no contact to choose")
	return ""
}

func TestEnrolment(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.rule(func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	b := s.browser()
	p := b.begin("account").path("/sign-in/enrolment").is(200, "Your domain requires 2-step verification.")
	p.having("Send a verification number by email").fill("Personal email address", "nothing").press("Send a verification number by email").
		is(422, "Is neither an e-mail address nor a mobile number")
	p = p.having("Send a verification number by email").fill("Personal email address", "ann@mail.example").press("Send a verification number by email")
	p = p.is(200, "A verification number was sent to ann@mail.example").having("Confirm").fill("Verification number", notThe(s.code("ann@mail.example"))).
		press("Confirm").is(422, "The code is wrong")
	p.press("Choose another method").is(200, "Send a verification number by text message")
	b.out()
	p.having("Confirm").fill("Verification number", s.code("ann@mail.example")).press("Confirm").is(422) // no method is chosen in this way any more
	p = b.get("/sign-in/enrolment").press("Use an authenticator app").is(200, "Scan this code with your authenticator app", "Both are shown only now.")
	if !strings.Contains(p.body, `<svg class="qr"`) {
		t.Error("no QR code")
	}
	key := ""
	for n := range p.doc.Descendants() {
		if attr(n, "id") == "secret" {
			key = strings.ReplaceAll(words(n), " ", "")
		}
	}
	b.get("/sign-in/enrolment").hides(key).is(200, "If you have not scanned the code, show a new one.")
	p.having("Confirm").fill("Verification number", appCode(t, key, s.clock.now())).press("Confirm").path("/reauthenticate")
	b.in("account")
}

// What is out of step, too old or made up leads to the beginning with words, and shows nothing.
func TestOutOfStep(t *testing.T) {
	t.Parallel()
	s := timed(t, nil)
	over := "This step took too long, or was done already: begin again."
	for _, at := range []string{"/sign-in/two-step", "/sign-in/password", "/sign-in/enrolment", "/sign-in/phone/code", "/sign-in/two-step/passkey", "/sign-in/line/callback?code=x&state=y"} {
		p := s.browser().get(at)
		if p.at.Path == at {
			t.Errorf("%s is shown to somebody who is at no step", at)
		}
	}
	s.browser().get("/forgotten-password/new").is(200, over, "Forgotten your password?")
	b := s.browser()
	p := b.begin("expired").path("/sign-in/password")
	b.get("/sign-in/two-step").path("/sign-in?next=%2Freauthenticate").is(200, over)
	p.is(200) // the tab of the password goes on
	s.clock.pass(11 * time.Minute)
	p = p.having("Set the password").fill("New password", "brave new w0rld").fill("New password once more", "brave new w0rld").press("Set the password")
	p.path("/sign-in?next=%2Freauthenticate").is(200, over)
	for name, value := range map[string]string{"no base64": "%%%", "no JSON": "bm9uZQ", "another ticket": "eyJhdCI6InR3b19zdGVwX3JlcXVpcmVkIiwidGlja2V0IjoieCJ9", "huge": strings.Repeat("A", 4090)} {
		b.setCookie(signInCookie, value)
		p := b.send("POST", "/sign-in/two-step", map[string][]string{"code": {"123456"}})
		if p.at.Path != "/sign-in" {
			t.Errorf("%s: at %s", name, p.at)
		}
	}
	b.out()
}

// Two tabs sign in, one of them is done first: the other is led on.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	one := b.begin("expired")
	two := b.begin("expired")
	set := func(p *shown) *shown {
		return p.having("Set the password").fill("New password", "brave new w0rld").fill("New password once more", "brave new w0rld").press("Set the password")
	}
	set(two).path("/reauthenticate")
	set(one).path("/security")
	b.in("expired")
}

func TestReauthenticate(t *testing.T) {
	t.Parallel()
	s := timed(t, nil)
	b := s.browser()
	b.begin("account")
	first := b.cookie(sessionCookie)
	p := b.get("/reauthenticate?next=%2Flanguage").is(200, "Prove that it is you")
	p.having("Confirm").fill("Password", "wrong-password-1").press("Confirm").is(401, "Wrong name or password")
	b.in("account")
	p.having("Confirm").fill("Password", s.password("account")).press("Confirm").path("/language").is(200, "Now do once more what you were about to do.")
	if b.cookie(sessionCookie) == first {
		t.Error("the token is the old one")
	}
	b.get("/reauthenticate?next=https%3A%2F%2Fevil.example").having("Confirm").fill("Password", s.password("account")).press("Confirm").path("/security")
}

// Who has two-step on proves both factors.
func TestReauthenticateInTwoSteps(t *testing.T) {
	t.Parallel()
	s := timed(t, nil)
	b := s.browser()
	p := b.begin("two-step")
	p.press("Send a verification number to "+masked(t, p)).having("Confirm").fill("Verification number", s.code(personal)).press("Confirm")
	s.clock.pass(11 * time.Minute)
	p = b.get("/reauthenticate?next=%2Flanguage").having("Confirm").fill("Password", s.password("two-step")).press("Confirm").path("/sign-in/two-step")
	p = p.press("Send a verification number to " + masked(t, p))
	p.having("Confirm").fill("Verification number", s.code(personal)).press("Confirm").path("/language").is(200, "Thank you.")
	p = b.get("/reauthenticate?next=%2Flanguage").having("Confirm").fill("Password", s.password("two-step")).press("Confirm")
	s.clock.pass(11 * time.Minute)
	p.press("Send a verification number to "+masked(t, p)).path("/reauthenticate?next=%2Flanguage").is(200, "begin again")
}
