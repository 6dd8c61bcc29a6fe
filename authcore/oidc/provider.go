package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"latchkey/authcore/secret"
	"latchkey/policy"
)

// Kind says what is special about a provider.
type Kind string

// LINE signs its tokens with HS256 under the channel secret, which no other provider may. The empty kind is none.
const (
	OpenID Kind = "openid"
	LINE   Kind = "line"
)

// LINEIssuer is the issuer of LINE, unless the configuration names another one.
const LINEIssuer = "https://access.line.me"

// Settings are what the configuration says of a provider.
type Settings struct {
	Name         string // in paths, policies and buttons
	Kind         Kind
	Issuer       string // an https URL, as it stands in the provider's tokens; empty for LINE: LINEIssuer
	ClientID     string
	ClientSecret secret.String
	RedirectURL  string           // of the page that takes the answer: registered at the provider
	Scopes       []string         // beside openid
	Roots        *x509.CertPool   // that its certificate is checked with; nil: the system's
	Timeout      time.Duration    // of one request to it; zero: ten seconds
	Now          func() time.Time // nil: time.Now
}

// Provider signs members in at one OpenID provider by the authorization code flow (OpenID Connect Core 1.0 section 3.1)
// with PKCE. It is safe for concurrent use, owns no goroutine and keeps nothing but what the provider publishes.
type Provider struct {
	s      Settings
	client *http.Client
	found  *fetched[document]
	keys   *fetched[keys]
}

// NewProvider refuses settings that could not work; it asks nobody.
func NewProvider(s Settings) (*Provider, error) {
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Timeout == 0 {
		s.Timeout = timeout
	}
	if s.Kind == LINE && s.Issuer == "" {
		s.Issuer = LINEIssuer
	}
	switch {
	case s.Kind != LINE && s.Kind != OpenID:
		return nil, fmt.Errorf("provider %s: unknown kind %q", s.Name, s.Kind)
	case s.Name == "" || s.ClientID == "" || s.ClientSecret.Empty() || s.RedirectURL == "":
		return nil, fmt.Errorf("provider %s: needs a name, a client id, a secret and a redirect URL", s.Name)
	case !strings.HasPrefix(s.Issuer, "https://"):
		return nil, fmt.Errorf("provider %s: its issuer must be an https URL", s.Name)
	}
	return &Provider{s: s, client: newClient(s.Roots, s.Timeout), found: newFetched[document](s.Now), keys: newFetched[keys](s.Now)}, nil
}

// Name is the configuration's name of the provider.
func (p *Provider) Name() string { return p.s.Name }

// Kind says what is special about the provider.
func (p *Provider) Kind() Kind { return p.s.Kind }

// Way is the way to sign in as policies name it.
func (p *Provider) Way() string {
	if p.s.Kind == LINE {
		return policy.WayLINE
	}
	return policy.OIDCPrefix + p.s.Name
}

// RedirectURL is the page that takes the provider's answers.
func (p *Provider) RedirectURL() string { return p.s.RedirectURL }

// Issuer is the provider as its tokens name it.
func (p *Provider) Issuer() string { return p.s.Issuer }

