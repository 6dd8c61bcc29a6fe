package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

// registered is a device of quick login that the mobile app of a person registered.
func (s *stage) registered(state, name string) quick.Device {
	t := s.t
	t.Helper()
	a := s.Actor(t, state)
	began, err := s.BeginQuickDevice(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(quick.Message(quick.Registering, began.Challenge, began.Device, authtest.Origin))
	x, y, err := ecdsa.Sign(rand.Reader, key, h[:])
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.RegisterQuickDevice(t.Context(), a, authcore.NewQuickDevice{
		Ticket: began.Ticket, Name: name, Key: json.RawMessage(`"` + base64.RawURLEncoding.EncodeToString(der) + `"`), PIN: secret.New("283947"), Origin: authtest.Origin,
		Signature: base64.RawURLEncoding.EncodeToString(append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The page says how a device is registered, lists those there are, and deletes one; another's is not there.
func TestPageOfQuickLogin(t *testing.T) {
	t.Parallel()
	s := openMethods(t, func(p *policy.Policy) { p.SignIn.Quick = policy.Allow })
	b := s.signedIn("account")
	b.get("/security/quick").is(200, "Mobile app Quick login", "No device is registered.", "In the app, turn on Quick login.", "Register a PIN of six digits")
	s.registered("account", "Phone")
	mine := s.registered("account", "Tablet")
	other := s.registered("admin", "Somebody's")
	p := b.get("/security/quick").is(200, "Phone No", "Tablet No").hides("Somebody's", "No device is registered.")
	b.send("POST", "/security/quick", map[string][]string{"do": {"delete"}, "id": {other.ID}}).is(404)
	p = p.press("Delete Phone").is(200, "The device was deleted. It cannot sign in any more.", "Tablet").hides("Phone")
	b.send("POST", "/security/quick", map[string][]string{"do": {"delete"}, "id": {"x"}}).is(404, "Tablet")

	s.rule(func(p *policy.Policy) { p.SignIn.Quick = policy.Deny })
	b.get("/security/quick").is(200, "Your devices are kept, and are not used.", "Tablet").hides("In the app, turn on Quick login.")
	s.signedIn("app-only").get("/security/quick").is(200, "does not approve this way to sign in.").hides("are kept")
	p.press("Delete Tablet").is(200, "No device is registered.")
	if l, err := s.QuickDevices(t.Context(), s.Actor(t, "account")); err != nil || len(l) != 0 {
		t.Errorf("%d devices with %s, %v", len(l), mine.ID, err)
	}
}
