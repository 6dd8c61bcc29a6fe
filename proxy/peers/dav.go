package peers

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// DAVScenarios are raw CalDAV and CardDAV requests: methods, headers and paths that a proxy must pass as they are.
func DAVScenarios() []Scenario {
	with := func(name string, run func(*davSession)) Scenario {
		return Scenario{name, func(t testing.TB, e Endpoint) []string {
			t.Helper()
			s := newDAVSession(t, e)
			remove := s.fresh("/cal/")
			run(s)
			remove()
			return s.notes
		}}
	}
	return []Scenario{
		with("options and principal", davPrincipal),
		with("mkcalendar", davMkcalendar),
		with("addressbook", davAddressbook),
		with("report", davReport),
		with("sync-collection", davSync),
		with("move", davMove),
		with("conditions", davConditions),
		with("escaped paths", davEscaped),
		with("100-continue", davContinue),
		with("large bodies", davLarge),
		with("compressed", davCompressed),
		with("refusals", davRefusals),
	}
}

// DAVTranscript runs all of them and returns what was seen, each scenario under its name.
func DAVTranscript(t testing.TB, e Endpoint) []string {
	t.Helper()
	return transcript(t, e, DAVScenarios())
}

// A davSession says requests below the user's own tree and notes status, headers and body of the answers.
type davSession struct {
	t     testing.TB
	e     Endpoint
	root  string // "/" and the user, escaped
	conn  *rawConn
	notes []string
	token string // the last sync token seen, which the notes hide
}

func newDAVSession(t testing.TB, e Endpoint) *davSession {
	return &davSession{t: t, e: e, root: "/" + strings.ReplaceAll(url.PathEscape(e.User), "@", "%40")}
}

// Headers that belong to a hop, a moment or an encoding, and not to the answer.
var davUnnoted = []string{"Connection", "Keep-Alive", "Date", "Transfer-Encoding", "Server", "Alt-Svc"}

