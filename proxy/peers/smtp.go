package peers

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// SMTPScenarios are raw submission sessions as e.User, who is the sender of everything; what was accepted must arrive at the sink.
func SMTPScenarios(sink *Sink) []Scenario {
	with := func(name string, run func(*smtpSession)) Scenario { return smtpScenario(name, sink, run) }
	return []Scenario{
		with("extensions after sign-in", smtpExtensions),
		with("message", smtpMessage),
		with("dsn", smtpDSN),
		with("bdat", smtpBDAT),
		with("smtputf8", smtpUTF8),
		with("quoted local parts", smtpQuoted),
		with("parameters", smtpParameters),
		with("20 000-byte lines", smtpLongLines),
		with("dots", smtpDots),
		with("20 MB message", smtpLarge),
		with("pipelined", smtpPipelined),
		with("refusals of several lines", smtpRefusals),
		with("quit", smtpQuit),
	}
}

// PostfixScenarios are those and what Dovecot 2.3.19's submission server does not survive: MAIL in one packet with the dot
// before it, or RSET with RCPT, end it with a failed assertion.
func PostfixScenarios(sink *Sink) []Scenario {
	return append(SMTPScenarios(sink), smtpScenario("pipelined behind the dot", sink, smtpBehindTheDot))
}

func smtpScenario(name string, sink *Sink, run func(*smtpSession)) Scenario {
	return Scenario{name, func(t testing.TB, e Endpoint) []string {
		t.Helper()
		s := loginSMTP(t, e, sink)
		run(s)
		return s.notes
	}}
}

// SMTPTranscript runs all of them and returns what was seen, each scenario under its name.
func SMTPTranscript(t testing.TB, e Endpoint, sink *Sink) []string {
	t.Helper()
	return transcript(t, e, SMTPScenarios(sink))
}

// What Postfix and Dovecot make new each time: queue identifiers, sessions.
var smtpSubstitutions = []substitution{
	{regexp.MustCompile(`queued as \S+`), "queued as ID"},
	{regexp.MustCompile(`<[^<>@ ]+@mail\.example\.com>`), "<ID@mail.example.com>"},
	{regexp.MustCompile(`\[[A-Za-z0-9+/]{8,}[^]]*\]`), "[SESSION]"},
}

type smtpSession struct {
	*rawConn
	user  string
	sink  *Sink
	notes []string
}

// loginSMTP notes nothing: what is said before sign-in is a door's own business.
func loginSMTP(t testing.TB, e Endpoint, sink *Sink) *smtpSession {
	t.Helper()
	s := &smtpSession{rawConn: dialRaw(t, e), user: e.User, sink: sink}
	s.reply()
	s.do("EHLO client.example")
	if e.Security == StartTLS {
		s.do("STARTTLS")
		s.startTLS(e)
		s.do("EHLO client.example")
	}
	response := base64.StdEncoding.EncodeToString([]byte("\x00" + e.User + "\x00" + e.Password))
	if got := s.do("AUTH PLAIN %s", response); !strings.HasPrefix(got, "235 ") {
		t.Fatalf("sign in at %s as %s: %s", e.Addr, e.User, got)
	}
	s.notes = nil
	return s
}

// do says one command and notes the reply, whose last line it returns.
func (s *smtpSession) do(format string, args ...any) string {
	s.t.Helper()
	s.send(fmt.Sprintf(format, args...) + "\r\n")
	return s.reply()
}

func (s *smtpSession) reply() string {
	s.t.Helper()
	for {
		line := strings.ReplaceAll(substitute(s.line(), smtpSubstitutions), s.user, "USER")
		s.notes = append(s.notes, line)
		if len(line) < 4 || line[3] != '-' {
			return line
		}
	}
}

// from begins a message as the user.
func (s *smtpSession) from(parameters string) { s.do("MAIL FROM:<%s>%s", s.user, parameters) }

// content sends the text behind DATA and, if it was accepted, notes how it arrived at the recipient.
func (s *smtpSession) content(text, recipient string) {
	s.t.Helper()
	if got := s.do("DATA"); !strings.HasPrefix(got, "354 ") {
		return
	}
	s.send(text + ".\r\n")
	s.arrives(s.reply(), recipient)
}

func (s *smtpSession) arrives(reply, recipient string) {
	s.t.Helper()
	if !strings.HasPrefix(reply, "250 ") {
		return
	}
	m := s.sink.Next(s.t, recipient)
	for _, line := range append(m.Envelope, messageLines(m.Text)...) {
		s.notes = append(s.notes, "arrived: "+strings.ReplaceAll(substitute(line, smtpSubstitutions), s.user, "USER"))
	}
}

