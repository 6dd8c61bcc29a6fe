package proxytest

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/proxy"
	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// Talk is what a client or an upstream of SignIns says, each line once the other side has come to a line that begins with Await.
type Talk []struct{ Await, Say string }

// Bench says what SignIns measures.
type Bench struct {
	Door     func(proxy.Authenticator) proxy.Protocol
	Client   Talk // over TLS; the last line makes the upstream close
	Upstream Talk // in the clear
}

// SignIns measures whole connections at a door on loopback, client and upstream included: accept, TLS, dialogue, sign-in
// upstream as master, hand-over, end. Everybody may come in.
func SignIns(b *testing.B, o Bench) {
	b.Helper()
	ca := NewCA(b)
	up := upstreamAt(b, o.Upstream)
	r := relay.New(relay.Settings{})
	s := proxy.NewServer(proxy.Options{Auth: everybody{}, Dialer: up, Live: proxy.NewLive(), Relay: r, MaxConnections: 100, MaxPerSource: 100})
	settings := proxy.Listener{Name: "front", Protocol: o.Door(everybody{}), TLS: ca.Server(b, "door.example")}
	ln := loopback(b)
	var serving sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	serving.Go(func() { _ = s.Serve(ctx, ln, func() proxy.Listener { return settings }) })
	b.Cleanup(func() {
		stop()
		serving.Wait()
		_ = s.Shutdown(ctx)
		_ = up.ln.Close()
	})
	cfg := ca.Client("door.example")
	b.ReportAllocs()
	for b.Loop() {
		if err := o.Client.call(ln.Addr().String(), cfg); err != nil {
			b.Fatal(err)
		}
	}
}

// everybody may come in, and nobody is remembered.
type everybody struct{}

func (everybody) Authenticate(context.Context, authcore.Attempt) (authcore.Decision, error) {
	return filled("ann@new.example", authcore.Decision{Reason: authcore.Allowed, Session: session.NewID()}), nil
}

func (everybody) Stands(context.Context, authcore.Standing) (bool, error) { return true, nil }

func (everybody) Ended(context.Context, session.ID, authcore.End) {}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

type upstreamServer struct{ ln net.Listener }

func upstreamAt(b *testing.B, t Talk) upstreamServer {
	up := upstreamServer{loopback(b)}
	go func() {
		for {
			c, err := up.ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = t.hold(c)
			}()
		}
	}()
	return up
}

func (u upstreamServer) Dial(ctx context.Context, to authcore.Upstream, _ authcore.ConnInfo) (*proxy.Leg, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", u.ln.Addr().String())
	if err != nil {
		return nil, err
	}
	return &proxy.Leg{Conn: wire.New(c, wire.Options{}), Name: to.Name, SignIn: proxy.SignIn{
		Way: proxy.Master, User: to.User, Master: "m", Secret: secret.New("s"),
	}}, nil
}

func (t Talk) call(at string, cfg *tls.Config) error {
	raw, err := net.Dial("tcp", at)
	if err != nil {
		return err
	}
	c := tls.Client(raw, cfg)
	defer c.Close()
	if err := t.hold(c); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// hold says the lines, each in its turn.
func (t Talk) hold(c net.Conn) error {
	r := bufio.NewReader(c)
	for _, turn := range t {
		for turn.Await != "" {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if strings.HasPrefix(line, turn.Await) {
				break
			}
		}
		if _, err := io.WriteString(c, turn.Say); err != nil {
			return err
		}
	}
	return nil
}
