package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"latchkey/authcore/secret"
)

const (
	alice  = "alice@new.example"
	bob    = "bob@old.example"
	master = "proxy"
	pass   = "master secret"
)

// started is a demo that listens, and its addresses.
type started struct {
	*Server
	imap, pop3, smtp, dav string
}

func testOptions() Options {
	return Options{
		Domains: []string{"new.example", "old.example"},
		People: []Person{
			{Address: alice, Aliases: []string{"a.liddell@new.example"}},
			{Address: bob},
		},
		Master:       master,
		MasterSecret: secret.New(pass),
		Passthrough:  func(user, password string) bool { return password == "own password of "+user },
		Token: func(_ context.Context, token string) (string, error) {
			if user, ok := strings.CutPrefix(token, "token of "); ok {
				return user, nil
			}
			return "", errors.New("unknown token")
		},
	}
}

func start(t *testing.T, change ...func(*Options)) *started {
	t.Helper()
	o := testOptions()
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	d := &started{Server: s}
	var serving sync.WaitGroup
	listen := func(serve func(net.Listener) error) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() {
			if err := serve(l); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		return l.Addr().String()
	}
	d.imap, d.pop3, d.smtp = listen(s.ServeIMAP), listen(s.ServePOP3), listen(s.ServeSMTP)
	web := httptest.NewServer(s.DAV())
	d.dav = web.URL
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		serving.Wait()
	})
	return d
}

// asMaster is how the proxy signs in on behalf of somebody.
func asMaster(who string) sasl.Client { return sasl.NewPlainClient(who, master, pass) }

func (d *started) imapAs(t *testing.T, who string) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(d.imap, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Authenticate(asMaster(who)); err != nil {
		t.Fatalf("sign in to IMAP as %s: %v", who, err)
	}
	return c
}

func (d *started) smtpAs(t *testing.T, who string) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(d.smtp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Auth(asMaster(who)); err != nil {
		t.Fatalf("sign in to SMTP as %s: %v", who, err)
	}
	return c
}

// texts answers all messages of a mailbox.
func (d *started) texts(t *testing.T, who, mailbox string) []string {
	t.Helper()
	c := d.imapAs(t, who)
	box, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		t.Fatalf("select %s of %s: %v", mailbox, who, err)
	}
	if box.NumMessages == 0 {
		return nil
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	found, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		t.Fatalf("fetch %s of %s: %v", mailbox, who, err)
	}
	var texts []string
	for _, m := range found {
		texts = append(texts, string(m.FindBodySection(whole)))
	}
	return texts
}

func message(subject string) string {
	return "From: <" + alice + ">\r\nSubject: " + subject + "\r\n\r\nThe text.\r\n.a line with a dot\r\n"
}

func TestSubmittedMailIsSeenOverIMAPAndPOP3(t *testing.T) {
	d := start(t)
	text := message("Lunch") + strings.Repeat("x", 20000) + "\r\n"
	if err := d.smtpAs(t, alice).SendMail(alice, []string{bob}, strings.NewReader(text)); err != nil {
		t.Fatalf("submit: %v", err)
	}

	texts := d.texts(t, bob, inbox)
	if len(texts) != 2 {
		t.Fatalf("IMAP shows %d messages, want the welcome and the new one", len(texts))
	}
	if !strings.HasSuffix(texts[1], text) || !strings.HasPrefix(texts[1], "Return-Path: <"+alice+">\r\n") {
		t.Errorf("IMAP shows\n%.300q\nwant a trace and the message as it was sent", texts[1])
	}

	p := dialPOP3(t, d.pop3)
	p.expect(t, "+OK")
	p.say(t, "AUTH PLAIN "+plainResponse(bob, master, pass), "+OK")
	p.say(t, "RETR 2", "+OK")
	got, err := p.ReadDotBytes()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(texts[1], "\r\n", "\n"); string(got) != want {
		t.Errorf("POP3 and IMAP show different messages: %.200q, %.200q", got, want)
	}

	p.say(t, "DELE 2", "+OK")
	if n := len(d.texts(t, bob, inbox)); n != 2 {
		t.Errorf("before QUIT IMAP shows %d messages, want 2", n)
	}
	p.say(t, "QUIT", "+OK")
	if n := len(d.texts(t, bob, inbox)); n != 1 {
		t.Errorf("after QUIT IMAP shows %d messages, want 1", n)
	}
}

