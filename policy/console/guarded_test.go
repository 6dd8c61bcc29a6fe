package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/policy"
	"latchkey/policy/api"
)

// Whatever is answered, and however it was asked for, a browser is told the same of what the page may do.
func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	for _, tc := range []struct {
		name, method, path string
		head               map[string]string
		status             int
	}{
		{"a page", "GET", "/sign-in", nil, 200},
		{"its head", "HEAD", "/sign-in", nil, 200},
		{"a page for members", "GET", "/security", nil, 303},
		{"one that is led on", "GET", "/security", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200},
		{"no page", "GET", "/nothing", nil, 404},
		{"a page that has none to read", "GET", "/sign-out", nil, 404},
		{"a form of another site", "POST", "/sign-in", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a form without fields", "POST", "/sign-in", nil, 401},
		{"too many cookies", "GET", "/sign-in", map[string]string{"Cookie": "a=" + strings.Repeat("x", maxCookies)}, 431},
		{"options", "OPTIONS", "/sign-in", nil, 404},
		{"a method of calendars", "PROPFIND", "/security", nil, 404},
	} {
		a := b.sent(tc.method, tc.path, tc.head)
		if a.StatusCode != tc.status {
			t.Errorf("%s: status %d, want %d", tc.name, a.StatusCode, tc.status)
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
				"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tc.name, name, got, want)
			}
		}
	}
}

// A cookie is this host's, over TLS, and no script's. That of the session stays at home when another site sends the browser.
func TestCookiesAreTheBrowsersAlone(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.rule(func(p *policy.Policy) { p.SignIn.Passkey = policy.Allow })
	b := s.browser().alone()
	seen := map[string]http.SameSite{}
	for _, p := range []*shown{
		b.send("POST", "/language", url.Values{"language": {"en"}}),
		b.get("/sign-in/passkey"),
		b.send("POST", "/sign-in", url.Values{"address": {s.address("account")}, "password": {s.password("account")}}),
		b.send("POST", "/reauthenticate", url.Values{"password": {s.password("account")}}),
	} {
		for _, c := range (&http.Response{Header: p.header}).Cookies() {
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" {
				t.Errorf("%s sets %s", p.at, c.Raw)
			}
			if c.MaxAge >= 0 {
				seen[c.Name] = c.SameSite
			}
		}
	}
	for name, want := range map[string]http.SameSite{
		sessionCookie: http.SameSiteStrictMode, saidCookie: http.SameSiteStrictMode, signInCookie: http.SameSiteLaxMode, langCookie: http.SameSiteLaxMode,
		domainCookie: http.SameSiteLaxMode,
	} {
		if seen[name] != want {
			t.Errorf("%s: SameSite %d, want %d", name, seen[name], want)
		}
	}
}

// Where a form came from is believed of this host alone.
func TestAFormLeadsBackToItsPage(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	back := map[string]string{
		s.url + "/contacts?a=1": "/contacts?a=1", "https://evil.example/contacts": "/security", s.url + ".evil.example/contacts": "/security",
		s.url + "1/contacts": "/security", "": "/security", "%zz": "/security", "javascript:alert(1)": "/security", s.url + "//evil.example/": "/security",
		s.url + callback("line") + "?code=x": "/security",
	}
	for referer, want := range back {
		a := b.sent("POST", "/contacts", map[string]string{"Sec-Fetch-Site": "same-origin", "Referer": referer})
		if got := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || got != "/sign-in?next="+url.QueryEscape(want) {
			t.Errorf("from %q: status %d, Location %q, want next=%s", referer, a.StatusCode, got, want)
		}
	}
}

// A member who asks too often reads a page, whatever his source.
func TestAMemberWhoAsksTooOften(t *testing.T) {
	t.Parallel()
	s := openAt(t, Options{}, nil, api.Rates{PerMember: 8, PerSource: -1})
	b := s.signedIn("account").alone()
	for range 50 {
		if p := b.get(s.gate(t)); p.status != http.StatusOK {
			p.is(429, "You ask too often")
			s.signedIn("admin").alone().get(s.gate(t)).is(200)
			return
		}
	}
	t.Error("nobody was slowed")
}

// What a browser keeps of a step that began tells no more than the page: for one name it is as long as for another.
func TestWhatIsKeptTellsNothing(t *testing.T) {
	t.Parallel()
	s := timed(t, nil)
	s.entered("account", ann, cell)
	s.rule(func(p *policy.Policy) { p.SignIn.Phone = policy.Allow })
	a := s.Actor(t, "account")
	asked, err := s.LinkPhone(t.Context(), a, cell.Value)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, secretOf(s.code(cell.Value))); err != nil {
		t.Fatal(err)
	}
	known := s.address("account")
	unknown := strings.Replace(known, "account", "nobodys", 1)
	for _, c := range []struct {
		path           string
		known, unknown url.Values
	}{
		{"/forgotten-password", url.Values{"address": {known}, "channel": {"email"}}, url.Values{"address": {unknown}, "channel": {"email"}}},
		{"/sign-in/phone", url.Values{"number": {cell.Value}}, url.Values{"number": {"+819099999999"}}},
	} {
		one, other := s.browser().alone().send("POST", c.path, c.known), s.browser().alone().send("POST", c.path, c.unknown)
		length := len(cookieOf(one, signInCookie))
		if one.status != other.status || one.header.Get("Location") != other.header.Get("Location") || length == 0 || length != len(cookieOf(other, signInCookie)) {
			t.Errorf("%s: status %d and %d, cookies of %d and %d bytes", c.path, one.status, other.status, length, len(cookieOf(other, signInCookie)))
		}
	}
}