var davSubstitutions = []substitution{
	{regexp.MustCompile(`http://radicale\.org/ns/sync/[0-9a-f]+`), "TOKEN"},
	{regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT`), "DATE"},
}

// do says one request; header lines are as given, and "{base}" in them is the URL of the user's tree.
func (s *davSession) do(method, path, body string, header ...string) int {
	s.t.Helper()
	return s.request(method, s.root+path, body, header...)
}

func (s *davSession) request(method, target, body string, header ...string) int {
	s.t.Helper()
	s.connect()
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, s.e.Addr)
	fmt.Fprintf(&head, "Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(s.e.User+":"+s.e.Password)))
	if s.e.Header != "" {
		header = append(header, s.e.Header)
	}
	if body != "" {
		header = append(header, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	for _, line := range header {
		head.WriteString(strings.ReplaceAll(line, "{base}", s.base()) + "\r\n")
	}
	s.conn.send(head.String() + "\r\n")
	if slices.Contains(header, expectContinue) {
		s.awaitContinue()
	}
	s.conn.send(body)
	return s.answer(method)
}

const expectContinue = "Expect: 100-continue"

// awaitContinue waits for the interim answer as clients do: a server of HTTP/1.0 never sends one (RFC 9110 section 10.1.1).
func (s *davSession) awaitContinue() {
	s.t.Helper()
	if err := s.conn.c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		s.t.Fatal(err)
	}
	b, err := s.conn.r.Peek(len("HTTP/1.1 100"))
	if err := s.conn.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	if err != nil || string(b) != "HTTP/1.1 100" {
		s.conn.r = bufio.NewReader(io.MultiReader(strings.NewReader(string(b)), s.conn.c))
		return
	}
	for s.conn.line() != "" {
	}
}

// base has the @ of the user as it is, as a path may: Radicale 3.1 takes an escape in Destination literally.
func (s *davSession) base() string {
	scheme := "http"
	if s.e.Security != Plain {
		scheme = "https"
	}
	return scheme + "://" + s.e.Addr + strings.ReplaceAll(s.root, "%40", "@")
}

func (s *davSession) connect() {
	s.t.Helper()
	if s.conn == nil {
		e := s.e
		if e.Security != Plain {
			e.Security = TLS
		}
		s.conn = dialRaw(s.t, e)
	}
}

// answer notes the response. Bodies of many responses come in no order, so they are sorted.
func (s *davSession) answer(method string) int {
	s.t.Helper()
	resp, err := http.ReadResponse(s.conn.r, &http.Request{Method: method})
	if err != nil {
		s.t.Fatalf("%s: read the answer: %v", method, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s: read the answer's body: %v", method, err)
	}
	if resp.Close {
		s.conn.c.Close()
		s.conn = nil
	}
	s.note(method + " " + resp.Status)
	var header []string
	for name, values := range resp.Header {
		if !slices.Contains(davUnnoted, name) {
			header = append(header, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(header)
	for _, line := range header {
		s.note(line)
	}
	s.noteBody(body, resp.Header.Get("Content-Encoding"))
	return resp.StatusCode
}

func (s *davSession) noteBody(body []byte, encoding string) {
	s.t.Helper()
	if encoding == "gzip" {
		r, err := gzip.NewReader(strings.NewReader(string(body)))
		if err != nil {
			s.t.Fatal(err)
		}
		if body, err = io.ReadAll(r); err != nil {
			s.t.Fatal(err)
		}
	}
	if token := davSubstitutions[0].pattern.Find(body); token != nil {
		s.token = string(token)
	}
	if len(body) > 20_000 {
		s.note(digest(body))
		return
	}
	parts := strings.Split(string(body), "<response>")
	slices.Sort(parts[1:])
	for _, part := range parts {
		s.note("  " + part)
	}
}

func (s *davSession) note(line string) {
	line = substitute(line, davSubstitutions)
	line = strings.ReplaceAll(line, s.base(), "BASE")
	line = strings.ReplaceAll(strings.ReplaceAll(line, s.root, "/USER"), s.e.User, "USER")
	s.notes = append(s.notes, line)
}

// fresh removes the collection, unnoted, and returns what removes it again.
func (s *davSession) fresh(path string) (remove func()) {
	s.t.Helper()
	remove = func() {
		before := s.notes
		s.notes = nil
		s.do("DELETE", path, "")
		s.notes = before
	}
	remove()
	return remove
}

const xmlHead = `<?xml version="1.0" encoding="utf-8"?>`

// calendar makes the one in which a scenario works.
func (s *davSession) calendar() {
	s.t.Helper()
	if got := s.do("MKCALENDAR", "/cal/", ""); got != http.StatusCreated {
		s.t.Fatalf("MKCALENDAR: status %d", got)
	}
}

func event(uid, summary string) string {
	return strings.Join([]string{
		"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//peers//EN", "BEGIN:VEVENT", "UID:" + uid, "DTSTAMP:20261122T120000Z",
		"DTSTART:20261122T130000Z", "DTEND:20261122T140000Z", "SUMMARY:" + summary, "END:VEVENT", "END:VCALENDAR", "",
	}, "\r\n")
}

func card(uid, name string) string {
	return strings.Join([]string{"BEGIN:VCARD", "VERSION:3.0", "UID:" + uid, "FN:" + name, "N:;" + name + ";;;", "END:VCARD", ""}, "\r\n")
}

func davPrincipal(s *davSession) {
	s.do("OPTIONS", "/", "")
	s.do("PROPFIND", "/", xmlHead+`<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:A="urn:ietf:params:xml:ns:carddav"><prop>`+
		`<current-user-principal/><principal-URL/><resourcetype/><C:calendar-home-set/><A:addressbook-home-set/></prop></propfind>`, "Depth: 0")
	s.request("PROPFIND", "/", xmlHead+`<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>`, "Depth: 0")
	s.request("GET", "/.web", "")
}

func davMkcalendar(s *davSession) {
	s.do("MKCALENDAR", "/cal/", xmlHead+`<C:mkcalendar xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><set><prop><displayname>Zeit &amp; Raum`+"\u00e9"+
		`</displayname><C:calendar-description>text</C:calendar-description></prop></set></C:mkcalendar>`)
	s.do("MKCALENDAR", "/cal/", "")
	s.do("PROPPATCH", "/cal/", xmlHead+`<propertyupdate xmlns="DAV:"><set><prop><displayname>new</displayname></prop></set></propertyupdate>`)
	s.do("PROPFIND", "/cal/", xmlHead+`<propfind xmlns="DAV:"><prop><displayname/><resourcetype/><supported-report-set/></prop></propfind>`, "Depth: 1")
	s.do("DELETE", "/cal/", "")
	s.do("PROPFIND", "/cal/", "", "Depth: 0")
}

func davAddressbook(s *davSession) {
	s.do("MKCOL", "/cal/", xmlHead+`<mkcol xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"><set><prop><resourcetype><collection/><A:addressbook/></resourcetype>`+
		`<displayname>People</displayname></prop></set></mkcol>`)
	s.do("PUT", "/cal/jane.vcf", card("jane", "Jane \u00c4"), "Content-Type: text/vcard; charset=utf-8")
	s.do("REPORT", "/cal/", xmlHead+`<A:addressbook-query xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"><prop><getetag/><A:address-data/></prop>`+
		`<A:filter><A:prop-filter name="FN"><A:text-match collation="i;unicode-casemap">jane</A:text-match></A:prop-filter></A:filter></A:addressbook-query>`, "Depth: 1")
	s.do("GET", "/cal/jane.vcf", "")
}

