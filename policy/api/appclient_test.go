package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

// keyBodies are the bodies of the matrix for quick login and passkeys.
func keyBodies() map[string]any {
	pin := m{"ticket": "none", "pin": "283947", "origin": authtest.Origin, "signature": "none"}
	answer := m{"ticket": "none", "credential": m{}}
	device, passkey := m{"name": "Phone", "public_key": m{}}, m{"name": "Laptop", "ticket": "none", "credential": m{}}
	for k, v := range pin {
		device[k] = v
	}
	return map[string]any{
		"POST /me/quick-devices": device, "POST /me/quick-devices/{id}/biometric": answer, "POST /me/passkeys": passkey,
		"POST /reauthenticate/quick/pin": pin, "POST /reauthenticate/quick/biometric": answer, "POST /reauthenticate/passkey": answer,
		"POST /sign-in/quick": m{"device": "none"}, "POST /sign-in/quick/pin": pin, "POST /sign-in/quick/biometric": answer,
		"POST /sign-in/passkey/finish": answer, "POST /sign-in/two-step/passkey": m{"ticket": "none"},
	}
}

// app plays the mobile app: its key and its authenticator never leave it. It knows nothing of the server but the API.
type app struct {
	h      *house
	key    *ecdsa.PrivateKey
	id     string
	origin string // that it speaks to
	finger virtualwebauthn.Authenticator
	cred   virtualwebauthn.Credential
}

