package demo

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"net/textproto"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

func plainResponse(onBehalf, user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(onBehalf + "\x00" + user + "\x00" + password))
}

// lockedBuffer is a log that several connections write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf *bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func debugLogger(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(&lockedBuffer{buf: b}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Who gets in, over each protocol.
func TestWhoMayComeIn(t *testing.T) {
	token := func(user, token string) sasl.Client {
		return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: token})
	}
	cases := []struct {
		name   string
		client func() sasl.Client
		in     bool
	}{
		{"master for a person", func() sasl.Client { return asMaster(alice) }, true},
		{"master for a person by alias", func() sasl.Client { return asMaster("a.liddell@new.example") }, true},
		{"master for nobody", func() sasl.Client { return asMaster("nobody@new.example") }, false},
		{"master for himself", func() sasl.Client { return asMaster("") }, false},
		{"master with a wrong secret", func() sasl.Client { return sasl.NewPlainClient(alice, master, "wrong") }, false},
		{"master with no secret", func() sasl.Client { return sasl.NewPlainClient(alice, master, "") }, false},
		{"somebody else with the master's secret", func() sasl.Client { return sasl.NewPlainClient(alice, bob, pass) }, false},
		{"a person with his own password", func() sasl.Client { return sasl.NewPlainClient("", alice, "own password of "+alice) }, true},
		{"a person on his own behalf", func() sasl.Client { return sasl.NewPlainClient(alice, alice, "own password of "+alice) }, true},
		{"a person on another's behalf", func() sasl.Client { return sasl.NewPlainClient(bob, alice, "own password of "+alice) }, false},
		{"a person with a wrong password", func() sasl.Client { return sasl.NewPlainClient("", alice, "wrong") }, false},
		{"a token", func() sasl.Client { return token("", "token of "+alice) }, true},
		{"a token and its owner", func() sasl.Client { return token(alice, "token of "+alice) }, true},
		{"a token and somebody else", func() sasl.Client { return token(bob, "token of "+alice) }, false},
		{"a token of nobody", func() sasl.Client { return token("", "token of nobody@new.example") }, false},
		{"a token that is none", func() sasl.Client { return token("", "made up") }, false},
	}
	d := start(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for protocol, signIn := range map[string]func(*testing.T, sasl.Client) error{
				"IMAP": d.tryIMAP, "SMTP": d.trySMTP, "POP3": d.tryPOP3,
			} {
				if err := signIn(t, c.client()); (err == nil) != c.in {
					t.Errorf("%s: got %v, want in: %v", protocol, err, c.in)
				}
			}
		})
	}
}

func (d *started) tryIMAP(t *testing.T, c sasl.Client) error {
	conn, err := imapclient.DialInsecure(d.imap, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Authenticate(c); err != nil {
		return err
	}
	_, err = conn.Select(inbox, nil).Wait()
	return err
}

func (d *started) trySMTP(t *testing.T, c sasl.Client) error {
	conn, err := smtp.Dial(d.smtp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Auth(c); err != nil {
		return err
	}
	return conn.Mail(alice, nil)
}

func (d *started) tryPOP3(t *testing.T, c sasl.Client) error {
	conn := dialPOP3(t, d.pop3)
	conn.expect(t, "+OK")
	mechanism, initial, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	line := conn.ask(t, "AUTH "+mechanism+" "+base64.StdEncoding.EncodeToString(initial))
	if line != "" && line[0] == '+' && line[1] == ' ' { // OAUTHBEARER tells why, and wants an answer
		line = conn.ask(t, "AQ==")
	}
	if line[0] != '+' {
		return textproto.ProtocolError(line)
	}
	conn.say(t, "STAT", "+OK")
	return nil
}

// The zero value of what lets people in lets nobody in.
func TestNobodyComesInWithoutOptions(t *testing.T) {
	d := start(t, func(o *Options) {
		*o = Options{Domains: o.Domains, People: o.People, Master: master}
	})
	for name, c := range map[string]sasl.Client{
		"empty master":         sasl.NewPlainClient(alice, "", ""),
		"master, no secret":    sasl.NewPlainClient(alice, master, ""),
		"own password":         sasl.NewPlainClient("", alice, "own password of "+alice),
		"empty password":       sasl.NewPlainClient("", alice, ""),
		"mechanism not served": sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Token: "token of " + alice}),
	} {
		if d.tryIMAP(t, c) == nil || d.trySMTP(t, c) == nil || d.tryPOP3(t, c) == nil {
			t.Errorf("%s: somebody came in", name)
		}
	}
}

// The empty answer that some programs give to OAUTHBEARER's error used to panic in the library.
func TestExchangeSurvivesEmptyAnswerToError(t *testing.T) {
	s, err := New(testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := s.exchange(sasl.OAuthBearer, func(*person) { t.Error("admitted") }, errPOP3Refused)
	if _, done, err := e.Next([]byte("n,,\x01auth=Bearer wrong\x01\x01")); done || err != nil {
		t.Fatalf("first answer: done %v, error %v, want a challenge", done, err)
	}
	if _, _, err := e.Next([]byte{}); err != errPOP3Refused {
		t.Errorf("second answer: got %v, want a refusal", err)
	}
}