// Attempt is what is kept of a sign-in at the provider between its beginning and its answer. Whoever keeps it sees to it
// that it is used once, by the browser that began.
type Attempt struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`       // RFC 7636
	Since    time.Time `json:"since,omitzero"` // the provider is to ask the user anew since then; zero: a standing session will do
}

// Begin answers where to send the browser. anew asks the provider to ask its user once more.
func (p *Provider) Begin(ctx context.Context, anew bool) (string, Attempt, error) {
	d, err := p.document(ctx)
	if err != nil {
		return "", Attempt{}, err
	}
	a := Attempt{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	o := []oauth2.AuthCodeOption{oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)}
	if anew {
		a.Since = p.s.Now().UTC()
		// OpenID Connect Core 1.0 section 3.1.2.1: max_age makes the token say when the user was asked. Without that we would
		// have to believe the browser, where whoever sits at it can take both out of the address.
		o = append(o, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return p.config(d).AuthCodeURL(a.State, o...), a, nil
}

// Answer is what the provider sent the browser back with.
type Answer struct {
	State, Code secret.String
	Issuer      string // RFC 9207; empty: it named none
}

// ErrRefused: the answer is not to be believed, or the provider takes the code from nobody. The text behind it is for the
// log and holds neither code nor token. Every other error is a provider that cannot be reached or is broken: try again.
var ErrRefused = errors.New("the provider's answer is refused")

func refused(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, short(fmt.Sprintf(format, a...)))
}

// Finish turns the answer to an attempt into the subject: who the user is at this provider.
func (p *Provider) Finish(ctx context.Context, a Attempt, given Answer) (string, error) {
	if a.State == "" || subtle.ConstantTimeCompare([]byte(a.State), []byte(given.State.Reveal())) != 1 {
		return "", refused("another state")
	}
	if code := given.Code.Reveal(); code == "" || len(code) > maxCode {
		return "", refused("a code of %d bytes", len(code))
	}
	d, err := p.document(ctx)
	if err != nil {
		return "", err
	}
	// RFC 9207 section 2.4: an answer of another provider, and one without the issuer that the provider always sends.
	if given.Issuer != p.s.Issuer && (given.Issuer != "" || d.SendsIssuer) {
		return "", refused("the answer is of another issuer")
	}
	token, err := p.exchange(ctx, d, a, given.Code)
	if err != nil {
		return "", err
	}
	return p.verify(ctx, d, a, token)
}

// Bounds of what a provider sends. RFC 6749 leaves the size of a code open: the longest seen have some kilobytes.
const (
	maxCode    = 4096
	maxToken   = 64 << 10 // an id_token with many groups in it
	maxSubject = 255      // OpenID Connect Core 1.0 section 2
)

// exchange redeems the code for tokens (RFC 6749 section 4.1.3).
func (p *Provider) exchange(ctx context.Context, d *document, a Attempt, code secret.String) (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, p.client), p.s.Timeout)
	defer cancel()
	t, err := p.config(d).Exchange(ctx, code.Reveal(), oauth2.VerifierOption(a.Verifier))
	var told *oauth2.RetrieveError
	if err == nil {
		return t, nil
	}
	if !errors.As(err, &told) {
		return nil, fmt.Errorf("redeem code: %s", short(err.Error()))
	}
	status := told.Response.StatusCode // the text of told holds the provider's whole answer
	if status == http.StatusTooManyRequests || status >= 500 {
		return nil, fmt.Errorf("redeem code: %s", told.Response.Status)
	}
	return nil, refused("redeem code: status %d, error %q", status, errorCode(told.ErrorCode))
}

// errorCode lets words like invalid_grant into the log (RFC 6749 section 5.2), and nothing that a provider may repeat.
func errorCode(s string) string {
	if len(s) > 40 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "another"
	}
	return s
}

func (p *Provider) config(d *document) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.s.ClientID, ClientSecret: p.s.ClientSecret.Reveal(), RedirectURL: p.s.RedirectURL,
		Scopes:   append([]string{oidc.ScopeOpenID}, p.s.Scopes...),
		Endpoint: oauth2.Endpoint{AuthURL: d.AuthorizeURL, TokenURL: d.TokenURL, AuthStyle: p.style(d)},
	}
}

// Try fetches what the provider publishes: the doctor's question.
func (p *Provider) Try(ctx context.Context) error {
	d, err := p.document(ctx)
	if err != nil {
		return err
	}
	k, err := p.keySet(ctx, d, keysFor)
	if err != nil {
		return err
	}
	if len(k.list) == 0 && p.s.Kind != LINE {
		return fmt.Errorf("%s publishes no key that a token could be checked with", d.KeysURL)
	}
	return nil
}

// maxErrorText bounds what of somebody else's text goes into an error.
const maxErrorText = 200

func short(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > maxErrorText {
		return string(r[:maxErrorText]) + "…"
	}
	return s
}
