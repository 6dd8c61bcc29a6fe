package console

import (
	"net/url"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/policy"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	b.begin("account").path("/reauthenticate").is(200, s.address("account"))
	if b.cookie(signInCookie) != "" || strings.Contains(b.cookie(sessionCookie), s.password("account")) {
		t.Errorf("cookies %v", b.cookies())
	}
	b.get("/sign-in?next=%2Freauthenticate").path("/reauthenticate") // who is signed in is led on
}

// What comes after a sign-in is a path here, whatever the address of the page says.
func TestSignInLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for name, to := range map[string]string{
		"another host": "https://evil.example/", "no scheme": "//evil.example/", "backslash": `/\evil.example`, "script": "javascript:alert(1)",
		"a line": "/x\r\nLocation: https://evil.example", "nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			at := "/sign-in?" + url.Values{"next": {to}}.Encode()
			p := b.get(at).having("Sign in").fill("Address", s.address("account")).fill("Password", s.password("account")).press("Sign in")
			if p.at.Path != "/security" || "https://"+p.at.Host != s.url {
				t.Errorf("led to %s", p.at)
			}
			b.in("account")
		})
	}
}

// Signing in over a session takes its place, and ends it.
func TestSignInReplaces(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	first := b.get("/sign-in") // a tab that was open all the time
	b.begin("account")
	old := b.cookie(sessionCookie)
	first.having("Sign in").fill("Address", s.address("admin")).fill("Password", s.password("admin")).press("Sign in")
	b.in("admin")
	if _, err := s.Session(t.Context(), secretOf(old), authtest.Client()); !denied(err, authcore.NotSignedIn) {
		t.Errorf("the session from before: %v", err)
	}
}

// A refusal is the same, byte for byte, for whoever is known, unknown, suspended or none of these.
func TestSignInRefusals(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	var first string
	for name, c := range map[string]struct{ address, password string }{
		"wrong password":          {s.address("account"), "wrong-password-1"},
		"unknown address":         {"nobody@old.example", "wrong-password-1"},
		"unknown domain":          {"nobody@nowhere.example", "wrong-password-1"},
		"suspended, right":        {s.address("suspended"), s.password("suspended")},
		"an app password":         {s.address("opted-in"), s.People["opted-in"].AppPasswords[0].Secret.Reveal()},
		"with a second step":      {s.address("two-step"), "wrong-password-1"},
		"a name without a domain": {"jane", "wrong-password-1"},
	} {
		b := s.browser()
		p := b.get("/sign-in").having("Sign in").fill("Address", c.address).fill("Password", c.password).press("Sign in")
		p.is(401, "Wrong name or password; if your account is suspended, ask your administrator")
		body := strings.ReplaceAll(p.body, c.address, "ADDRESS")
		if first == "" {
			first = body
		}
		if body != first || strings.Contains(body, c.password) {
			t.Errorf("%s: another page:\n%s", name, p.text())
		}
		b.out()
	}
}

func TestSignInThrottled(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	form := s.browser().get("/sign-in").having("Sign in").fill("Address", "nobody@old.example")
	for i := range 60 {
		p := form.fill("Password", "wrong-"+strings.Repeat("x", i)).press("Sign in")
		if p.status == 429 {
			p.is(429, "Too many attempts: try again in ")
			return
		}
		p.is(401)
	}
	t.Error("nobody was slowed")
}

// The ways of a domain are shown when it is known: by what was typed, by the last sign-in, or because all domains are alike.
func TestOtherWays(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	b.get("/sign-in").is(200).hides("Other ways to sign in") // all domains: the password alone
	s.rule(func(p *policy.Policy) {
		p.SignIn.Phone, p.SignIn.Passkey, p.SignIn.Quick = policy.Allow, policy.Allow, policy.Allow
	})
	p := b.get("/sign-in?next=%2Freauthenticate").is(200, "Other ways to sign in").hides("Login with phone number")
	p = p.having("Show the other ways").fill("Your address, or its domain", "jane@OLD.example").press("Show the other ways")
	p.is(200, "Login with phone number", "Use a passkey").follow("Login with phone number").path("/sign-in/phone?next=%2Freauthenticate")
	b.get("/sign-in").is(200, "Login with phone number") // remembered
	b.get("/sign-in").having("Show the other ways").fill("Your address, or its domain", "new.example").press("Show the other ways").
		is(200, "Your domain has no other way.").hides("Login with phone number")
	for _, nowhere := range []string{"nowhere.example", "x y;z", "@", strings.Repeat("a", 300)} {
		s.browser().get("/sign-in").having("Show the other ways").fill("Your address, or its domain", nowhere).press("Show the other ways").is(200)
	}
	s.browser().get("/sign-in?domain=old.example").is(200, "Login with phone number")
	other := s.browser()
	other.begin("account")
	other.http.Jar.SetCookies(mustParse(s.url), expired(sessionCookie))
	other.get("/sign-in").is(200, "Login with phone number")
}

// A new password that a sign-in asks for: every rule is told at once, and the ticket stays good for another try.
func TestPasswordChangeAtSignIn(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.rule(func(p *policy.Policy) { p.Password.MinLength, p.Password.RefuseSequences = 12, true })
	b := s.browser()
	p := b.begin("expired").path("/sign-in/password")
	p.is(200, "Set a new password", "At least 12 characters", "An English letter", "A number", "None of the passwords that are guessed first")
	p = p.having("Set the password").fill("New password", "111").fill("New password once more", "111").press("Set the password")
	p.is(422, "It is too short.", "It needs an English letter.", "It has three or more repeated")
	p = p.having("Set the password").fill("New password", "qpwo").fill("New password once more", "other").press("Set the password")
	p.is(422, "The two passwords differ.", "It is too short.", "It needs a number.")
	if strings.Contains(p.body, "qpwo") {
		t.Error("the page shows what was typed")
	}
	b.out()
	p.having("Set the password").fill("New password", "brave new w0rld").fill("New password once more", "brave new w0rld").press("Set the password").path("/reauthenticate")
	b.in("expired")
}

// A temporary password is good for one sign-in, and never kept.
func TestTemporaryPassword(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	temporary, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), false)
	if err != nil {
		t.Fatal(err)
	}
	b := s.browser()
	p := b.get("/sign-in").having("Sign in").fill("Address", s.address("account")).fill("Password", temporary.Reveal()).press("Sign in").path("/sign-in/password")
	p = p.having("Set the password").fill("New password", temporary.Reveal()).fill("New password once more", temporary.Reveal()).press("Set the password")
	p.is(422, "It is the temporary password: choose another one.")
	p.having("Set the password").fill("New password", "brave new w0rld").fill("New password once more", "brave new w0rld").press("Set the password")
	b.in("account")
}

// The rules are judged as one types.
func TestPasswordRulesAsOneTypes(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.rule(func(p *policy.Policy) { p.Password.MinLength = 12 })
	b := s.browser()
	b.begin("expired").path("/sign-in/password")
	for typed, want := range map[string]string{
		"short":             `{"broken":["too_short","needs_digit"]}`,
		"expired says 1234": `{"broken":["contains_login_name"]}`,
		"brave new w0rld":   `{"broken":[]}`,
	} {
		if got := strings.TrimSpace(b.send("POST", "/password/rules", url.Values{"password": {typed}}).body); got != want {
			t.Errorf("%q: %s, want %s", typed, got, want)
		}
	}
	if got := b.send("POST", "/password/rules", url.Values{"password": {""}}).body; !strings.Contains(got, "too_short") || !strings.Contains(got, "contains_login_name") {
		t.Errorf("nothing typed: %s", got)
	}
}
