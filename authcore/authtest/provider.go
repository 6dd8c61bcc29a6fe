package authtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/authcore"
	"latchkey/authcore/oidc"
	"latchkey/authcore/secret"
)

// Provider is a small OpenID provider over TLS. It keeps the rules of a good one, a code once and only with its PKCE
// verifier and client, unless a test sets what is to be wrong. Set fields before the first request, or under Lock.
type Provider struct {
	sync.Mutex
	*httptest.Server
	Kind     oidc.Kind
	ClientID string
	Secret   secret.String
	Key      *ecdsa.PrivateKey
	KeyID    string
	Back     string // where browsers are sent back to; NewProvider sets RedirectURL

	Document func(map[string]any)                                                // changes what discovery tells
	Claims   func(map[string]any)                                                // changes an id_token before it is signed
	Sign     func(claims map[string]any) string                                  // in the place of the right signature
	Serve    func(w http.ResponseWriter, q *http.Request, rest http.HandlerFunc) // in the place of everything
	Hits     map[string]int                                                      // requests by path
	Issued   []string                                                            // every code and token: what must be found nowhere

	grants map[string]grant
}

type grant struct {
	subject, nonce, challenge, redirect string
	timed                               bool // the token is to say when the user was asked
}

// RedirectURL is where the provider sends browsers back to.
const RedirectURL = "https://latchkey.test/back"

// NewProvider opens one that ends with the test.
func NewProvider(t testing.TB, kind oidc.Kind) *Provider {
	t.Helper()
	p := &Provider{Kind: kind, ClientID: "client-1", Secret: secret.New("canary-client-secret-0123456789abcdef"), KeyID: "key-1",
		grants: map[string]grant{}, Hits: map[string]int{}, Back: RedirectURL}
	p.Key = NewKey(t)
	m := http.NewServeMux()
	m.HandleFunc("GET /.well-known/openid-configuration", p.document)
	m.HandleFunc("GET /keys", p.keys)
	m.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		p.Lock()
		p.Hits[q.URL.Path]++
		serve := p.Serve
		p.Unlock()
		if serve != nil {
			serve(w, q, m.ServeHTTP)
			return
		}
		m.ServeHTTP(w, q)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that a test wants to fail
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

// NewKey makes a key for ES256.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Settings are what a configuration says of the provider.
func (p *Provider) Settings(name string) oidc.Settings {
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	return oidc.Settings{Name: name, Kind: p.Kind, Issuer: p.URL, ClientID: p.ClientID, ClientSecret: p.Secret, RedirectURL: p.Back, Roots: roots}
}

// Party is the provider as members sign in with it.
func (p *Provider) Party(t testing.TB, name string) *oidc.Provider {
	t.Helper()
	r, err := oidc.NewProvider(p.Settings(name))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Authorize is a user who says yes: what the browser is sent back with.
func (p *Provider) Authorize(t testing.TB, address, subject string) authcore.ProviderAnswer {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for key, want := range map[string]string{
		"response_type": "code", "client_id": p.ClientID, "redirect_uri": p.Back, "code_challenge_method": "S256", "scope": "openid",
	} {
		if got := q.Get(key); got != want {
			t.Fatalf("%s: got %q, want %q in %s", key, got, want, address)
		}
	}
	p.Lock()
	defer p.Unlock()
	code := "canary-code-" + rand.Text()
	p.Issued = append(p.Issued, code)
	p.grants[code] = grant{subject: subject, nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), redirect: q.Get("redirect_uri"),
		timed: q.Has("max_age")}
	return authcore.ProviderAnswer{State: secret.New(q.Get("state")), Code: secret.New(code)}
}

// Count answers how often a path was asked for.
func (p *Provider) Count(path string) int {
	p.Lock()
	defer p.Unlock()
	return p.Hits[path]
}

// Secrets are every code and token that was issued, and the client's secret.
func (p *Provider) Secrets() []string {
	p.Lock()
	defer p.Unlock()
	return append(slices.Clone(p.Issued), p.Secret.Reveal())
}

func (p *Provider) document(w http.ResponseWriter, _ *http.Request) {
	d := map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"ES256"}, "token_endpoint_auth_methods_supported": []string{"client_secret_post"},
	}
	p.Lock()
	if p.Document != nil {
		p.Document(d)
	}
	p.Unlock()
	answer(w, http.StatusOK, d)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	p.Lock()
	defer p.Unlock()
	answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &p.Key.PublicKey, KeyID: p.KeyID, Algorithm: "ES256", Use: "sig"}}})
}

func (p *Provider) token(w http.ResponseWriter, q *http.Request) {
	p.Lock()
	defer p.Unlock()
	code := q.PostFormValue("code")
	g, ok := p.grants[code]
	delete(p.grants, code)
	id, word, basic := q.BasicAuth()
	if !basic {
		id, word = q.PostFormValue("client_id"), q.PostFormValue("client_secret")
	}
	sum := sha256.Sum256([]byte(q.PostFormValue("code_verifier")))
	switch {
	case id != p.ClientID || word != p.Secret.Reveal():
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "canary-description " + word})
	case !ok, q.PostFormValue("redirect_uri") != g.redirect, base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge:
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant " + code, "error_description": "canary-description " + code})
	default:
		access, raw := "canary-access-"+rand.Text(), p.signed(g)
		p.Issued = append(p.Issued, access, raw)
		answer(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": raw})
	}
}

// signed is an id_token. The caller holds the lock.
func (p *Provider) signed(g grant) string {
	now := time.Now()
	claims := map[string]any{"iss": p.URL, "aud": p.ClientID, "sub": g.subject, "nonce": g.nonce, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"email": "canary-email@provider.test", "name": "Canary Name", "picture": "https://provider.test/canary.png"}
	if g.timed {
		claims["auth_time"] = now.Unix()
	}
	if p.Claims != nil {
		p.Claims(claims)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	}
	if p.Sign != nil {
		return p.Sign(claims)
	}
	if p.Kind == oidc.LINE {
		return SignJWT(jose.HS256, []byte(p.Secret.Reveal()), "", claims)
	}
	return SignJWT(jose.ES256, p.Key, p.KeyID, claims)
}

// SignJWT signs claims.
func SignJWT(alg jose.SignatureAlgorithm, key any, id string, claims any) string {
	o := &jose.SignerOptions{}
	if id != "" {
		o.WithHeader("kid", id)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		panic(fmt.Sprintf("sign: %v", err))
	}
	b, err := json.Marshal(claims)
	if err != nil {
		panic(fmt.Sprintf("sign: %v", err))
	}
	w, err := s.Sign(b)
	if err != nil {
		panic(fmt.Sprintf("sign: %v", err))
	}
	raw, err := w.CompactSerialize()
	if err != nil {
		panic(fmt.Sprintf("sign: %v", err))
	}
	return raw
}
