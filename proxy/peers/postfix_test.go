package peers

import (
	"strings"
	"testing"
)

func TestPeersSMTP(t *testing.T) {
	t.Parallel()
	p := Postfix(t, PostfixOptions{})
	direct := Endpoint{Addr: p.Submission, User: "jane@new.example", Password: UserPassword}
	Same(t, PostfixScenarios(p.Arrived), direct, direct)
}

func TestPeersSMTPOverTLS(t *testing.T) {
	t.Parallel()
	p := Postfix(t, PostfixOptions{TLS: true})
	direct := Endpoint{Addr: p.Submission, Security: StartTLS, CA: p.CA, User: "jane@new.example", Password: UserPassword}
	Same(t, SMTPScenarios(p.Arrived)[:2], direct, direct)
}

// Whoever may say XCLIENT is the member he names, without a password.
func TestPeersPostfixXCLIENT(t *testing.T) {
	t.Parallel()
	p := Postfix(t, PostfixOptions{})
	s := &smtpSession{rawConn: dialRaw(t, Endpoint{Addr: p.Submission}), user: "jane@new.example", sink: p.Arrived}
	s.reply()
	s.do("EHLO door.example")
	want := func(got, prefix string) {
		t.Helper()
		if !strings.HasPrefix(got, prefix) {
			t.Fatalf("got %q, want %s", got, prefix)
		}
	}
	want(s.do("XCLIENT ADDR=192.0.2.7 PORT=4711 NAME=[UNAVAILABLE] HELO=client.example PROTO=ESMTP LOGIN=jane+40new.example"), "220 ")
	s.do("EHLO client.example")
	s.from("")
	want(s.do("RCPT TO:<xclient@elsewhere.example>"), "250 ")
	s.do("DATA")
	s.send(smtpLetter(s, "xclient", "text\r\n") + ".\r\n")
	want(s.reply(), "250 ")
	if m := p.Arrived.Next(t, "xclient@elsewhere.example"); !strings.Contains(m.Text, "from client.example (unknown [192.0.2.7])") {
		t.Errorf("the trace field does not name the client: %s", m.Text)
	}
	wantLog(t, p.LogFile, "client=unknown[192.0.2.7]", "sasl_username=jane@new.example")
}

// Nobody else may send, and nobody may relay who has not signed in.
func TestPeersPostfixRefusesStrangers(t *testing.T) {
	t.Parallel()
	p := Postfix(t, PostfixOptions{})
	s := &smtpSession{rawConn: dialRaw(t, Endpoint{Addr: p.Submission}), user: "jane@new.example"}
	s.reply()
	s.do("EHLO stranger.example")
	s.from("")
	if got := s.do("RCPT TO:<relay@elsewhere.example>"); !strings.HasPrefix(got, "554 5.7.1") {
		t.Errorf("RCPT without sign-in: %s", got)
	}
}

// With PROXY protocol in, the right to say XCLIENT belongs to the address in the header, not to the door's: one of both.
func TestPeersPostfixProxied(t *testing.T) {
	t.Parallel()
	p := Postfix(t, PostfixOptions{Proxy: true})
	for name, c := range map[string]struct {
		source string
		want   string
	}{
		"a client's address": {"192.0.2.7", "550 5.7.0"},
		"the door's own":     {"127.0.0.1", "220 "},
	} {
		t.Run(name, func(t *testing.T) {
			s := &smtpSession{rawConn: dialRaw(t, Endpoint{Addr: p.Submission}), user: "jane@new.example"}
			s.send("PROXY TCP4 " + c.source + " 127.0.0.1 4711 587\r\n")
			s.reply()
			s.do("EHLO door.example")
			if got := s.do("XCLIENT LOGIN=jane@new.example"); !strings.HasPrefix(got, c.want) {
				t.Errorf("XCLIENT: %s, want %s", got, c.want)
			}
		})
	}
}