func TestDeliver(t *testing.T) {
	d := start(t)
	if err := d.Deliver("A.Liddell@NEW.example", []byte(message("By alias"))); err != nil {
		t.Errorf("deliver to an alias: %v", err)
	}
	if texts := d.texts(t, alice, inbox); len(texts) != 2 || texts[1] != message("By alias") {
		t.Errorf("INBOX holds %q", texts)
	}
	if err := d.Deliver("nobody@new.example", nil); !errors.Is(err, errNoSuchPerson) {
		t.Errorf("deliver to nobody: got %v, want errNoSuchPerson", err)
	}
}

func TestAddPersonRefuses(t *testing.T) {
	d := start(t)
	for name, addresses := range map[string][]string{
		"an address that is taken":        {"ALICE@new.example"},
		"an address that is an alias":     {"a.liddell@new.example"},
		"an alias that is taken":          {"carol@new.example", bob},
		"a domain that is not the demo's": {"carol@elsewhere.example"},
		"a bare name":                     {"carol"},
		"a path":                          {"../carol@new.example"},
		"a line":                          {"carol\r\n@new.example"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := d.AddPerson(addresses[0], addresses[1:]...); err == nil {
				t.Errorf("%q was added", addresses)
			}
		})
	}
	if d.people.find("carol@new.example") != nil {
		t.Error("a refused person can be found")
	}
}

func TestCloseEndsOpenConnections(t *testing.T) {
	s, err := New(testOptions())
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var conns []net.Conn
	for name, serve := range map[string]func(net.Listener) error{"IMAP": s.ServeIMAP, "POP3": s.ServePOP3, "SMTP": s.ServeSMTP} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() {
			if err := serve(l); err != nil {
				t.Errorf("%s: serve after close: got %v, want nil", name, err)
			}
		})
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatalf("%s: greeting: %v", name, err)
		}
		conns = append(conns, c)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	serving.Wait()
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			t.Error("a connection outlived Close")
		}
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestGateRefusesOverItsLimit(t *testing.T) {
	g := newGate(1)
	first, _ := net.Pipe()
	c := g.admit(first)
	if c == nil {
		t.Fatal("the first connection was refused")
	}
	second, far := net.Pipe()
	if g.admit(second) != nil {
		t.Error("a connection over the limit was let in")
	}
	_ = far.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the refused connection: got %v, want the end", err)
	}
	_ = c.Close()
	_ = c.Close() // libraries close twice
	third, _ := net.Pipe()
	c = g.admit(third)
	if c == nil {
		t.Fatal("a connection was refused after the first had left")
	}
	_ = c.Close()
	g.shut()
	if fourth, _ := net.Pipe(); g.admit(fourth) != nil {
		t.Error("a connection was let in after the gate was shut")
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	var log bytes.Buffer
	d := start(t, func(o *Options) { o.Logger = debugLogger(&log) })
	for _, dialogue := range []struct{ address, line string }{
		{d.imap, "a LOGIN alice@new.example \"hunter2"},
		{d.imap, "a AUTHENTICATE PLAIN " + plainResponse("", alice, "hunter2")},
		{d.smtp, "EHLO x\r\nAUTH PLAIN " + plainResponse("", alice, "hunter2") + "=!"},
		{d.pop3, "USER " + alice + "\r\nPASS hunter2"},
	} {
		c, err := net.Dial("tcp", dialogue.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, dialogue.line+"\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	_ = d.Close()
	if strings.Contains(log.String(), "hunter2") || strings.Contains(log.String(), plainResponse("", alice, "hunter2")) {
		t.Errorf("a password is in the log:\n%s", log.String())
	}
}
