package pop3_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/proxy"
	"latchkey/proxy/pop3"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/wire"
)

func build(s *proxytest.Scene) proxy.Protocol {
	o := pop3.Options{Auth: s.Auth, StartTLS: s.TLS, Hostname: s.Settings.Get("hostname", "")}
	offer := lines(s.T, s.Settings.Get("offer", ""))
	o.Offer = func(authcore.ConnInfo) []string { return offer }
	return offering{pop3.New(o), offer}
}

// offering is a door whose client was told of these capabilities before LogIn.
type offering struct {
	*pop3.Door
	offered []string
}

func (o offering) LogIn(ctx context.Context, up *proxy.Leg, l *proxy.Login) (proxy.Welcome, error) {
	l.Offered = o.offered
	return o.Door.LogIn(ctx, up, l)
}

// lines reads words and Go strings.
func lines(t testing.TB, s string) []string {
	t.Helper()
	var list []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if s[0] != '"' {
			word, rest, _ := strings.Cut(s, " ")
			list, s = append(list, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		line, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		list, s = append(list, line), s[len(quoted):]
	}
	return list
}

func TestDialogues(t *testing.T) { proxytest.Dialogues(t, "testdata/dialogue/*.txt", build) }

func TestLogIns(t *testing.T) { proxytest.LogIns(t, "testdata/login/*.txt", build) }

func TestName(t *testing.T) {
	if got := pop3.New(pop3.Options{}).Name(); got != policy.POP3 {
		t.Errorf("Name = %q, want %q", got, policy.POP3)
	}
}

// codes is the table of refusals: RFC 3206.
var codes = map[authcore.Reason]string{
	authcore.BadCredentials:         "[AUTH] ",
	authcore.AppPasswordRequired:    "[AUTH] ",
	authcore.PasswordExpired:        "[AUTH] ",
	authcore.PasswordChangeRequired: "[AUTH] ",
	authcore.Suspended:              "[AUTH] ",
	authcore.DoorClosed:             "[AUTH] ",
	authcore.Throttled:              "[SYS/TEMP] ",
	authcore.TooManyConnections:     "[SYS/TEMP] ",
	authcore.Unavailable:            "[SYS/TEMP] ",
	authcore.TLSRequired:            "",
}

func TestEveryReasonHasAReply(t *testing.T) {
	for _, reason := range authcore.Reasons() {
		if reason == authcore.Allowed {
			continue
		}
		t.Run(string(reason), func(t *testing.T) {
			code, ok := codes[reason]
			if !ok {
				t.Fatalf("%s has no code", reason)
			}
			want := "-ERR " + code + reason.Sentence() + "\r\n"
			synctest.Test(t, func(t *testing.T) { // a last word waits a second for its reader
				if got := refuse(t, reason); got != want {
					t.Errorf("instead of a greeting: %q, want %q", got, want)
				}
				if got := attempt(t, reason); got != want {
					t.Errorf("to an attempt: %q, want %q", got, want)
				}
			})
			if len(want) > 512 {
				t.Errorf("%d octets, RFC 1939 section 3 allows 512", len(want))
			}
		})
	}
}

// refuse answers what a client hears that is not let in at all.
func refuse(t *testing.T, why authcore.Reason) string {
	t.Helper()
	ours, theirs := net.Pipe()
	said := make(chan string)
	go func() {
		p, _ := io.ReadAll(theirs)
		said <- string(p)
	}()
	if err := pop3.New(pop3.Options{}).Refuse(wire.New(ours, wire.Options{}), why, why.Sentence()); err != nil {
		t.Errorf("Refuse: %v", err)
	}
	_ = theirs.Close()
	return <-said
}

// attempt answers what a client hears whose attempt ends so.
func attempt(t *testing.T, why authcore.Reason) string {
	t.Helper()
	auth := proxytest.NewAuthenticator()
	auth.Person("ann", "secret", authcore.Decision{Reason: why})
	ours, theirs := net.Pipe()
	done := make(chan error)
	go func() {
		c := wire.New(ours, wire.Options{})
		_, err := pop3.New(pop3.Options{Auth: auth}).Dialogue(context.Background(), c, authcore.ConnInfo{TLSVersion: "TLSv1.2"})
		_ = c.Close()
		done <- err
	}()
	go func() { _, _ = io.WriteString(theirs, "USER ann\r\nPASS secret\r\nQUIT\r\n") }()
	said, _ := io.ReadAll(theirs)
	_ = theirs.Close()
	if err := <-done; !errors.Is(err, proxy.ErrGone) {
		t.Errorf("Dialogue: %v", err)
	}
	lines := strings.SplitAfter(string(said), "\r\n") // greeting, +OK to USER, the answer
	if len(lines) < 3 {
		t.Fatalf("said %q", said)
	}
	return lines[2]
}

// TestHandOver: commands that came with PASS in one packet belong to the relay.
func TestHandOver(t *testing.T) {
	const ahead = "STAT\r\nRETR 1\r\nQU"
	auth := proxytest.NewAuthenticator()
	auth.Person("ann", "secret", authcore.Decision{Reason: authcore.Allowed})
	door := pop3.New(pop3.Options{Auth: auth})
	ours, theirs := net.Pipe()
	go func() { _, _ = io.WriteString(theirs, "USER ann\r\nPASS secret\r\n"+ahead) }()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	c := wire.New(ours, wire.Options{})
	login, err := door.Dialogue(context.Background(), c, authcore.ConnInfo{TLSVersion: "TLSv1.2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := login.Reply(authcore.Allowed, proxy.Welcome{}); err != nil {
		t.Fatal(err)
	}
	conn, got := c.Detach()
	if string(got) != ahead {
		t.Errorf("handed over %q, want %q", got, ahead)
	}
	_ = conn.Close()
	if p := door.Relay(login, proxy.Welcome{}); p.Splitter != nil || p.Farewell != nil {
		t.Errorf("Relay = %v, %q", p.Splitter, p.Farewell(nil))
	}
}

// TestOffered: what the client was told of the upstreams goes with its Login.
func TestOffered(t *testing.T) {
	want := []string{"TOP", "UIDL"}
	auth := proxytest.NewAuthenticator()
	auth.Person("ann", "secret", authcore.Decision{Reason: authcore.Allowed})
	door := pop3.New(pop3.Options{Auth: auth, Offer: func(authcore.ConnInfo) []string { return want }})
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	go func() { _, _ = io.WriteString(theirs, "CAPA\r\nUSER ann\r\nPASS secret\r\n") }()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	c := wire.New(ours, wire.Options{})
	defer func() { _ = c.Close() }()
	login, err := door.Dialogue(context.Background(), c, authcore.ConnInfo{TLSVersion: "TLSv1.2"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(login.Offered, want) {
		t.Errorf("Offered = %q, want %q", login.Offered, want)
	}
}

// waiting decides nothing for as long as the client waits.
type waiting struct{ proxy.Authenticator }

func (waiting) Authenticate(ctx context.Context, _ authcore.Attempt) (authcore.Decision, error) {
	<-ctx.Done()
	return authcore.Decision{}, context.Cause(ctx)
}

// TestClientHangsUpWhileWaiting: its attempt is given up, which is nobody's fault.
func TestClientHangsUpWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		done := make(chan error)
		go func() {
			_, err := pop3.New(pop3.Options{Auth: waiting{}}).Dialogue(context.Background(), wire.New(ours, wire.Options{}),
				authcore.ConnInfo{TLSVersion: "TLSv1.2"})
			_ = ours.Close()
			done <- err
		}()
		go func() { _, _ = io.WriteString(theirs, "USER ann\r\nPASS secret\r\n") }()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		synctest.Wait()
		_ = theirs.Close()
		if err := <-done; !errors.Is(err, proxy.ErrGone) || !errors.Is(err, wire.ErrGone) {
			t.Errorf("Dialogue: %v, want %v for %v", err, proxy.ErrGone, wire.ErrGone)
		}
	})
}

// TestOfferedIsForgottenAtSTLS: what was told in the clear binds nobody.
func TestOfferedIsForgottenAtSTLS(t *testing.T) {
	auth := proxytest.NewAuthenticator()
	auth.Person("ann", "secret", authcore.Decision{Reason: authcore.Allowed})
	ca := proxytest.NewCA(t)
	door := pop3.New(pop3.Options{
		Auth: auth, StartTLS: ca.Server(t, proxytest.DoorName),
		Offer: func(authcore.ConnInfo) []string { return []string{"TOP"} },
	})
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	go func() {
		await(theirs, "ready\r\n")
		_, _ = io.WriteString(theirs, "CAPA\r\n")
		await(theirs, "TOP\r\n.\r\n")
		_, _ = io.WriteString(theirs, "STLS\r\n")
		await(theirs, "now\r\n")
		secure := tls.Client(theirs, ca.Client(proxytest.DoorName))
		_, _ = io.WriteString(secure, "USER ann\r\nPASS secret\r\n")
		_, _ = io.Copy(io.Discard, secure)
	}()
	c := wire.New(ours, wire.Options{})
	defer func() { _ = c.Close() }()
	login, err := door.Dialogue(context.Background(), c, authcore.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if len(login.Offered) > 0 {
		t.Errorf("Offered = %q, want nothing", login.Offered)
	}
}

// await reads until last has come, or the door has closed.
func await(c net.Conn, last string) {
	p := make([]byte, 1)
	for said := ""; !strings.HasSuffix(said, last); said += string(p) {
		if _, err := c.Read(p); err != nil {
			return
		}
	}
}
