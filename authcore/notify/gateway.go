package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"latchkey/authcore/secret"
)

// Bounds of a request to a gateway or a webhook.
const (
	httpWithin = 10 * time.Second
	maxAnswer  = 64 << 10 // read of a body, so that the connection can be used again
)

// newClient follows no redirect: what is signed and sent there would go to somebody else. It uses no proxy of the
// environment either.
func newClient(t *tls.Config) *http.Client {
	if t == nil {
		t = &tls.Config{}
	}
	t = t.Clone()
	t.MinVersion = tls.VersionTLS12
	return &http.Client{
		Timeout: httpWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{TLSClientConfig: t, TLSHandshakeTimeout: httpWithin, ResponseHeaderTimeout: httpWithin, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 2, MaxConnsPerHost: lanesOf, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10},
	}
}

// checkURL takes https, and http to this host alone.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("url: must be like https://gateway.example/messages, without a name or password in it")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return errors.New("url: must begin with https://; http:// is for this host alone")
	}
	return nil
}

// deliver makes the request; its status says how it went.
func deliver(c *http.Client, r *http.Request) error {
	res, err := c.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL may hold a key or a number
		}
		return fmt.Errorf("ask the gateway: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	switch s := res.StatusCode; {
	case s >= 200 && s <= 299:
		return nil
	case slices.Contains([]int{http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, s):
		return fmt.Errorf("%w: status %d", ErrRefused, s)
	default:
		return fmt.Errorf("the gateway answered with status %d", s)
	}
}

// How a gateway's body is written, and with what it is asked to believe us.
const (
	FormBody   = "form"
	JSONBody   = "json"
	BasicAuth  = "basic"
	BearerAuth = "bearer"
)

// SMSOptions say how a text message leaves: as a request to somebody's gateway. URL, Headers and Body are templates
// (text/template) over {{.To}} (E.164), {{.Digits}} (without the "+"), {{.ID}} and {{.Text}}; what is put in is escaped
// for where it stands. Headers have no {{.Text}}.
type SMSOptions struct {
	Method     string // empty: POST
	URL        string
	Headers    map[string]string
	Format     string // FormBody or JSONBody; says how Body is escaped and typed
	Body       string
	Auth       string // BasicAuth, BearerAuth or empty
	User       string // of BasicAuth
	Secret     secret.String
	SignHeader string // empty: DefaultSignHeader
	SignSecret secret.String
	TLS        *tls.Config // nil: the system's authorities
	Now        func() time.Time
}

// DefaultSignHeader carries "t=<unix time>,v1=<hex>", the HMAC-SHA-256 of the time, a dot and the body.
const DefaultSignHeader = "X-Latchkey-Signature"

// SMS is a Sender over a gateway.
type SMS struct {
	o       SMSOptions
	client  *http.Client
	url     *template.Template
	body    *template.Template
	headers map[string]*template.Template
}

// What templates may name.
type (
	placed  struct{ To, Digits, ID string }
	written struct {
		placed
		Text string
	}
)

// NewSMS makes one and tries its templates. It asks nobody.
func NewSMS(o SMSOptions) (*SMS, error) {
	if o.Method == "" {
		o.Method = http.MethodPost
	}
	if o.SignHeader == "" {
		o.SignHeader = DefaultSignHeader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodGet}, o.Method):
		return nil, fmt.Errorf("method: must be POST, PUT or GET, is %q", o.Method)
	case o.Format != FormBody && o.Format != JSONBody:
		return nil, fmt.Errorf("format: must be form or json, is %q", o.Format)
	case !slices.Contains([]string{"", BasicAuth, BearerAuth}, o.Auth):
		return nil, fmt.Errorf("auth: must be basic or bearer, is %q", o.Auth)
	case (o.Auth == "") != o.Secret.Empty():
		return nil, errors.New("auth: goes with secret_file, and secret_file with it")
	case (o.Auth == BasicAuth) != (o.User != ""):
		return nil, errors.New("user: goes with auth basic")
	}
	s := &SMS{o: o, client: newClient(o.TLS), headers: map[string]*template.Template{}}
	if err := s.parse(); err != nil {
		return nil, err
	}
	return s, s.rehearse()
}