func (h *house) newApp(t testing.TB) *app {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{h: h, key: k, origin: authtest.Origin, finger: virtualwebauthn.NewAuthenticator()}
	for len(a.cred.ID) == 0 || len(a.cred.Key.AttestationData()) != 77 { // the library cuts leading zeros
		a.cred = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return a
}

func (a *app) jwk(t testing.TB) m {
	t.Helper()
	p, err := a.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return m{"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(p[1:33]), "y": base64.RawURLEncoding.EncodeToString(p[33:])}
}

// sign is ES256 over the four lines that the API documents.
func (a *app) sign(t testing.TB, label, challenge string) string {
	t.Helper()
	h := sha256.Sum256([]byte(strings.Join([]string{label, challenge, a.id, a.origin}, "\n")))
	r, s, err := ecdsa.Sign(rand.Reader, a.key, h[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func (a *app) register(t testing.TB, token, pin string) answer {
	t.Helper()
	b := a.h.call(t, token, "POST", "/me/quick-devices/begin", nil)
	if b.status != 200 {
		return b
	}
	a.id = b.text("device")
	return a.h.call(t, token, "POST", "/me/quick-devices", m{"ticket": b.text("ticket"), "name": "Ann's phone", "public_key": a.jwk(t), "pin": pin,
		"origin": a.origin, "signature": a.sign(t, "latchkey quick login v1: register", b.text("challenge"))})
}

func (a *app) pin(t testing.TB, pin string) m {
	t.Helper()
	b := a.h.call(t, "", "POST", "/sign-in/quick", m{"device": a.id}).is(200)
	return m{"ticket": b.text("ticket"), "pin": pin, "origin": a.origin, "signature": a.sign(t, "latchkey quick login v1: sign in", b.text("challenge"))}
}

func (a *app) signIn(t testing.TB, pin string) answer {
	t.Helper()
	return a.h.call(t, "", "POST", "/sign-in/quick/pin", a.pin(t, pin))
}

func (a *app) party() virtualwebauthn.RelyingParty {
	return virtualwebauthn.RelyingParty{ID: "localhost", Name: "Latchkey", Origin: a.origin}
}

// create answers the options of a registration, get those of a sign-in.
func (a *app) create(t testing.TB, began answer) m {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(options(t, began))
	if err != nil {
		t.Fatal(err)
	}
	a.finger.Options.UserHandle = []byte(o.UserID)
	return m{"ticket": began.text("ticket"), "credential": json.RawMessage(virtualwebauthn.CreateAttestationResponse(a.party(), a.finger, a.cred, *o))}
}

func (a *app) get(t testing.TB, began answer) m {
	t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(options(t, began))
	if err != nil {
		t.Fatal(err)
	}
	return m{"ticket": began.text("ticket"), "credential": json.RawMessage(virtualwebauthn.CreateAssertionResponse(a.party(), a.finger, a.cred, *o))}
}

func options(t testing.TB, began answer) string {
	t.Helper()
	p, err := json.Marshal(began.is(200).value()["public_key"])
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// ways allows quick login and passkeys in old.example, or denies them.
func (h *house) ways(t testing.TB, way policy.Way) {
	t.Helper()
	h.setPolicy(t, func(p *policy.Policy) { p.SignIn.Quick, p.SignIn.Passkey = way, way })
}

func (h *house) setPolicy(t testing.TB, change func(*policy.Policy)) {
	t.Helper()
	p, rev, err := h.Policy(t.Context(), authtest.Operator(), "old.example")
	if err != nil {
		t.Fatal(err)
	}
	change(&p)
	if _, err := h.SetPolicy(t.Context(), authtest.Operator(), "old.example", p, rev); err != nil {
		t.Fatal(err)
	}
}

func TestAppByPIN(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token, a := h.token(t, "account"), h.newApp(t)
	a.register(t, token, "283947").is(403, "way_denied")
	h.ways(t, policy.Allow)
	bad := a.register(t, token, "112233").is(422, "invalid")
	if !strings.Contains(string(bad.body), "consecutive_digits") || strings.Contains(string(bad.body), "112233") {
		t.Errorf("a PIN of runs: %s", bad.body)
	}
	made := a.register(t, token, "283947").is(201)
	if made.text("name") != "Ann's phone" || made.text("id") != a.id || strings.Contains(string(made.body), "pin") {
		t.Errorf("made %s", made.body)
	}
	r := a.signIn(t, "283947").is(200)
	if r.text("state") != "signed_in" {
		t.Fatalf("%s", r.body)
	}
	h.call(t, r.text("token"), "GET", "/me", nil).is(200)
	l := h.call(t, r.text("token"), "GET", "/me/quick-devices", nil).is(200).items()
	if len(l) != 1 || l[0]["last_used_at"] == nil || l[0]["biometric"] != false || l[0]["key"] != nil || l[0]["pin"] != nil {
		t.Errorf("list %v", l)
	}
	if c := h.call(t, h.token(t, "admin"), "GET", "/members/"+h.People["account"].Address+"/quick-devices", nil).is(200).items(); len(c) != 1 {
		t.Errorf("an administrator sees %v", c)
	}
	h.call(t, r.text("token"), "DELETE", "/me/quick-devices/"+a.id, nil).is(204)
	a.signIn(t, "283947").is(401, "bad_credentials")
}

// A password that somebody else had may have registered a device: both ways to a new one end them all.
func TestNewPasswordsEndTheApp(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]func(t *testing.T, h *house, address string){
		"after a forgotten one": func(t *testing.T, h *house, address string) {
			h.contactsOf(t, address, []member.Contact{{Kind: member.Mobile, Value: phoneNumber}})
			p := &phoneApp{h: h}
			p.forgot(t, address, "sms", func() string { return h.Code(t, sample.Old, phoneNumber) })
			p.set(t, "another-word-2").is(204)
		},
		"by an administrator": func(t *testing.T, h *house, address string) {
			h.call(t, h.token(t, "admin"), "POST", "/members/"+address+"/reset-password", nil).is(200)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, nil)
			h.ways(t, policy.Allow)
			a := h.newApp(t)
			a.register(t, h.token(t, "account"), "283947").is(201)
			a.signIn(t, "283947").is(200)
			by(t, h, h.People["account"].Address)
			a.signIn(t, "283947").is(401, "bad_credentials")
		})
	}
}

func TestAppThatIsNotKnown(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.ways(t, policy.Allow)
	known := h.newApp(t)
	known.register(t, h.token(t, "account"), "283947").is(201)
	thief := h.newApp(t) // knows the id of the device and the PIN, and has not the key
	thief.id = known.id
	want := thief.signIn(t, "283947").is(401, "bad_credentials")
	for _, id := range []string{"", "phone", known.id[:54] + strings.Repeat("a", 26), strings.Repeat("x", 200)} {
		stranger := h.newApp(t)
		stranger.id = id
		if got := stranger.signIn(t, "283947").is(401, "bad_credentials"); string(got.body) != string(want.body) {
			t.Errorf("%q: %s, want %s", id, got.body, want.body)
		}
	}
	known.signIn(t, "283947").is(200)
}

func TestFiveWrongPINsOverTheAPI(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.ways(t, policy.Allow)
	token, a := h.token(t, "account"), h.newApp(t)
	a.register(t, token, "283947").is(201)
	for range 5 {
		a.signIn(t, "583029").is(401, "bad_credentials")
	}
	a.signIn(t, "283947").is(401, "bad_credentials")
	if l := h.call(t, token, "GET", "/me/quick-devices", nil).is(200).items(); len(l) != 0 {
		t.Errorf("left %v", l)
	}
	if strings.Contains(h.log.String(), "283947") || strings.Contains(h.log.String(), "583029") {
		t.Error("the log holds a PIN")
	}
}

func TestAppByBiometrics(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.ways(t, policy.Allow)
	token, a := h.token(t, "account"), h.newApp(t)
	a.register(t, token, "283947").is(201)
	path := "/me/quick-devices/" + a.id + "/biometric"
	d := h.call(t, token, "POST", path, a.create(t, h.call(t, token, "POST", path+"/begin", nil))).is(200)
	if d.value()["biometric"] != true {
		t.Errorf("%s", d.body)
	}
	b := h.call(t, "", "POST", "/sign-in/quick", m{"device": a.id})
	answer := a.get(t, b)
	if r := h.call(t, "", "POST", "/sign-in/quick/biometric", answer).is(200); r.text("state") != "signed_in" {
		t.Errorf("%s", r.body)
	}
	h.call(t, "", "POST", "/sign-in/quick/biometric", answer).is(401, "ticket_invalid")
	a.origin = "https://evil.example"
	h.call(t, "", "POST", "/sign-in/quick/biometric", a.get(t, h.call(t, "", "POST", "/sign-in/quick", m{"device": a.id}))).is(401, "bad_credentials")
}

func TestPasskeysOverTheAPI(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.ways(t, policy.Allow)
	token, a := h.token(t, "account"), h.newApp(t)
	body := a.create(t, h.call(t, token, "POST", "/me/passkeys/begin", nil))
	body["name"] = "Laptop"
	id := h.call(t, token, "POST", "/me/passkeys", body).is(201).text("id")
	if r := h.call(t, "", "POST", "/sign-in/passkey/finish", a.get(t, h.call(t, "", "POST", "/sign-in/passkey", nil))).is(200); r.text("state") != "signed_in" {
		t.Errorf("%s", r.body)
	}
	h.setPolicy(t, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	p := h.People["account"]
	step := h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": p.Account.Reveal()}).is(200)
	second := a.get(t, h.call(t, "", "POST", "/sign-in/two-step/passkey", m{"ticket": step.text("ticket")}))
	second["ticket"], second["method"] = step.text("ticket"), "passkey"
	if r := h.call(t, "", "POST", "/sign-in/two-step", second).is(200); r.text("state") != "signed_in" {
		t.Errorf("%s", r.body)
	}
	h.call(t, token, "DELETE", "/me/passkeys/"+id, nil).is(403, "two_step_method_missing")
	h.setPolicy(t, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepOptional })
	h.call(t, token, "DELETE", "/me/passkeys/"+id, nil).is(204)
	h.call(t, "", "POST", "/sign-in/passkey/finish", a.get(t, h.call(t, "", "POST", "/sign-in/passkey", nil))).is(401, "bad_credentials")
}

func TestReauthenticationByKeys(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	h.ways(t, policy.Allow)
	token, a := h.token(t, "account"), h.newApp(t)
	a.register(t, token, "283947").is(201)
	body := a.create(t, h.call(t, token, "POST", "/me/passkeys/begin", nil))
	body["name"] = "Laptop"
	h.call(t, token, "POST", "/me/passkeys", body).is(201)
	for name, confirm := range map[string]func() answer{
		"PIN": func() answer { return h.call(t, token, "POST", "/reauthenticate/quick/pin", a.pin(t, "283947")) },
		"passkey": func() answer {
			return h.call(t, token, "POST", "/reauthenticate/passkey", a.get(t, h.call(t, "", "POST", "/sign-in/passkey", nil)))
		},
	} {
		h.clock.pass(11 * time.Minute)
		h.call(t, token, "POST", "/me/passkeys/begin", nil).is(403, "reauthentication_required")
		r := confirm().is(200)
		h.call(t, token, "GET", "/me", nil).is(401, "not_signed_in")
		token = r.text("token")
		if a := h.call(t, token, "POST", "/me/passkeys/begin", nil); a.status != 200 {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	other := h.token(t, "opted-in")
	h.call(t, other, "POST", "/reauthenticate/quick/pin", a.pin(t, "283947")).is(401, "bad_credentials")
}

func TestWithoutParty(t *testing.T) {
	t.Parallel()
	h := open(t, func(o *authcore.Options) { o.Party = nil })
	h.ways(t, policy.Allow)
	h.call(t, "", "POST", "/sign-in/passkey", nil).is(403, "way_denied")
	h.call(t, h.token(t, "account"), "POST", "/me/quick-devices/begin", nil).is(403, "way_denied")
}
