package demo

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

func seq(n ...uint32) imap.SeqSet { return imap.SeqSetNum(n...) }

func TestIMAPMailboxes(t *testing.T) {
	d := start(t)
	c := d.imapAs(t, alice)
	list := func(o *imap.ListOptions) map[string][]imap.MailboxAttr {
		t.Helper()
		found, err := c.List("", "*", o).Collect()
		if err != nil {
			t.Fatal(err)
		}
		boxes := make(map[string][]imap.MailboxAttr)
		for _, l := range found {
			boxes[l.Mailbox] = l.Attrs
		}
		return boxes
	}
	boxes := list(nil)
	for _, box := range standard() {
		attrs, ok := boxes[box.name]
		if !ok || box.use != "" && !slices.Contains(attrs, box.use) {
			t.Errorf("%s has attributes %v, found: %v, want %q", box.name, attrs, ok, box.use)
		}
	}
	if special := list(&imap.ListOptions{SelectSpecialUse: true}); len(special) != 4 || special[inbox] != nil {
		t.Errorf("special-use mailboxes: got %v, want four without INBOX", special)
	}

	for name, err := range map[string]error{
		"create":      c.Create("Work/2026", nil).Wait(),
		"create top":  c.Create("Work", nil).Wait(),
		"subscribe":   c.Subscribe("Work/2026").Wait(),
		"unsubscribe": c.Unsubscribe("Junk").Wait(),
		"rename":      c.Rename("Drafts", "Sketches", nil).Wait(),
		"delete":      c.Delete("Trash").Wait(),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	boxes = list(nil)
	if _, there := boxes["Trash"]; there || !slices.Contains(boxes["Work"], imap.MailboxAttrHasChildren) || !slices.Contains(boxes["Sketches"], imap.MailboxAttrDrafts) {
		t.Errorf("after the changes: %v", boxes)
	}
	subscribed := list(&imap.ListOptions{SelectSubscribed: true})
	if _, junk := subscribed["Junk"]; junk || subscribed["Work/2026"] == nil || subscribed["Work"] != nil {
		t.Errorf("subscribed: %v", subscribed)
	}

	refuse(t, "delete INBOX", c.Delete(inbox).Wait(), imap.ResponseCodeCannot)
	refuse(t, "rename INBOX", c.Rename(inbox, "Old", nil).Wait(), imap.ResponseCodeCannot)
	refuse(t, "create twice", c.Create("Work", nil).Wait(), imap.ResponseCodeAlreadyExists)
}

func refuse(t *testing.T, what string, err error, want imap.ResponseCode) {
	t.Helper()
	var got *imap.Error
	if !errors.As(err, &got) || got.Code != want {
		t.Errorf("%s: got %v, want %s", what, err, want)
	}
}

func TestIMAPFlagsAndValidity(t *testing.T) {
	d := start(t, func(o *Options) { o.Now = func() time.Time { return time.Unix(0x60000000, 0) } })
	c := d.imapAs(t, alice)
	box, err := c.Select(inbox, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if box.UIDValidity < 0x60000000 {
		t.Errorf("UIDVALIDITY is %d: it would repeat at the next start", box.UIDValidity)
	}
	for _, f := range []imap.Flag{imap.FlagSeen, imap.FlagDeleted, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDraft} {
		if !slices.Contains(box.Flags, f) || !slices.Contains(box.PermanentFlags, f) {
			t.Errorf("%s is not offered: %v, %v", f, box.Flags, box.PermanentFlags)
		}
	}
	st, err := c.Status(inbox, &imap.StatusOptions{UIDValidity: true}).Wait()
	if err != nil || st.UIDValidity != box.UIDValidity {
		t.Errorf("STATUS says %v, %v, SELECT %d", st, err, box.UIDValidity)
	}
	app := c.Append("Sent", 2, nil)
	_, _ = app.Write([]byte("\r\n"))
	_ = app.Close()
	if data, err := app.Wait(); err != nil || data.UIDValidity < 0x60000000 {
		t.Errorf("APPEND says %v, %v", data, err)
	}
	copied, err := c.Copy(seq(1), "Sent").Wait()
	if err != nil || copied.UIDValidity < 0x60000000 {
		t.Errorf("COPY says %v, %v", copied, err)
	}
	if none, err := c.Copy(imap.UIDSetNum(99), "Sent").Wait(); err != nil || len(none.SourceUIDs) != 0 {
		t.Errorf("COPY of nothing says %v, %v", none, err)
	}
}

func TestIMAPExamineChangesNothing(t *testing.T) {
	d := start(t)
	c := d.imapAs(t, alice)
	if _, err := c.Select(inbox, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	deleted := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := c.Store(seq(1), deleted, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select(inbox, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	refuse(t, "STORE", c.Store(seq(1), deleted, nil).Close(), imap.ResponseCodeNoPerm)
	if _, err := c.Move(seq(1), "Trash").Wait(); err == nil {
		t.Error("MOVE was done")
	}
	read := &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}, Flags: true}
	if _, err := c.Fetch(seq(1), read).Collect(); err != nil {
		t.Fatal(err)
	}
	if err := c.UnselectAndExpunge().Wait(); err != nil {
		t.Errorf("CLOSE: %v", err)
	}
	st, err := c.Status(inbox, &imap.StatusOptions{NumMessages: true, NumUnseen: true}).Wait()
	if err != nil || *st.NumMessages != 1 || *st.NumUnseen != 1 {
		t.Errorf("INBOX now: %+v, %v, want one unseen message", st, err)
	}
}

// The library numbered a message that the client was not told of with 0.
func TestIMAPNeverTellsSequenceNumberZero(t *testing.T) {
	d := start(t)
	c, err := net.Dial("tcp", d.imap)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	ask := func(tag, command string) string {
		t.Helper()
		if _, err := io.WriteString(c, tag+" "+command+"\r\n"); err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			all.WriteString(line)
			if strings.HasPrefix(line, tag+" ") {
				return all.String()
			}
		}
	}
	ask("a", "AUTHENTICATE PLAIN "+plainResponse(alice, master, pass))
	ask("b", "SELECT INBOX")
	if err := d.Deliver(alice, []byte(message("new"))); err != nil {
		t.Fatal(err)
	}
	if got := ask("c", "UID FETCH 1:* (FLAGS)"); strings.Contains(got, "* 0 ") || !strings.Contains(got, "* 1 FETCH") {
		t.Errorf("UID FETCH answers\n%s", got)
	}
	if err := d.Deliver(alice, []byte(message("newer"))); err != nil {
		t.Fatal(err)
	}
	if got := ask("d", `UID STORE 1:* +FLAGS (\Seen)`); strings.Contains(got, "* 0 ") || !strings.Contains(got, "* 2 FETCH") {
		t.Errorf("UID STORE answers\n%s", got)
	}
	if got := ask("e", "UID FETCH 3 (FLAGS)"); !strings.Contains(got, "* 3 FETCH") {
		t.Errorf("after it was told of, UID FETCH answers\n%s", got)
	}
	if got := ask("f", "UID MOVE 2 Trash"); strings.Count(got, "EXPUNGE") != 1 || !strings.Contains(got, "* 2 EXPUNGE") || !strings.Contains(got, "COPYUID") {
		t.Errorf("UID MOVE answers\n%s", got)
	}
}

func TestIMAPIdleHearsOfNewMail(t *testing.T) {
	d := start(t)
	heard := make(chan uint32, 8)
	c, err := imapclient.DialInsecure(d.imap, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(m *imapclient.UnilateralDataMailbox) {
			if m.NumMessages != nil {
				heard <- *m.NumMessages
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Authenticate(asMaster(alice)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select(inbox, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.smtpAs(t, bob).SendMail(bob, []string{alice}, strings.NewReader(message("news"))); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-heard:
		if n != 2 {
			t.Errorf("heard of %d messages, want 2", n)
		}
	case <-time.After(time.Minute):
		t.Error("heard nothing of new mail")
	}
	if err := errors.Join(idle.Close(), idle.Wait()); err != nil {
		t.Errorf("IDLE: %v", err)
	}
}

// Two moves in opposite directions used to wait on each other for ever.
func TestIMAPMovesDoNotDeadlock(t *testing.T) {
	d := start(t)
	var moving sync.WaitGroup
	for _, way := range [][2]string{{inbox, "Trash"}, {"Trash", inbox}} {
		c := d.imapAs(t, alice)
		moving.Go(func() {
			for range 200 {
				if _, err := c.Select(way[0], nil).Wait(); err != nil {
					t.Errorf("select: %v", err)
					return
				}
				if _, err := c.Move(imap.SeqSet{{Start: 1}}, way[1]).Wait(); err != nil {
					t.Errorf("move: %v", err)
					return
				}
			}
		})
	}
	moving.Wait()
	if n := len(d.texts(t, alice, inbox)) + len(d.texts(t, alice, "Trash")); n != 1 {
		t.Errorf("there are %d messages now, want the one from before", n)
	}
}

func TestIMAPBounds(t *testing.T) {
	d := start(t)
	c := d.imapAs(t, alice)
	t.Run("one message", func(t *testing.T) {
		// The client gives its connection up when a literal is refused.
		app := d.imapAs(t, alice).Append(inbox, maxMessage+1, nil)
		refuse(t, "a message over the limit", errors.Join(app.Close(), appendError(app)), imap.ResponseCodeTooBig)
	})
	t.Run("no such mailbox", func(t *testing.T) {
		app := c.Append("Nowhere", 2, nil)
		_, _ = app.Write([]byte("\r\n"))
		refuse(t, "APPEND", errors.Join(app.Close(), appendError(app)), imap.ResponseCodeTryCreate)
	})
	t.Run("all messages", func(t *testing.T) {
		large := make([]byte, maxMessage)
		p := d.people.find(alice)
		for p.mail.hasRoom(maxMessage) {
			if err := p.mail.deliver("Archive", large); err != nil {
				t.Fatal(err)
			}
		}
		refuse(t, "deliver", p.mail.deliver("Archive", large), imap.ResponseCodeOverQuota)
		if err := d.smtpAs(t, bob).SendMail(bob, []string{alice}, strings.NewReader(message("small"))); err != nil {
			t.Errorf("a message that fits was refused: %v", err)
		}
	})
	t.Run("mailboxes", func(t *testing.T) {
		var err error
		for n := 0; err == nil && n <= maxMailboxes; n++ {
			err = c.Create(strings.Repeat("x", n+1), nil).Wait()
		}
		refuse(t, "CREATE", err, imap.ResponseCodeLimit)
	})
}

func appendError(app *imapclient.AppendCommand) error {
	_, err := app.Wait()
	return err
}

func TestIMAPCapabilitiesAreToldAfterSignIn(t *testing.T) {
	d := start(t)
	c, err := net.Dial("tcp", d.imap)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	greeting, err := in.ReadString('\n')
	if err != nil || !strings.Contains(greeting, "AUTH=PLAIN") || !strings.Contains(greeting, "SASL-IR") || !strings.Contains(greeting, "AUTH=OAUTHBEARER") {
		t.Errorf("greeting %q, %v", greeting, err)
	}
	// Without an initial response the challenge is empty.
	_, _ = io.WriteString(c, "a AUTHENTICATE PLAIN\r\n")
	if challenge, err := in.ReadString('\n'); err != nil || challenge != "+ \r\n" {
		t.Errorf("challenge %q, %v", challenge, err)
	}
	_, _ = io.WriteString(c, plainResponse(alice, master, pass)+"\r\n")
	ok, err := in.ReadString('\n')
	if err != nil || !strings.HasPrefix(ok, "a OK [CAPABILITY ") || !strings.Contains(ok, " SPECIAL-USE") || !strings.Contains(ok, " IDLE") || strings.Contains(ok, "AUTH=") {
		t.Errorf("tagged reply %q, %v", ok, err)
	}
}
