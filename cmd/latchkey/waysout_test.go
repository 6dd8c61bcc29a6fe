package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"latchkey/authcore/notify"
	"latchkey/configs"
	"latchkey/proxy/peers"
)

// mailTaker keeps what it takes, in the test's own process, so that it outlives each process of the server.
type mailTaker struct {
	addr string

	mu    sync.Mutex
	got   []string              // guarded by mu
	taken func(to string)       // after a message was taken and before that is answered; guarded by mu
	says  func(to string) error // to RCPT; guarded by mu
}

type mailTalk struct {
	s  *mailTaker
	to string
}

func (s *mailTaker) NewSession(*smtp.Conn) (smtp.Session, error) { return &mailTalk{s: s}, nil }
func (m *mailTalk) Mail(string, *smtp.MailOptions) error         { return nil }
func (m *mailTalk) Rcpt(to string, _ *smtp.RcptOptions) error {
	m.to = to
	m.s.mu.Lock()
	says := m.s.says
	m.s.mu.Unlock()
	if says != nil {
		return says(to)
	}
	return nil
}
func (m *mailTalk) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	m.s.mu.Lock()
	if err == nil {
		m.s.got = append(m.s.got, string(b))
	}
	taken := m.s.taken
	m.s.mu.Unlock()
	if taken != nil {
		taken(m.to)
	}
	return err
}
func (m *mailTalk) Reset()        {}
func (m *mailTalk) Logout() error { return nil }

func (s *mailTaker) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func startMail(t *testing.T) *mailTaker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailTaker{addr: ln.Addr().String()}
	s := smtp.NewServer(m)
	s.ErrorLog = quiet{}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return m
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (s *stage) withMail(m *mailTaker) {
	s.configure(func(c string) string {
		return c + fmt.Sprintf("notify: {email: {address: '%s', tls: none, from: 'Example <no-reply@example.org>'}}\n", m.addr)
	})
}

// waitFor waits for what other processes do.
func waitFor(t *testing.T, what string, d time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, d)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var (
	headerID      = regexp.MustCompile(`(?mi)^Message-ID: <(.+)>\r?$`)
	headerAttempt = regexp.MustCompile(`(?mi)^X-Latchkey-Attempt: (\d+)\r?$`)
)

// The program is killed after the mail server took a message and before that is written: the next one sends it again, with
// the same Message-ID and marked. What it had not sent yet comes too.
func TestDrillKillBetweenSendingAndDeleting(t *testing.T) {
	t.Parallel()
	m := startMail(t)
	s := newStage(t)
	s.withMail(m)
	p := s.serve()
	hold := make(chan struct{})
	reached := make(chan struct{}, 100)
	m.taken = func(string) { reached <- struct{}{}; <-hold } // taken, and the answer does not come
	c := s.api()
	if err := c.signIn(s.people["opted-in"]); err != nil {
		t.Fatal(err)
	}
	const made = 3
	for i := range made {
		if status, err := c.do("POST", "/me/app-passwords", map[string]any{"name": fmt.Sprint("drill ", i)}, nil); status != 201 || err != nil {
			t.Fatal(status, err)
		}
	}
	<-reached
	p.kill()
	m.mu.Lock()
	m.taken = nil
	before := len(m.got)
	m.mu.Unlock()
	close(hold)
	p = s.serve()
	defer p.stop()
	attempts := func() map[string][]string {
		l := map[string][]string{}
		for _, text := range m.all() {
			if strings.Contains(text, "app_password_created") {
				id := headerID.FindStringSubmatch(text)[1]
				l[id] = append(l[id], headerAttempt.FindStringSubmatch(text)[1])
			}
		}
		return l
	}
	waitFor(t, "every message comes, and what was taken comes again", 3*time.Minute, func() bool {
		l, twice := attempts(), 0
		for _, a := range l {
			if len(a) > 1 {
				twice++
			}
		}
		return len(l) == made && twice >= 1
	})
	for id, a := range attempts() {
		if want := []string{"1", "2"}[:len(a)]; !slices.Equal(a, want) && !slices.Equal(a, []string{"2"}) {
			t.Errorf("%s is marked %v", id, a)
		}
	}
	t.Logf("%d before the kill, %v", before, attempts())
}

