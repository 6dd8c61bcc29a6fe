package console

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/oidc"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

// withLINE is a stage where the account of a person is linked at LINE, as "subject".
func withLINE(t *testing.T) (*stage, *authtest.Provider) {
	t.Helper()
	line, away := authtest.NewProvider(t, oidc.LINE), authtest.NewProvider(t, oidc.OpenID)
	line.Back = "https://console.example" + callback("line")
	parties := []*oidc.Provider{line.Party(t, "line"), away.Party(t, "away")}
	s := timed(t, func(o *authcore.Options) { o.Providers = func() []*oidc.Provider { return parties } })
	s.rule(func(p *policy.Policy) {
		p.SignIn.LINE, p.SignIn.OIDC = policy.Allow, map[string]policy.Way{"away": policy.Allow}
	})
	a := s.Actor(t, "account")
	st, err := s.LinkProvider(t.Context(), a, "line")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.LinkProviderCallback(t.Context(), a, "line", st.Ticket, line.Authorize(t, st.AuthorizeURL, "subject")); err != nil {
		t.Fatal(err)
	}
	return s, line
}

// back is the address that the provider sends a browser to after its user said yes to the page that leads there.
func back(t *testing.T, line *authtest.Provider, p *shown, subject string) string {
	t.Helper()
	p.is(200, "One moment", "You are led to ")
	to := ""
	for n := range p.doc.Descendants() {
		if n.Data == "a" && words(n) == "Go on" {
			to = attr(n, "href")
		}
	}
	if p.header.Get("Refresh") != "0; url="+to || !strings.HasPrefix(to, line.URL) {
		t.Fatalf("Refresh %q, link %q", p.header.Get("Refresh"), to)
	}
	a := line.Authorize(t, to, subject)
	return callback("line") + "?" + url.Values{"code": {a.Code.Reveal()}, "state": {a.State.Reveal()}}.Encode()
}

func (b *browser) toLINE() *shown {
	b.s.t.Helper()
	return b.get("/sign-in?domain="+sample.Old+"&next=%2Flanguage").is(200, "Login with LINE").hides("Login with away").press("Login with LINE")
}

func TestLoginWithLINE(t *testing.T) {
	t.Parallel()
	s, line := withLINE(t)
	b := s.browser()
	at := back(t, line, b.toLINE(), "subject")
	b.fromElsewhere(at).is(200, "One moment").follow("Go on").path("/language")
	b.in("account")
	b.http.Jar.SetCookies(mustParse(s.url), expired(sessionCookie))
	b.fromElsewhere(at).follow("Go on").is(200, "begin again") // once
	b.out()
}

func TestLoginWithLINERefusals(t *testing.T) {
	t.Parallel()
	s, line := withLINE(t)
	for name, c := range map[string]struct {
		subject string
		change  func(b *browser, at string) string
		says    string
	}{
		"not linked":    {"stranger", nil, "Nobody has connected this account."},
		"cancelled":     {"subject", func(*browser, string) string { return callback("line") + "?error=access_denied&error_description=EVIL" }, "You did not agree there"},
		"broken there":  {"subject", func(*browser, string) string { return callback("line") + "?error=server_error" }, "did not confirm who you are"},
		"another state": {"subject", func(_ *browser, at string) string { return at + "x" }, "did not confirm who you are"},
		"another browser": {"subject", func(b *browser, at string) string {
			b.http.Jar.SetCookies(mustParse(s.url), expired(signInCookie))
			return at
		}, "begin again"},
		"another provider":   {"subject", func(_ *browser, at string) string { return strings.Replace(at, "/line/", "/away/", 1) }, "begin again"},
		"the cookie changed": {"subject", func(b *browser, at string) string { b.setCookie(signInCookie, b.cookie(signInCookie)[4:]); return at }, "begin again"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			at := back(t, line, b.toLINE(), c.subject)
			if c.change != nil {
				at = c.change(b, at)
			}
			b.fromElsewhere(at).follow("Go on").is(200, c.says, "Sign in").hides("EVIL")
			b.out()
		})
	}
	s.rule(func(p *policy.Policy) { p.SignIn.LINE = policy.Deny })
	s.browser().get("/sign-in?domain=" + sample.Old).hides("Login with LINE")
}

// To prove oneself anew at a provider needs the session, whose cookie is not sent when another site sends the browser.
func TestReauthenticateWithLINE(t *testing.T) {
	t.Parallel()
	s, line := withLINE(t)
	b := s.browser()
	b.begin("account")
	old := b.cookie(sessionCookie)
	at := back(t, line, b.get("/reauthenticate?next=%2Flanguage").press("Login with LINE"), "subject")
	p := b.fromElsewhere(at).is(200, "One moment")
	p.follow("Go on").follow("Go on").path("/language").is(200, "Thank you.")
	if b.cookie(sessionCookie) == old {
		t.Error("the session was not confirmed")
	}
}

// What a provider answered to a session that is over goes no further: the sign-in that follows does not carry it.
func TestAnAnswerToASessionThatIsOverIsDropped(t *testing.T) {
	t.Parallel()
	s, line := withLINE(t)
	for name, begin := range map[string]func(*browser) *shown{
		"re-authentication": func(b *browser) *shown { return b.get("/reauthenticate?next=%2Flanguage").press("Login with LINE") },
		"linking": func(b *browser) *shown {
			b.get("/security/links").press("Disconnect: Login with LINE")
			return b.get("/security/links").press("Connect: Login with LINE")
		},
	} {
		b := s.browser()
		b.begin("account")
		at := back(t, line, begin(b), "subject")
		b.http.Jar.SetCookies(mustParse(s.url), expired(sessionCookie))
		p := b.fromElsewhere(at).follow("Go on")
		for p.at.Path == callback("line") {
			p = p.follow("Go on")
		}
		if p.at.Path != "/sign-in" || strings.Contains(p.at.String()+p.body, "code=") || strings.Contains(p.at.String()+p.body, url.QueryEscape("code=")) {
			t.Errorf("%s: led to %s, cookies %v", name, p.at, b.cookies())
		}
	}
}

