package console

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/policy/api"
)

// sent is a request as a browser would send it because of another site: no Strict cookie comes with it.
func (b *browser) sent(method, path string, head map[string]string, cookies ...*http.Cookie) *http.Response {
	t := b.s.t
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.s.url+path, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range head {
		r.Header.Set(k, v)
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	a, err := (&http.Client{Transport: b.http.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Body.Close() })
	return a
}

// A link in an e-mail arrives without the cookie, which is Strict: a page of ours opens it once more, and never twice.
func TestALinkFromElsewhereGoesOnByItself(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	from := func(site string) map[string]string {
		return map[string]string{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
	}
	for _, tc := range []struct {
		name, method string
		head         map[string]string
		status       int
		onward       string
	}{
		{"another site", "GET", from("cross-site"), 200, "0; url=/language?next=%2Fa%26b"},
		{"another host of the domain", "GET", from("same-site"), 200, "0; url=/language?next=%2Fa%26b"},
		{"our own page", "GET", from("same-origin"), 200, ""},
		{"typed by hand", "GET", from("none"), 200, ""},
		{"a browser that says nothing", "GET", nil, 200, ""},
		{"a picture in another site's page", "GET", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 200, ""},
		{"head", "HEAD", from("cross-site"), 200, "0; url=/language?next=%2Fa%26b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := b.sent(tc.method, "/language?next=%2Fa%26b", tc.head)
			if a.StatusCode != tc.status || a.Header.Get("Refresh") != tc.onward {
				t.Errorf("status %d, Refresh %q; want %d, %q", a.StatusCode, a.Header.Get("Refresh"), tc.status, tc.onward)
			}
		})
	}
}

// Where nobody is signed in, the second time leads to the sign-in.
func TestNobodyIsLedInACircle(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	h := s.gate(t)
	head := map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
	b := s.browser()
	if a := b.sent("GET", h, head); a.StatusCode != 200 || a.Header.Get("Refresh") != "0; url="+h {
		t.Errorf("status %d, Refresh %q", a.StatusCode, a.Header.Get("Refresh"))
	}
	head["Sec-Fetch-Site"] = "same-origin"
	if a := b.sent("GET", h, head); a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/sign-in?next=") {
		t.Errorf("status %d, Location %q", a.StatusCode, a.Header.Get("Location"))
	}
	bad := &http.Cookie{Name: sessionCookie, Value: "lk_nobody"}
	head["Sec-Fetch-Site"] = "cross-site"
	if a := b.sent("GET", h, head, bad); a.StatusCode != http.StatusSeeOther {
		t.Errorf("with a cookie that is nobody's: status %d", a.StatusCode)
	}
}

// gate is the path of a page that needs a session.
func (s *stage) gate(*testing.T) string { return "/test/gate?a=1&b=%2F" }

// gated adds a page for tests that needs a session and shows the rank of who asks.
func gated(o Options) api.Register {
	return func(k *api.Kit) {
		s := newServer(o, k, shared())
		s.signedIn("GET /test/gate", func(p *page) error { return p.show("failure.html", "signed in as "+p.actor.Address) })
		s.signedIn("POST /test/gate", func(p *page) error { return p.redirect("/language", "saved") })
		s.signedIn("GET /test/fresh", func(*page) error { return &authcore.Denial{Reason: authcore.ReauthenticationRequired} })
	}
}

// A session that is over says so once, and the browser forgets its token.
func TestASessionThatEndedSaysSo(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		end  func(*stage)
		said bool
	}{
		{"too long ago", func(s *stage) { s.clock.pass(40 * 24 * time.Hour) }, true},
		{"still good", func(*stage) {}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{}, nil)
			b := s.signedIn("account")
			tc.end(s)
			a := b.alone().get(s.gate(t))
			if said := cookieOf(a, saidCookie); (said == "session_over") != tc.said {
				t.Errorf("said %q, status %d", said, a.status)
			}
			if tc.said && (a.status != http.StatusSeeOther || !strings.Contains(strings.Join(a.header["Set-Cookie"], "\n"), sessionCookie+"=; Path=/; Max-Age=0")) {
				t.Errorf("status %d, cookies %q", a.status, a.header["Set-Cookie"])
			}
		})
	}
}

