package peers

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A wire that passes every byte, in pieces, is no difference; one that clears the eighth bit is seen.
func TestPeersThroughAWire(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{})
	r := Radicale(t)
	jane := Endpoint{User: "jane@new.example", Password: UserPassword}
	same := func(p []byte) []byte { return p }
	sevenBit := func(p []byte) []byte {
		for i := range p {
			p[i] &= 0x7f
		}
		return p
	}
	for _, c := range []struct {
		name      string
		addr      string
		scenarios []Scenario
		eightBit  string // a scenario that needs all bits
	}{
		{"imap", d.IMAP, IMAPScenarios(), "8-bit literals"},
		{"pop3", d.POP3, POP3Scenarios(d), "retrieve"},
		{"smtp", d.Submission, SMTPScenarios(d.Relayed), "bdat"},
		{"dav", r.Direct, DAVScenarios(), "addressbook"},
	} {
		t.Run(c.name, func(t *testing.T) {
			direct, through, broken := jane, jane, jane
			direct.Addr, through.Addr, broken.Addr = c.addr, wire(t, c.addr, same), wire(t, c.addr, sevenBit)
			Same(t, c.scenarios, direct, through)
			i := slices.IndexFunc(c.scenarios, func(s Scenario) bool { return s.Name == c.eightBit })
			if i < 0 {
				t.Fatalf("no scenario %q", c.eightBit)
			}
			if want, got := c.scenarios[i].run(t, direct), c.scenarios[i].run(t, broken); slices.Equal(want, got) {
				t.Errorf("%s: nobody saw that the eighth bit was cleared:\n%s", c.eightBit, strings.Join(got, "\n"))
			}
		})
	}
}

// wire passes bytes on to addr and back, at most 1000 at a time, and changed.
func wire(t *testing.T, addr string, change func([]byte) []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listenUntilEnd(t, l, func(client net.Conn) {
		server, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer server.Close()
		var both sync.WaitGroup
		both.Go(func() { pass(server, client, change) })
		both.Go(func() { pass(client, server, change) })
		both.Wait()
	})
	return l.Addr().String()
}

func pass(to, from net.Conn, change func([]byte) []byte) {
	b := make([]byte, 1000)
	for {
		n, err := from.Read(b)
		if _, errWrite := to.Write(change(b[:n])); err != nil || errWrite != nil {
			break
		}
	}
	to.Close()
	from.Close()
}

func TestDiff(t *testing.T) {
	for name, c := range map[string]struct {
		want, got []string
		diff      string
	}{
		"equal":   {[]string{"a"}, []string{"a"}, "  a\n"},
		"changed": {[]string{"a", "b", "c"}, []string{"a", "x", "c"}, "  a\n- b\n+ x\n"},
		"missing": {[]string{"a", "b"}, []string{"a"}, "  a\n- b\n"},
		"more":    {[]string{"a", "a"}, []string{"a", "a", "a"}, "  a\n  a\n+ a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Diff(c.want, c.got); got != c.diff {
				t.Errorf("got %q, want %q", got, c.diff)
			}
		})
	}
}

// What is left out as different each time must not hide what a door could do wrong.
func TestMessageLines(t *testing.T) {
	one := "Received: from a\r\n\tby b\r\n"
	text := "Date: now\r\nSubject: x\r\n\r\nbody\r\nReceived: in the body\r\n"
	got := messageLines(one + text)
	want := []string{"1 trace fields", "Date: D", "Subject: x", "", `"body\r\nReceived: in the body\r\n"`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if slices.Equal(messageLines(one+one+text), got) {
		t.Error("a second trace field is not seen")
	}
}
