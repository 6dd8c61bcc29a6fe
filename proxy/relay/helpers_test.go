package relay_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// engines runs f for each way that a relay has of moving octets. Over pipes there is only one: such tests need no loop.
func engines(t *testing.T, f func(t *testing.T, o relay.Settings)) {
	t.Helper()
	if runtime.GOOS == "linux" {
		t.Run("parked", func(t *testing.T) { f(t, relay.Settings{}) })
	}
	t.Run("goroutines", func(t *testing.T) { f(t, relay.Settings{Goroutines: true}) })
}

// link is one leg: the end that the relay gets, and the peer's.
type link struct {
	door *wire.Conn
	peer net.Conn
}

// over makes a link of a pair of connections; the first is ours.
func over(pair [2]net.Conn) link { return link{wire.New(pair[0], wire.Options{}), pair[1]} }

// rig is one session with both its peers.
type rig struct {
	t                *testing.T
	relay            *relay.Relay
	session          *relay.Session
	client, upstream net.Conn // the peers' ends
	ends             chan relay.End
}

// start relays between two legs on a relay of their own.
func start(t *testing.T, settings relay.Settings, client, upstream link, o relay.Options) *rig {
	t.Helper()
	return startOn(t, relay.New(settings), client, upstream, o)
}

func startOn(t *testing.T, engine *relay.Relay, client, upstream link, o relay.Options) *rig {
	t.Helper()
	r := &rig{t: t, relay: engine, client: client.peer, upstream: upstream.peer, ends: make(chan relay.End, 2)}
	t.Cleanup(func() { r.relay.Close(errCut) })
	o.Owner = relay.OnEnd(func(e relay.End) { r.ends <- e })
	r.session = r.relay.Start(client.door, upstream.door, o)
	return r
}

// end waits for the session's end, and makes sure that it came once and left nothing behind.
func (r *rig) end() relay.End {
	r.t.Helper()
	e := <-r.ends
	if err := r.relay.Wait(context.Background()); err != nil {
		r.t.Error(err)
	}
	r.session.Cut(errCut) // too late for anything
	r.session.Drain(errCut, time.Hour)
	select {
	case again := <-r.ends:
		r.t.Errorf("OnEnd was called again: %v", again)
	default:
	}
	if got := r.relay.Counters(); got.Open != 0 || got.Borrowed != 0 || got.FromClient != e.FromClient || got.FromUpstream != e.FromUpstream {
		r.t.Errorf("counters %+v after %+v", got, e)
	}
	return e
}

// endsWith waits for the end and compares its cause; nil is an end in order.
func (r *rig) endsWith(want error) relay.End {
	r.t.Helper()
	e := r.end()
	if !errors.Is(e.Cause, want) {
		r.t.Errorf("cause = %v, want %v", e.Cause, want)
	}
	return e
}

var errCut = errors.New("revoked")

func says(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Errorf("say %q: %v", s, err)
	}
}

func hears(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v; want %q", got[:n], err, want)
	}
}

// hearsEnd reads the rest.
func hearsEnd(t *testing.T, c net.Conn, want string) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Fatalf("heard %.200q (%d octets), %v; want %.200q (%d) and the end", got, len(got), err, want, len(want))
	}
}

// duplex is an end of a pipe whose directions end one by one, as those of TCP do.
type duplex struct{ in, out net.Conn }

func (d duplex) Read(p []byte) (int, error)         { return d.in.Read(p) }
func (d duplex) Write(p []byte) (int, error)        { return d.out.Write(p) }
func (d duplex) CloseWrite() error                  { return d.out.Close() }
func (d duplex) Close() error                       { return errors.Join(d.in.Close(), d.out.Close()) }
func (d duplex) LocalAddr() net.Addr                { return d.in.LocalAddr() }
func (d duplex) RemoteAddr() net.Addr               { return d.in.RemoteAddr() }
func (d duplex) SetReadDeadline(t time.Time) error  { return d.in.SetReadDeadline(t) }
func (d duplex) SetWriteDeadline(t time.Time) error { return d.out.SetWriteDeadline(t) }
func (d duplex) SetDeadline(t time.Time) error {
	return errors.Join(d.in.SetDeadline(t), d.out.SetDeadline(t))
}

func duplexPair() [2]net.Conn {
	a, b := net.Pipe()
	c, d := net.Pipe()
	return [2]net.Conn{duplex{a, c}, duplex{d, b}}
}

// bubble runs f in fake time with a session over pipes; what it leaves running is found by the bubble's end.
func bubble(t *testing.T, o relay.Options, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, relay.Settings{}, over(duplexPair()), over(duplexPair()), o)
		defer r.client.Close()
		defer r.upstream.Close()
		f(t, r)
	})
}

func after(d time.Duration) { <-time.After(d) }

func passed(t *testing.T, since time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(since); got != want {
		t.Errorf("after %v, want %v", got, want)
	}
}