func davReport(s *davSession) {
	s.calendar()
	for _, name := range []string{"a", "b", "c"} {
		s.do("PUT", "/cal/"+name+".ics", event(name, "event "+name), "Content-Type: text/calendar; charset=utf-8; component=VEVENT")
	}
	s.do("REPORT", "/cal/", xmlHead+`<C:calendar-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/><C:calendar-data/></prop>`+
		`<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20261122T000000Z" end="20261123T000000Z"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`, "Depth: 1")
	s.do("REPORT", "/cal/", xmlHead+`<C:calendar-multiget xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/><C:calendar-data/></prop><href>`+
		s.root+`/cal/a.ics</href><href>`+s.root+`/cal/missing.ics</href></C:calendar-multiget>`, "Depth: 1")
	s.do("PROPFIND", "/cal/", xmlHead+`<propfind xmlns="DAV:"><prop><getetag/><getcontenttype/><getlastmodified/></prop></propfind>`, "Depth: 1")
}

func davSync(s *davSession) {
	sync := func(token string) {
		s.do("REPORT", "/cal/", xmlHead+`<sync-collection xmlns="DAV:"><sync-token>`+token+`</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>`)
	}
	s.calendar()
	s.do("PUT", "/cal/a.ics", event("a", "one"))
	sync("")
	first := s.token
	s.do("PUT", "/cal/a.ics", event("a", "changed"))
	s.do("PUT", "/cal/b.ics", event("b", "two"))
	sync(first)
	second := s.token
	s.do("DELETE", "/cal/a.ics", "")
	sync(second)
	sync("http://radicale.org/ns/sync/nonesuch")
}

