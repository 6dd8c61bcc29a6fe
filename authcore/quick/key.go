package quick

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
)

// maxKey bounds a public key as it is sent: SubjectPublicKeyInfo of P-256 has 91 bytes, a JWK with all its members a few
// hundred.
const maxKey = 2048

var errKey = errors.New("must be a P-256 public key, as SubjectPublicKeyInfo in base64url or as a JWK")

// ParseKey takes the public key of a device, as JSON: a string with SubjectPublicKeyInfo (RFC 5480) in base64url or
// base64, or a JWK (RFC 7517). It answers SubjectPublicKeyInfo.
func ParseKey(sent []byte) ([]byte, error) {
	if len(sent) > maxKey {
		return nil, errKey
	}
	var text string
	if json.Unmarshal(sent, &text) == nil {
		return parseSPKI(text)
	}
	return parseJWK(sent)
}

func parseSPKI(text string) ([]byte, error) {
	text = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
	der, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errKey
	}
	k, err := x509.ParsePKIXPublicKey(der)
	ec, ok := k.(*ecdsa.PublicKey)
	if err != nil || !ok || ec.Curve != elliptic.P256() {
		return nil, errKey
	}
	return marshal(ec)
}

func parseJWK(sent []byte) ([]byte, error) {
	var j struct{ Kty, Crv, X, Y, D string }
	if err := json.Unmarshal(sent, &j); err != nil || j.Kty != "EC" || j.Crv != "P-256" {
		return nil, errKey
	}
	if j.D != "" {
		return nil, errors.New("is a private key: it must never leave the device; make a new one")
	}
	x, e1 := base64.RawURLEncoding.DecodeString(j.X)
	y, e2 := base64.RawURLEncoding.DecodeString(j.Y)
	if e1 != nil || e2 != nil || len(x) != 32 || len(y) != 32 { // RFC 7518 section 6.2.1.2: full length
		return nil, errKey
	}
	ec, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...)) // on the curve, or an error
	if err != nil {
		return nil, errKey
	}
	return marshal(ec)
}

func marshal(k *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return nil, errKey
	}
	return der, nil
}

// Purpose says what a device signs for. Each has its own label, so that a signature is good for one thing only.
type Purpose string

// The purposes.
const (
	Registering Purpose = "latchkey quick login v1: register"
	SigningIn   Purpose = "latchkey quick login v1: sign in"
)

// Message is what a device signs with ES256: four lines of text with a line feed between them and none at the end: the
// purpose, the challenge as it was sent, the id of the device, and the origin (https://host, with :port unless it is 443)
// that the app speaks to. The origin is the app's own knowledge, never the server's answer: who stands in between cannot
// pass the signature on.
func Message(p Purpose, challenge, device, origin string) []byte {
	return []byte(strings.Join([]string{string(p), challenge, device, origin}, "\n"))
}

// Signed says whether the key made the signature over the message: ES256 as RFC 7518 section 3.4 has it, 64 bytes in
// base64url. key is SubjectPublicKeyInfo; one that is none has signed nothing.
func Signed(key, message []byte, signature string) bool {
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || len(sig) != 64 {
		return false
	}
	k, err := x509.ParsePKIXPublicKey(key)
	ec, ok := k.(*ecdsa.PublicKey)
	if err != nil || !ok {
		return false
	}
	h := sha256.Sum256(message)
	return ecdsa.Verify(ec, h[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}
