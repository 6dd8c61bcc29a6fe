package quick

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"

	"latchkey/authcore/member"
)

var home = virtualwebauthn.RelyingParty{ID: "example.com", Name: "Latchkey", Origin: "https://mail.example.com"}

func newParty(t testing.TB) *Party {
	t.Helper()
	p, err := NewParty(Settings{ID: home.ID, Origins: []string{home.Origin}, AppOrigins: []string{"android:apk-key-hash:2jmj7l5rSw0yVb-vlWAYkK-YBwk"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// token is an authenticator with one credential.
type token struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

func newToken(handle []byte) *token {
	return &token{rp: home, cred: newCredential(),
		auth: virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: handle, BackupEligible: true})}
}

func (k *token) register(t testing.TB, options json.RawMessage) []byte {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(virtualwebauthn.CreateAttestationResponse(k.rp, k.auth, k.cred, *o))
}

func (k *token) assert(t testing.TB, options json.RawMessage) []byte {
	t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(virtualwebauthn.CreateAssertionResponse(k.rp, k.auth, k.cred, *o))
}

func register(t testing.TB, p *Party, w Whose, k *token) Credential {
	t.Helper()
	o, s, err := p.BeginRegistration(w, Passkey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.FinishRegistration(w, s, k.register(t, o))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ann() Whose { return Whose{Handle: []byte("handle of ann"), Name: "ann@example.com"} }

func TestRegistration(t *testing.T) {
	p := newParty(t)
	for name, c := range map[string]struct {
		change func(*token)
		ok     bool
	}{
		"right":               {func(*token) {}, true},
		"from the app":        {func(k *token) { k.rp.Origin = "android:apk-key-hash:2jmj7l5rSw0yVb-vlWAYkK-YBwk" }, true},
		"another origin":      {func(k *token) { k.rp.Origin = "https://evil.example" }, false},
		"another app":         {func(k *token) { k.rp.Origin = "android:apk-key-hash:3jmj7l5rSw0yVb-vlWAYkK-YBwk" }, false},
		"without TLS":         {func(k *token) { k.rp.Origin = "http://mail.example.com" }, false},
		"another party":       {func(k *token) { k.rp.ID = "evil.example" }, false},
		"user not verified":   {func(k *token) { k.auth.Options.UserNotVerified = true }, false},
		"user not present":    {func(k *token) { k.auth.Options.UserNotPresent = true }, false},
		"backup not eligible": {func(k *token) { k.auth.Options.BackupEligible = false }, true},
		"backed up, and not eligible": {func(k *token) {
			k.auth.Options.BackupEligible, k.auth.Options.BackupState = false, true
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			k := newToken(ann().Handle)
			c.change(k)
			o, s, err := p.BeginRegistration(ann(), Passkey)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.FinishRegistration(ann(), s, k.register(t, o))
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrProof) {
				t.Fatalf("%v", err)
			}
			if c.ok && (string(got.ID) != string(k.cred.ID) || got.BackupEligible != k.auth.Options.BackupEligible) {
				t.Errorf("kept %+v", got)
			}
		})
	}
}

func TestRegistrationIsForItsChallengeAndMember(t *testing.T) {
	p, k := newParty(t), newToken(ann().Handle)
	o, s, err := p.BeginRegistration(ann(), Biometric)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := p.BeginRegistration(ann(), Biometric)
	if err != nil {
		t.Fatal(err)
	}
	answer := k.register(t, o)
	if _, err := p.FinishRegistration(ann(), other, answer); !errors.Is(err, ErrProof) {
		t.Errorf("another challenge: %v", err)
	}
	c, err := p.FinishRegistration(ann(), s, answer)
	if err != nil {
		t.Fatal(err)
	}
	has := ann()
	has.Credentials = []Credential{c}
	if _, err := p.FinishRegistration(has, s, answer); !errors.Is(err, ErrProof) {
		t.Errorf("a credential that is there already: %v", err)
	}
	if o, _, err := p.BeginRegistration(has, Passkey); err != nil || !strings.Contains(string(o), base64.RawURLEncoding.EncodeToString(c.ID)) {
		t.Errorf("what is there is not excluded: %s, %v", o, err)
	}
	if _, err := p.FinishRegistration(ann(), s, []byte(strings.Repeat(" ", MaxAnswer)+string(answer))); !errors.Is(err, ErrProof) {
		t.Errorf("a very long answer: %v", err)
	}
}

func TestAssertion(t *testing.T) {
	p := newParty(t)
	stranger := newToken(ann().Handle)
	for name, c := range map[string]struct {
		change func(*token)
		want   error
	}{
		"right":             {func(*token) {}, nil},
		"another origin":    {func(k *token) { k.rp.Origin = "https://evil.example" }, ErrProof},
		"another party":     {func(k *token) { k.rp.ID = "evil.example" }, ErrProof},
		"user not verified": {func(k *token) { k.auth.Options.UserNotVerified = true }, ErrProof},
		"user not present":  {func(k *token) { k.auth.Options.UserNotPresent = true }, ErrProof},
		"another's handle":  {func(k *token) { k.auth.Options.UserHandle = []byte("bob") }, ErrProof},
		"another key":       {func(k *token) { k.cred.Key = stranger.cred.Key }, ErrProof},
		"another id":        {func(k *token) { k.cred.ID = stranger.cred.ID }, ErrProof},
		"backup changed":    {func(k *token) { k.auth.Options.BackupEligible = false }, ErrProof},
		"counter equal":     {func(k *token) { k.cred.Counter = 7 }, ErrCloned},
		"counter back":      {func(k *token) { k.cred.Counter = 3 }, ErrCloned},
		"counter gone":      {func(k *token) { k.cred.Counter = 0 }, ErrCloned},
	} {
		t.Run(name, func(t *testing.T) {
			w, k := ann(), newToken(ann().Handle)
			k.cred.Counter = 7
			w.Credentials = []Credential{register(t, p, w, k)}
			k.cred.Counter++
			c.change(k)
			o, s, err := p.BeginAssertion(&w)
			if err != nil {
				t.Fatal(err)
			}
			a, err := ReadAssertion(k.assert(t, o))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.FinishAssertion(w, s, a)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil && (got.Counter != 8 || !slices.Equal(got.Key, w.Credentials[0].Key)) {
				t.Errorf("kept %+v", got)
			}
			if _, err := p.FinishAssertion(w, State{Challenge: base64.RawURLEncoding.EncodeToString(make([]byte, 32))}, a); !errors.Is(err, ErrProof) {
				t.Errorf("another challenge: %v", err)
			}
			if _, err := p.FinishAssertion(Whose{Handle: w.Handle}, s, a); !errors.Is(err, ErrProof) {
				t.Errorf("without a credential: %v", err)
			}
		})
	}
}

// An authenticator that keeps no counter sends zero for ever.
func TestAssertionWithoutCounter(t *testing.T) {
	p, w := newParty(t), ann()
	k := newToken(w.Handle)
	w.Credentials = []Credential{register(t, p, w, k)}
	for range 2 {
		o, s, err := p.BeginAssertion(nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ReadAssertion(k.assert(t, o))
		if err != nil {
			t.Fatal(err)
		}
		if string(a.UnverifiedHandle()) != string(w.Handle) {
			t.Errorf("handle %q", a.UnverifiedHandle())
		}
		if w.Credentials[0], err = p.FinishAssertion(w, s, a); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHandles(t *testing.T) {
	d, id := member.NewDomainID(), member.NewID()
	if gotD, gotID, ok := ParseHandle(PasskeyHandle(d, id)); !ok || gotD != d || gotID != id {
		t.Errorf("%s %s %v, want %s %s", gotD, gotID, ok, d, id)
	}
	for _, h := range [][]byte{nil, make([]byte, 31), make([]byte, 64)} {
		if _, _, ok := ParseHandle(h); ok {
			t.Errorf("%d bytes are a handle", len(h))
		}
	}
	device := NewID(d, id)
	if gotD, gotID, ok := ParseID(device); !ok || gotD != d || gotID != id {
		t.Errorf("%s: %s %s %v", device, gotD, gotID, ok)
	}
	for _, s := range []string{"", "a.b.c", string(d) + "." + string(id), device + "x", device + ".x", strings.ToUpper(device), "../" + device[3:]} {
		if _, _, ok := ParseID(s); ok {
			t.Errorf("%q is an id", s)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for name, s := range map[string]Settings{
		"no origin":   {ID: "example.com"},
		"a URL as id": {ID: "https://example.com", Origins: []string{"https://example.com"}},
		"unknown app": {ID: "example.com", Origins: []string{"https://example.com"}, AppOrigins: []string{"app"}},
	} {
		if _, err := NewParty(s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Whatever an authenticator answers, it proves nothing that it did not sign.
func FuzzAnswers(f *testing.F) {
	p, w := newParty(f), ann()
	k := newToken(w.Handle)
	o, s, err := p.BeginRegistration(w, Passkey)
	if err != nil {
		f.Fatal(err)
	}
	answer := k.register(f, o)
	c, err := p.FinishRegistration(w, s, answer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(answer)
	with := w
	with.Credentials = []Credential{c}
	o, _, err = p.BeginAssertion(&with)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.assert(f, o))
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"","signature":"","userHandle":""}}`))
	f.Add([]byte(`{}`))
	never := State{Challenge: base64.RawURLEncoding.EncodeToString(make([]byte, 32))}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if _, err := p.FinishRegistration(w, never, answer); err == nil {
			t.Fatal("a registration that nobody began")
		}
		a, err := ReadAssertion(answer)
		if err != nil {
			return
		}
		_, _, _ = ParseHandle(a.UnverifiedHandle())
		if _, err := p.FinishAssertion(with, never, a); err == nil {
			t.Fatal("an assertion that nobody asked for")
		}
	})
}

// newCredential makes one whose coordinates have their full length: the library cuts leading zeros, which no authenticator
// does (RFC 9053 section 7.1.1).
func newCredential() virtualwebauthn.Credential {
	for {
		if c := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2); len(c.Key.AttestationData()) == 77 {
			return c
		}
	}
}
