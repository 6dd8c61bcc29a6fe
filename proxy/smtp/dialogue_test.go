package smtp

import (
	"context"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/wire"
)

func TestDialogues(t *testing.T) { proxytest.Dialogues(t, "testdata/dialogue/*.txt", build) }

func TestLogIns(t *testing.T) { proxytest.LogIns(t, "testdata/login/*.txt", build) }

// build makes a door with the settings offer (what the upstreams have in common), offered (what a client was told
// before LogIn), told (the upstream knows the client) and endless (the core decides nothing until the attempt is given
// up).
func build(s *proxytest.Scene) proxy.Protocol {
	if s.Settings.On("endless") {
		s.Auth.OnAuthenticate = func(ctx context.Context, _ authcore.Attempt, _ authcore.Decision) (authcore.Decision, error) {
			<-ctx.Done()
			return authcore.Decision{}, context.Cause(ctx)
		}
	}
	list := func(key string) []string {
		return slices.DeleteFunc(strings.Split(s.Settings.Get(key, ""), ","), func(c string) bool { return c == "" })
	}
	p := New(Options{
		Hostname: proxytest.DoorName, TLS: s.TLS, Authenticator: s.Auth,
		Offer: func(authcore.ConnInfo) []string { return list("offer") },
	})
	list("offer")
	return &scripted{Protocol: p, offered: list("offered"), told: s.Settings.On("told")}
}

// scripted lets a script say what the Login and the Leg hold, and see whether a Received field is wanted.
type scripted struct {
	*Protocol
	offered []string
	told    bool
}

func (p *scripted) LogIn(ctx context.Context, up *proxy.Leg, l *proxy.Login) (proxy.Welcome, error) {
	l.Offered, up.Facts.Told = p.offered, p.told
	w, err := p.Protocol.LogIn(ctx, up, l)
	if w.AddReceived {
		w.Capabilities = append(w.Capabilities, "(Received)")
	}
	return w, err
}

func TestReasons(t *testing.T) {
	want := map[authcore.Reason]string{
		authcore.Allowed: "235 2.7.0", authcore.BadCredentials: "535 5.7.8", authcore.AppPasswordRequired: "535 5.7.8",
		authcore.PasswordExpired: "535 5.7.8", authcore.PasswordChangeRequired: "535 5.7.8", authcore.Suspended: "535 5.7.8",
		authcore.DoorClosed: "535 5.7.8", authcore.Throttled: "454 4.7.0", authcore.TooManyConnections: "454 4.7.0",
		authcore.Unavailable: "454 4.7.0", authcore.TLSRequired: "538 5.7.11",
	}
	for _, r := range authcore.Reasons() {
		reply := verdictOf(r)
		if code, ok := want[r]; !ok || reply != code+" "+r.Sentence()+"\r\n" {
			t.Errorf("%s: got %q, want code %q and %q", r, reply, code, r.Sentence())
		}
		if !regexp.MustCompile(`^[2-5]\d\d [245]\.\d+\.\d+ [ -~]+\r\n$`).MatchString(reply) || len(reply) > 512 {
			t.Errorf("%s: %q is no reply line", r, reply)
		}
	}
	if got := codeOf(""); got != "535 5.7.8" {
		t.Errorf("the zero reason answers %s", got)
	}
}

func TestRefuse(t *testing.T) {
	for _, why := range []authcore.Reason{authcore.TooManyConnections, authcore.Unavailable} {
		synctest.Test(t, func(t *testing.T) { // a last word waits a second for its reader
			if got, want := refuse(t, why), "421 4.7.0 "+why.Sentence()+"\r\n"; got != want {
				t.Errorf("%s: got %q, want %q", why, got, want)
			}
		})
	}
}

// refuse answers what a client hears that is not let in at all.
func refuse(t *testing.T, why authcore.Reason) string {
	t.Helper()
	addr := netip.MustParseAddrPort("192.0.2.1:587")
	client, door := proxytest.Pipe(addr, addr)
	defer func() { _ = client.Close() }()
	said := make(chan string)
	go func() {
		p, _ := io.ReadAll(client)
		said <- string(p)
	}()
	if err := New(Options{}).Refuse(wire.New(door, wire.Options{}), why, why.Sentence()); err != nil {
		t.Error(err)
	}
	return <-said
}