// alone is the same browser that follows no redirect.
func (b *browser) alone() *browser {
	c := *b.http
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{s: b.s, http: &c, lang: b.lang}
}

func cookieOf(p *shown, name string) string {
	for _, c := range (&http.Response{Header: p.header}).Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func TestWhatIsRefusedBeforeAnyPage(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	for _, tc := range []struct {
		name, method string
		head         map[string]string
		status       int
		words        string
	}{
		{"form of another site", "POST", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, foreignForm},
		{"form of another host of the domain", "POST", map[string]string{"Sec-Fetch-Site": "same-site"}, 403, foreignForm},
		{"form of another origin, by an older browser", "POST", map[string]string{"Origin": "https://other.example"}, 403, foreignForm},
		{"far too many cookies", "GET", map[string]string{"Cookie": "a=" + strings.Repeat("x", maxCookies)}, 431, tooManyCookies},
		{"a token that is too long", "GET", map[string]string{"Cookie": sessionCookie + "=" + strings.Repeat("x", maxToken+1)}, 200, "Language"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := b.sent(tc.method, "/language", tc.head)
			text, err := io.ReadAll(a.Body)
			if err != nil {
				t.Fatal(err)
			}
			read(t, b, a, string(text)).is(tc.status, tc.words)
		})
	}
}

// A source that asks too often reads a page; a program reads a Problem.
func TestTooManyRequestsIsAPage(t *testing.T) {
	t.Parallel()
	s := openAt(t, Options{}, nil, api.Rates{PerMember: -1, PerSource: 8})
	b := s.browser()
	p := b.get("/language")
	for p.status == 200 {
		p = b.get("/language")
	}
	p.is(429, "This did not work", "You ask too often")
	if p.header.Get("Retry-After") == "" || !strings.HasPrefix(p.header.Get("Content-Type"), "text/html") {
		t.Errorf("Retry-After %q, Content-Type %q", p.header.Get("Retry-After"), p.header.Get("Content-Type"))
	}
	if a := b.sent("GET", "/api/v1/me", nil); a.StatusCode != 429 || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a program: status %d, %s", a.StatusCode, a.Header.Get("Content-Type"))
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("account")
	b.get(s.gate(t)).is(200, "signed in as")
	at, _ := url.Parse(s.url)
	was := b.http.Jar.Cookies(at)
	p := b.alone().send("POST", "/sign-out", url.Values{})
	if p.status != http.StatusSeeOther || p.header.Get("Location") != "/sign-in" || cookieOf(p, saidCookie) != "signed_out" {
		t.Errorf("status %d, Location %q", p.status, p.header.Get("Location"))
	}
	if p := b.alone().get(s.gate(t)); p.status != http.StatusSeeOther {
		t.Errorf("signed out, and the page answers %d", p.status)
	}
	b.http.Jar.SetCookies(at, was)
	if p := b.alone().get(s.gate(t)); p.status != http.StatusSeeOther {
		t.Errorf("the token is over, and the page answers %d", p.status)
	}
	if p := s.browser().alone().send("POST", "/sign-out", url.Values{}); p.status != http.StatusSeeOther {
		t.Errorf("nobody signs out: status %d", p.status)
	}
}

// Who may not do this without a fresh proof is led to it and back.
func TestReauthenticationLeadsThereAndBack(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	p := s.signedIn("account").alone().get("/test/fresh?x=1")
	if got, want := p.header.Get("Location"), "/reauthenticate?next=%2Ftest%2Ffresh%3Fx%3D1"; p.status != 303 || got != want {
		t.Errorf("status %d, Location %q, want %q", p.status, got, want)
	}
}
