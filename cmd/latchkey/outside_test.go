package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// outside is whom the program sends to: a mail server, an SMS gateway and a webhook's receiver, which keep what they get.
type outside struct {
	mail string // address of the mail server
	http *httptest.Server

	mu   sync.Mutex
	sent map[string][]string // texts, by where they went; guarded by mu
	auth map[string]string   // what somebody signed in there with, by server; guarded by mu
}

// startOutside starts them; they end with the test.
func startOutside(t testing.TB) *outside {
	t.Helper()
	o := &outside{sent: map[string][]string{}, auth: map[string]string{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(o)
	s.AllowInsecureAuth = true
	var all sync.WaitGroup
	all.Go(func() { _ = s.Serve(ln) })
	t.Cleanup(func() { _ = s.Close(); all.Wait() })
	o.mail, o.http = ln.Addr().String(), httptest.NewServer(o)
	t.Cleanup(o.http.Close)
	return o
}

// notify is the part of a configuration that names them; each file holds one secret.
func (o *outside) notify(mailFile, smsFile, signFile, hookFile string) string {
	return fmt.Sprintf(`notify:
  email: {address: '%s', tls: none, from: no-reply@old.example, user: latchkey, secret_file: %s}
  sms: {url: '%s/sms', format: json, body: '{"to": "{{.To}}", "text": "{{.Text}}"}', auth: bearer, secret_file: %s, sign_secret_file: %s}
  webhooks:
    siem: {url: '%s/hook', secret_file: %s}
`, o.mail, mailFile, o.http.URL, smsFile, signFile, o.http.URL, hookFile)
}

// outsideTakes is how long a server out there takes for a message: whoever waits for it is seen to.
const outsideTakes = 20 * time.Millisecond

func (o *outside) got(to, text string) {
	<-time.After(outsideTakes)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent[to] = append(o.sent[to], text)
}

func (o *outside) signedIn(at, with string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.auth[at] = with
}

func (o *outside) with(at string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.auth[at]
}

// ServeHTTP is the gateway at /sms, and else a receiver of webhooks.
func (o *outside) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	p, _ := io.ReadAll(r.Body)
	o.signedIn(r.URL.Path, r.Header.Get("Authorization"))
	var m struct{ To, Text string }
	if r.URL.Path != "/sms" || json.Unmarshal(p, &m) != nil {
		m.To, m.Text = r.URL.Path, string(p)
	}
	o.got(m.To, m.Text)
}

// mailSession is a session at the mail server.
type mailSession struct {
	o  *outside
	to string
}

func (o *outside) NewSession(*smtp.Conn) (smtp.Session, error) { return &mailSession{o: o}, nil }

func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, password string) error { s.o.signedIn("mail", password); return nil }), nil
}
func (s *mailSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return nil
}
func (s *mailSession) Data(r io.Reader) error {
	p, err := io.ReadAll(r)
	s.o.got(s.to, string(p))
	return err
}
func (s *mailSession) Reset()        {}
func (s *mailSession) Logout() error { return nil }

var sixDigits = regexp.MustCompile(`(?:^|[^0-9+])([0-9]{6})(?:[^0-9]|$)`)

// code awaits a message to somebody with a code in it that is not known yet.
func (o *outside) code(t testing.TB, to string, known func(code string) bool) string {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		o.mu.Lock()
		sent := slices.Clone(o.sent[to])
		o.mu.Unlock()
		for _, letter := range sent {
			_, text, found := strings.Cut(letter, "\r\n\r\n") // a letter's header has numbers too
			if !found {
				text = letter
			}
			if m := sixDigits.FindStringSubmatch(text); m != nil && !known(m[1]) {
				return m[1]
			}
		}
	}
	t.Fatalf("%s got no code in %d messages", to, o.count(to))
	return ""
}

// count is how many messages went to somebody.
func (o *outside) count(to string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.sent[to])
}
