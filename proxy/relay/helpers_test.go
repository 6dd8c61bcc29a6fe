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
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// rig is one session with both its peers.
type rig struct {
	t                *testing.T
	relay            *relay.Relay
	session          *relay.Session
	client, upstream net.Conn // the peers' ends
	ends             chan relay.End
}

// start relays between the two pairs; each pair is our end and the peer's.
func start(t *testing.T, client, upstream [2]net.Conn, o relay.Options) *rig {
	t.Helper()
	r := &rig{t: t, relay: relay.New(relay.Settings{}), client: client[1], upstream: upstream[1], ends: make(chan relay.End, 2)}
	o.OnEnd = func(e relay.End) { r.ends <- e }
	r.session = r.relay.Start(wire.New(client[0], wire.Options{}), wire.New(upstream[0], wire.Options{}), o)
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
		t.Fatalf("heard %q, %v; want %q and the end", got, err, want)
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
		r := start(t, duplexPair(), duplexPair(), o)
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
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

// tlsPair is TLS over TCP: our end is the server, the peer's the client.
func tlsPair(t testing.TB, version uint16) [2]net.Conn {
	t.Helper()
	pair := tcpPair(t)
	server := tls.Server(pair[0], &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MaxVersion: version})
	client := tls.Client(pair[1], &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error)
	go func() { shaken <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return [2]net.Conn{server, client}
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	cert, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

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
var transports = map[string]func(testing.TB) [2]net.Conn{
	"TCP":     tcpPair,
	"TLS 1.2": func(t testing.TB) [2]net.Conn { return tlsPair(t, tls.VersionTLS12) },
	"TLS 1.3": func(t testing.TB) [2]net.Conn { return tlsPair(t, tls.VersionTLS13) },
	"wrapped": func(t testing.TB) [2]net.Conn {
		p := tcpPair(t)
		return [2]net.Conn{wrapped{p[0]}, p[1]}
	},
}

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
