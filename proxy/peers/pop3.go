package peers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// POP3Scenarios are raw sessions on the INBOX, which is emptied and filled through LMTP first.
func POP3Scenarios(d *DovecotServer) []Scenario {
	with := func(name string, run func(*pop3Session)) Scenario {
		return Scenario{name, func(t testing.TB, e Endpoint) []string {
			t.Helper()
			d.Empty(t, e.User)
			d.Deliver(t, e.User, string(letter("first", "text")))
			d.Deliver(t, e.User, string(letter("second", ".\r\n..\r\n.a\r\n"+string(blob(5000)))))
			s := loginPOP3(t, e)
			run(s)
			return s.notes
		}}
	}
	return []Scenario{
		with("capabilities after login", pop3Capabilities),
		with("retrieve", pop3Retrieve),
		with("delete", pop3Delete),
		with("pipelined", pop3Pipelined),
		with("refusals", pop3Refusals),
		{"20 MB message", pop3Large(d)},
	}
}

// POP3Transcript runs all of them and returns what was seen, each scenario under its name.
func POP3Transcript(t testing.TB, e Endpoint, d *DovecotServer) []string {
	t.Helper()
	return transcript(t, e, POP3Scenarios(d))
}

// What Dovecot makes new each time: unique identifiers, and sessions, which LMTP writes into trace fields.
var pop3Substitutions = []substitution{
	{regexp.MustCompile(`^(\+OK \d+|\d+) [0-9a-f]{16}$`), "$1 UID"},
}

type pop3Session struct {
	*rawConn
	notes []string
}

// loginPOP3 notes nothing: what is said before sign-in is a door's own business.
func loginPOP3(t testing.TB, e Endpoint) *pop3Session {
	t.Helper()
	s := &pop3Session{rawConn: dialRaw(t, e)}
	s.reply()
	if e.Security == StartTLS {
		s.do("STLS")
		s.startTLS(e)
	}
	s.do("USER %s", e.User)
	if got := s.do("PASS %s", e.Password); !strings.HasPrefix(got, "+OK") {
		t.Fatalf("sign in at %s as %s: %s", e.Addr, e.User, got)
	}
	s.notes = nil
	return s
}

// do says a command that is answered with one line.
func (s *pop3Session) do(format string, args ...any) string {
	s.t.Helper()
	s.send(fmt.Sprintf(format, args...) + "\r\n")
	return s.reply()
}

func (s *pop3Session) reply() string {
	s.t.Helper()
	line := substitute(s.line(), pop3Substitutions)
	s.notes = append(s.notes, line)
	return line
}

// lines says a command that is answered with lines up to a dot, if it succeeds. Messages are noted without trace fields.
func (s *pop3Session) lines(format string, args ...any) {
	s.t.Helper()
	if !strings.HasPrefix(s.do(format, args...), "+OK") {
		return
	}
	s.untilDot()
}

func (s *pop3Session) untilDot() {
	s.t.Helper()
	text, err := untilDot(s.r)
	if err != nil {
		s.t.Fatalf("read up to the dot: %v", err)
	}
	if strings.Contains(text, "\r\nReceived: ") {
		s.notes = append(s.notes, messageLines(text[strings.Index(text, "Received: "):])...)
		return
	}
	for line := range strings.Lines(text) {
		s.notes = append(s.notes, substitute(strings.TrimRight(line, "\r\n"), pop3Substitutions))
	}
}

func pop3Capabilities(s *pop3Session) {
	s.lines("CAPA")
	slices.Sort(s.notes)
	s.do("NOOP")
	s.do("QUIT")
	s.notes = append(s.notes, fmt.Sprintf("then %q", s.ends()))
}

func pop3Retrieve(s *pop3Session) {
	s.lines("UIDL")
	s.do("UIDL 2")
	s.lines("RETR 1")
	s.lines("RETR 2")
	s.lines("TOP 2 3")
	s.do("QUIT")
}

func pop3Delete(s *pop3Session) {
	s.do("DELE 1")
	s.do("RSET")
	s.do("DELE 2")
	s.lines("UIDL")
	s.do("QUIT")
}

// pop3Pipelined sends commands without waiting (RFC 2449 section 6.6).
func pop3Pipelined(s *pop3Session) {
	s.send("UIDL 1\r\nRETR 2\r\nRETR 1\r\nNOOP\r\nQUIT\r\n")
	s.reply()
	for range 2 {
		s.reply()
		s.untilDot()
	}
	s.reply()
	s.reply()
}

func pop3Refusals(s *pop3Session) {
	s.do("NONESUCH")
	s.do("RETR 99")
	s.do("RETR")
	s.do("DELE x")
	s.do("TOP 1")
	s.do("USER again")
	s.do("STLS")
	s.do("QUIT")
}

func pop3Large(d *DovecotServer) func(testing.TB, Endpoint) []string {
	return func(t testing.TB, e Endpoint) []string {
		t.Helper()
		d.Empty(t, e.User)
		d.Deliver(t, e.User, string(letter("large", string(blob(20_000_000)))))
		s := loginPOP3(t, e)
		s.lines("RETR 1")
		s.do("QUIT")
		return s.notes
	}
}
