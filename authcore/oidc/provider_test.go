package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/authcore/authtest"
	"latchkey/authcore/oidc"
	"latchkey/authcore/secret"
)

// a walk is one sign-in at a provider of the test.
type walk struct {
	at    *authtest.Provider
	party *oidc.Provider
}

func (w walk) try(t *testing.T, anew bool, change func(*oidc.Attempt, *oidc.Answer)) (string, error) {
	t.Helper()
	address, a, err := w.party.Begin(t.Context(), anew)
	if err != nil {
		return "", err
	}
	given := w.at.Authorize(t, address, "subject-1")
	if change != nil {
		change(&a, &given)
	}
	return w.party.Finish(t.Context(), a, given)
}

func TestProvidersSignIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind   oidc.Kind
		change func(t *testing.T, p *authtest.Provider)
	}{
		"openid": {kind: oidc.OpenID},
		"openid by Basic": {oidc.OpenID, func(_ *testing.T, p *authtest.Provider) {
			p.Document = func(d map[string]any) { delete(d, "token_endpoint_auth_methods_supported") }
		}},
		"LINE under the channel secret": {kind: oidc.LINE},
		"LINE says nothing of methods": {oidc.LINE, func(_ *testing.T, p *authtest.Provider) {
			p.Document = func(d map[string]any) { delete(d, "token_endpoint_auth_methods_supported") }
		}},
		"LINE under a published key": {oidc.LINE, func(_ *testing.T, p *authtest.Provider) {
			p.Sign = func(c map[string]any) string { return authtest.SignJWT(jose.ES256, p.Key, p.KeyID, c) }
		}},
		"key without a name": {oidc.OpenID, func(_ *testing.T, p *authtest.Provider) {
			p.Sign = func(c map[string]any) string { return authtest.SignJWT(jose.ES256, p.Key, "", c) }
		}},
		"two audiences, ours the party": {oidc.OpenID, func(_ *testing.T, p *authtest.Provider) {
			p.Claims = func(c map[string]any) { c["aud"], c["azp"] = []string{"other", p.ClientID}, p.ClientID }
		}},
		"clock half a minute behind": {oidc.OpenID, func(_ *testing.T, p *authtest.Provider) {
			p.Claims = func(c map[string]any) { c["exp"] = time.Now().Add(-30 * time.Second).Unix() }
		}},
		"the issuer in the answer is always sent": {oidc.OpenID, func(_ *testing.T, p *authtest.Provider) {
			p.Document = func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := walk{at: authtest.NewProvider(t, c.kind)}
			if c.change != nil {
				c.change(t, w.at)
			}
			w.party = w.at.Party(t, "test")
			for _, anew := range []bool{false, true} {
				got, err := w.try(t, anew, func(_ *oidc.Attempt, a *oidc.Answer) {
					if strings.HasPrefix(name, "the issuer") {
						a.Issuer = w.at.URL
					}
				})
				if err != nil || got != "subject-1" {
					t.Errorf("anew %v: %q, %v", anew, got, err)
				}
			}
		})
	}
}

