package smtp

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/peers"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

const peer = "jane@new.example"

// A client of Postfix, whose members are signed in by XCLIENT, sees no door.
func TestPeersPostfix(t *testing.T) {
	t.Parallel()
	p := peers.Postfix(t, peers.PostfixOptions{})
	direct := peers.Endpoint{Addr: p.Submission, User: peer, Password: peers.UserPassword}
	door := newPeerDoor(t, p.Submission, proxy.SignIn{Way: proxy.XCLIENT, User: peer})
	peers.Same(t, peers.PostfixScenarios(p.Arrived), direct, door)
	logged(t, p.LogFile, "client=unknown[192.0.2.7], sasl_method=XCLIENT, sasl_username="+peer)
}

// A client of Dovecot's submission server, with a master user and the facts of the client, sees no door.
func TestPeersDovecot(t *testing.T) {
	t.Parallel()
	d := peers.Dovecot(t, peers.DovecotOptions{})
	direct := peers.Endpoint{Addr: d.Submission, User: peer, Password: peers.UserPassword}
	in := proxy.SignIn{Way: proxy.Master, User: peer, Master: peers.MasterUser, Secret: secret.New(peers.MasterSecret)}
	peers.Same(t, peers.SMTPScenarios(d.Relayed), direct, newPeerDoor(t, d.Submission, in))
	logged(t, d.LogFile, "user=<"+peer+">, method=PLAIN, rip=192.0.2.7")
}

// logged wants the upstream to have heard of the client. What writes its log is a process of its own, and may come later.
func logged(t *testing.T, file, want string) {
	t.Helper()
	for late := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		log, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(log), want) {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("the log does not say %q", want)
		}
	}
}

// peerDoor is a door before one real server.
type peerDoor struct {
	t        *testing.T
	protocol *Protocol
	upstream string
	signIn   proxy.SignIn
	tls      *tls.Config
	engine   *relay.Relay
}

func newPeerDoor(t *testing.T, upstream string, in proxy.SignIn) peers.Endpoint {
	t.Helper()
	ca := proxytest.NewCA(t)
	auth := proxytest.NewAuthenticator()
	auth.Person(peer, "at the door", authcore.Decision{Reason: authcore.Allowed})
	d := &peerDoor{
		t: t, protocol: New(Options{Hostname: "door.example", Authenticator: auth}), upstream: upstream, signIn: in,
		tls: ca.Server(t, "127.0.0.1"), engine: relay.New(relay.Settings{}),
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { d.accept(l, &wg) })
	t.Cleanup(func() {
		_ = l.Close()
		d.engine.Close(proxy.ErrDrain)
		wg.Wait()
	})
	return peers.Endpoint{Addr: l.Addr().String(), Security: peers.TLS, CA: file, User: peer, Password: "at the door"}
}

func (d *peerDoor) accept(l net.Listener, wg *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { d.serve(wire.New(c, wire.Options{Deadline: time.Now().Add(time.Minute)})) })
	}
}

// peerClient is who connects, as a PROXY header of a listed network would say.
var peerClient = authcore.ConnInfo{ID: "conn1", Client: netip.MustParseAddrPort("192.0.2.7:4711"), ClientVouched: true}

// serve goes the way of a connection.
func (d *peerDoor) serve(c *wire.Conn) {
	ctx := context.Background()
	defer func() { _ = c.Close() }()
	if err := c.ServerTLS(ctx, d.tls, tlsTimeout); err != nil {
		d.t.Error(err)
		return
	}
	login, err := d.protocol.Dialogue(ctx, c, proxy.WithTLS(peerClient, c.TLS()))
	if err != nil {
		d.t.Error(err)
		return
	}
	up, err := net.Dial("tcp", d.upstream)
	if err != nil {
		d.t.Error(err)
		return
	}
	leg := &proxy.Leg{
		Conn: wire.New(up, wire.Options{Deadline: time.Now().Add(time.Minute)}), Name: "peer", SignIn: d.signIn,
		Facts: proxy.Facts{Send: true, Session: "s1", Conn: login.Attempt.Conn},
	}
	welcome, err := d.protocol.LogIn(ctx, leg, login)
	if err != nil {
		_ = leg.Close()
		d.t.Error(err)
		return
	}
	if err := login.Reply(authcore.Allowed, welcome); err != nil {
		d.t.Error(err)
	}
	d.engine.Start(c, leg.Conn, relay.Options{Splitter: d.protocol.Relay(login, welcome).Splitter})
}
