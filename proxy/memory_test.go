package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/proxy"
	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// roomLimit is what everything but the relay and its connections may hold of an idle session: registry, event, and what
// they name. The strings of the records count as if no two sessions shared any.
const roomLimit = 800

func TestSessionMemory(t *testing.T) {
	const n = 4000
	heldByRelay(t, n) // what the runtime keeps of goroutines that are gone is not counted
	room, relayed := heldByRoom(t, n), heldByRelay(t, n)
	t.Logf("%.0f octets a session with its room, %.0f with the relay alone", room, relayed)
	if room-relayed > roomLimit {
		t.Errorf("a session holds %.0f octets beside the relay, more than %d", room-relayed, roomLimit)
	}
}

// heldByRoom is what n sessions of a Server hold, each.
func heldByRoom(t *testing.T, n int) float64 {
	r, live := relay.New(relay.Settings{}), proxy.NewLive()
	defer live.Close()
	auth := allowing{}
	server := proxy.NewServer(proxy.Options{Auth: auth, Dialer: scripted{}, Live: live, Relay: r, MaxConnections: 2 * n, MaxPerSource: 2 * n})
	ln := &scriptedListener{conns: make(chan net.Conn)}
	served := make(chan error)
	settings := proxy.Listener{Name: "front", Protocol: &chat{auth: auth, farewell: bye}}
	go func() { served <- server.Serve(t.Context(), ln, func() proxy.Listener { return settings }) }()
	before, idle := heap(), runtime.NumGoroutine()
	for range n {
		ln.conns <- peerOf("IN a@new.example secret\r\n")
	}
	for late := time.Now().Add(time.Minute); r.Counters().Open < n || runtime.NumGoroutine() > idle+2*n; { // the relay's two; a visit ends after its hand-over
		if time.Now().After(late) {
			t.Fatalf("%d sessions, %d goroutines", r.Counters().Open, runtime.NumGoroutine())
		}
		time.Sleep(time.Millisecond)
	}
	held := heap() - before
	if live.Len() != n {
		t.Errorf("%d sessions are live", live.Len())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	_ = server.Shutdown(ctx) // it has no time to wait
	r.Close(errors.New("over"))
	_ = ln.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	return held / float64(n)
}

// heldByRelay is what n sessions hold, each, that nobody but the relay knows of.
func heldByRelay(t *testing.T, n int) float64 {
	r := relay.New(relay.Settings{})
	defer r.Close(errors.New("over"))
	before := heap()
	for range n {
		r.Start(wire.New(peerOf(""), wire.Options{}), wire.New(peerOf(""), wire.Options{}), relay.Options{})
	}
	return (heap() - before) / float64(n)
}

func heap() float64 {
	var m runtime.MemStats
	for range 3 { // pools live for two
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// allowing lets everybody in; no two sessions share a string.
type allowing struct{}

func (allowing) Authenticate(context.Context, authcore.Attempt) (authcore.Decision, error) {
	const id = "mbr_0123456789abcdefghijkl"
	return authcore.Decision{
		Reason: authcore.Allowed, Session: session.NewID(),
		Domain: member.DomainID(strings.Clone(id)), Member: member.ID(strings.Clone(id)), Credential: strings.Clone(id),
		CredentialName: strings.Clone("Thunderbird on the laptop"),
		Addresses:      []string{strings.Clone("a@new.example"), strings.Clone("alias@new.example")},
		Upstream:       authcore.Upstream{Name: "mail", User: strings.Clone("a@new.example")},
	}, nil
}

func (allowing) Stands(context.Context, authcore.Standing) (bool, error) { return true, nil }
func (allowing) Ended(context.Context, session.ID, authcore.End)         {}

// scripted dials upstreams that let everybody in.
type scripted struct{}

func (scripted) Dial(context.Context, authcore.Upstream, authcore.ConnInfo) (*proxy.Leg, error) {
	return &proxy.Leg{Conn: wire.New(peerOf("ready\r\nok A B\r\n"), wire.Options{}), Name: "mail"}, nil
}

// script is a connection whose peer says something at once and nothing more.
type script struct {
	mu   sync.Mutex
	left string
	over chan struct{}
	once sync.Once
}

func peerOf(what string) *script { return &script{left: what, over: make(chan struct{})} }

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	n := copy(p, s.left)
	s.left = s.left[n:]
	s.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	<-s.over
	return 0, io.EOF
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }
func (s *script) Close() error                { s.once.Do(func() { close(s.over) }); return nil }

// SetDeadline lets an interrupt through, which is in the past.
func (s *script) SetDeadline(t time.Time) error {
	if !t.IsZero() && time.Until(t) < 0 {
		return s.Close()
	}
	return nil
}

func (s *script) SetReadDeadline(t time.Time) error  { return s.SetDeadline(t) }
func (s *script) SetWriteDeadline(t time.Time) error { return nil }
func (s *script) LocalAddr() net.Addr                { return localAddr }
func (s *script) RemoteAddr() net.Addr               { return remoteAddr }

var (
	localAddr  = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:143"))
	remoteAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("198.51.100.7:40000"))
)

// scriptedListener accepts what it is given.
type scriptedListener struct {
	conns chan net.Conn
	once  sync.Once
}

func (l *scriptedListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *scriptedListener) Close() error   { l.once.Do(func() { close(l.conns) }); return nil }
func (l *scriptedListener) Addr() net.Addr { return localAddr }
