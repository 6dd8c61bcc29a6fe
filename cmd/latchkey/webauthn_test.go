package main

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy/peers"
)

//go:embed testdata/keys.html
var keysPage string

// TestPeersWebAuthn is a browser with its authenticator before the whole program, which is the relying party localhost.
func TestPeersWebAuthn(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium")
	here, elsewhere := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	origin := func(s *httptest.Server) string { return "https://localhost:" + portAt(t, s) }
	r := startHouse(t, nil, func(c *configs.Config) { c.WebAuthn.RPID, c.WebAuthn.Origins = "localhost", []string{origin(here)} })
	certificate, err := tls.LoadX509KeyPair(filepath.Join(filepath.Dir(r.ca), "server.pem"), filepath.Join(filepath.Dir(r.ca), "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*httptest.Server{here, elsewhere} {
		s.Config.Handler, s.TLS = beforeAPI(t, r), &tls.Config{Certificates: []tls.Certificate{certificate}}
		s.StartTLS()
		t.Cleanup(s.Close)
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	p := &keysPeer{r: r, b: peers.Chromium(t, leaf)}
	p.setPolicy(t, policy.TwoStepOptional)
	p.b.Open(t, origin(here))
	p.passkey(t)
	p.secondStep(t)
	p.quick(t)
	p.withoutUser(t)
	p.b.Open(t, origin(elsewhere)) // the browser takes the options: it is localhost too
	p.signIn(t, nil).refused(t, "another origin", 401, "bad_credentials")
	p.b.Open(t, "https://127.0.0.1:"+portAt(t, here))
	p.signIn(t, nil).stopped(t, "another host", "SecurityError")
	p.b.Open(t, origin(here))
	p.signIn(t, nil).in(t)
	p.b.Clone(t)
	p.signIn(t, nil).refused(t, "a cloned authenticator", 401, "bad_credentials")
}

func portAt(t *testing.T, s *httptest.Server) string {
	t.Helper()
	_, port, _ := splitAddress(s.Listener.Addr().String())
	return port
}

// beforeAPI serves the page and, on the same origin, the API of the program.
func beforeAPI(t *testing.T, r *realHouse) http.Handler {
	t.Helper()
	_, port, _ := splitAddress(r.socks["api"].Addr().String())
	tr := &http.Transport{TLSClientConfig: trust(t, r.ca)}
	t.Cleanup(tr.CloseIdleConnections)
	mux := http.NewServeMux()
	mux.Handle("/api/", &httputil.ReverseProxy{Transport: tr, Rewrite: func(q *httputil.ProxyRequest) { q.SetURL(&url.URL{Scheme: "https", Host: "localhost:" + port}) }})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(keysPage))
	})
	return mux
}

// keysPeer is a member at the page.
type keysPeer struct {
	r     *realHouse
	b     *peers.Browser
	token string
}

// said is what a function of the page answers.
type said struct {
	ID     string // of a new credential, as the authenticator says it
	Status int
	Body   m
	Error  string // what the browser refused
}

func (s said) is(t *testing.T, status int) said {
	t.Helper()
	if s.Status != status || s.Error != "" {
		t.Fatalf("%+v, want status %d", s, status)
	}
	return s
}

func (s said) text(field string) string {
	v, _ := s.Body[field].(string)
	return v
}

func (s said) in(t *testing.T) {
	t.Helper()
	member, _ := s.is(t, 200).Body["member"].(m)
	if s.text("state") != "signed_in" || member["address"] != accountMember {
		t.Fatalf("signed in: %+v", s)
	}
}

func (s said) refused(t *testing.T, name string, status int, reason string) {
	t.Helper()
	if s.Status != status || s.text("reason") != reason {
		t.Errorf("%s: %+v, want %d %s", name, s, status, reason)
	}
}

func (s said) stopped(t *testing.T, name, exception string) {
	t.Helper()
	if s.Error != exception {
		t.Errorf("%s: %+v, want %s by the browser", name, s, exception)
	}
}

