package imap_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/proxy"
	"latchkey/proxy/imap"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/wire"
)

func build(s *proxytest.Scene) proxy.Protocol {
	o := imap.Options{Auth: s.Auth, StartTLS: s.TLS, Hostname: s.Settings.Get("hostname", "")}
	offer := strings.Fields(s.Settings.Get("offer", ""))
	o.Offer = func(authcore.ConnInfo) []string { return offer }
	return offering{imap.New(o), offer}
}

// offering is a door whose client was told of these capabilities before LogIn.
type offering struct {
	*imap.Door
	offered []string
}

func (o offering) LogIn(ctx context.Context, up *proxy.Leg, l *proxy.Login) (proxy.Welcome, error) {
	l.Offered = o.offered
	return o.Door.LogIn(ctx, up, l)
}

func TestDialogues(t *testing.T) { proxytest.Dialogues(t, "testdata/dialogue/*.txt", build) }

func TestLogIns(t *testing.T) { proxytest.LogIns(t, "testdata/login/*.txt", build) }

func TestName(t *testing.T) {
	if got := imap.New(imap.Options{}).Name(); got != policy.IMAP {
		t.Errorf("Name = %q, want %q", got, policy.IMAP)
	}
}

// codes is the table of refusals: RFC 5530.
var codes = map[authcore.Reason]string{
	authcore.BadCredentials:         "AUTHENTICATIONFAILED",
	authcore.AppPasswordRequired:    "AUTHENTICATIONFAILED",
	authcore.PasswordExpired:        "EXPIRED",
	authcore.PasswordChangeRequired: "EXPIRED",
	authcore.Suspended:              "CONTACTADMIN",
	authcore.DoorClosed:             "AUTHORIZATIONFAILED",
	authcore.Throttled:              "LIMIT",
	authcore.TooManyConnections:     "LIMIT",
	authcore.Unavailable:            "UNAVAILABLE",
	authcore.TLSRequired:            "PRIVACYREQUIRED",
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
			ending := " [" + code + "] " + reason.Sentence() + "\r\n"
			synctest.Test(t, func(t *testing.T) { // a last word waits a second for its reader
				if got, want := refuse(t, reason), "* BYE"+ending; got != want {
					t.Errorf("instead of a greeting: %q, want %q", got, want)
				}
				if got, want := attempt(t, reason), "a1 NO"+ending; got != want {
					t.Errorf("to an attempt: %q, want %q", got, want)
				}
			})
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
	if err := imap.New(imap.Options{}).Refuse(wire.New(ours, wire.Options{}), why, why.Sentence()); err != nil {
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
	said := converse(t, auth, "a1 LOGIN ann secret\r\na2 LOGOUT\r\n")
	_, said, _ = strings.Cut(said, "\r\n") // the greeting
	line, _, _ := strings.Cut(said, "\r\n")
	return line + "\r\n"
}

// converse says something under TLS that ended before us, and answers what the door said until it closed.
func converse(t *testing.T, auth proxy.Authenticator, say string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan error)
	go func() {
		c := wire.New(ours, wire.Options{})
		_, err := imap.New(imap.Options{Auth: auth}).Dialogue(context.Background(), c, authcore.ConnInfo{TLSVersion: "TLSv1.2"})
		_ = c.Close()
		done <- err
	}()
	go func() { _, _ = io.WriteString(theirs, say) }()
	said, _ := io.ReadAll(theirs)
	_ = theirs.Close()
	if err := <-done; !errors.Is(err, proxy.ErrGone) {
		t.Errorf("Dialogue: %v", err)
	}
	return string(said)
}

// TestHandOver: commands that came with LOGIN in one packet belong to the relay.
func TestHandOver(t *testing.T) {
	const ahead = "a2 SELECT INBOX\r\na3 FETCH 1 (BODY[])\r\na4 NO"
	auth := proxytest.NewAuthenticator()
	auth.Person("ann", "secret", authcore.Decision{Reason: authcore.Allowed})
	door := imap.New(imap.Options{Auth: auth})
	ours, theirs := net.Pipe()
	go func() {
		_, _ = io.WriteString(theirs, "a1 LOGIN ann secret\r\n"+ahead)
		_, _ = io.Copy(io.Discard, theirs)
	}()
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
	if p := door.Relay(login, proxy.Welcome{}); p.Splitter != nil || !strings.HasPrefix(string(p.Farewell(nil)), "* BYE ") {
		t.Errorf("Relay = %v, %q", p.Splitter, p.Farewell(nil))
	}
}

// TestOffered: what the client was told of the upstreams goes with its Login.
func TestOffered(t *testing.T) {
	want := []string{"IDLE", "UIDPLUS"}
	auth := proxytest.NewAuthenticator()
	auth.Person("ann", "secret", authcore.Decision{Reason: authcore.Allowed})
	door := imap.New(imap.Options{Auth: auth, Offer: func(authcore.ConnInfo) []string { return want }})
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	go func() { _, _ = io.WriteString(theirs, "a1 CAPABILITY\r\na2 LOGIN ann secret\r\n") }()
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
			_, err := imap.New(imap.Options{Auth: waiting{}}).Dialogue(context.Background(), wire.New(ours, wire.Options{}),
				authcore.ConnInfo{TLSVersion: "TLSv1.2"})
			_ = ours.Close()
			done <- err
		}()
		go func() { _, _ = io.WriteString(theirs, "a1 LOGIN ann secret\r\n") }()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		synctest.Wait()
		_ = theirs.Close()
		if err := <-done; !errors.Is(err, proxy.ErrGone) || !errors.Is(err, wire.ErrGone) {
			t.Errorf("Dialogue: %v, want %v for %v", err, proxy.ErrGone, wire.ErrGone)
		}
	})
}
