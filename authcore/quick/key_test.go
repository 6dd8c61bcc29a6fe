package quick

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

func newKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func spki(t testing.TB, k any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func quoted(t testing.TB, v any) []byte {
	t.Helper()
	p, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func jwk(t testing.TB, k *ecdsa.PublicKey) map[string]string {
	t.Helper()
	raw, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(raw[1:33]), "y": base64.RawURLEncoding.EncodeToString(raw[33:])}
}

func sign(t testing.TB, k *ecdsa.PrivateKey, message []byte) string {
	t.Helper()
	h := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, k, h[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func with(m map[string]string, k, v string) map[string]string {
	c := map[string]string{k: v}
	for a, b := range m {
		if a != k {
			c[a] = b
		}
	}
	return c
}

func TestParseKey(t *testing.T) {
	k := newKey(t, elliptic.P256())
	der := spki(t, &k.PublicKey)
	j := jwk(t, &k.PublicKey)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384 := newKey(t, elliptic.P384())
	for name, c := range map[string]struct {
		sent []byte
		ok   bool
	}{
		"SPKI in base64url":     {quoted(t, base64.RawURLEncoding.EncodeToString(der)), true},
		"SPKI in base64":        {quoted(t, base64.StdEncoding.EncodeToString(der)), true},
		"JWK":                   {quoted(t, j), true},
		"JWK with more":         {quoted(t, with(j, "alg", "ES256")), true},
		"nothing":               {nil, false},
		"null":                  {[]byte("null"), false},
		"empty":                 {quoted(t, ""), false},
		"bytes behind it":       {quoted(t, base64.RawURLEncoding.EncodeToString(append(bytes.Clone(der), 0))), false},
		"cut":                   {quoted(t, base64.RawURLEncoding.EncodeToString(der[:90])), false},
		"another curve":         {quoted(t, base64.RawURLEncoding.EncodeToString(spki(t, &p384.PublicKey))), false},
		"RSA":                   {quoted(t, base64.RawURLEncoding.EncodeToString(spki(t, &other.PublicKey))), false},
		"too long":              {quoted(t, strings.Repeat("A", maxKey)), false},
		"JWK of another curve":  {quoted(t, with(j, "crv", "P-384")), false},
		"JWK of another type":   {quoted(t, with(j, "kty", "RSA")), false},
		"JWK off the curve":     {quoted(t, with(j, "x", base64.RawURLEncoding.EncodeToString(make([]byte, 32)))), false},
		"JWK with a short part": {quoted(t, with(j, "y", "AAAA")), false},
		"JWK that is private":   {quoted(t, with(j, "d", j["x"])), false},
	} {
		got, err := ParseKey(c.sent)
		if (err == nil) != c.ok || c.ok && !bytes.Equal(got, der) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

func TestSigned(t *testing.T) {
	k, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	der := spki(t, &k.PublicKey)
	message := Message(SigningIn, "challenge", "device", "https://mail.example.com")
	good := sign(t, k, message)
	h := sha256.Sum256(message)
	asn1, err := ecdsa.SignASN1(rand.Reader, k, h[:])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key, message []byte
		signature    string
		want         bool
	}{
		"right":             {der, message, good, true},
		"another key":       {spki(t, &other.PublicKey), message, good, false},
		"no key":            {nil, message, good, false},
		"another challenge": {der, Message(SigningIn, "other", "device", "https://mail.example.com"), good, false},
		"another device":    {der, Message(SigningIn, "challenge", "tablet", "https://mail.example.com"), good, false},
		"another origin":    {der, Message(SigningIn, "challenge", "device", "https://evil.example"), good, false},
		"another purpose":   {der, Message(Registering, "challenge", "device", "https://mail.example.com"), good, false},
		"zeros":             {der, message, base64.RawURLEncoding.EncodeToString(make([]byte, 64)), false},
		"empty":             {der, message, "", false},
		"ASN.1":             {der, message, base64.RawURLEncoding.EncodeToString(asn1), false},
		"bytes behind it":   {der, message, good + "AA", false},
		"no base64url":      {der, message, "!" + good[1:], false},
	} {
		if got := Signed(c.key, c.message, c.signature); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What is taken as a key is a key that comes back the same, and no text is taken as a signature.
func FuzzParseKey(f *testing.F) {
	k := newKey(f, elliptic.P256())
	der := spki(f, &k.PublicKey)
	f.Add(quoted(f, base64.RawURLEncoding.EncodeToString(der)), "")
	f.Add(quoted(f, jwk(f, &k.PublicKey)), sign(f, k, []byte("another")))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"","y":""}`), strings.Repeat("A", 86))
	f.Fuzz(func(t *testing.T, sent []byte, signature string) {
		key, err := ParseKey(sent)
		if err != nil {
			return
		}
		again, err := ParseKey(quoted(t, base64.RawURLEncoding.EncodeToString(key)))
		if err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%x comes back as %x, %v", key, again, err)
		}
		if Signed(key, []byte("message"), signature) {
			t.Fatalf("%q is a signature", signature)
		}
	})
}
