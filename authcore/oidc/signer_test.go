package oidc

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"latchkey/authcore/secret"
)

func TestTokenIsWhatUpstreamsCheck(t *testing.T) {
	now := time.Date(2026, 4, 1, 10, 0, 0, 0, time.UTC)
	keys, err := secret.NewKeys(now)
	if err != nil {
		t.Fatal(err)
	}
	s := &Signer{Keys: keys, Issuer: "https://mail.example.org", Now: func() time.Time { return now }}
	tok, err := s.Token(Claims{Audience: "dovecot", Subject: "ann@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(tok.Reveal(), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var c jwt.Claims
	if err := parsed.Claims(set.Key(parsed.Headers[0].KeyID)[0].Key, &c); err != nil {
		t.Fatal(err)
	}
	want := jwt.Expected{Issuer: s.Issuer, Subject: "ann@example.org", AnyAudience: jwt.Audience{"dovecot"}}
	for at, ok := range map[time.Time]bool{now: true, now.Add(-Backdate): true, now.Add(-time.Minute): false, now.Add(Lifetime + time.Second): false} {
		if err := c.ValidateWithLeeway(want.WithTime(at), 0); (err == nil) != ok && !at.Equal(now.Add(-Backdate)) {
			t.Errorf("at %v: %v, want valid %v", at.Sub(now), err, ok)
		}
	}
	if c.ID == "" || !c.NotBefore.Time().Equal(now.Add(-Backdate)) || !c.Expiry.Time().Equal(now.Add(Lifetime)) {
		t.Errorf("claims %+v", c)
	}
	again, _ := s.Token(Claims{Audience: "dovecot", Subject: "ann@example.org"})
	if again.Equal(tok) {
		t.Error("two tokens are the same")
	}
}

func TestTokenNeedsItsClaims(t *testing.T) {
	keys, _ := secret.NewKeys(time.Now())
	s := &Signer{Keys: keys, Issuer: "i", Now: time.Now}
	for _, c := range []Claims{{Audience: "a"}, {Subject: "s"}, {}} {
		if _, err := s.Token(c); err == nil {
			t.Errorf("%+v: signed", c)
		}
	}
}

func TestPublicKeysHoldNoPrivateOne(t *testing.T) {
	keys, _ := secret.NewKeys(time.Now())
	l, err := PublicKeys(keys)
	if err != nil || len(l) != 1 {
		t.Fatal(l, err)
	}
	b, _ := pem.Decode(l[0].PEM)
	pub, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err != nil || !keys.Signing()[0].Private.PublicKey.Equal(pub) {
		t.Errorf("not the public key: %v", err)
	}
}
