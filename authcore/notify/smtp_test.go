package notify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore/secret"
)

// locked is a mail server with TLS that asks for a password.
type locked struct {
	*postbox
	ways []string
	seen []string // how a client signed in
}

func (l *locked) NewSession(*smtp.Conn) (smtp.Session, error) { return l, nil }
func (l *locked) AuthMechanisms() []string                    { return l.ways }
func (l *locked) Auth(way string) (sasl.Server, error) {
	check := func(user, password string) error {
		l.seen = append(l.seen, way)
		if user != "latchkey" || password != "hush-hush" {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no, hush-hush is wrong for " + user}
		}
		return nil
	}
	if way == sasl.Login {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
}

// loginServer is the other side of AUTH LOGIN, which the library has no more.
type loginServer struct {
	step  int
	user  string
	check func(user, password string) error
}

func (s *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	s.step++
	switch {
	case s.step == 1 && response == nil:
		return []byte("Username:"), false, nil
	case s.user == "":
		s.user = string(response)
		return []byte("Password:"), false, nil
	default:
		return nil, true, s.check(s.user, string(response))
	}
}

func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// What is protected is protected: a wrong certificate, a server without STARTTLS and a wrong password end the attempt
// before the message, and none of them is the message's fault.
func TestEmailOverTLSAndAUTH(t *testing.T) {
	cert, pool := certificate(t, "mail.example.org")
	_, others := certificate(t, "mail.example.org")
	for _, c := range []struct {
		name, mode, server string
		ways               []string
		roots              *x509.CertPool
		password           string
		noTLS              bool
		want               string // how it signed in; empty: it fails
	}{
		{"STARTTLS, PLAIN", StartTLS, "mail.example.org", []string{sasl.Plain, sasl.Login}, pool, "hush-hush", false, sasl.Plain},
		{"implicit TLS, LOGIN", ImplicitTLS, "mail.example.org", []string{sasl.Login}, pool, "hush-hush", false, sasl.Login},
		{"a wrong password", StartTLS, "mail.example.org", []string{sasl.Plain}, pool, "wrong-wrong", false, ""},
		{"another name", StartTLS, "other.example.org", []string{sasl.Plain}, pool, "hush-hush", false, ""},
		{"another authority", ImplicitTLS, "mail.example.org", []string{sasl.Plain}, others, "hush-hush", false, ""},
		{"STARTTLS was taken out", StartTLS, "mail.example.org", []string{sasl.Plain}, pool, "hush-hush", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &locked{postbox: &postbox{got: make(chan string, 1)}, ways: c.ways}
			s := smtp.NewServer(l)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if !c.noTLS {
				s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if c.mode == ImplicitTLS {
					_ = s.Serve(tls.NewListener(ln, s.TLSConfig))
					return
				}
				_ = s.Serve(ln)
			}()
			e, err := NewEmail(EmailOptions{Address: ln.Addr().String(), Mode: c.mode, TLS: &tls.Config{RootCAs: c.roots, ServerName: c.server}, User: "latchkey",
				Secret: secret.New(c.password), From: "no-reply@example.org", Hostname: "h.example"})
			if err != nil {
				t.Fatal(err)
			}
			err = e.Send(t.Context(), Outgoing{ID: "1", To: "ann@example.org", Subject: "s", Text: "x"})
			_ = s.Close()
			<-done
			if (err == nil) != (c.want != "") || errors.Is(err, ErrRefused) || len(l.got) != map[bool]int{true: 1}[c.want != ""] {
				t.Errorf("%v, %d messages", err, len(l.got))
			}
			if c.want != "" && (len(l.seen) != 1 || l.seen[0] != c.want) {
				t.Errorf("signed in by %q", l.seen)
			}
			if c.want == "" && c.password == "hush-hush" && len(l.seen) != 0 {
				t.Error("the password was told to whoever asks")
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// A server that hangs at any word, talks without end or goes away costs an attempt its time and no more.
func TestEmailToABadServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(c net.Conn)
	}{
		{"says nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{"hangs after the greeting", func(c net.Conn) { _, _ = io.WriteString(c, "220 x\r\n"); _, _ = io.Copy(io.Discard, c) }},
		{"hangs at the message", func(c net.Conn) {
			_, _ = io.WriteString(c, "220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n")
			_, _ = io.Copy(io.Discard, c)
		}},
		{"talks without end", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "220-x\r\n"); err != nil {
					return
				}
			}
		}},
		{"one line without end", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}},
		{"goes away", func(net.Conn) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if k, err := ln.Accept(); err == nil {
					c.serve(k)
					_ = k.Close()
				}
			}()
			e, err := NewEmail(EmailOptions{Address: ln.Addr().String(), Mode: NoTLS, From: "no-reply@example.org"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			err = e.Send(ctx, Outgoing{ID: "1", To: "ann@example.org", Subject: "s", Text: "x"})
			if err == nil || errors.Is(err, ErrRefused) || time.Since(begin) > 5*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			_ = ln.Close()
			<-done
		})
	}
}

