package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"latchkey/authcore/secret"
)

// still is a provider of that kind who has said all that he will say: no request leaves.
func still(t testing.TB, kind Kind, k *ecdsa.PrivateKey, at time.Time) *Provider {
	p, err := NewProvider(Settings{Name: "still", Kind: kind, Issuer: "https://id.test", ClientID: "client-1", ClientSecret: secret.New("0123456789abcdef0123456789abcdef"),
		RedirectURL: "https://a.test/", Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	p.client = &http.Client{Transport: silent{}}
	_, _ = p.found.keep(&document{AuthorizeURL: "https://id.test/a", TokenURL: "https://id.test/t", KeysURL: "https://id.test/k", Algorithms: []string{"ES256"}}, nil)
	_, _ = p.keys.keep(&keys{list: []jose.JSONWebKey{{Key: &k.PublicKey, KeyID: "key-1"}}}, nil)
	return p
}

var errSilent = errors.New("no request leaves")

type silent struct{}

func (silent) RoundTrip(*http.Request) (*http.Response, error) { return nil, errSilent }

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, payload string) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "key-1"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := w.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// FuzzIDToken: what is not signed by the provider is refused, whatever it looks like.
func FuzzIDToken(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	at := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	good := `{"iss":"https://id.test","aud":"client-1","sub":"s","nonce":"n","iat":1777885200,"exp":1777888800}`
	raw := map[string]bool{sign(f, jose.ES256, k, good): true, sign(f, jose.HS256, []byte("0123456789abcdef0123456789abcdef"), good): true}
	for r := range raw {
		f.Add(r)
		f.Add(r[:len(r)-1])
		f.Add(r + ".")
	}
	for _, s := range []string{"", "..", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", `{"payload":"","signatures":[]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, kind := range []Kind{OpenID, LINE} {
			p := still(t, kind, k, at)
			d, err := p.document(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			token := (&oauth2.Token{}).WithExtra(map[string]any{"id_token": s})
			subject, err := p.verify(t.Context(), d, Attempt{Nonce: "n"}, token)
			if err == nil && (subject != "s" || !raw[s] && !sameBits(s, raw)) {
				t.Fatalf("%s: taken: %q as %q", kind, s, subject)
			}
			if err != nil && !errors.Is(err, ErrRefused) {
				t.Fatalf("%s: %q is broken, not refused: %v", kind, s, err)
			}
		}
	})
}

// sameBits: the last letter of base64 has bits that mean nothing, so that another text may be the same token.
func sameBits(s string, good map[string]bool) bool {
	for g := range good {
		a, errA := jose.ParseSignedCompact(s, []jose.SignatureAlgorithm{jose.ES256, jose.HS256})
		b, errB := jose.ParseSignedCompact(g, []jose.SignatureAlgorithm{jose.ES256, jose.HS256})
		if errA == nil && errB == nil && string(a.Signatures[0].Signature) == string(b.Signatures[0].Signature) &&
			string(a.UnsafePayloadWithoutVerification()) == string(b.UnsafePayloadWithoutVerification()) {
			return true
		}
	}
	return false
}

// FuzzAnswer: what a browser brings leads to a request only with the attempt's own state, and no error repeats it.
func FuzzAnswer(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("state-1", "code", "")
	f.Add("state-1", "code", "https://id.test")
	f.Add("state-1", "code", "https://evil.test")
	f.Add("state-2", "code", "")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, state, code, issuer string) {
		p := still(t, OpenID, k, time.Now())
		_, err := p.Finish(t.Context(), Attempt{State: "state-1", Nonce: "n", Verifier: oauth2.GenerateVerifier()},
			Answer{State: secret.New(state), Code: secret.New(code), Issuer: issuer})
		fits := state == "state-1" && code != "" && len(code) <= maxCode && (issuer == "" || issuer == "https://id.test")
		if err == nil || errors.Is(err, ErrRefused) == fits {
			t.Fatalf("state %q, code %q, issuer %q: %v", state, code, issuer, err)
		}
	})
}

// FuzzKeys: whatever a provider publishes, only public keys that are for signatures are kept, and few.
func FuzzKeys(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &k.PublicKey, KeyID: "1"}, {Key: k, KeyID: "2"}, {Key: &k.PublicKey, KeyID: "3", Use: "enc"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(set)
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"},7,null]}`))
	f.Add([]byte(`{"keys":{}}`))
	if got, err := parseKeys(set); err != nil || len(got.list) != 1 || got.list[0].KeyID != "1" {
		f.Fatalf("kept %v, %v; want the public key for signatures alone", got, err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseKeys(b)
		if err != nil {
			return
		}
		if len(got.list) > maxKeys {
			t.Fatalf("%d keys", len(got.list))
		}
		for _, key := range got.list {
			if _, shared := key.Key.([]byte); shared || !key.IsPublic() || key.Use != "" && key.Use != "sig" {
				t.Fatalf("kept %v", key)
			}
		}
	})
}
