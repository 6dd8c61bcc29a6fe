package console

import (
	"net/url"
	"testing"

	"github.com/descope/virtualwebauthn"

	"latchkey/authcore/authtest"
	"latchkey/policy"
)

// A passkey signs in without a name: the page has the challenge, and the script sends the answer, as is done here.
func TestSignInWithPasskey(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.rule(func(p *policy.Policy) { p.SignIn.Passkey = policy.Allow })
	rp := virtualwebauthn.RelyingParty{ID: "localhost", Name: "Latchkey", Origin: authtest.Origin}
	auth, cred := virtualwebauthn.NewAuthenticator(), newKey()
	a := s.Actor(t, "account")
	began, err := s.BeginPasskey(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	made, err := virtualwebauthn.ParseAttestationOptions(string(began.Options))
	if err != nil {
		t.Fatal(err)
	}
	auth.Options.UserHandle = []byte(made.UserID)
	if _, err := s.FinishPasskey(t.Context(), a, began.Ticket, "Laptop", []byte(virtualwebauthn.CreateAttestationResponse(rp, auth, cred, *made))); err != nil {
		t.Fatal(err)
	}
	b := s.browser()
	answer := func() url.Values {
		p := b.get("/sign-in?domain=old.example&next=%2Flanguage").follow("Use a passkey").is(200, "Passkeys need JavaScript.")
		for n := range p.doc.Descendants() {
			if n.Data == "script" && has(n, "data-options") {
				o, err := virtualwebauthn.ParseAssertionOptions(n.FirstChild.Data)
				if err != nil {
					t.Fatal(err)
				}
				return url.Values{"credential": {virtualwebauthn.CreateAssertionResponse(rp, auth, cred, *o)}}
			}
		}
		t.Fatal("the page has no challenge")
		return nil
	}
	answer()
	b.send("POST", "/sign-in/passkey", url.Values{"credential": {"{}"}}).path("/sign-in?next=%2Flanguage").is(200, "The passkey was not accepted.")
	old := answer()
	answer() // another challenge
	b.send("POST", "/sign-in/passkey", old).is(200, "The passkey was not accepted.")
	b.out()
	b.send("POST", "/sign-in/passkey", answer()).path("/language")
	b.in("account")
}