// answered calls then between the head of an answer and its body.
type answered struct {
	http.RoundTripper
	then func()
}

func (a answered) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.RoundTripper.RoundTrip(r)
	if err == nil {
		a.then()
	}
	return res, err
}

// A gateway that hangs, before its answer or in the middle of it, ends with the attempt's time.
func TestGatewayThatHangs(t *testing.T) {
	for _, c := range []struct {
		name  string
		in    bool // the answer; else before it
		fails bool
	}{
		{"before the answer", false, true},
		{"in the answer", true, false}, // it was taken
	} {
		ctx, over := context.WithCancel(t.Context())
		release := make(chan struct{})
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.in {
				w.WriteHeader(200)
				_ = http.NewResponseController(w).Flush()
			} else {
				over()
			}
			<-release
		}))
		g, err := NewSMS(SMSOptions{URL: s.URL + "/?key=canary-url", Format: JSONBody, Body: `{"to":"{{.To}}","text":"{{.Text}}"}`, Auth: BearerAuth, Secret: secret.New("canary-token")})
		if err != nil {
			t.Fatal(err)
		}
		g.client.Transport = answered{g.client.Transport, over}
		err = g.Send(ctx, Outgoing{ID: "1", To: "+819012345678", Text: "canary-482913"})
		if (err != nil) != c.fails || errors.Is(err, ErrRefused) || ctx.Err() == nil {
			t.Errorf("%s: %v, its time was over: %v", c.name, err, ctx.Err())
		}
		if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "8190")) {
			t.Errorf("%s: the error tells too much: %v", c.name, err)
		}
		close(release)
		s.Close()
	}
}

// A receiver that cannot take mail now, say for his mailbox is full, says nothing of the mail server: whoever names such an
// address keeps no code of others from leaving.
func TestReceiverWhoCannotNowRestsNoChannel(t *testing.T) {
	p := &postbox{refuse: &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "full"}}
	e := p.sender(t)
	late := e.Send(t.Context(), Outgoing{ID: "1", To: "full@example.net", Subject: "s", Text: "x"})
	if late == nil || errors.Is(late, ErrRefused) {
		t.Fatal(late)
	}
	inBubble(t, func(t *testing.T, b *bench) {
		b.mail.does = func(o Outgoing) error {
			if strings.HasPrefix(o.Text, "full") {
				return late
			}
			return nil
		}
		for range 4 * tripAfter {
			b.put("d", ByEmail, CodeSent, "full", CodeFor)
		}
		o, stop := b.runs()
		defer stop()
		time.Sleep(3 * time.Second)
		b.put("d", ByEmail, CodeSent, "good", CodeFor)
		o.Hint("d")
		time.Sleep(time.Second)
		if l := b.mail.texts(); l[len(l)-1] != "good" {
			t.Errorf("after %d attempts for others the code still waits", len(l))
		}
	})
}

func TestMessagesAreCounted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		reg := prometheus.NewRegistry()
		b.metrics = NewMetrics(reg)
		b.channels[ByWebhook("canary-hook")] = b.sms
		b.mail.does = func(o Outgoing) error {
			switch {
			case o.Text == "bad":
				return ErrRefused
			case o.Text == "late" && o.Attempt == 1:
				return errors.New("down")
			}
			return nil
		}
		b.put("d", ByEmail, PasswordChanged, "bad", SendFor)
		b.put("d", ByEmail, CodeSent, "late", CodeFor)
		b.put("d", ByWebhook("canary-hook"), PasswordChanged, "{}", SendFor)
		_, stop := b.runs()
		defer stop()
		time.Sleep(time.Hour)
		got := map[string]float64{}
		l, err := reg.Gather()
		if err != nil || len(l) != 1 || l[0].GetName() != "latchkey_notify_messages_total" {
			t.Fatal(err, len(l))
		}
		for _, m := range l[0].GetMetric() {
			var words []string
			for _, p := range m.GetLabel() {
				words = append(words, p.GetValue())
			}
			got[strings.Join(words, " ")] = m.GetCounter().GetValue()
		}
		want := map[string]float64{
			"email password_changed queued": 1, "email password_changed refused": 3, "email password_changed given_up": 1,
			"email code queued": 1, "email code failed": 1, "email code sent": 1,
			"webhook password_changed queued": 1, "webhook password_changed sent": 1,
		}
		for k, n := range want {
			if got[k] != n {
				t.Errorf("%s: %v, want %v", k, got[k], n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%v", got)
		}
	})
}
