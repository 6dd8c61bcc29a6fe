package oidc

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
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
	for after, ok := range map[time.Duration]bool{0: true, -Backdate: true, -Backdate - time.Second: false, Lifetime: true, Lifetime + time.Second: false} {
		if err := c.ValidateWithLeeway(want.WithTime(now.Add(after)), 0); (err == nil) != ok {
			t.Errorf("where the clock is %v off: %v, want valid %v", after, err, ok)
		}
	}
	if c.ID == "" || c.NotBefore.Time().Before(c.IssuedAt.Time()) {
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
	l, err := PublicKeys(keys, time.Now())
	if err != nil || len(l) != 1 {
		t.Fatal(l, err)
	}
	b, _ := pem.Decode(l[0].PEM)
	pub, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err != nil || !keys.SigningAt(time.Now()).Private.PublicKey.Equal(pub) {
		t.Errorf("not the public key: %v", err)
	}
}

// A new key is published a day before it signs; the one before stays published until its tokens have expired.
func TestRotationOfSigningKeys(t *testing.T) {
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	keys, _ := secret.NewKeys(now.Add(-time.Hour)) // so young that it would not sign, were it not the only one
	s := &Signer{Keys: keys, Issuer: "i", Now: func() time.Time { return now }}
	first := keys.SigningAt(now).ID
	next, err := keys.Rotated(now, false, true)
	if err != nil {
		t.Fatal(err)
	}
	keys.Take(next)
	second := keys.Published(now)[1].ID
	begin := now
	for _, c := range []struct {
		after     time.Duration
		signs     string
		published []string
	}{
		{0, first, []string{first, second}},
		{secret.PublishedBefore - time.Second, first, []string{first, second}},
		{secret.PublishedBefore, second, []string{second, first}},
		{secret.PublishedBefore + Lifetime + time.Minute, second, []string{second, first}},
		{secret.PublishedBefore + secret.PublishedAfter - time.Second, second, []string{second, first}},
		{secret.PublishedBefore + secret.PublishedAfter, second, []string{second}},
	} {
		now = begin.Add(c.after)
		tk, err := s.Token(Claims{Audience: "a", Subject: "s"})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jwt.ParseSigned(tk.Reveal(), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil || parsed.Headers[0].KeyID != c.signs {
			t.Errorf("after %v: signed with %v (%v), want %s", c.after, parsed.Headers, err, c.signs)
		}
		raw, err := s.JWKS()
		var set jose.JSONWebKeySet
		if err != nil || json.Unmarshal(raw, &set) != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range set.Keys {
			got = append(got, k.KeyID)
		}
		files, err := PublicKeys(keys, now)
		if !slices.Equal(got, c.published) || err != nil || len(files) != len(got) || files[0].ID != c.signs {
			t.Errorf("after %v: published %v, %d files (%v), want %v", c.after, got, len(files), err, c.published)
		}
		if _, err := keys.Without(first, now); (err == nil) != (len(c.published) == 1) {
			t.Errorf("after %v: the first is dropped: %v", c.after, err)
		}
	}
}
