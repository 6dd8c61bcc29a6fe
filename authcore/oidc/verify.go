package oidc

import (
	"context"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

// The rules of an id_token are those of OpenID Connect Core 1.0 section 3.1.3.7, in its order; leeway is what clocks may
// be apart.
const leeway = time.Minute

// verify answers the subject of the tokens' id_token.
func (p *Provider) verify(ctx context.Context, d *document, a Attempt, t *oauth2.Token) (string, error) {
	raw, _ := t.Extra("id_token").(string)
	if raw == "" || len(raw) > maxToken {
		return "", refused("an id_token of %d bytes", len(raw))
	}
	signed := &signatures{p: p, d: d}
	late := func() time.Time { return p.s.Now().Add(-leeway) }
	v := oidc.NewVerifier(p.s.Issuer, signed, &oidc.Config{ClientID: p.s.ClientID, SupportedSigningAlgs: p.algorithms(d), Now: late})
	id, err := v.Verify(ctx, raw) // issuer, audience, signature, algorithm, expiry
	if signed.broken != nil {
		return "", signed.broken
	}
	if err != nil {
		return "", refused("id_token: %v", err)
	}
	if err := p.judge(id, a); err != nil {
		return "", err
	}
	return id.Subject, nil
}

// judge looks at what go-oidc leaves to its caller. The access token is used for nothing, so its hash is not looked at.
func (p *Provider) judge(id *oidc.IDToken, a Attempt) error {
	var more struct {
		Party    string  `json:"azp"`
		AuthTime float64 `json:"auth_time"` // RFC 7519 section 2: fractions are allowed
	}
	if err := id.Claims(&more); err != nil {
		return refused("id_token: its claims are not of their types")
	}
	now := p.s.Now()
	switch {
	case len(id.Audience) > 1 && more.Party == "", more.Party != "" && more.Party != p.s.ClientID:
		return refused("id_token: for another party")
	case id.IssuedAt.After(now.Add(leeway)):
		return refused("id_token: issued at %v, in the future", id.IssuedAt.UTC())
	case a.Nonce == "" || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1:
		return refused("id_token: another nonce")
	case !a.Since.IsZero() && more.AuthTime == 0:
		return refused("id_token: no auth_time, which max_age asks for")
	case !a.Since.IsZero() && time.Unix(int64(more.AuthTime), 0).Before(a.Since.Add(-leeway)):
		return refused("id_token: the provider did not ask its user anew")
	case !goodSubject(id.Subject):
		return refused("id_token: a subject of %d bytes", len(id.Subject))
	}
	return nil
}

// goodSubject: section 2 gives a subject 255 ASCII characters at most.
func goodSubject(s string) bool {
	if s == "" || len(s) > maxSubject {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// asymmetric are the algorithms whose keys a provider publishes (RFC 7518 section 3.1). "none" and those under a shared
// secret are not among them, so that neither an unsigned token nor one signed with a public key as secret is looked at.
func asymmetric() []string {
	return []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}
}

// algorithms are those that the provider says it uses, RS256 if it says nothing, and HS256 for LINE alone.
func (p *Provider) algorithms(d *document) []string {
	l := slices.DeleteFunc(asymmetric(), func(a string) bool { return !slices.Contains(d.Algorithms, a) })
	if len(l) == 0 && len(d.Algorithms) == 0 {
		l = []string{oidc.RS256}
	}
	if p.s.Kind == LINE {
		l = append(l, hs256)
	}
	return l
}

const hs256 = string(jose.HS256)

// signatures is the oidc.KeySet of one token.
type signatures struct {
	p      *Provider
	d      *document
	broken error // the keys could not be fetched: nothing is known of the token
}

// VerifySignature answers the payload of a token that the provider signed.
func (s *signatures) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	var algorithms []jose.SignatureAlgorithm
	for _, a := range s.p.algorithms(s.d) {
		algorithms = append(algorithms, jose.SignatureAlgorithm(a))
	}
	t, err := jose.ParseSignedCompact(raw, algorithms) // section 2: the JSON serialization is not allowed
	if err != nil {
		return nil, err
	}
	if head := t.Signatures[0].Header; head.Algorithm == hs256 { // among the algorithms of LINE alone
		return t.Verify([]byte(s.p.s.ClientSecret.Reveal()))
	}
	return s.verify(ctx, t)
}

// verify tries the provider's keys. A key that is not among them may be new: they are fetched once more, but not more
// often than every keysAgain, so that made-up names of keys cost the provider nothing.
func (s *signatures) verify(ctx context.Context, t *jose.JSONWebSignature) ([]byte, error) {
	for _, age := range []time.Duration{keysFor, keysAgain} {
		k, err := s.p.keySet(ctx, s.d, age)
		if err != nil {
			s.broken = err
			return nil, err
		}
		head := t.Signatures[0].Header
		candidates := k.named(head.KeyID, head.Algorithm)
		for _, key := range candidates {
			if payload, err := t.Verify(key.Key); err == nil {
				return payload, nil
			}
		}
		if len(candidates) > 0 && head.KeyID != "" {
			return nil, fmt.Errorf("the signature is not that of key %q", short(head.KeyID))
		}
	}
	return nil, fmt.Errorf("no key of the provider fits")
}
