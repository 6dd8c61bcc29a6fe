package peers

import (
	"fmt"
	"strings"
	"testing"
)

// Deliver stores a message in the user's INBOX, through LMTP as Postfix does.
func (d *DovecotServer) Deliver(t testing.TB, user, message string) {
	t.Helper()
	r := dialRaw(t, Endpoint{Addr: d.LMTP})
	defer r.c.Close()
	say := func(command, want string) {
		t.Helper()
		if command != "" {
			r.send(command + "\r\n")
		}
		for {
			line := r.line()
			if !strings.HasPrefix(line, want) {
				t.Fatalf("LMTP %.40q: %s", command, line)
			}
			if len(line) < 4 || line[3] != '-' {
				return
			}
		}
	}
	say("", "220")
	say("LHLO peers.example", "250")
	say("MAIL FROM:<sender@elsewhere.example> BODY=8BITMIME", "250")
	say(fmt.Sprintf("RCPT TO:<%s>", user), "250")
	say("DATA", "354")
	if strings.HasPrefix(message, ".") {
		message = "." + message
	}
	say(strings.ReplaceAll(strings.TrimSuffix(message, "\r\n"), "\r\n.", "\r\n..")+"\r\n.", "250")
	say("QUIT", "221")
}

// Empty removes everything from the user's INBOX.
func (d *DovecotServer) Empty(t testing.TB, user string) {
	t.Helper()
	s := loginIMAP(t, Endpoint{Addr: d.IMAP, User: user, Password: UserPassword, Security: d.security(), CA: d.CA}, false)
	defer s.c.Close()
	s.do("SELECT INBOX")
	s.do(`STORE 1:* +FLAGS.SILENT (\Deleted)`)
	if last := s.do("EXPUNGE"); !strings.HasPrefix(last, "TAG OK") {
		t.Fatalf("empty the mailbox of %s: %s", user, last)
	}
}
