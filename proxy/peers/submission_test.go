package peers

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPeersDovecotSubmission(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{})
	direct := Endpoint{Addr: d.Submission, User: "jane@new.example", Password: UserPassword}
	Same(t, SMTPScenarios(d.Relayed), direct, direct)
}

// Both together, as the examples show them: what is submitted at either arrives in the mailbox.
func TestPeersMail(t *testing.T) {
	t.Parallel()
	d, p := Mail(t, DovecotOptions{}, PostfixOptions{})
	for name, addr := range map[string]string{"dovecot": d.Submission, "postfix": p.Submission} {
		t.Run(name, func(t *testing.T) {
			user := name + "@new.example"
			s := loginSMTP(t, Endpoint{Addr: addr, User: "jane@new.example", Password: UserPassword}, p.Arrived)
			s.from("")
			s.do("RCPT TO:<%s>", user)
			s.do("DATA")
			s.send(smtpLetter(s, name, "text\r\n") + ".\r\n")
			if got := s.reply(); !strings.HasPrefix(got, "250 ") {
				t.Fatalf("the message is refused: %s", got)
			}
			arrives(t, Endpoint{Addr: d.IMAP, User: user, Password: UserPassword}, "Subject: "+name)
		})
	}
}

// arrives waits until the first message in the INBOX holds the words.
func arrives(t *testing.T, e Endpoint, words string) {
	t.Helper()
	s := loginIMAP(t, e, false)
	deadline := time.Now().Add(startWait)
	for time.Now().Before(deadline) {
		s.do("SELECT INBOX")
		s.notes = nil
		s.do("FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
		if strings.Contains(fmt.Sprint(s.notes), words) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Errorf("no message with %q in the mailbox of %s", words, e.User)
}
