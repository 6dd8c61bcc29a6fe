package demo

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pop3Client is a raw POP3 client.
type pop3Client struct{ *textproto.Conn }

func dialPOP3(t *testing.T, address string) pop3Client {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	p := pop3Client{textproto.NewConn(c)}
	t.Cleanup(func() { p.Close() })
	return p
}

func (p pop3Client) ask(t *testing.T, line string) string {
	t.Helper()
	if err := p.PrintfLine("%s", line); err != nil {
		t.Fatal(err)
	}
	got, err := p.ReadLine()
	if err != nil {
		t.Fatalf("after %q: %v", line, err)
	}
	return got
}

func (p pop3Client) expect(t *testing.T, want string) {
	t.Helper()
	got, err := p.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func (p pop3Client) say(t *testing.T, line, want string) {
	t.Helper()
	if got := p.ask(t, line); !strings.HasPrefix(got, want) {
		t.Fatalf("after %q: got %q, want %q", line, got, want)
	}
}

// Each file of testdata/pop3 is one dialogue with Alice's mailbox, which holds two short messages. A line "S: text*" wants
// only that beginning, "S: EOF" the end. Lines "C:" that follow each other go out in one packet.
func TestPOP3Dialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/pop3/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d := start(t, func(o *Options) {
				o.Now = func() time.Time { return time.Unix(0x60000000, 0).UTC() }
			})
			runDialogue(t, dialPOP3(t, d.pop3), d.twoMessages(t), string(script))
		})
	}
}

// twoMessages replaces what is in Alice's INBOX.
func (d *started) twoMessages(t *testing.T) *started {
	t.Helper()
	c := d.imapAs(t, alice)
	if _, err := c.Select(inbox, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Move(seq(1), "Trash").Wait(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Subject: one\r\n\r\nfirst\r\n.second\r\nthird\r\n", "Subject: two\r\n\r\nno line end"} {
		if err := d.Deliver(alice, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func runDialogue(t *testing.T, p pop3Client, d *started, script string) {
	var packet strings.Builder
	send := func() {
		if _, err := io.WriteString(p.W, packet.String()); err != nil {
			t.Fatal(err)
		}
		if err := p.W.Flush(); err != nil {
			t.Fatal(err)
		}
		packet.Reset()
	}
	for n, line := range strings.Split(strings.TrimSpace(script), "\n") {
		switch {
		case strings.HasPrefix(line, "#") || line == "":
		case strings.HasPrefix(line, "C: "):
			packet.WriteString(unescape(line[3:]) + "\r\n")
		case line == "IMAP: expunge 1":
			d.expungeFirst(t)
		case line == "S: EOF":
			send()
			if got, err := p.ReadLine(); err != io.EOF {
				t.Fatalf("line %d: got %q, %v, want the end", n+1, got, err)
			}
		case strings.HasPrefix(line, "S:"):
			send()
			got, err := p.ReadLine()
			want := strings.TrimPrefix(strings.TrimPrefix(line, "S:"), " ")
			if beginning, ok := strings.CutSuffix(want, "*"); ok && strings.HasPrefix(got, beginning) {
				continue
			}
			if got != want {
				t.Fatalf("line %d: got %q, %v, want %q", n+1, got, err, want)
			}
		default:
			t.Fatalf("line %d: neither C nor S: %q", n+1, line)
		}
	}
}

// unescape writes <NUL> and <LF> and <5000 x> of a script as they go over the wire.
func unescape(s string) string {
	return strings.NewReplacer("<NUL>", "\x00", "<LF>", "\n", "<CR>", "\r", "<LONG>", strings.Repeat("x", maxPOP3Line)).Replace(s)
}

func (d *started) expungeFirst(t *testing.T) {
	t.Helper()
	c := d.imapAs(t, alice)
	if _, err := c.Select(inbox, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Move(seq(1), "Trash").Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestPOP3LetsSilentClientsGo(t *testing.T) {
	for name, c := range map[string]struct {
		says string
		wait time.Duration
	}{
		"before signing in": {"", pop3SignIn},
		"after signing in":  {"AUTH PLAIN " + plainResponse(alice, master, pass) + "\r\n", pop3Idle},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := New(testOptions())
				if err != nil {
					t.Fatal(err)
				}
				l := newInside()
				var serving sync.WaitGroup
				serving.Go(func() { _ = s.ServePOP3(l) })
				client, err := l.dial(nil)
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				in := bufio.NewReader(client)
				if _, err := in.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				if c.says != "" {
					if _, err := io.WriteString(client, c.says); err != nil {
						t.Fatal(err)
					}
					if reply, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(reply, "+OK") {
						t.Fatalf("got %q, %v", reply, err)
					}
				}
				begun := time.Now()
				if _, err := in.ReadString('\n'); err != io.EOF {
					t.Errorf("got %v, want the end", err)
				}
				if waited := time.Since(begun); waited != c.wait {
					t.Errorf("let go after %v, want %v", waited, c.wait)
				}
				_ = s.Close()
				serving.Wait()
			})
		})
	}
}

// FuzzPOP3 feeds bytes to a session that is signed in, so that they get past the first check. Whatever comes, the
// session ends when the client does and every reply line is one of POP3.
func FuzzPOP3(f *testing.F) {
	for _, seed := range []string{
		"STAT\r\nLIST\r\nUIDL\r\n", "RETR 1\r\nTOP 1 3\r\nTOP 1 -1\r\n", "DELE 1\r\nDELE 1\r\nRSET\r\nQUIT\r\n",
		"LIST 0\r\nLIST 99999999999999999999\r\nRETR\r\n", "USER x\r\nPASS y\r\nAUTH PLAIN =\r\n", "CAPA\r\n\x00\r\n", "NOOP\n",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	s, err := New(testOptions())
	if err != nil {
		f.Fatal(err)
	}
	l := newInside()
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.ServePOP3(l) })
	f.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	f.Fuzz(func(t *testing.T, input []byte, signedIn bool) {
		client, err := l.dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		var replies bytes.Buffer
		var reading sync.WaitGroup
		reading.Go(func() { _, _ = io.Copy(&replies, client) })
		if signedIn {
			_, _ = io.WriteString(client, "AUTH PLAIN "+plainResponse(alice, master, pass)+"\r\n")
		}
		_, _ = client.Write(input)
		_, _ = io.WriteString(client, "\r\nQUIT\r\n*\r\nQUIT\r\n") // QUIT twice: an AUTH may have swallowed one
		reading.Wait()
		client.Close()
		if first, _, _ := bytes.Cut(replies.Bytes(), []byte(" ")); string(first) != "+OK" {
			t.Errorf("the greeting is %q", first)
		}
		if !bytes.HasSuffix(replies.Bytes(), []byte("\r\n")) {
			t.Errorf("the last reply is cut: %q", replies.Bytes())
		}
	})
}
