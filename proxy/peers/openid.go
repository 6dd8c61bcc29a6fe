package peers

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// OpenIDProvider is a running oidc-provider for Node.js, with two clients: "openid", whose tokens are signed with ES256, and
// "line", whose tokens are signed with HS256 under its secret.
type OpenIDProvider struct {
	Issuer   string
	CAFile   string
	Secret   string            // of both clients
	Redirect string            // of both clients
	Leaf     *x509.Certificate // of the server
	client   *http.Client
}

//go:embed scripts/openid/provider.mjs
var openIDScript string

// openIDFolder is where make deps puts the package.
func openIDFolder() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "latchkey", "openid")
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// OpenID starts a provider until the test ends, which sends nobody anywhere but to a host that is not there.
func OpenID(t testing.TB) *OpenIDProvider {
	t.Helper()
	return OpenIDFor(t, "https://latchkey.test/back")
}

// OpenIDFor is OpenID for clients with that redirect URL.
func OpenIDFor(t testing.TB, redirect string) *OpenIDProvider {
	t.Helper()
	Need(t, "oidc-provider")
	s := newServer(t, "openid")
	c := newCertificate(t)
	p := &OpenIDProvider{
		Issuer: fmt.Sprintf("https://localhost:%d", s.ports.port(0)), CAFile: s.write(t, "ca.pem", c.ca, 0o644),
		Secret: "canary-provider-secret-0123456789abcdef", Redirect: redirect,
	}
	script := s.write(t, "provider.mjs", openIDScript, 0o644)
	s.start(t, programs["node"], script, openIDFolder(), p.Issuer, s.write(t, "chain.pem", c.chain, 0o644), s.write(t, "key.pem", c.key, 0o600),
		p.Secret, p.Redirect)
	s.ready(t, s.ports.addr(0), false)
	leaf, _ := pem.Decode([]byte(c.chain))
	parsed, err := x509.ParseCertificate(leaf.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	p.Leaf = parsed
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(c.ca))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.client = &http.Client{Jar: jar, Timeout: startWait, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
		CheckRedirect: func(q *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(q.URL.String(), p.Redirect) {
				return http.ErrUseLastResponse
			}
			return nil
		}}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

var (
	formAction = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)
	hidden     = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// maxPages is more than signing in and consenting take.
const maxPages = 6

// Browse is a browser whose user signs in at the provider as login and agrees to everything: what it is sent back with.
func (p *OpenIDProvider) Browse(t testing.TB, address, login string) url.Values {
	t.Helper()
	res, err := p.client.Get(address)
	for range maxPages {
		if err != nil {
			t.Fatalf("browse: %v", err)
		}
		page, e := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		if e != nil {
			t.Fatal(e)
		}
		if back, e := res.Location(); e == nil && strings.HasPrefix(back.String(), p.Redirect) {
			return back.Query()
		}
		action := formAction.FindSubmatch(page)
		if action == nil {
			t.Fatalf("status %d and no form on %s:\n%s", res.StatusCode, res.Request.URL, page)
		}
		form := url.Values{"login": {login}, "password": {"any"}}
		for _, f := range hidden.FindAllSubmatch(page, -1) {
			form.Set(string(f[1]), html.UnescapeString(string(f[2])))
		}
		next, e := res.Request.URL.Parse(html.UnescapeString(string(action[1])))
		if e != nil {
			t.Fatal(e)
		}
		res, err = p.client.PostForm(next.String(), form)
	}
	t.Fatal("the provider asks and asks")
	return nil
}

// Forget is another browser from here on: nobody is signed in at the provider.
func (p *OpenIDProvider) Forget(t testing.TB) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.client.Jar = jar
}