var (
	receivedHeader = regexp.MustCompile(`(?m)^Received:.*\r?\n([ \t].*\r?\n)*`)
	dateHeader     = regexp.MustCompile(`(?m)^Date: [^\r\n]*`)
)

// messageLines is what arrived, without what differs: the content of trace fields, and dates that a server added. How many
// trace fields there are must not differ.
func messageLines(text string) []string {
	header, body, _ := strings.Cut(text, "\r\n\r\n")
	header += "\r\n"
	traces := len(receivedHeader.FindAllString(header, -1))
	header = dateHeader.ReplaceAllString(receivedHeader.ReplaceAllString(header, ""), "Date: D")
	header = strings.TrimSuffix(header, "\r\n")
	lines := append([]string{fmt.Sprintf("%d trace fields", traces)}, strings.Split(header, "\r\n")...)
	if len(body) > 2000 {
		return append(lines, "", digest([]byte(body)))
	}
	return append(lines, "", fmt.Sprintf("%q", body))
}

// smtpLetter is complete, so that no server has a reason to add a field.
func smtpLetter(s *smtpSession, subject, body string) string {
	return "From: <" + s.user + ">\r\nTo: undisclosed:;\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@client.example>\r\nSubject: " +
		subject + "\r\n\r\n" + body
}

// smtpExtensions leaves out what is between two hops and what ends with sign-in.
func smtpExtensions(s *smtpSession) {
	s.do("EHLO client.example")
	s.notes = slices.DeleteFunc(s.notes, func(line string) bool {
		word, _, _ := strings.Cut(line[min(4, len(line)):], " ")
		return slices.Contains([]string{"AUTH", "STARTTLS", "XCLIENT", "XFORWARD"}, word) || strings.HasPrefix(word, "AUTH=")
	})
	for i, line := range s.notes[1:] { // the order and the first line are the server's
		s.notes[i+1] = line[4:]
	}
	slices.Sort(s.notes[1:])
}

func smtpMessage(s *smtpSession) {
	for _, name := range []string{"first", "second"} {
		s.from("")
		s.do("RCPT TO:<%s@elsewhere.example>", name)
		s.content(smtpLetter(s, name, "text\r\n"), name+"@elsewhere.example")
	}
	s.do("NOOP")
	s.do("RSET")
}

// smtpDSN asks for reports (RFC 3461); the next server must be asked the same.
func smtpDSN(s *smtpSession) {
	s.from(" RET=HDRS ENVID=QQ+3D314159")
	s.do("RCPT TO:<dsn@elsewhere.example> NOTIFY=SUCCESS,DELAY,FAILURE ORCPT=rfc822;Dsn+2Bx@elsewhere.example")
	s.content(smtpLetter(s, "dsn", "text\r\n"), "dsn@elsewhere.example")
	s.from(" RET=FULL")
	s.do("RCPT TO:<never@elsewhere.example> NOTIFY=NEVER")
	s.content(smtpLetter(s, "dsn", "text\r\n"), "never@elsewhere.example")
}

// smtpBDAT sends octets by count (RFC 3030): lone dots and what looks like a command are content.
func smtpBDAT(s *smtpSession) {
	s.from(" BODY=8BITMIME")
	s.do("RCPT TO:<bdat@elsewhere.example>")
	for _, chunk := range []string{smtpLetter(s, "bdat", ".\r\nQUIT\r\n"), string(blob(300_000)), "MAIL FROM:<x@elsewhere.example>\r\n.\r\n"} {
		s.send(fmt.Sprintf("BDAT %d\r\n%s", len(chunk), chunk))
		s.reply()
	}
	s.arrives(s.do("BDAT 0 LAST"), "bdat@elsewhere.example")

	s.from("")
	s.do("RCPT TO:<bdat2@elsewhere.example>")
	chunk := smtpLetter(s, "bdat in one packet", "text\r\n")
	s.send(fmt.Sprintf("BDAT %d\r\n%sBDAT 4 LAST\r\nab\r\nNOOP\r\n", len(chunk), chunk))
	s.reply()
	last := s.reply()
	s.reply()
	s.arrives(last, "bdat2@elsewhere.example")

	s.do("BDAT 5\r\nabc") // no transaction: refused, and the octets are not commands
	s.do("RSET")
}