// attacks are answers that must not be believed: each changes one thing of a sign-in that works.
func attacks(t *testing.T) map[string]func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
	claim := func(key string, value any) func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
		return func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
			p.Claims = func(c map[string]any) { c[key] = value }
			return nil
		}
	}
	sign := func(f func(p *authtest.Provider, c map[string]any) string) func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
		return func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
			p.Sign = func(c map[string]any) string { return f(p, c) }
			return nil
		}
	}
	answer := func(f func(*oidc.Attempt, *oidc.Answer)) func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
		return func(*authtest.Provider) func(*oidc.Attempt, *oidc.Answer) { return f }
	}
	stranger := authtest.NewKey(t)
	return map[string]func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer){
		"wrong issuer":   claim("iss", "https://evil.test"),
		"no issuer":      claim("iss", nil),
		"wrong audience": claim("aud", "another-client"),
		"no audience":    claim("aud", nil),
		"two audiences without party": func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
			return claim("aud", []string{p.ClientID, "x"})(p)
		},
		"another party":                claim("azp", "another-client"),
		"wrong nonce":                  claim("nonce", "another"),
		"no nonce":                     claim("nonce", nil),
		"expired":                      claim("exp", time.Now().Add(-2*time.Minute).Unix()),
		"no expiry":                    claim("exp", nil),
		"issued in the future":         claim("iat", time.Now().Add(10*time.Minute).Unix()),
		"not yet good":                 claim("nbf", time.Now().Add(time.Hour).Unix()),
		"no subject":                   claim("sub", nil),
		"a subject over 255 bytes":     claim("sub", strings.Repeat("a", 256)),
		"a subject with control bytes": claim("sub", "a\nb"),
		"a subject that is a number":   claim("sub", 7),
		"algorithm none":               sign(func(_ *authtest.Provider, c map[string]any) string { return unsigned(`{"alg":"none"}`, c) }),
		"algorithm None":               sign(func(_ *authtest.Provider, c map[string]any) string { return unsigned(`{"alg":"None"}`, c) }),
		"no algorithm":                 sign(func(_ *authtest.Provider, c map[string]any) string { return unsigned(`{}`, c) }),
		"another's key of the same name": sign(func(p *authtest.Provider, c map[string]any) string {
			return authtest.SignJWT(jose.ES256, stranger, p.KeyID, c)
		}),
		"another's key without a name": sign(func(_ *authtest.Provider, c map[string]any) string {
			return authtest.SignJWT(jose.ES256, stranger, "", c)
		}),
		"another's key in the token itself": sign(func(_ *authtest.Provider, c map[string]any) string {
			return embedded(stranger, c)
		}),
		"unknown key": sign(func(p *authtest.Provider, c map[string]any) string {
			return authtest.SignJWT(jose.ES256, p.Key, "key-9", c)
		}),
		"an algorithm that is not the provider's": sign(func(p *authtest.Provider, c map[string]any) string {
			k, _ := rsa.GenerateKey(rand.Reader, 2048)
			return authtest.SignJWT(jose.RS256, k, p.KeyID, c)
		}),
		"no token":          sign(func(*authtest.Provider, map[string]any) string { return "" }),
		"half a token":      sign(func(*authtest.Provider, map[string]any) string { return "a.b" }),
		"a token of 100 KB": sign(func(*authtest.Provider, map[string]any) string { return strings.Repeat("a", 100_000) }),
		"another state":     answer(func(_ *oidc.Attempt, a *oidc.Answer) { a.State = secret.New("another") }),
		"no state":          answer(func(a *oidc.Attempt, b *oidc.Answer) { a.State, b.State = "", secret.New("") }),
		"no code":           answer(func(_ *oidc.Attempt, a *oidc.Answer) { a.Code = secret.New("") }),
		"another code":      answer(func(_ *oidc.Attempt, a *oidc.Answer) { a.Code = secret.New("another") }),
		"an endless code":   answer(func(_ *oidc.Attempt, a *oidc.Answer) { a.Code = secret.New(strings.Repeat("a", 5000)) }),
		"another verifier":  answer(func(a *oidc.Attempt, _ *oidc.Answer) { a.Verifier = strings.Repeat("v", 43) }),
		"another issuer in the answer": answer(func(_ *oidc.Attempt, a *oidc.Answer) {
			a.Issuer = "https://evil.test"
		}),
		"no issuer in the answer of one who sends it": func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
			p.Document = func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true }
			return nil
		},
		"a user who was not asked anew":         claim("auth_time", time.Now().Add(-time.Hour).Unix()),
		"not a word of when its user was asked": claim("auth_time", nil), // whoever sits at the browser took the question out of the address
		"the token endpoint redirects": func(p *authtest.Provider) func(*oidc.Attempt, *oidc.Answer) {
			p.Serve = func(w http.ResponseWriter, q *http.Request, rest http.HandlerFunc) {
				if q.URL.Path == "/token" {
					http.Redirect(w, q, "/keys", http.StatusTemporaryRedirect)
					return
				}
				rest(w, q)
			}
			return nil
		},
	}
}