// doctor -mail-to sends a real message, and says where it cannot.
func TestDoctorSendsATestMessage(t *testing.T) {
	t.Parallel()
	m := startMail(t)
	s := newStage(t)
	s.withMail(m)
	args := []string{"doctor", "-config", s.file, "-member", s.people["account"].Address, "-mail-to", "ann@example.org"}
	c := call(t, args...)
	if l := m.all(); len(l) != 1 || !strings.Contains(l[0], "<ann@example.org>") || !strings.Contains(c.out, "ok       messages by email: the test message was taken") {
		t.Errorf("%d messages, exit %d, says\n%s%s", len(l), c.code, c.out, c.err)
	}
	m.mu.Lock()
	m.says = func(string) error {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no"}
	}
	m.mu.Unlock()
	c = call(t, append(args, "-sms-to", "+819012345678")...)
	if c.code != exitFailed || !strings.Contains(c.out, "messages by email: RCPT: refused: answered 550 5.1.1") ||
		!strings.Contains(c.out, "messages by sms: the configuration has no such way out") || strings.Contains(c.out, "8190") {
		t.Errorf("exit %d, says\n%s", c.code, c.out)
	}
}

// The gateways of docs/operators.md, as they stand there, ask for what the gateways' own documentation shows.
func TestGatewayRecipes(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(notify:\n  sms:\n.*?)```").FindAllStringSubmatch(string(doc), -1)
	text := "482913 は\"認証番号\"です & = + %\n"
	want := map[string]func(r *http.Request, body string) bool{
		"/2010-04-01/Accounts/AC0123/Messages.json": func(r *http.Request, body string) bool {
			v, err := url.ParseQuery(body)
			u, p, _ := r.BasicAuth()
			return err == nil && len(v) == 3 && v.Get("To") == "+819012345678" && v.Get("From") == "+15005550006" && v.Get("Body") == text && u == "AC0123" && p == "hush"
		},
		"/v1/messages": func(r *http.Request, body string) bool {
			var v map[string]string
			err := json.Unmarshal([]byte(body), &v)
			u, p, _ := r.BasicAuth()
			return err == nil && len(v) == 5 && v["channel"] == "sms" && v["message_type"] == "text" && v["from"] != "" && v["to"] == "819012345678" && v["text"] == text &&
				u == "abcd1234" && p == "hush" && r.Header.Get("Content-Type") == "application/json"
		},
	}
	if len(blocks) != len(want) {
		t.Fatalf("%d recipes", len(blocks))
	}
	for _, b := range blocks {
		right, path := false, ""
		gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			path = r.URL.Path
			right = want[path] != nil && r.Method == http.MethodPost && want[path](r, string(body))
			w.WriteHeader(http.StatusAccepted)
		}))
		s := bareStage(t)
		s.write("sms", "hush\n", 0o600)
		recipe := regexp.MustCompile(`https://[^/]+/`).ReplaceAllString(b[1], gateway.URL+"/")
		recipe = regexp.MustCompile(`secret_file: \S+`).ReplaceAllString(recipe, "secret_file: "+s.path("sms"))
		s.configure(func(c string) string { return c + recipe })
		cfg, err := configs.Load(s.file)
		if err != nil {
			t.Fatal(err)
		}
		out, m := waysOutOf(cfg)
		if len(m) > 0 {
			t.Fatal(m)
		}
		err = out.senders[notify.BySMS].Send(t.Context(), notify.Outgoing{ID: "1abc", To: "+819012345678", Text: text, Attempt: 1})
		if err != nil || !right {
			t.Errorf("%s: %v, right: %v", path, err, right)
		}
		gateway.Close()
	}
}

// A member's message goes through a real Postfix into a real mailbox.
func TestPeersMessageThroughPostfix(t *testing.T) {
	t.Parallel()
	d, p := peers.Mail(t, peers.DovecotOptions{}, peers.PostfixOptions{})
	startHouse(t, nil, func(c *configs.Config) {
		c.Notify.Email = configs.Email{Address: p.Relay, TLS: "none", From: "Example <no-reply@new.example>"}
	}) // an app password was made
	var got string
	waitFor(t, "the message is in the mailbox", time.Minute, func() bool {
		k, err := net.Dial("tcp", d.IMAP)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		talk := newTalk(k)
		for _, line := range []string{"a LOGIN " + quoted(appMember) + " " + quoted(peers.UserPassword), "b SELECT INBOX", "c FETCH 1:* BODY[]"} {
			got = ""
			if err := talk.say(line); err != nil {
				t.Fatal(err)
			}
			for !strings.HasPrefix(got[strings.LastIndexByte(got, '\n')+1:], line[:2]) {
				next, err := talk.hear()
				if err != nil {
					t.Fatal(err)
				}
				got += "\n" + next
			}
		}
		return strings.Contains(got, "X-Latchkey-Kind: app_password_created")
	})
	for _, want := range []string{"Auto-Submitted: auto-generated", "X-Latchkey-Attempt: 1", "Subject: A third-party app password was created", "From: \"Example\" <no-reply@new.example>"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
