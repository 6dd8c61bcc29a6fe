package console

import (
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/policy"
)

func allowPasskeys(p *policy.Policy) { p.SignIn.Passkey = policy.Allow }

// withKey is what the script does: it asks the authenticator, and sends the form with its answer.
func (p *shown) withKey(origin string) *shown {
	t := p.b.s.t
	t.Helper()
	options := ""
	for n := range p.doc.Descendants() {
		if n.Data == "script" && has(n, "data-options") {
			options = n.FirstChild.Data
		}
	}
	o, err := virtualwebauthn.ParseAttestationOptions(options)
	if err != nil {
		t.Fatalf("options %q: %v", options, err)
	}
	party := virtualwebauthn.RelyingParty{ID: "localhost", Name: "Latchkey", Origin: origin}
	f := p.having("Create the passkey")
	if attr(f.form, "data-passkey") != "create" || !has(f.form, "hidden") {
		t.Error("the form is not as the script finds it")
	}
	f.values.Set("credential", virtualwebauthn.CreateAttestationResponse(party, virtualwebauthn.NewAuthenticator(), newKey(), *o))
	return f.press("Create the passkey")
}

func newKey() virtualwebauthn.Credential {
	for {
		if k := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2); len(k.Key.AttestationData()) == 77 { // the library cuts leading zeros
			return k
		}
	}
}

func (b *browser) naming(name string) *shown {
	b.s.t.Helper()
	return b.get("/security/passkeys").having("Continue").fill("Name of the device", name).press("Continue")
}

func TestPageOfPasskeys(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPasskeys)
	b := s.signedIn("account")
	b.get("/security/passkeys").is(200, "Create a passkey", "your browser must run scripts")
	p := b.naming(" My laptop ").is(200, "Create the passkey “My laptop”", "This needs a browser that has passkeys, with scripts switched on.")
	form := p.having("Create the passkey")
	p.withKey(authtest.Origin).is(200, "The passkey was created.", "My laptop")
	form.values.Set("credential", "{}")
	form.press("Create the passkey").is(401, "No passkey was made, or it took longer than two minutes: try again.") // once

	b.naming("Key on my ring").withKey(authtest.Origin).is(200, "My laptop", "Key on my ring")
	b.get("/security/two-step").is(200, "Passkeys 2").press("Switch on 2-step verification").is(200, "2-step verification is on")
	p = b.get("/security/passkeys").press("Delete My laptop").is(200, "The passkey was deleted.").hides("My laptop")
	p.press("Delete Key on my ring").is(403, "It is your last method of 2-step verification: add another one first.", "Key on my ring")
}

func TestPasskeyIsRefused(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPasskeys)
	b := s.signedIn("account")
	p := b.naming(strings.Repeat("x", 41)).is(422, "Must have 1 to 40 characters")
	if got := p.having("Continue").values.Get("name"); len(got) != 41 {
		t.Errorf("the field has %q", got)
	}
	b.naming("Laptop").withKey("https://evil.example").is(401, "No passkey was made")
	p = b.naming("Laptop").is(200)
	s.clock.pass(3 * time.Minute)
	p.withKey(authtest.Origin).is(401, "it took longer than two minutes").hides("Delete")
	b.send("POST", "/security/passkeys", map[string][]string{"do": {"delete"}, "id": {"another"}}).is(404)

	s.clock.pass(8 * time.Minute)
	b.get("/security/passkeys").having("Continue").fill("Name of the device", "Laptop").press("Continue").leadsToConfirm("/security/passkeys")
}

// Ten are the most, and another member deletes none of them.
func TestTenPasskeys(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPasskeys)
	b := s.signedIn("account")
	for range 10 {
		b.naming("Laptop").withKey(authtest.Origin).is(200)
	}
	b.naming("Laptop").is(409, "There are as many as there may be: delete one first.")
	l, err := s.Passkeys(t.Context(), s.Actor(t, "account"))
	if err != nil || len(l) != 10 {
		t.Fatalf("%d passkeys, %v", len(l), err)
	}
	s.signedIn("admin").send("POST", "/security/passkeys", map[string][]string{"do": {"delete"}, "id": {l[0].ID}}).is(404)
}

func TestPasskeysAreNotApproved(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPasskeys)
	b := s.signedIn("account")
	b.naming("Laptop").withKey(authtest.Origin).is(200)
	s.rule(func(p *policy.Policy) { p.SignIn.Passkey = policy.Deny })
	b.get("/security/passkeys").is(200, "Your passkeys are kept, and are not used.", "Laptop").hides("Create a passkey")
	b.send("POST", "/security/passkeys", map[string][]string{"do": {"begin"}, "name": {"Laptop"}}).is(403, "This way to sign in is not open for you")
	s.signedIn("admin").get("/security/passkeys").is(200, "does not approve this way to sign in.").hides("are kept", "Create a passkey")
	b.get("/security/passkeys").press("Delete Laptop").is(200, "The passkey was deleted.")
	if l, err := s.Passkeys(t.Context(), s.Actor(t, "account")); err != nil || len(l) != 0 {
		t.Errorf("%d passkeys, %v", len(l), err)
	}
}

// Where there is no relying party nothing is offered.
func TestInstallationWithoutPasskeys(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, func(o *authcore.Options) { o.Party = nil })
	s.rule(allowPasskeys)
	s.signedIn("account").send("POST", "/security/passkeys", map[string][]string{"do": {"begin"}, "name": {"Laptop"}}).is(403)
}