func smtpUTF8(s *smtpSession) {
	s.from(" SMTPUTF8 BODY=8BITMIME")
	s.do("RCPT TO:<jos\u00e9@els\u00e9where.example>")
	s.content(smtpLetter(s, "gr\u00fc\u00dfe \u20ac", "\u6f22\u5b57\r\n"), "jos\u00e9@els\u00e9where.example")
	s.do("RSET")
	s.from("")
	s.do("RCPT TO:<jos\u00e9@elsewhere.example>")
	s.do("RSET")
}

func smtpQuoted(s *smtpSession) {
	recipients := []string{`"john doe"@elsewhere.example`, `"a@b"@elsewhere.example`, `"x> SIZE=1"@elsewhere.example`, `"q\"\\q"@elsewhere.example`}
	for _, r := range recipients {
		s.from("")
		s.do("RCPT TO:<%s>", r)
		s.content(smtpLetter(s, "quoted", "text\r\n"), r)
	}
	s.do("RSET")
}

func smtpParameters(s *smtpSession) {
	for _, parameters := range []string{" SIZE=1000", " size=1000 body=7bit", " AUTH=<>", " AUTH=jane+40new.example", " BODY=BINARYMIME", " NONESUCH=1", " SIZE=999999999999", " "} {
		s.from(parameters)
		s.do("RSET")
	}
	s.do("mail from: <%s>", s.user)
	s.do("RCPT TO:<@hop.example:source@elsewhere.example>")
	s.do("rcpt to:<UPPER@ELSEWHERE.example>")
	s.do("RSET")
}

func smtpLongLines(s *smtpSession) {
	s.from(" BODY=8BITMIME")
	s.do("RCPT TO:<long@elsewhere.example>")
	s.content(smtpLetter(s, "long", strings.Repeat("0123456789", 2000)+"\r\nshort\r\n"+strings.Repeat("\u00e9", 10000)+"\r\n"), "long@elsewhere.example")
	s.from("")
	s.do("RCPT TO:<%s@elsewhere.example>", strings.Repeat("l", 900))
	s.do("RSET")
}

func smtpDots(s *smtpSession) {
	s.from("")
	s.do("RCPT TO:<dots@elsewhere.example>")
	s.content(smtpLetter(s, "dots", "..\r\n...\r\n..a\r\n \r\n. \r\n"), "dots@elsewhere.example")
}

func smtpLarge(s *smtpSession) {
	s.from(" BODY=8BITMIME SIZE=21000000")
	s.do("RCPT TO:<large@elsewhere.example>")
	s.content(smtpLetter(s, "large", strings.ReplaceAll(string(blob(20_000_000)), "\r\n.", "\r\n,")+"\r\n"), "large@elsewhere.example")
}

// smtpPipelined sends a group of commands in one packet (RFC 2920), one of them refused.
func smtpPipelined(s *smtpSession) {
	s.send(fmt.Sprintf("MAIL FROM:<%[1]s>\r\nRCPT TO:<one@elsewhere.example>\r\nRCPT TO:<refused\r\nRCPT TO:<two@elsewhere.example>\r\nDATA\r\n", s.user))
	for range 5 {
		s.reply()
	}
	s.send(smtpLetter(s, "pipelined", "text\r\n") + ".\r\n")
	s.arrives(s.reply(), "one@elsewhere.example")
}

// smtpBehindTheDot sends the next group together with the end of a message.
func smtpBehindTheDot(s *smtpSession) {
	s.from("")
	s.do("RCPT TO:<dot@elsewhere.example>")
	s.do("DATA")
	s.send(smtpLetter(s, "dot", "text\r\n") + fmt.Sprintf(".\r\nMAIL FROM:<%s>\r\nRCPT TO:<three@elsewhere.example>\r\nRSET\r\nNOOP\r\n", s.user))
	last := s.reply()
	for range 4 {
		s.reply()
	}
	s.arrives(last, "dot@elsewhere.example")
}

// smtpRefusals are the server's own, some of several lines (Postfix is told to add a footer).
func smtpRefusals(s *smtpSession) {
	s.do("RCPT TO:<early@elsewhere.example>")
	s.do("DATA")
	s.from("")
	s.from("")
	s.do("DATA")
	s.do("RCPT TO:<refused@refused.example>")
	s.do("RCPT TO:<>")
	s.do("RCPT TO:<no-domain>")
	s.do("RSET")
	s.do("NOOP with words")
	s.do("RSET with words")
}

func smtpQuit(s *smtpSession) {
	s.do("QUIT")
	s.notes = append(s.notes, fmt.Sprintf("then %q", s.ends()))
}
