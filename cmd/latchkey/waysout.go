package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/configs"
)

// waysOut are how messages leave.
type waysOut struct {
	senders  map[notify.Channel]notify.Sender
	webhooks []notify.Webhook
	metrics  *notify.Metrics
	keep     bool // what is to be sent waits for the server
}

// waysOutOf makes what the configuration names. It dials nobody; the mistakes are what the file alone did not tell.
func waysOutOf(cfg *configs.Config) (w waysOut, m configs.Mistakes) {
	w.senders = map[notify.Channel]notify.Sender{}
	add := func(c notify.Channel, at string, s notify.Sender, err error) {
		if err != nil {
			m = append(m, mistakeAt(cfg, at, err))
			return
		}
		w.senders[c] = s
	}
	if n := cfg.Notify.Email; n.Exists() {
		s, err := newEmail(cfg, n)
		add(notify.ByEmail, "notify.email", s, err)
	}
	if n := cfg.Notify.SMS; n.Exists() {
		s, err := newSMS(n)
		add(notify.BySMS, "notify.sms", s, err)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Notify.Webhooks)) {
		n, at := cfg.Notify.Webhooks[name], "notify.webhooks."+name
		s, err := newHook(n)
		kinds, kerr := hookKinds(n.Kinds)
		add(notify.ByWebhook(name), at, s, errors.Join(err, kerr))
		w.webhooks = append(w.webhooks, notify.Webhook{Name: name, Domains: n.Domains, Kinds: kinds})
	}
	if n := len(cfg.Notify.Webhooks); n > notify.MaxWebhooks {
		m = append(m, cfg.At("notify.webhooks", "are %d: %d at most, for each event is written once for each of them", n, notify.MaxWebhooks))
	}
	return w, m
}

// mistakeAt puts an error that begins with a key at that key's line.
func mistakeAt(cfg *configs.Config, at string, err error) configs.Mistake {
	if key, text, ok := strings.Cut(err.Error(), ": "); ok && !strings.Contains(key, " ") {
		return cfg.At(at+"."+key, "%s", text)
	}
	return cfg.At(at, "%v", err)
}

// hidden reads a secret. One that cannot be read was told already: another in its place lets the rest be looked at.
func hidden(file string) secret.String {
	s, err := configs.ReadSecret(file)
	if err != nil {
		return secret.New("unreadable")
	}
	return s
}

func newEmail(cfg *configs.Config, n configs.Email) (notify.Sender, error) {
	t, err := authorities(n.CAFile)
	if err != nil {
		return nil, err
	}
	t.ServerName = n.ServerName
	return notify.NewEmail(notify.EmailOptions{Address: n.Address, Mode: n.TLS, TLS: t, User: n.User, Secret: hidden(n.SecretFile), From: n.From,
		Hostname: cfg.Hostname})
}

func newSMS(n configs.SMS) (notify.Sender, error) {
	t, err := authorities(n.CAFile)
	if err != nil {
		return nil, err
	}
	return notify.NewSMS(notify.SMSOptions{Method: n.Method, URL: n.URL, Headers: n.Headers, Format: n.Format, Body: n.Body, Auth: n.Auth, User: n.User,
		Secret: hidden(n.SecretFile), SignHeader: n.SignHeader, SignSecret: hidden(n.SignSecretFile), TLS: t})
}

func newHook(n configs.Webhook) (notify.Sender, error) {
	t, err := authorities(n.CAFile)
	if err != nil {
		return nil, err
	}
	return notify.NewHook(notify.HookOptions{URL: n.URL, Secret: hidden(n.SecretFile), TLS: t})
}

func hookKinds(words []string) (l []notify.Kind, err error) {
	for _, w := range words {
		k := notify.Kind(w)
		if !slices.Contains(notify.Kinds(), k) || k.Secret() {
			return nil, fmt.Errorf("kinds: %q is none that a webhook may get", w)
		}
		l = append(l, k)
	}
	return l, nil
}

// authorities are the authorities in a file, or the system's.
func authorities(file string) (*tls.Config, error) {
	if file == "" {
		return &tls.Config{}, nil
	}
	p, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", file)
	}
	return &tls.Config{RootCAs: pool}, nil
}

func checkWaysOut(cfg *configs.Config) configs.Mistakes {
	_, m := waysOutOf(cfg)
	return m
}

// trial is how long a test message may take.
const trial = 30 * time.Second

// doctorMessages sends a test message where the operator asks for one.
func doctorMessages(ctx context.Context, p program, cfg *configs.Config, to map[notify.Channel]string) (failures int) {
	w, m := waysOutOf(cfg)
	for _, c := range slices.Sorted(maps.Keys(to)) {
		if to[c] == "" {
			continue
		}
		err := errors.New("the configuration has no such way out")
		if s := w.senders[c]; s != nil && len(m) == 0 {
			err = tryToSend(ctx, s, c, to[c])
		}
		if err != nil {
			fmt.Fprintf(p.out, "error    messages by %s: %v\n         mend: members get no codes this way; see notify.%s\n", c.Word(), err, c.Word())
			failures++
			continue
		}
		fmt.Fprintf(p.out, "ok       messages by %s: the test message was taken\n", c.Word())
	}
	return failures
}

func tryToSend(ctx context.Context, s notify.Sender, c notify.Channel, to string) error {
	ctx, cancel := context.WithTimeout(ctx, trial)
	defer cancel()
	return s.Send(ctx, notify.Outgoing{ID: "test-" + strings.ToLower(rand.Text()), Time: time.Now(), Channel: c, To: to, Attempt: 1,
		Subject: "A test message", Text: "The operator of this server tries whether messages arrive. There is nothing to do."})
}