func unsigned(head string, claims map[string]any) string {
	b, _ := json.Marshal(claims)
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(head)) + "." + e.EncodeToString(b) + "."
}

// embedded names its own key in the header (RFC 7515 section 4.1.3), which nobody has to believe.
func embedded(k any, claims map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		panic(err)
	}
	b, _ := json.Marshal(claims)
	w, _ := s.Sign(b)
	raw, _ := w.CompactSerialize()
	return raw
}

// TestAnswersThatAreRefused tries each on both kinds: at LINE, too, only the signature may differ.
func TestAnswersThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range []oidc.Kind{oidc.OpenID, oidc.LINE} {
		for name, attack := range attacks(t) {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				t.Parallel()
				w := walk{at: authtest.NewProvider(t, kind)}
				change := attack(w.at)
				w.party = w.at.Party(t, "test")
				got, err := w.try(t, true, change)
				if !errors.Is(err, oidc.ErrRefused) || got != "" {
					t.Fatalf("got %q, %v; want a refusal", got, err)
				}
				if text := err.Error(); len(text) > 400 || strings.Contains(text, "canary") {
					t.Errorf("the cause tells too much: %s", text)
				}
			})
		}
	}
}

// TestSharedSecretsAreForLINEAlone: a token signed with HS256 is good where it is LINE's and under LINE's secret.
func TestSharedSecretsAreForLINEAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind oidc.Kind
		key  func(p *authtest.Provider) []byte
		good bool
	}{
		"LINE, its secret":        {oidc.LINE, func(p *authtest.Provider) []byte { return []byte(p.Secret.Reveal()) }, true},
		"LINE, another secret":    {oidc.LINE, func(*authtest.Provider) []byte { return []byte("another-secret-0123456789abcdef0123") }, false},
		"LINE, a public key":      {oidc.LINE, publicKey, false},
		"openid, the secret":      {oidc.OpenID, func(p *authtest.Provider) []byte { return []byte(p.Secret.Reveal()) }, false},
		"openid, the public key":  {oidc.OpenID, publicKey, false},
		"openid that promises it": {oidc.OpenID, func(p *authtest.Provider) []byte { return []byte(p.Secret.Reveal()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := walk{at: authtest.NewProvider(t, c.kind)}
			if strings.Contains(name, "promises") {
				w.at.Document = func(d map[string]any) {
					d["id_token_signing_alg_values_supported"] = []string{"ES256", "HS256", "none"}
				}
			}
			for _, id := range []string{"", w.at.KeyID} {
				w.at.Sign = func(claims map[string]any) string { return authtest.SignJWT(jose.HS256, c.key(w.at), id, claims) }
				w.party = w.at.Party(t, "test")
				if got, err := w.try(t, false, nil); (err == nil) != c.good || (got == "subject-1") != c.good {
					t.Errorf("key named %q: %q, %v", id, got, err)
				}
			}
		})
	}
}

