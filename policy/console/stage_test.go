package console

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/secret"
	"latchkey/policy/api"
)

// stage is the console over TLS, with the people of the sample.
type stage struct {
	*authtest.Core
	t     testing.TB
	url   string
	http  *http.Client // no cookies, follows nothing: browsers copy it
	clock *clock
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

// noon is the next one: what a test does within minutes is done on one day.
func noon() time.Time {
	const half = 12 * time.Hour
	return time.Now().UTC().Add(half).Truncate(2 * half).Add(half)
}

// now is a little later whenever it is asked: of two codes that are sent, one is the last.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Microsecond)
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// shared are the texts of all stages: reading them takes longer than most tests.
var shared = sync.OnceValue(newTexts)

// pages is Register with the texts that are read already.
func pages(o Options) api.Register {
	return func(k *api.Kit) { newServer(o, k, shared()).routes() }
}

func open(t testing.TB, o Options, change func(*authcore.Options)) *stage {
	t.Helper()
	return openAt(t, o, change, api.Rates{PerMember: -1, PerSource: -1})
}

func openAt(t testing.TB, o Options, change func(*authcore.Options), rates api.Rates) *stage {
	t.Helper()
	s := &stage{t: t, clock: &clock{at: noon()}}
	s.Core = authtest.New(t, func(co *authcore.Options) {
		co.Now, co.Log = s.clock.now, slog.New(slog.DiscardHandler)
		if change != nil {
			change(co)
		}
	})
	at := httptest.NewTLSServer(api.New(api.Options{Core: s.Core.Core, Rates: rates}, pages(o), gated(o)))
	t.Cleanup(at.Close)
	s.url, s.http = at.URL, at.Client()
	return s
}

// browser is somebody's: it keeps cookies, follows redirects, fills forms by their labels and presses buttons by their
// words.
type browser struct {
	s    *stage
	http *http.Client
	lang string
}

func (s *stage) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s: s, http: &http.Client{Transport: s.http.Transport, Jar: jar}, lang: "en"}
}

// signedIn is the browser of a person of the sample who has signed in, without the pages for it.
func (s *stage) signedIn(state string) *browser {
	s.t.Helper()
	p := s.People[state]
	r, err := s.SignIn(s.t.Context(), authtest.Client(), p.Address, p.Account)
	if err != nil || r.State != authcore.SignedIn {
		s.t.Fatalf("sign in %s: %q, %v", p.Address, r.State, err)
	}
	return s.holding(r.Token)
}

// holding is a browser with a session.
func (s *stage) holding(token secret.String) *browser {
	b := s.browser()
	at, _ := url.Parse(s.url)
	b.http.Jar.SetCookies(at, []*http.Cookie{{Name: sessionCookie, Value: token.Reveal(), Path: "/", Secure: true}})
	return b
}

// shown is a page in a browser.
type shown struct {
	b      *browser
	status int
	header http.Header
	at     *url.URL
	body   string
	doc    *html.Node
}

func (b *browser) get(path string) *shown { return b.send(http.MethodGet, path, nil) }

func (b *browser) send(method, path string, form url.Values) *shown {
	t := b.s.t
	t.Helper()
	if !strings.HasPrefix(path, "https://") {
		path = b.s.url + path
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Language", b.lang)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	a, err := b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, b, a, string(text))
}

func read(t testing.TB, b *browser, a *http.Response, text string) *shown {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return &shown{b: b, status: a.StatusCode, header: a.Header, at: a.Request.URL, body: text, doc: doc}
}

// is fails the test unless the page has that status and shows all these words.
func (p *shown) is(status int, words ...string) *shown {
	p.b.s.t.Helper()
	if p.status != status {
		p.b.s.t.Fatalf("%s: status %d, want %d\n%s", p.at, p.status, status, p.text())
	}
	for _, w := range words {
		if !strings.Contains(p.text(), w) {
			p.b.s.t.Fatalf("%s does not show %q:\n%s", p.at, w, p.text())
		}
	}
	return p
}

// hides fails the test if the page shows any of these words.
func (p *shown) hides(words ...string) *shown {
	p.b.s.t.Helper()
	for _, w := range words {
		if strings.Contains(p.text(), w) {
			p.b.s.t.Fatalf("%s shows %q:\n%s", p.at, w, p.text())
		}
	}
	return p
}

// text is what people read of the page, each run of spaces as one.
func (p *shown) text() string { return words(p.doc) }

func words(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data + " ")
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			if c.Data != "script" && c.Data != "style" {
				walk(c)
			}
		}
	}
	walk(n)
	return strings.Join(strings.Fields(b.String()), " ")
}