func tcpPair(t testing.TB) [2]net.Conn {
	t.Helper()
	return socketPair(t, "tcp", "127.0.0.1:0")
}

func unixPair(t testing.TB) [2]net.Conn {
	t.Helper()
	dir, err := os.MkdirTemp("", "relay") // a test's own directory may have too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	return socketPair(t, "unix", filepath.Join(dir, "s"))
}

func socketPair(t testing.TB, network, at string) [2]net.Conn {
	t.Helper()
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return [2]net.Conn{b, a}
}

// tlsOver puts TLS over a pair as a door does: towards a client we are the server, towards an upstream the client.
func tlsOver(t testing.TB, side relay.Side, pair [2]net.Conn, version uint16) link {
	t.Helper()
	l := over(pair)
	server := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MaxVersion: version}
	client := &tls.Config{InsecureSkipVerify: true}
	ours, theirs, cfg := l.door.ServerTLS, tls.Client(pair[1], client), server
	if side == relay.Upstream {
		ours, theirs, cfg = l.door.ClientTLS, tls.Server(pair[1], server), client
	}
	l.peer = theirs
	shaken := make(chan error)
	go func() { shaken <- theirs.Handshake() }()
	if err := errors.Join(ours(context.Background(), cfg, time.Minute), <-shaken); err != nil {
		t.Fatal(err)
	}
	return l
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	cert, err := theCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

var theCertificate = sync.OnceValues(newCertificate)

func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"door"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// transports are the ways a leg may go.
var transports = map[string]func(t testing.TB, side relay.Side) link{
	"TCP":     func(t testing.TB, _ relay.Side) link { return over(tcpPair(t)) },
	"unix":    func(t testing.TB, _ relay.Side) link { return over(unixPair(t)) },
	"wrapped": func(t testing.TB, _ relay.Side) link { return over(wrap(tcpPair(t))) },
	"TLS 1.2": func(t testing.TB, s relay.Side) link { return tlsOver(t, s, tcpPair(t), tls.VersionTLS12) },
	"TLS 1.3": func(t testing.TB, s relay.Side) link { return tlsOver(t, s, tcpPair(t), tls.VersionTLS13) },
	"records": func(t testing.TB, s relay.Side) link { return recordsOver(t, s, tcpPair(t)) },
	"wrapped TLS": func(t testing.TB, s relay.Side) link {
		return tlsOver(t, s, wrap(tcpPair(t)), tls.VersionTLS13)
	},
}

// routes are the pairs of transports that a session may have, from the client's to the upstream's.
var routes = [][2]string{
	{"TCP", "TCP"}, {"TLS 1.2", "TCP"}, {"TLS 1.3", "TCP"}, {"TLS 1.3", "TLS 1.3"}, {"TLS 1.2", "TLS 1.2"},
	{"wrapped", "TLS 1.3"}, {"wrapped TLS", "TCP"}, {"TCP", "unix"}, {"TLS 1.3", "unix"},
	{"records", "TCP"}, {"records", "records"},
}

// wakePoller lets the runtime open the descriptors that it keeps.
func wakePoller(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// journeys runs f with a session over each route on each engine, and looks that nothing is left after it.
func journeys(t *testing.T, o func() relay.Options, f func(t *testing.T, r *rig)) {
	t.Helper()
	engines(t, func(t *testing.T, settings relay.Settings) {
		for _, route := range routes {
			t.Run(route[0]+" to "+route[1], func(t *testing.T) {
				leavesNothing(t, func() {
					client, upstream := transports[route[0]](t, relay.Client), transports[route[1]](t, relay.Upstream)
					r := start(t, settings, client, upstream, o())
					f(t, r)
					r.client.Close()
					r.upstream.Close()
					r.relay.Close(errCut)
				})
			})
		}
	})
}

func noOptions() relay.Options { return relay.Options{} }

// leavesNothing runs f and looks that no descriptor and no goroutine is left of it.
func leavesNothing(t *testing.T, f func()) {
	t.Helper()
	wakePoller(t)
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	f()
	for range 2000 { // what has told its end may still be counted for a moment
		if runtime.NumGoroutine() <= goroutines && descriptors(t) <= fds {
			return
		}
		time.Sleep(time.Millisecond)
	}
	if got := descriptors(t); got > fds {
		t.Errorf("%d descriptors, before %d", got, fds)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		stacks := make([]byte, 64<<10)
		t.Errorf("%d goroutines, before %d:\n%s", got, goroutines, stacks[:runtime.Stack(stacks, true)])
	}
}

func wrap(pair [2]net.Conn) [2]net.Conn { return [2]net.Conn{wrapped{pair[0]}, pair[1]} }

// wrapped is how a PROXY header's reader lies over a connection.
type wrapped struct{ net.Conn }

func (w wrapped) Raw() net.Conn { return w.Conn }

// descriptors counts the open ones of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