func publicKey(p *authtest.Provider) []byte {
	der, err := x509.MarshalPKIXPublicKey(&p.Key.PublicKey)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// TestCodeIsGoodOnce: the provider takes it no second time, whoever asks.
func TestCodeIsGoodOnce(t *testing.T) {
	t.Parallel()
	at := authtest.NewProvider(t, oidc.OpenID)
	party := at.Party(t, "test")
	address, a, err := party.Begin(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	given := at.Authorize(t, address, "subject-1")
	if _, err := party.Finish(t.Context(), a, given); err != nil {
		t.Fatal(err)
	}
	if _, err := party.Finish(t.Context(), a, given); !errors.Is(err, oidc.ErrRefused) {
		t.Errorf("the same code once more: %v", err)
	}
	_, other, err := party.Begin(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	given = at.Authorize(t, address, "subject-1")
	given.State = secret.New(other.State)
	if _, err := party.Finish(t.Context(), other, given); !errors.Is(err, oidc.ErrRefused) {
		t.Errorf("a code that another attempt got: %v", err)
	}
}

// TestNewKeysAreFetchedOnce: a provider changes its key, and made-up names of keys make us ask no more than once a minute.
func TestNewKeysAreFetchedOnce(t *testing.T) {
	t.Parallel()
	at := authtest.NewProvider(t, oidc.OpenID)
	var mu sync.Mutex
	var ahead time.Duration
	s := at.Settings("test")
	s.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	party, err := oidc.NewProvider(s)
	if err != nil {
		t.Fatal(err)
	}
	w := walk{at: at, party: party}
	if _, err := w.try(t, false, nil); err != nil {
		t.Fatal(err)
	}
	at.Lock()
	at.Key, at.KeyID = authtest.NewKey(t), "key-2"
	at.Unlock()
	if _, err := w.try(t, false, nil); !errors.Is(err, oidc.ErrRefused) || at.Count("/keys") != 1 {
		t.Errorf("at once: %v, %d fetches, want a refusal without another fetch", err, at.Count("/keys"))
	}
	mu.Lock()
	ahead = 61 * time.Second
	mu.Unlock()
	if got, err := w.try(t, false, nil); err != nil || got != "subject-1" || at.Count("/keys") != 2 {
		t.Errorf("a minute later: %q, %v, %d fetches", got, err, at.Count("/keys"))
	}
	at.Lock()
	at.Sign = func(c map[string]any) string { return authtest.SignJWT(jose.ES256, at.Key, rand.Text(), c) }
	at.Unlock()
	mu.Lock()
	ahead = 130 * time.Second
	mu.Unlock()
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			if _, err := w.try(t, false, nil); !errors.Is(err, oidc.ErrRefused) {
				t.Errorf("made-up key: %v", err)
			}
		})
	}
	wait.Wait()
	if n := at.Count("/keys"); n != 3 {
		t.Errorf("%d fetches, want one more for a hundred made-up keys", n)
	}
}

