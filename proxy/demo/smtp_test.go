package demo

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-smtp"
)

func smtpCode(err error) int {
	var e *smtp.SMTPError
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func TestRecipients(t *testing.T) {
	cases := []struct {
		name      string
		to        []string
		code      int // of the refusal, 0 for none
		alice     int // new messages
		bob       int
		elsewhere string // X-Demo-Recipients of the sender's copy
	}{
		{name: "one person", to: []string{alice}, alice: 1},
		{name: "an alias in other letters", to: []string{"A.Liddell@New.Example"}, alice: 1},
		{name: "an address and its alias are one", to: []string{alice, "a.liddell@new.example"}, alice: 1},
		{name: "two people", to: []string{alice, bob}, alice: 1, bob: 1},
		{name: "nobody here", to: []string{"nobody@new.example"}, code: 550},
		{name: "no domain", to: []string{"postmaster"}, code: 501},
		{name: "elsewhere", to: []string{"x@away.example", "y@away.example"}, elsewhere: "x@away.example,\r\n y@away.example\r\n"},
		{name: "here and elsewhere", to: []string{alice, "x@away.example"}, alice: 1, elsewhere: "x@away.example\r\n"},
		{name: "elsewhere in other letters", to: []string{"zoë@away.example"}, elsewhere: "zoë@away.example\r\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := start(t)
			err := send(d.smtpAs(t, bob), c.to)
			if got := smtpCode(err); got != c.code {
				t.Fatalf("got %v, want code %d", err, c.code)
			}
			if got := len(d.texts(t, alice, inbox)) - 1; got != c.alice {
				t.Errorf("Alice has %d new messages, want %d", got, c.alice)
			}
			if got := len(d.texts(t, bob, inbox)) - 1; got != c.bob {
				t.Errorf("Bob has %d new messages, want %d", got, c.bob)
			}
			if c.elsewhere == "" {
				return
			}
			copies := d.texts(t, bob, sentElsewhere)
			if len(copies) != 1 || copies[0] != "X-Demo-Recipients: "+c.elsewhere+message("Hello") {
				t.Errorf("the sender's copies: %q", copies)
			}
			shown, err := d.imapAs(t, bob).List("", sentElsewhere, &imap.ListOptions{SelectSubscribed: true}).Collect()
			if err != nil || len(shown) != 1 {
				t.Errorf("programs that show subscribed mailboxes show %v, %v", shown, err)
			}
		})
	}
}

func send(c *smtp.Client, to []string) error {
	if err := c.Mail(bob, &smtp.MailOptions{UTF8: true}); err != nil {
		return err
	}
	for _, r := range to {
		if err := c.Rcpt(r, nil); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(message("Hello"))); err != nil {
		return err
	}
	return w.Close()
}

func TestSubmissionRefuses(t *testing.T) {
	d := start(t)
	t.Run("who has not signed in", func(t *testing.T) {
		c, err := smtp.Dial(d.smtp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := smtpCode(c.Mail(alice, nil)); got != 530 {
			t.Errorf("MAIL: got %d, want 530", got)
		}
	})
	t.Run("a declared size over the limit", func(t *testing.T) {
		c := d.smtpAs(t, alice)
		if got := smtpCode(c.Mail(alice, &smtp.MailOptions{Size: maxMessage + 1})); got != 552 {
			t.Errorf("MAIL: got %d, want 552", got)
		}
	})
	t.Run("a message over the limit", func(t *testing.T) {
		c := d.smtpAs(t, alice)
		large := strings.Repeat(strings.Repeat("x", 998)+"\r\n", maxMessage/1000+1)
		if got := smtpCode(c.SendMail(alice, []string{bob}, strings.NewReader(large))); got != 552 {
			t.Errorf("got %d, want 552", got)
		}
		if n := len(d.texts(t, bob, inbox)); n != 1 {
			t.Errorf("Bob has %d messages, want the welcome alone", n)
		}
	})
	t.Run("a full mailbox, for all recipients", func(t *testing.T) {
		full := d.people.find(bob)
		for full.mail.hasRoom(1 << 20) {
			if err := full.mail.deliver("Archive", make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		c := d.smtpAs(t, alice)
		text := strings.Repeat(strings.Repeat("x", 998)+"\r\n", 1100)
		if got := smtpCode(c.SendMail(alice, []string{alice, bob}, strings.NewReader(text))); got != 452 {
			t.Errorf("got %d, want 452", got)
		}
		if n := len(d.texts(t, alice, inbox)); n != 1 {
			t.Errorf("Alice has %d messages, want the welcome alone", n)
		}
	})
}

func TestHeaderText(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"as it is":     {"x@away.example", "x@away.example"},
		"no new field": {"x\r\nBcc: y@away.example", "xBcc: y@away.example"},
		"no NUL":       {"x\x00y", "xy"},
		"bounded":      {strings.Repeat("x", 1000), strings.Repeat("x", maxAddress)},
	} {
		if got := headerText(c.in); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if added := maxRecipients * (maxAddress + len(",\r\n ")); added+2000 > maxTrace {
		t.Errorf("a full list of recipients has %d octets, maxTrace is %d", added, maxTrace)
	}
}
