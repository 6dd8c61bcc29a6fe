// Package oidc has both sides of a signed token. Provider is the side that believes one: members sign in with LINE or any
// OpenID provider, and it refuses every answer that is not for this client, this sign-in and this minute. Signer is the
// side that makes them: short-lived JWTs (RFC 7519) under a server key sign members in at upstreams, and it refuses one
// without audience and subject. Neither knows the other.
package oidc

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"latchkey/authcore/secret"
)

// Lifetime of a token from now: a sign-in at an upstream takes milliseconds. It says that it was issued Backdate ago, and
// that it is valid since: the upstream's clock is another, and Dovecot refuses what was issued in its future, with time(2),
// which lags by up to one tick of the kernel even on the same machine. Some Dovecots refuse "nbf" before "iat", too.
const (
	Lifetime = time.Minute
	Backdate = 5 * time.Second
)

// Signer makes tokens.
type Signer struct {
	Keys   *secret.Keys
	Issuer string
	Now    func() time.Time
}

// Claims of one token.
type Claims struct {
	Issuer   string // empty: the signer's
	Audience string // the upstream's own
	Subject  string // the member, as the upstream knows him
}

var errClaims = errors.New("a token needs issuer, audience and subject")

// Token signs one token with ES256 (RFC 7518 section 3.4) under the current key.
func (s *Signer) Token(c Claims) (secret.String, error) {
	if c.Issuer == "" {
		c.Issuer = s.Issuer
	}
	if c.Issuer == "" || c.Audience == "" || c.Subject == "" {
		return secret.String{}, errClaims
	}
	now := s.Now()
	key := s.Keys.SigningAt(now)
	opts := (&jose.SignerOptions{}).WithType("JWT").WithHeader(jose.HeaderKey("kid"), key.ID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key.Private}, opts)
	if err != nil {
		return secret.String{}, fmt.Errorf("sign token: %w", err)
	}
	since := jwt.NewNumericDate(now.Add(-Backdate))
	t, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: c.Issuer, Audience: jwt.Audience{c.Audience}, Subject: c.Subject, ID: rand.Text(),
		IssuedAt: since, NotBefore: since, Expiry: jwt.NewNumericDate(now.Add(Lifetime)),
	}).Serialize()
	if err != nil {
		return secret.String{}, fmt.Errorf("sign token: %w", err)
	}
	return secret.New(t), nil
}

// JWKS is the set of public keys (RFC 7517 section 5), for upstreams that fetch it.
func (s *Signer) JWKS() ([]byte, error) {
	var set jose.JSONWebKeySet
	for _, k := range s.Keys.Published(s.Now()) {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &k.Private.PublicKey, KeyID: k.ID, Algorithm: string(jose.ES256), Use: "sig"})
	}
	return json.Marshal(set)
}

// PublicKey is one key as upstreams read it from a file.
type PublicKey struct {
	ID  string
	PEM []byte // PKIX
}

// PublicKeys answers those that upstreams should have at now, that which signs first.
func PublicKeys(k *secret.Keys, now time.Time) ([]PublicKey, error) {
	var l []PublicKey
	for _, s := range k.Published(now) {
		der, err := x509.MarshalPKIXPublicKey(&s.Private.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("public key %s: %w", s.ID, err)
		}
		l = append(l, PublicKey{ID: s.ID, PEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})})
	}
	return l, nil
}
