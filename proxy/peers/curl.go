package peers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A curl runs curl against one endpoint and notes what it wrote.
type curl struct {
	*client
	e     Endpoint
	base  string // scheme, host and port
	args  []string
	notes []string
}

// newCurl takes the scheme without its final s.
func newCurl(t testing.TB, e Endpoint, scheme string) *curl {
	t.Helper()
	c := &curl{client: newClient(t, "curl"), e: e}
	c.args = []string{"-q", "-sS", "--user", e.User + ":" + e.Password, "--max-time", "60"}
	if e.Security != Plain {
		c.args = append(c.args, "--cacert", e.CA)
	}
	switch {
	case e.Security == StartTLS:
		c.args = append(c.args, "--ssl-reqd")
	case e.Security == TLS:
		scheme += "s"
	}
	if e.Header != "" {
		c.args = append(c.args, "-H", e.Header)
	}
	c.base = scheme + "://" + e.Addr
	return c
}

// get notes the output and exit status of a curl of the path.
func (c *curl) get(path string, args ...string) {
	c.t.Helper()
	out, err := c.try("curl", slices.Concat(c.args, args, []string{c.base + path})...)
	c.notes = append(c.notes, fmt.Sprintf("curl %s: %v", path, err))
	if len(out) > 5000 {
		out = digest([]byte(out))
	}
	c.notes = append(c.notes, settled(strings.ReplaceAll(out, c.base, "BASE"), c.e)...)
}

// forget leaves out what was noted since: cleaning up is not part of the scenario.
func (c *curl) forget(run func()) {
	before := c.notes
	c.notes = nil
	run()
	c.notes = before
}

func curlIMAP(t testing.TB, e Endpoint) []string {
	c := newCurl(t, e, "imap")
	message := c.file("message", string(letter("curl", "text \u00e9")))
	large := c.file("large", string(append(letter("large", ""), blob(3_000_000)...)))
	c.forget(func() { c.get("/", "-X", "DELETE curl") })
	c.get("/", "-X", "CREATE curl")
	c.get("/curl", "-T", message)
	c.get("/curl", "-T", large)
	c.get("/", "-X", "STATUS curl (MESSAGES UIDNEXT)")
	c.get("/curl;UID=1")
	c.get("/curl;UID=2")
	c.get("/curl;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)")
	c.get("/curl?SUBJECT%20curl")
	c.get("/curl;UID=99")
	c.get("/nonesuch;UID=1")
	c.forget(func() { c.get("/", "-X", "DELETE curl") })
	return c.notes
}

func curlPOP3(d *DovecotServer) func(testing.TB, Endpoint) []string {
	return func(t testing.TB, e Endpoint) []string {
		t.Helper()
		d.fillForPOP3(t, e.User)
		c := newCurl(t, e, "pop3")
		c.get("/")
		c.get("/1", "-o", "first")
		c.get("/2", "-o", "second")
		c.get("/3")
		c.get("/1", "-X", "DELE", "-I")
		c.get("/", "-X", "STAT", "-I")
		return c.notes
	}
}

func curlSMTP(sink *Sink) func(testing.TB, Endpoint) []string {
	return func(t testing.TB, e Endpoint) []string {
		t.Helper()
		c := newCurl(t, e, "smtp")
		s := byClient(t, e, sink)
		message := c.file("message", smtpLetter(s, "curl", ".\r\ntext\r\n"))
		c.get("/client.example", "--mail-from", e.User, "--mail-rcpt", "curl@elsewhere.example", "--mail-rcpt", "two@elsewhere.example", "-T", message)
		s.notes = c.notes
		s.sent("curl /client.example: <nil>", "curl@elsewhere.example")
		c.get("/client.example", "--mail-from", e.User, "--mail-rcpt", "no domain", "-T", message)
		c.get("/client.example", "-X", "NOOP")
		return append(s.notes, c.notes...)
	}
}

func curlDAV(t testing.TB, e Endpoint) []string {
	c := newCurl(t, e, "http")
	tree := newDAVSession(t, e).root
	clean := func() { c.forget(func() { c.get(tree+"/cal/", "-X", "DELETE") }) }
	clean()
	status := []string{"-w", "%{http_code}\n"}
	do := func(path string, args ...string) { c.get(tree+path, append(args, status...)...) }
	do("/cal/", "-X", "MKCALENDAR")
	do("/cal/a.ics", "-T", c.file("a.ics", event("a", "curl")), "-H", "If-None-Match: *")
	do("/cal/large.ics", "-T", c.file("large.ics", event("large", strings.Repeat("0123456789", 200_000))))
	do("/cal/a.ics")
	do("/cal/a.ics", "-I", "-o", "head")
	do("/cal/", "-X", "PROPFIND", "-H", "Depth: 0", "-d", xmlHead+`<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>`)
	do("/cal/a.ics", "-X", "MOVE", "-H", "Destination: "+c.base+strings.ReplaceAll(tree, "%40", "@")+"/cal/b.ics")
	do("/cal/a.ics")
	do("/cal/b.ics", "--compressed")
	do("/cal/b.ics", "-X", "DELETE", "-H", `If-Match: "wrong"`)
	clean()
	return c.notes
}
