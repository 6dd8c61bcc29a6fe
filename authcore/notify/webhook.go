package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/authcore/secret"
)

// MaxWebhooks bounds how many one installation has: each event is a record for each of them, in a batch that has a bound.
const MaxWebhooks = 4

// Webhook says which events a webhook wants. What brings them there is the Sender of its channel.
type Webhook struct {
	Name    string   // as in the configuration
	Domains []string // none: of every domain
	Kinds   []Kind   // none: every kind but those that are secret
}

// Wants says whether it gets an event. Codes, and what only their receiver may know, nobody gets.
func (w Webhook) Wants(domain string, k Kind) bool {
	return !k.Secret() && (len(w.Domains) == 0 || slices.Contains(w.Domains, domain)) && (len(w.Kinds) == 0 || slices.Contains(w.Kinds, k))
}

// HookOptions say where a webhook is.
type HookOptions struct {
	URL    string
	Secret secret.String // as the receiver got it: "whsec_" and base64
	TLS    *tls.Config   // nil: the system's authorities
	Now    func() time.Time
}

// Hook is a Sender that posts events as JSON, signed as the Standard Webhooks specification has it: the headers
// webhook-id, webhook-timestamp and webhook-signature. The id is the same at every attempt.
type Hook struct {
	o      HookOptions
	key    []byte
	client *http.Client
}

// hookSecret begins a secret in the form that receivers are given.
const hookSecret = "whsec_"

// NewHook makes one. It asks nobody.
func NewHook(o HookOptions) (*Hook, error) {
	if err := checkURL(o.URL); err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(o.Secret.Reveal(), hookSecret)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 { // the specification's bounds
		return nil, errors.New("secret_file: must hold whsec_ and 24 to 64 bytes in base64: echo whsec_$(openssl rand -base64 32)")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Hook{o: o, key: key, client: newClient(o.TLS)}, nil
}

// Send posts one event.
func (h *Hook) Send(ctx context.Context, o Outgoing) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.o.URL, strings.NewReader(o.Text))
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	at := strconv.FormatInt(h.o.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", o.ID)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", "v1,"+h.sign(o.ID, at, o.Text))
	r.Header.Set("X-Latchkey-Attempt", strconv.Itoa(o.Attempt))
	return deliver(h.client, r)
}

func (h *Hook) sign(id, at, body string) string {
	m := hmac.New(sha256.New, h.key)
	m.Write([]byte(id + "." + at + "." + body))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}
