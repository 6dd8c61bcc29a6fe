package console

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/store/memory"
)

// timed is a stage on which what is kept for minutes ends by its clock too.
func timed(t testing.TB, change func(*authcore.Options)) *stage {
	t.Helper()
	return open(t, Options{}, func(o *authcore.Options) {
		o.Ephemeral = memory.NewEphemeral(memory.Options{Now: o.Now})
		if change != nil {
			change(o)
		}
	})
}

func (s *stage) address(state string) string  { return s.People[state].Address }
func (s *stage) password(state string) string { return s.People[state].Account.Reveal() }

func secretOf(s string) secret.String { return secret.New(s) }

// begin opens the sign-in on the way to a page for members, and types the password.
func (b *browser) begin(state string) *shown {
	b.s.t.Helper()
	return b.get("/reauthenticate").is(200, "Sign in").having("Sign in").
		fill("Address", b.s.address(state)).fill("Password", b.s.password(state)).press("Sign in")
}

// in fails the test unless the browser is signed in as that person.
func (b *browser) in(state string) {
	b.s.t.Helper()
	b.get("/reauthenticate").is(200, "Prove that it is you", b.s.address(state))
}

func (b *browser) out() {
	b.s.t.Helper()
	if p := b.get("/reauthenticate"); p.at.Path != "/sign-in" {
		b.s.t.Fatalf("the browser is signed in: %s", p.at)
	}
}

// cookies are what the browser keeps.
func (b *browser) cookies() []*http.Cookie {
	at, _ := url.Parse(b.s.url)
	return b.http.Jar.Cookies(at)
}

func (b *browser) cookie(name string) string {
	for _, c := range b.cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *browser) setCookie(name, value string) {
	at, _ := url.Parse(b.s.url)
	b.http.Jar.SetCookies(at, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

// fromElsewhere is what a browser does when another site sends it here: cookies that are Strict stay at home, and what is
// set is kept.
func (b *browser) fromElsewhere(path string) *shown {
	b.s.t.Helper()
	strict := slices.DeleteFunc(b.cookies(), func(c *http.Cookie) bool { return c.Name != sessionCookie && c.Name != saidCookie })
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.s.t.Fatal(err)
	}
	at, _ := url.Parse(b.s.url)
	for _, c := range b.cookies() {
		if !slices.ContainsFunc(strict, func(s *http.Cookie) bool { return s.Name == c.Name }) {
			jar.SetCookies(at, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/", Secure: true}})
		}
	}
	away := &browser{s: b.s, http: &http.Client{Transport: b.http.Transport, Jar: jar}, lang: b.lang}
	p := away.get(path)
	for _, c := range strict {
		if away.cookie(c.Name) == "" {
			jar.SetCookies(at, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/", Secure: true}})
		}
	}
	b.http.Jar = jar
	p.b = b
	return p
}

// path fails the test unless the page is there.
func (p *shown) path(want string) *shown {
	p.b.s.t.Helper()
	if got := p.at.RequestURI(); got != want || "https://"+p.at.Host != p.b.s.url {
		p.b.s.t.Fatalf("at %s, want %s\n%s", p.at, want, p.text())
	}
	return p
}

func mustParse(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// expired is a cookie that the browser forgets.
func expired(name string) []*http.Cookie {
	return []*http.Cookie{{Name: name, Path: "/", MaxAge: -1, Secure: true}}
}