func (s *SMS) parse() (err error) {
	if s.url, err = template.New("url").Parse(s.o.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if s.body, err = template.New("body").Parse(s.o.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	for name, text := range s.o.Headers {
		if s.headers[name], err = template.New(name).Parse(text); err != nil {
			return fmt.Errorf("headers.%s: %w", name, err)
		}
	}
	return nil
}

// rehearse writes a request as bad as they come, so that a mistake is found before a member waits for a code.
func (s *SMS) rehearse() error {
	o := Outgoing{ID: "0-a", To: "+819012345678", Text: "\"\\&=%+{}\n\u2028\x00漢字"}
	r, body, err := s.request(context.Background(), o)
	if err != nil {
		return err
	}
	if err := checkURL(r.URL.String()); err != nil {
		return err
	}
	if s.o.Method == http.MethodGet {
		return nil
	}
	if s.o.Format == JSONBody && !json.Valid(body) {
		return errors.New(`body: is no JSON once it is filled in: put quotes around "{{.To}}" and "{{.Text}}"`)
	}
	if _, err := url.ParseQuery(string(body)); s.o.Format == FormBody && err != nil {
		return errors.New("body: is no form once it is filled in: write it like To={{.To}}&Body={{.Text}}")
	}
	return nil
}

// Send asks the gateway to send one message.
func (s *SMS) Send(ctx context.Context, o Outgoing) error {
	r, _, err := s.request(ctx, o)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return deliver(s.client, r)
}

func (s *SMS) request(ctx context.Context, o Outgoing) (*http.Request, []byte, error) {
	where, err := fill(s.url, s.fields(o, escapeURL))
	if err != nil {
		return nil, nil, fmt.Errorf("url: %w", err)
	}
	escape, kind := escapeJSON, "application/json"
	if s.o.Format == FormBody {
		escape, kind = url.QueryEscape, "application/x-www-form-urlencoded"
	}
	body, err := fill(s.body, s.fields(o, escape))
	if err != nil {
		return nil, nil, fmt.Errorf("body: %w", err)
	}
	if s.o.Method == http.MethodGet {
		body = ""
	}
	r, err := http.NewRequestWithContext(ctx, s.o.Method, where, strings.NewReader(body))
	if err != nil {
		return nil, nil, errors.New("url: is none once it is filled in")
	}
	if body != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.Header.Set("Idempotency-Key", o.ID)
	r.Header.Set("X-Latchkey-Attempt", strconv.Itoa(o.Attempt))
	if err := s.head(r, o, body); err != nil {
		return nil, nil, err
	}
	return r, []byte(body), nil
}

// head adds the operator's own headers, and what proves who asks.
func (s *SMS) head(r *http.Request, o Outgoing, body string) error {
	for name, t := range s.headers {
		v, err := fill(t, s.fields(o, func(s string) string { return s }).placed)
		if err != nil {
			return fmt.Errorf("headers.%s: %w", name, err)
		}
		r.Header.Set(name, v)
	}
	switch s.o.Auth {
	case BasicAuth:
		r.SetBasicAuth(s.o.User, s.o.Secret.Reveal())
	case BearerAuth:
		r.Header.Set("Authorization", "Bearer "+s.o.Secret.Reveal())
	}
	if !s.o.SignSecret.Empty() {
		at := strconv.FormatInt(s.o.Now().Unix(), 10)
		h := hmac.New(sha256.New, []byte(s.o.SignSecret.Reveal()))
		h.Write([]byte(at + "." + body))
		r.Header.Set(s.o.SignHeader, "t="+at+",v1="+hex.EncodeToString(h.Sum(nil)))
	}
	return nil
}

func (s *SMS) fields(o Outgoing, escape func(string) string) written {
	return written{placed: placed{To: escape(o.To), Digits: escape(strings.TrimPrefix(o.To, "+")), ID: escape(o.ID)}, Text: escape(o.Text)}
}

func fill(t *template.Template, data any) (string, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	return b.String(), nil
}

// escapeURL is good in a path and in a query: a space is %20 in both.
func escapeURL(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// escapeJSON is what stands between the quotes.
func escapeJSON(s string) string {
	p, err := json.Marshal(s)
	if err != nil {
		panic("notify: a text cannot be JSON: " + err.Error()) // bytes that are no UTF-8 are replaced
	}
	return string(p[1 : len(p)-1])
}
