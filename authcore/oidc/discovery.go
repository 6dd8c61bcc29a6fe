package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

// How long what a provider publishes is believed without asking again. keysAgain bounds how often an unknown key makes
// us ask.
const (
	documentFor = time.Hour
	keysFor     = time.Hour
	keysAgain   = time.Minute
)

// document is what discovery told (OpenID Connect Discovery 1.0 section 3).
type document struct {
	AuthorizeURL string   `json:"authorization_endpoint"`
	TokenURL     string   `json:"token_endpoint"`
	KeysURL      string   `json:"jwks_uri"`
	Algorithms   []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods  []string `json:"token_endpoint_auth_methods_supported"`
	SendsIssuer  bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 section 3
}

func (p *Provider) document(ctx context.Context) (*document, error) {
	return p.found.get(ctx, documentFor, p.discover)
}

func (p *Provider) discover(ctx context.Context) (*document, error) {
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.s.Issuer) // compares the issuer
	if err != nil {
		return nil, fmt.Errorf("discover provider %s: %s", p.s.Name, short(err.Error())) // it may hold the whole page
	}
	var d document
	if err := found.Claims(&d); err != nil {
		return nil, fmt.Errorf("discover provider %s: its document is not as it should be", p.s.Name)
	}
	for _, address := range []string{d.AuthorizeURL, d.TokenURL, d.KeysURL} {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return nil, fmt.Errorf("discover provider %s: %q is no https URL", p.s.Name, short(address))
		}
	}
	if len(p.algorithms(&d)) == 0 {
		return nil, fmt.Errorf("discover provider %s: it signs tokens with no algorithm that is taken here", p.s.Name)
	}
	return &d, nil
}

// style is how we prove who we are at the token endpoint. Discovery 1.0 section 3: without a word, by Basic. LINE says
// nothing and takes the secret in the form.
func (p *Provider) style(d *document) oauth2.AuthStyle {
	basic := slices.Contains(d.AuthMethods, "client_secret_basic")
	post := slices.Contains(d.AuthMethods, "client_secret_post")
	if post && !basic || p.s.Kind == LINE && !basic {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// keys are the provider's public keys (RFC 7517 section 5).
type keys struct{ list []jose.JSONWebKey }

// maxKeys bounds how many are tried on a token that names none.
const maxKeys = 32

func (p *Provider) keySet(ctx context.Context, d *document, age time.Duration) (*keys, error) {
	return p.keys.get(ctx, age, func(ctx context.Context) (*keys, error) {
		k, err := p.fetchKeys(ctx, d.KeysURL)
		if err != nil {
			return nil, fmt.Errorf("keys of provider %s: %w", p.s.Name, err)
		}
		return k, nil
	})
}

func (p *Provider) fetchKeys(ctx context.Context, address string) (*keys, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := p.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	b, err := io.ReadAll(res.Body) // bounded by the client
	if err != nil {
		return nil, err
	}
	return parseKeys(b)
}

// parseKeys leaves out keys that it does not understand (RFC 7517 section 5) and those that are not for signatures.
func parseKeys(b []byte) (*keys, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, errors.New("not a set of keys")
	}
	k := &keys{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && usable(key) && len(k.list) < maxKeys {
			k.list = append(k.list, key)
		}
	}
	return k, nil
}

// usable refuses secrets, private halves and sizes that are weak or take long.
func usable(k jose.JSONWebKey) bool {
	if r, ok := k.Key.(*rsa.PublicKey); ok && (r.N.BitLen() < 2048 || r.N.BitLen() > 8192) {
		return false
	}
	return k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig")
}

// named answers the keys of that name that are for the algorithm; all of them where the token names none.
func (k *keys) named(id, algorithm string) (l []jose.JSONWebKey) {
	for _, key := range k.list {
		if (id == "" || key.KeyID == id) && (key.Algorithm == "" || key.Algorithm == algorithm) {
			l = append(l, key)
		}
	}
	return l
}
