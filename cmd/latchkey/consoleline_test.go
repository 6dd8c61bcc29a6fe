package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"

	"latchkey/authcore"
	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy/peers"
)

// Login with LINE in a browser, through the pages of a real OpenID provider that stands where LINE does: connected, used, and
// refused at the next login once the administrator does not approve it.

func TestPeersConsoleLINE(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, false, walkLINE)
}

func TestDrillConsoleLINE(t *testing.T) {
	if !drillsAreLong() {
		t.Parallel()
	}
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, true, walkLINE)
}

func walkLINE(t *testing.T, how manner) {
	front := httptest.NewUnstartedServer(nil) // its port is known before the program is configured
	home := "https://localhost:" + portAt(t, front)
	p := peers.OpenIDFor(t, home+"/sign-in/line/callback")
	r := startHouse(t, nil, func(c *configs.Config) { c.SignIn.Providers = []configs.Provider{atPeer(t, p, configs.LINE, "line")} })
	allowProviders(t, r.h.core)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(filepath.Dir(r.ca), "server.pem"), filepath.Join(filepath.Dir(r.ca), "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	front.Config.Handler, front.TLS = beforePages(t, r), &tls.Config{Certificates: []tls.Certificate{certificate}}
	front.StartTLS()
	t.Cleanup(front.Close)

	w := walkAt(t, home, how, leafOf(t, r.ca), p.Leaf)
	w.signIn(accountMember, r.secrets[accountMember])
	w.on("Security")
	w.b.Follow(t, "Set up Login with LINE")
	w.says("Other ways to sign in", "Not connected")
	w.b.Press(t, "Connect: Login with LINE")
	w.atProvider("mika")
	w.says("Other ways to sign in", "Connected since")
	w.picture("line")
	w.signOut()
	w.b.Press(t, "Login with LINE")
	w.on("Security") // he is signed in there, and led on by itself
	w.signOut()
	approve(t, r.h.core, policy.Deny)
	w.b.Press(t, "Login with LINE") // the page is older than the change
	w.says("Sign in", "Your administrator does not allow this way. Choose another one.")
	if w.b.Has(t, "button", "Login with LINE") {
		t.Error("it is offered still")
	}
}

// atProvider is led there, signs in on the provider's own page and agrees.
func (w *walk) atProvider(name string) {
	w.t.Helper()
	w.b.Fill(w.t, "Enter any login", name)
	w.b.Fill(w.t, "and password", "any")
	w.b.Press(w.t, "Sign-in")
	w.b.Press(w.t, "Continue")
	w.b.On(w.t, "Other ways to sign in")
	_, _ = w.watch.Said(), w.watch.Weigh() // of the provider's pages
}

// beforePages serves the program on another port.
func beforePages(t *testing.T, r *realHouse) http.Handler {
	t.Helper()
	_, port, _ := splitAddress(r.socks["api"].Addr().String())
	tr := &http.Transport{TLSClientConfig: trust(t, r.ca)}
	t.Cleanup(tr.CloseIdleConnections)
	return &httputil.ReverseProxy{Transport: tr, Rewrite: func(q *httputil.ProxyRequest) {
		q.SetURL(&url.URL{Scheme: "https", Host: "localhost:" + port})
		q.Out.Host = q.In.Host
	}}
}

func approve(t *testing.T, c *authcore.Core, line policy.Way) {
	t.Helper()
	a := authcore.CommandActor("test")
	pol, rev, err := c.Policy(t.Context(), a, "old.example")
	if err != nil {
		t.Fatal(err)
	}
	pol.SignIn.LINE = line
	if _, err := c.SetPolicy(t.Context(), a, "old.example", pol, rev); err != nil {
		t.Fatal(err)
	}
}
