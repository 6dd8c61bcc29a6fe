package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"regexp"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/wire"
)

// onlyReplies is what a door may say to anybody; a challenge may be empty.
var onlyReplies = regexp.MustCompile(`^([2-5]\d\d[ -][ -~]*\r\n)*$`)

// FuzzDialogue sends any octets before sign-in, with and without TLS. The door answers in replies, comes to an end, and
// asks the core under TLS alone, with what a person can have for a name.
func FuzzDialogue(f *testing.F) {
	for _, seed := range []string{
		"EHLO pc\r\nAUTH PLAIN AGFAbmV3LmV4YW1wbGUAc2VjcmV0\r\nQUIT\r\n", "EHLO pc\r\nAUTH PLAIN\r\nAGEAYg==\r\n",
		"EHLO pc\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nAUTH LOGIN YQ==\r\n*\r\n", "HELO pc\r\nAUTH LOGIN =\r\n",
		"STARTTLS\r\nEHLO pc\r\n", "EHLO pc\r\nBDAT 30 LAST\r\nAUTH PLAIN AGEAYg==\r\n", "XCLIENT A=b\r\nNOOP\n", "NOOP \x00\r\n",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	ca := proxytest.NewCA(f)
	server, client := ca.Server(f, proxytest.DoorName), ca.Client(proxytest.DoorName)
	f.Fuzz(func(t *testing.T, octets []byte, secure bool) {
		p := New(Options{Hostname: proxytest.DoorName, TLS: server, Authenticator: &refuser{t: t, secure: secure}})
		near, far := proxytest.Pipe(netip.MustParseAddrPort("192.0.2.7:40000"), netip.MustParseAddrPort("192.0.2.1:587"))
		door := wire.New(far, wire.Options{Deadline: time.Now().Add(10 * time.Second)})
		said := make(chan []byte)
		go func() { said <- speak(near, client, secure, octets) }()
		if err := serve(p, door, server, secure); !errors.Is(err, proxy.ErrGone) {
			t.Errorf("ended with: %v", err)
		}
		_ = door.Close()
		if out := <-said; !onlyReplies.Match(out) || bytes.Contains(out, []byte("\r\n235")) {
			t.Errorf("to %q the door said %q", octets, out)
		}
	})
}

func serve(p *Protocol, door *wire.Conn, cfg *tls.Config, secure bool) error {
	var info authcore.ConnInfo
	if secure {
		if err := door.ServerTLS(context.Background(), cfg, 5*time.Second); err != nil {
			return err
		}
		info = proxy.WithTLS(info, door.TLS())
	}
	_, err := p.Dialogue(context.Background(), door, info)
	return err
}

// speak sends octets, then leaves; it answers all that was heard.
func speak(c net.Conn, cfg *tls.Config, secure bool, octets []byte) []byte {
	leave := c.Close // a pipe has no half end
	if secure {
		t := tls.Client(c, cfg)
		c, leave = t, t.CloseWrite
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.Write(octets) // the door may have heard enough
		_ = leave()
	}()
	var heard bytes.Buffer
	_, _ = io.Copy(&heard, c) // ends when either side leaves
	_ = c.Close()
	<-done
	return heard.Bytes()
}

// refuser refuses whoever comes.
type refuser struct {
	proxy.Authenticator
	t      *testing.T
	secure bool
}

func (r *refuser) Authenticate(_ context.Context, a authcore.Attempt) (authcore.Decision, error) {
	c, ok := a.Credential.(authcore.Password)
	if !r.secure || !ok || c.UnverifiedName == "" || bytes.ContainsAny([]byte(c.UnverifiedName), "\x00\r\n") {
		r.t.Errorf("attempt in TLS %v with %+v", r.secure, a)
	}
	return authcore.Decision{}, nil
}