// TestBrokenProviders: nobody is refused and nobody gets in; the reply comes in time, and the error is short.
func TestBrokenProviders(t *testing.T) {
	t.Parallel()
	elsewhere := authtest.NewProvider(t, oidc.OpenID)
	endless := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for range 20 {
			fmt.Fprint(w, strings.Repeat(" ", 64<<10))
		}
		fmt.Fprint(w, `{}`)
	}
	slow := func(w http.ResponseWriter, q *http.Request) {
		w.WriteHeader(http.StatusOK)
		for q.Context().Err() == nil {
			fmt.Fprint(w, " ")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for name, c := range map[string]struct {
		path    string
		serve   http.HandlerFunc
		refused bool
	}{
		"endless discovery":        {"/.well-known/openid-configuration", endless, false},
		"slow discovery":           {"/.well-known/openid-configuration", slow, false},
		"discovery fails":          {"/.well-known/openid-configuration", text(500, "canary page "+strings.Repeat("x", 5000)), false},
		"discovery is a page":      {"/.well-known/openid-configuration", text(200, "<html>canary"), false},
		"discovery of another":     {"/.well-known/openid-configuration", text(200, `{"issuer":"https://evil.test"}`), false},
		"discovery of wrong types": {"/.well-known/openid-configuration", text(200, `{"issuer":7}`), false},
		"discovery elsewhere": {"/.well-known/openid-configuration", func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, elsewhere.URL+q.URL.Path, http.StatusFound)
		}, false},
		"endless keys":      {"/keys", endless, false},
		"slow keys":         {"/keys", slow, false},
		"no keys":           {"/keys", text(404, "canary"), false},
		"keys are a page":   {"/keys", text(200, "<html>canary"), false},
		"no key fits":       {"/keys", text(200, `{"keys":[{"kty":"oct","k":"AAAA","kid":"key-1"},{"kty":"new"},7]}`), true},
		"slow tokens":       {"/token", slow, false},
		"tokens fail":       {"/token", text(502, "canary"), false},
		"too many":          {"/token", text(429, "canary"), false},
		"tokens are a page": {"/token", text(200, "<html>canary"), false},
		"endless tokens":    {"/token", endless, false},
		"no access token":   {"/token", text(200, `{"id_token":"a.b.c"}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := authtest.NewProvider(t, oidc.OpenID)
			at.Serve = func(w http.ResponseWriter, q *http.Request, rest http.HandlerFunc) {
				if q.URL.Path == c.path {
					c.serve(w, q)
					return
				}
				rest(w, q)
			}
			s := at.Settings("test")
			s.Timeout = 10 * time.Second // that the machine is slow is not what is tested
			if strings.Contains(name, "slow") {
				s.Timeout = 500 * time.Millisecond
			}
			party, err := oidc.NewProvider(s)
			if err != nil {
				t.Fatal(err)
			}
			got, err := walk{at, party}.try(t, false, nil)
			if err == nil || got != "" || errors.Is(err, oidc.ErrRefused) != c.refused {
				t.Fatalf("got %q, %v; refused: want %v", got, err, c.refused)
			}
			if len(err.Error()) > 600 || strings.Contains(err.Error(), "canary-c") {
				t.Errorf("the cause tells too much: %v", err)
			}
			if elsewhere.Count("/.well-known/openid-configuration") > 0 {
				t.Error("a redirect led to another host")
			}
		})
	}
}

// TestProviderThatFailedIsLeftAlone: a hundred members who wait for it are one request, and it is asked again later.
func TestProviderThatFailedIsLeftAlone(t *testing.T) {
	t.Parallel()
	at := authtest.NewProvider(t, oidc.OpenID)
	at.Serve = func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	var mu sync.Mutex
	var ahead time.Duration
	s := at.Settings("test")
	s.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	party, err := oidc.NewProvider(s)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			if _, _, err := party.Begin(t.Context(), false); err == nil {
				t.Error("began at a provider that is down")
			}
		})
	}
	wait.Wait()
	if n := at.Count("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	pass := func(d time.Duration) { mu.Lock(); ahead += d; mu.Unlock() }
	serve := func(f func(http.ResponseWriter, *http.Request, http.HandlerFunc)) {
		at.Lock()
		at.Serve = f
		at.Unlock()
	}
	down := at.Serve
	serve(nil)
	pass(11 * time.Second)
	if _, _, err := party.Begin(t.Context(), false); err != nil {
		t.Errorf("it is back: %v", err)
	}
	serve(down)
	pass(2 * time.Hour)
	if _, _, err := party.Begin(t.Context(), false); err != nil {
		t.Errorf("it is down, but what it said an hour ago serves on: %v", err)
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	t.Parallel()
	good := oidc.Settings{Name: "x", Kind: oidc.OpenID, Issuer: "https://id.test", ClientID: "c", ClientSecret: secret.New("s"), RedirectURL: "https://a.test/"}
	for name, change := range map[string]func(*oidc.Settings){
		"no kind":         func(s *oidc.Settings) { s.Kind = "" },
		"no name":         func(s *oidc.Settings) { s.Name = "" },
		"no issuer":       func(s *oidc.Settings) { s.Issuer = "" },
		"issuer in clear": func(s *oidc.Settings) { s.Issuer = "http://id.test" },
		"no client":       func(s *oidc.Settings) { s.ClientID = "" },
		"no secret":       func(s *oidc.Settings) { s.ClientSecret = secret.String{} },
		"no redirect":     func(s *oidc.Settings) { s.RedirectURL = "" },
	} {
		s := good
		change(&s)
		if _, err := oidc.NewProvider(s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	line := good
	line.Kind, line.Issuer = oidc.LINE, ""
	if p, err := oidc.NewProvider(line); err != nil || p.Issuer() != oidc.LINEIssuer || p.Way() != "line" {
		t.Errorf("LINE without an issuer: %v", err)
	}
	if p, err := oidc.NewProvider(good); err != nil || p.Way() != "oidc.x" {
		t.Errorf("openid: %v", err)
	}
}