func davMove(s *davSession) {
	s.calendar()
	s.do("PUT", "/cal/a.ics", event("a", "moved"))
	s.do("PUT", "/cal/c.ics", event("c", "in the way"))
	s.do("MOVE", "/cal/a.ics", "", "Destination: {base}/cal/c.ics", "Overwrite: F")
	s.do("MOVE", "/cal/a.ics", "", "Destination: {base}/cal/b.ics")
	s.do("GET", "/cal/b.ics", "")
	s.do("GET", "/cal/a.ics", "")
	s.do("MOVE", "/cal/b.ics", "", "Destination: {base}/cal/b%20%C3%A4.ics")
	s.do("GET", "/cal/b%2520%25C3%25A4.ics", "")
	s.do("MOVE", "/cal/missing.ics", "", "Destination: {base}/cal/d.ics")
	s.do("COPY", "/cal/c.ics", "", "Destination: {base}/cal/d.ics")
}

func davConditions(s *davSession) {
	s.calendar()
	s.do("PUT", "/cal/a.ics", event("a", "one"), "If-None-Match: *")
	s.do("PUT", "/cal/a.ics", event("a", "two"), "If-None-Match: *")
	s.do("PUT", "/cal/a.ics", event("a", "two"), `If-Match: "wrong"`)
	s.do("DELETE", "/cal/a.ics", "", `If-Match: "wrong"`)
	s.do("GET", "/cal/a.ics", "")
	s.do("HEAD", "/cal/a.ics", "")
	s.do("GET", "/cal/a.ics", "", "Range: bytes=0-9")
	s.do("DELETE", "/cal/a.ics", "", "If-Match: *")
}

func davEscaped(s *davSession) {
	s.calendar()
	for _, name := range []string{"a%20b", "%C3%A4", "a+b", "a%2Bb", "a;b=c", "100%25", "a%2fb", "a%3Fb", "a%23b", "~a", "%7Ea", "a'b", "A%2Cb", "a:b@c", "%41"} {
		s.note(name)
		s.do("PUT", "/cal/"+name+".ics", event("uid-"+name, "escaped"))
		s.do("GET", "/cal/"+name+".ics", "")
		s.do("DELETE", "/cal/"+name+".ics", "")
	}
	s.do("GET", "/cal/?export&x=%20+%2F", "")
	s.do("GET", "//cal//", "")
	s.do("PROPFIND", "/cal", "", "Depth: 0")
}

func davContinue(s *davSession) {
	s.calendar()
	s.do("PUT", "/cal/a.ics", event("a", strings.Repeat("long ", 10_000)), expectContinue)
	s.do("GET", "/cal/a.ics", "")
}

func davLarge(s *davSession) {
	s.calendar()
	s.do("PUT", "/cal/a.ics", event("a", strings.Repeat("0123456789", 100_000)))
	s.do("GET", "/cal/a.ics", "")
	var all strings.Builder
	all.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//peers//EN\r\n")
	for i := range 50 {
		fmt.Fprintf(&all, "BEGIN:VEVENT\r\nUID:e%d\r\nDTSTAMP:20261122T120000Z\r\nDTSTART:20261122T130000Z\r\nSUMMARY:%d\r\nEND:VEVENT\r\n", i, i)
	}
	all.WriteString("END:VCALENDAR\r\n")
	s.do("PUT", "/cal/", all.String(), "Content-Type: text/calendar")
	s.do("HEAD", "/cal/", "")
}

func davCompressed(s *davSession) {
	s.calendar()
	s.do("PUT", "/cal/a.ics", event("a", strings.Repeat("again ", 1000)))
	s.do("GET", "/cal/a.ics", "", "Accept-Encoding: gzip")
	s.do("GET", "/cal/a.ics", "", "Accept-Encoding: identity")
}

func davRefusals(s *davSession) {
	s.calendar()
	s.do("PUT", "/cal/a.ics", "not a calendar")
	s.do("PROPFIND", "/cal/", "<unclosed>", "Depth: 0")
	s.do("LOCK", "/cal/", "")
	s.do("NONESUCH", "/cal/", "")
	s.do("MKCOL", "/no/such/parent/", "")
	s.request("PROPFIND", "/somebody%40else.example/", "", "Depth: 0")
	s.request("PUT", "/somebody%40else.example/cal/a.ics", event("a", "x"))
}