func TestLoginWithPhoneNumber(t *testing.T) {
	t.Parallel()
	s := timed(t, nil)
	s.rule(func(p *policy.Policy) { p.SignIn.Phone = policy.Allow })
	a := s.Actor(t, "account")
	asked, err := s.LinkPhone(t.Context(), a, cell.Value)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, secretOf(s.code(cell.Value))); err != nil {
		t.Fatal(err)
	}
	b := s.browser()
	p := b.get("/sign-in?domain=old.example&next=%2Flanguage").follow("Login with phone number")
	p.having("Send a verification number").fill("Mobile phone number", "12").press("Send a verification number").is(422, "Is no mobile number with its country")
	known := p.having("Send a verification number").fill("Mobile phone number", cell.Value).press("Send a verification number").is(200, "If a member has connected this number")
	unknown := s.browser().get("/sign-in/phone?next=%2Flanguage").having("Send a verification number").fill("Mobile phone number", "+819099999999").press("Send a verification number")
	if known.body != unknown.body {
		t.Error("an unknown number has another page")
	}
	unknown.having("Confirm").fill("Verification number", "123456").press("Confirm").is(422, "The code is wrong")
	known.having("Confirm").fill("Verification number", notThe(s.code(cell.Value))).press("Confirm").is(422, "The code is wrong")
	known.press("Send it as a service message instead").is(429, "Too many attempts: try again in ")
	known.having("Confirm").fill("Verification number", s.code(cell.Value)).press("Confirm").path("/language")
	b.in("account")
	p = b.get("/reauthenticate?next=%2Flanguage").press("Send a code to my phone number").path("/sign-in/phone/code").hides("Send it as a service message")
	p.having("Confirm").fill("Verification number", s.code(cell.Value)).press("Confirm").path("/language").is(200, "Thank you.")
}

// Where no text message arrives, the number comes as a service message, which is read where one is signed in already.
func TestLoginWithPhoneNumberByServiceMessage(t *testing.T) {
	t.Parallel()
	s := timed(t, nil)
	s.rule(func(p *policy.Policy) { p.SignIn.Phone = policy.Allow })
	a := s.Actor(t, "account")
	asked, err := s.LinkPhone(t.Context(), a, cell.Value)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, secretOf(s.code(cell.Value))); err != nil {
		t.Fatal(err)
	}
	older := s.signedIn("account")
	b := s.browser()
	p := b.get("/sign-in?domain=old.example&next=%2Flanguage").follow("Login with phone number").
		having("Send a verification number").fill("Mobile phone number", cell.Value).press("Send a verification number")
	s.clock.pass(61 * time.Second)
	p = p.press("Send it as a service message instead").is(200)
	code := regexp.MustCompile(`\b\d{6}\b`).FindString(older.get("/notifications").is(200).text())
	if code == "" {
		t.Fatal("the older session reads no code")
	}
	p.having("Confirm").fill("Verification number", code).press("Confirm").path("/language")
	b.in("account")
}

func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	s := timed(t, nil)
	s.entered("account", ann, cell)
	b := s.browser()
	asks := func(b *browser, address string) *shown {
		return b.get("/sign-in").follow("Forgotten your password?").having("Send a verification number").fill("Address", address).
			choose("My personal email address").press("Send a verification number").is(200, "If there is such a member with such a contact")
	}
	p := asks(b, s.address("account"))
	other := asks(s.browser(), "nobody@old.example")
	if p.body != other.body {
		t.Error("an unknown address has another page")
	}
	other.having("Confirm").fill("Verification number", "123456").press("Confirm").is(422, "The code is wrong")
	p.having("Confirm").fill("Verification number", notThe(s.code(ann.Value))).press("Confirm").is(422, "The code is wrong")
	p = p.having("Confirm").fill("Verification number", s.code(ann.Value)).press("Confirm").path("/forgotten-password/new")
	p = p.having("Set the password").fill("New password", "1").fill("New password once more", "1").press("Set the password").is(422, "It is too short.", "It needs an English letter.")
	p.having("Set the password").fill("New password", "brave new w0rld").fill("New password once more", "brave new w0rld").press("Set the password").
		path("/sign-in").is(200, "Your new password is set. Sign in with it.")
	b.out()
	b.get("/sign-in?next=%2Flanguage").having("Sign in").fill("Address", s.address("account")).fill("Password", "brave new w0rld").press("Sign in").path("/language")
	b.get("/forgotten-password/new").is(200, "begin again")
}

func TestForgottenAddress(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.entered("account", ann)
	b := s.browser()
	p := b.get("/sign-in").follow("Forgotten your address?")
	p.having("Send my addresses to it").fill("Personal email address or mobile phone number", "x").press("Send my addresses to it").is(422, "Is neither an e-mail address")
	for _, to := range []string{ann.Value, "nobody@mail.example"} {
		p.having("Send my addresses to it").fill("Personal email address or mobile phone number", to).press("Send my addresses to it").
			path("/sign-in").is(200, "If there are addresses that belong to this contact")
	}
	l := s.Sent(t, sample.Old, ann.Value)
	if len(l) != 1 || !strings.Contains(l[0].Text, s.address("account")) {
		t.Errorf("sent %v", l)
	}
}
