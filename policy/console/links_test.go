package console

import (
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/oidc"
	"latchkey/policy"
)

// openLinks is a stage with LINE and another provider, of which the old domain approves both.
func openLinks(t *testing.T) (*stage, *authtest.Provider) {
	line, corp := authtest.NewProvider(t, oidc.LINE), authtest.NewProvider(t, oidc.OpenID)
	parties := []*oidc.Provider{line.Party(t, "line"), corp.Party(t, "corp")}
	s := open(t, Options{}, func(o *authcore.Options) { o.Providers = func() []*oidc.Provider { return parties } })
	s.rule(func(p *policy.Policy) {
		p.SignIn.LINE, p.SignIn.OIDC = policy.Allow, map[string]policy.Way{"corp": policy.Allow}
	})
	return s, line
}

// returned goes to the provider as the page leads there, says yes, and comes back as the provider sends the browser.
func (p *shown) returned(at *authtest.Provider, subject string) *shown {
	t := p.b.s.t
	t.Helper()
	var there *html.Node
	for n := range p.doc.Descendants() {
		if n.Data == "a" && len(attr(n, "href")) > len(at.URL) && attr(n, "href")[:len(at.URL)] == at.URL {
			there = n
		}
	}
	if there == nil || p.header.Get("Refresh") == "" {
		t.Fatalf("the page does not lead to the provider:\n%s", p.text())
	}
	a := at.Authorize(t, attr(there, "href"), subject)
	q := url.Values{"state": {a.State.Reveal()}, "code": {a.Code.Reveal()}}
	back := p.b.get("/sign-in/line/callback?" + q.Encode()).is(200)
	for n := range back.doc.Descendants() {
		if n.Data == "a" && attr(n, "href") == "/security/links" {
			return back.b.get("/security/links")
		}
	}
	return back
}

func TestPageOfLinks(t *testing.T) {
	t.Parallel()
	s, line := openLinks(t)
	b := s.signedIn("account")
	p := b.get("/security/links").is(200, "Login with LINE Not connected", "Login with corp Not connected", "not displayed to anybody")
	p = p.press("Connect: Login with LINE").is(200).returned(line, "U-canary").is(200, "Your account is connected.", "Login with LINE Connected since").hides("canary", "Canary")
	b.send("POST", "/security/links", url.Values{"do": {"connect"}, "provider": {"line"}}).is(409, "It is linked to a member already.", "Connected since")

	other := s.signedIn("admin")
	other.get("/security/links").press("Connect: Login with LINE").is(200).returned(line, "U-canary").is(200, "Login with LINE Not connected").hides("is connected.", s.People["account"].Address)

	s.rule(func(r *policy.Policy) { r.SignIn.LINE = policy.Deny })
	b.get("/security/links").is(200, "does not approve it for now: it is kept, and is not used.")
	other.get("/security/links").is(200, "Login with corp").hides("Login with LINE")
	other.send("POST", "/security/links", url.Values{"do": {"connect"}, "provider": {"line"}}).is(403, "This way to sign in is not open for you")
	p.press("Disconnect: Login with LINE").is(200, "Your account is disconnected.").hides("Login with LINE")
	b.send("POST", "/security/links", url.Values{"do": {"disconnect"}, "provider": {"line"}}).is(404)
	s.signedIn("app-only").get("/security/links").is(200, "No other way to sign in is approved by your organization.")
}

// Connecting and disconnecting ask for a fresh sign-in.
func TestLinksAskWhoItIs(t *testing.T) {
	t.Parallel()
	s, line := openLinks(t)
	b := s.signedIn("account")
	p := b.get("/security/links").press("Connect: Login with LINE").returned(line, "U-1").is(200, "Connected since")
	s.clock.pass(11 * time.Minute)
	p.press("Disconnect: Login with LINE").leadsToConfirm("/security/links")
	p.press("Connect: Login with corp").leadsToConfirm("/security/links")
}