func (p *keysPeer) call(t *testing.T, function string, in ...any) (s said) {
	t.Helper()
	p.b.Call(t, &s, function, in...)
	return s
}

func (p *keysPeer) setPolicy(t *testing.T, twoStep policy.TwoStep) {
	t.Helper()
	a := authcore.CommandActor("test")
	pol, rev, err := p.r.h.core.Policy(t.Context(), a, "old.example")
	if err != nil {
		t.Fatal(err)
	}
	pol.SignIn.Passkey, pol.SignIn.Quick, pol.SignIn.TwoStep = policy.Allow, policy.Allow, twoStep
	if _, err := p.r.h.core.SetPolicy(t.Context(), a, "old.example", pol, rev); err != nil {
		t.Fatal(err)
	}
}

func (p *keysPeer) password(t *testing.T) said {
	t.Helper()
	return p.call(t, "call", "", "/sign-in", m{"login": accountMember, "password": p.r.secrets[accountMember]}).is(t, 200)
}

// signIn is by a passkey, without a name being typed. change is what the page does to the options of the API.
func (p *keysPeer) signIn(t *testing.T, change m) said {
	t.Helper()
	return p.call(t, "signIn", "/sign-in/passkey", nil, "/sign-in/passkey/finish", change)
}

func (p *keysPeer) passkey(t *testing.T) {
	t.Helper()
	p.token = p.password(t).text("token")
	p.call(t, "register", p.token, "/me/passkeys", "/me/passkeys/begin", m{"name": "Laptop"}).is(t, 201)
	p.call(t, "register", p.token, "/me/passkeys", "/me/passkeys/begin", m{"name": "Laptop"}).stopped(t, "the same authenticator twice", "InvalidStateError")
	p.signIn(t, nil).in(t)
}

// secondStep is a passkey after a password.
func (p *keysPeer) secondStep(t *testing.T) {
	t.Helper()
	p.setPolicy(t, policy.TwoStepRequired)
	step := p.password(t)
	if step.text("state") != "two_step_required" {
		t.Fatalf("after the password: %+v", step)
	}
	ticket := step.text("ticket")
	p.call(t, "signIn", "/sign-in/two-step/passkey", m{"ticket": ticket}, "/sign-in/two-step", nil, m{"ticket": ticket, "method": "passkey"}).in(t)
	s := p.signIn(t, nil)
	s.refused(t, "a passkey alone where two steps are asked", 403, "two_step_method_missing")
	if detail := s.text("detail"); !strings.Contains(detail, "password") {
		t.Errorf("other ways in are not named: %s", detail)
	}
	p.setPolicy(t, policy.TwoStepOptional)
}

// quick is a device with its PIN, then with the authenticator's biometrics.
func (p *keysPeer) quick(t *testing.T) {
	t.Helper()
	device := p.call(t, "registerDevice", p.token, "283947").is(t, 201).text("id")
	p.call(t, "signInPIN", device, "283947").in(t)
	path := "/me/quick-devices/" + device + "/biometric"
	own := p.call(t, "register", p.token, path, path+"/begin", nil).is(t, 200).ID
	known := m{"allowCredentials": []m{{"type": "public-key", "id": own}}} // the app remembers its own
	quick := func() said {
		return p.call(t, "signIn", "/sign-in/quick", m{"device": device}, "/sign-in/quick/biometric", known)
	}
	quick().in(t)
	p.signIn(t, known).refused(t, "biometrics of a device as a passkey", 401, "bad_credentials")
}

// withoutUser: what nobody proved himself to is no way in, whether the browser sees it or a page hides it from him.
func (p *keysPeer) withoutUser(t *testing.T) {
	t.Helper()
	p.b.Verify(t, false)
	p.signIn(t, nil).stopped(t, "no user", "NotAllowedError")
	p.signIn(t, m{"userVerification": "discouraged"}).refused(t, "no user, and a page that does not ask for one", 401, "bad_credentials")
	p.b.Verify(t, true)
	p.signIn(t, nil).in(t)
}
