package peers

import (
	"bufio"
	"compress/flate"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// IMAPScenarios are raw sessions: what a byte relay must not touch.
func IMAPScenarios() []Scenario {
	return []Scenario{
		{"capability after login", imapCapability},
		{"condstore and qresync", imapCondstore},
		{"notify", imapNotify},
		{"metadata", imapMetadata},
		{"compress", imapCompress},
		{"idle", imapIdle},
		{"8-bit literals", imapEightBit},
		{"20 MB literal", imapLarge},
		{"pipelined after login", imapPipelined},
		{"many commands in flight", imapInFlight},
		{"refusals", imapRefusals},
		{"logout", imapLogout},
	}
}

// IMAPTranscript runs all of them and returns what was seen, each scenario under its name.
func IMAPTranscript(t testing.TB, e Endpoint) []string {
	t.Helper()
	return transcript(t, e, IMAPScenarios())
}

// What Dovecot makes new each time: validity and identifiers of mailboxes, the time that a command took, dates.
// The tagged OK of a sign-in is the door's own: its text may differ, and LOGIN-REFERRALS is left out on purpose, for a
// referral would lead past the door.
var imapSubstitutions = []substitution{
	{regexp.MustCompile(`\(\d+\.\d+ \+ \d+\.\d+( \+ \d+\.\d+)? secs\)`), "(TIME)"},
	{regexp.MustCompile(`(UIDVALIDITY|APPENDUID|COPYUID) \d+`), "$1 V"},
	{regexp.MustCompile(`INTERNALDATE "[^"]*"`), "INTERNALDATE D"},
	{regexp.MustCompile(`(MAILBOXID|EMAILID|THREADID) \([^)]*\)`), "$1 (ID)"},
	{regexp.MustCompile(`LOGIN-REFERRALS `), ""},
	{regexp.MustCompile(`( OK \[CAPABILITY [^]]*\]) (Logged|Signed) in$`), "$1 In"},
	{regexp.MustCompile(`session=<[^>]*>`), "session=S"},
}

// An imapSession says commands with tags of its own and notes all that the server says.
type imapSession struct {
	*rawConn
	user  string
	tags  int
	notes []string
}

// dialIMAP connects and reads the greeting. What is said before sign-in is a door's own business and is not noted.
func dialIMAP(t testing.TB, e Endpoint) *imapSession {
	t.Helper()
	s := &imapSession{rawConn: dialRaw(t, e), user: e.User}
	s.response()
	if e.Security == StartTLS {
		s.do("STARTTLS")
		s.startTLS(e)
	}
	s.notes = nil
	return s
}

// loginIMAP notes what the server says to LOGIN, when note is set.
func loginIMAP(t testing.TB, e Endpoint, note bool) *imapSession {
	t.Helper()
	s := dialIMAP(t, e)
	if last := s.do("LOGIN %s %s", quote(e.User), quote(e.Password)); !strings.HasPrefix(last, "TAG OK") {
		t.Fatalf("sign in at %s as %s: %s", e.Addr, e.User, last)
	}
	if !note {
		s.notes = nil
	}
	return s
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// do says one command, notes everything up to its tagged answer, and returns that.
func (s *imapSession) do(format string, args ...any) string {
	s.t.Helper()
	s.send(s.tag() + " " + fmt.Sprintf(format, args...) + "\r\n")
	return s.await()
}

func (s *imapSession) tag() string {
	s.tags++
	return "t" + strconv.Itoa(s.tags)
}

// await notes responses up to the answer to the last tag.
func (s *imapSession) await() string {
	s.t.Helper()
	for {
		line := s.response()
		if strings.HasPrefix(line, "TAG ") {
			return line
		}
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}$`)

// response reads and notes one response with its literals: short ones as they are, long ones by their digest.
func (s *imapSession) response() string {
	s.t.Helper()
	line := s.line()
	for {
		m := literalEnd.FindStringSubmatch(line)
		if m == nil {
			break
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			s.t.Fatalf("literal in %q: %v", line, err)
		}
		if b := s.full(n); n <= 256 {
			line += fmt.Sprintf("%q", b)
		} else {
			line += digest(b)
		}
		line += s.line()
	}
	line = substitute(line, imapSubstitutions)
	line = strings.ReplaceAll(line, s.user, "USER")
	if rest, ok := strings.CutPrefix(line, "t"+strconv.Itoa(s.tags)+" "); ok {
		line = "TAG " + rest
	}
	s.notes = append(s.notes, line)
	return line
}

// append stores a message; plus without waiting to be asked for it (RFC 7888).
func (s *imapSession) append(mailbox, flags string, message []byte, plus bool) {
	s.t.Helper()
	sign := ""
	if plus {
		sign = "+"
	}
	s.send(fmt.Sprintf("%s APPEND %s (%s) {%d%s}\r\n", s.tag(), mailbox, flags, len(message), sign))
	if !plus {
		if line := s.response(); !strings.HasPrefix(line, "+") {
			s.t.Fatalf("APPEND: %s", line)
		}
	}
	s.send(string(message) + "\r\n")
	if last := s.await(); !strings.HasPrefix(last, "TAG OK") {
		s.t.Fatalf("APPEND: %s", last)
	}
}

// fresh makes the mailbox anew, unnoted, and returns what removes it again.
func (s *imapSession) fresh(mailbox string) (remove func()) {
	s.t.Helper()
	before := s.notes
	s.notes = nil
	s.do("DELETE %s", mailbox)
	if last := s.do("CREATE %s", mailbox); !strings.HasPrefix(last, "TAG OK") {
		s.t.Fatalf("CREATE: %s", last)
	}
	s.notes = before
	return func() {
		before := s.notes
		s.notes = nil
		s.do("UNSELECT")
		s.do("DELETE %s", mailbox)
		s.notes = before
	}
}

func letter(subject, body string) []byte {
	return []byte("From: a@new.example\r\nTo: b@new.example\r\nSubject: " + subject + "\r\n\r\n" + body + "\r\n")
}

func imapCapability(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, true)
	s.do("CAPABILITY")
	s.do("ID NIL")
	s.do("NAMESPACE")
	s.do(`LIST (SPECIAL-USE) "" "*" RETURN (STATUS (MESSAGES))`)
	return s.notes
}

var uidValidity = regexp.MustCompile(`UIDVALIDITY (\d+)`)

func imapCondstore(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, false)
	defer s.fresh("condstore")()
	s.do("ENABLE CONDSTORE QRESYNC")
	for i := range 3 {
		s.append("condstore", `\Seen`, letter(fmt.Sprint("message ", i), "text"), false)
	}
	validity := s.validity("condstore")
	s.do("SELECT condstore (CONDSTORE)")
	s.do("FETCH 1:* (UID FLAGS MODSEQ)")
	s.do(`STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\Flagged)`)
	s.do(`UID STORE 2 +FLAGS (\Deleted)`)
	s.do("EXPUNGE")
	s.do("FETCH 1:* (FLAGS) (CHANGEDSINCE 2)")
	s.do("UNSELECT")
	s.do("SELECT condstore (QRESYNC (%s 2 1:3))", validity)
	return s.notes
}

// validity asks for the mailbox's, which the notes hide.
func (s *imapSession) validity(mailbox string) string {
	s.t.Helper()
	s.send(fmt.Sprintf("%s STATUS %s (UIDVALIDITY)\r\n", s.tag(), mailbox))
	m := uidValidity.FindStringSubmatch(s.line())
	if m == nil {
		s.t.Fatal("STATUS tells no UIDVALIDITY")
	}
	s.await()
	return m[1]
}

// imapNotify watches one mailbox while another session stores a message into it (RFC 5465).
func imapNotify(t testing.TB, e Endpoint) []string {
	s, other := loginIMAP(t, e, false), loginIMAP(t, e, false)
	defer other.fresh("notified")()
	s.do("NOTIFY SET STATUS (mailboxes notified (MessageNew MessageExpunge))")
	other.append("notified", "", letter("news", "text"), false)
	before := s.notes
	for strings.Contains(s.response(), "(MESSAGES 0 ") { // comes unasked; a slow machine is told of the making of the mailbox, too
		s.notes = before
	}
	s.do("NOTIFY NONE")
	return s.notes
}

// imapMetadata stores an annotation with a literal and a quoted value (RFC 5464).
func imapMetadata(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, false)
	defer s.fresh("annotated")()
	s.do(`SETMETADATA annotated (/private/comment "a \"quoted\" word")`)
	s.send(fmt.Sprintf("%s SETMETADATA annotated (/shared/comment {5+}\r\nl\xc3\xa9\r\n)\r\n", s.tag()))
	s.await()
	s.do("GETMETADATA annotated (/private/comment /shared/comment)")
	s.do("GETMETADATA (DEPTH infinity) annotated /private")
	s.do("SETMETADATA annotated (/private/comment NIL)")
	s.do("GETMETADATA annotated /private/comment")
	return s.notes
}

// imapCompress goes on in deflated bytes (RFC 4978), which no relay can read.
func imapCompress(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, false)
	remove := s.fresh("compressed")
	s.do("COMPRESS DEFLATE")
	deflate, err := flate.NewWriter(s.c, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	s.r, s.w = bufio.NewReader(flate.NewReader(s.r)), &flushing{deflate}
	s.do("CAPABILITY")
	s.append("compressed", "", append(letter("compressed", ""), blob(100_000)...), false)
	s.do("SELECT compressed")
	s.do("FETCH 1 (RFC822.SIZE BODY.PEEK[])")
	remove()
	return s.notes
}

// flushing sends what is written at once.
type flushing struct{ w *flate.Writer }

func (f *flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.w.Flush()
}

// imapIdle waits for what a second session stores (RFC 2177).
func imapIdle(t testing.TB, e Endpoint) []string {
	s, other := loginIMAP(t, e, false), loginIMAP(t, e, false)
	remove := other.fresh("watched")
	s.do("SELECT watched")
	s.send(s.tag() + " IDLE\r\n")
	s.response() // + idling
	other.append("watched", "", letter("news", "text"), false)
	for !strings.HasSuffix(s.response(), "EXISTS") {
	}
	if line := s.response(); !strings.HasSuffix(line, "RECENT") {
		t.Errorf("after EXISTS: %s", line)
	}
	s.send("DONE\r\n")
	s.await()
	s.do("UNSELECT")
	remove()
	return s.notes
}

func imapEightBit(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, false)
	defer s.fresh("bytes")()
	s.append("bytes", `\Draft`, append(letter("gr\xc3\xbc\xdf", ""), blob(5000)...), false)
	s.append("bytes", "$Forwarded", append(letter("not to be asked for", ""), blob(3000)...), true)
	s.do("SELECT bytes")
	s.do("FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
	s.do("SEARCH CHARSET UTF-8 SUBJECT {3+}\r\n\xe2\x82\xac")
	return s.notes
}

func imapLarge(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, false)
	remove := s.fresh("large")
	message := append(letter("large", ""), blob(20_000_000)...)
	s.append("large", "", message, false)
	s.append("large", "", message, true)
	s.do("SELECT large")
	s.do("FETCH 1:2 (RFC822.SIZE BODY.PEEK[])")
	s.do("FETCH 1 BODY.PEEK[]<1000000.100000>")
	remove()
	return s.notes
}

// imapPipelined sends LOGIN and what follows in one packet: what comes behind a command that changes everything must not be lost.
func imapPipelined(t testing.TB, e Endpoint) []string {
	s := dialIMAP(t, e)
	s.tags = 4
	s.send(fmt.Sprintf("t1 LOGIN %s %s\r\nt2 CAPABILITY\r\nt3 APPEND INBOX.none {4+}\r\na\r\n\r\nt4 NOOP\r\n", quote(e.User), quote(e.Password)))
	s.await()
	return s.notes
}

// imapInFlight sends 200 commands without waiting, with answers of many sizes. How far Dovecot interleaves them depends
// on how they arrive, so the order is not noted, and each has to be waited for.
func imapInFlight(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, false)
	defer s.fresh("flight")()
	s.append("flight", "", append(letter("x", ""), blob(20_000)...), false)
	s.do("SELECT flight")
	var all strings.Builder
	for i := range 200 {
		fmt.Fprintf(&all, "%s FETCH 1 BODY.PEEK[]<%d.%d>\r\n", s.tag(), i*50, 1+i*97%5000)
	}
	s.send(all.String())
	for done := 0; done < 200; {
		if strings.Contains(s.response(), " OK Fetch completed") {
			done++
		}
	}
	for i, note := range s.notes {
		s.notes[i] = anyTag.ReplaceAllString(note, "TAG ") // STARTTLS took one
	}
	slices.Sort(s.notes)
	return s.notes
}

var anyTag = regexp.MustCompile(`^t\d+ `)

// imapRefusals are the server's own, in its own words.
func imapRefusals(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, false)
	s.do("NONESUCH")
	s.do("SELECT nonesuch")
	s.do("FETCH 1 FLAGS")
	s.do("LOGIN a b")
	s.do("AUTHENTICATE PLAIN")
	s.do("APPEND INBOX {0}")
	s.do(`LIST "" "unclosed`)
	return s.notes
}

func imapLogout(t testing.TB, e Endpoint) []string {
	s := loginIMAP(t, e, false)
	s.do("LOGOUT")
	return append(s.notes, fmt.Sprintf("then %q", s.ends()))
}
