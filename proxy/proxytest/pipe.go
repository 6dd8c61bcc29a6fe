package proxytest

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// Pipe answers the two ends of a connection in memory that have addresses, and that break with ECONNRESET when the
// other end was reset (SetLinger(0), Close) as TCP does. It is unbuffered like net.Pipe.
func Pipe(client, server netip.AddrPort) (clientEnd, serverEnd net.Conn) {
	a, b := net.Pipe()
	var clientReset, serverReset atomic.Bool
	ca, sa := net.TCPAddrFromAddrPort(client), net.TCPAddrFromAddrPort(server)
	return &end{Conn: a, local: ca, remote: sa, reset: &clientReset, peerReset: &serverReset},
		&end{Conn: b, local: sa, remote: ca, reset: &serverReset, peerReset: &clientReset}
}

type end struct {
	net.Conn
	local, remote    net.Addr
	reset, peerReset *atomic.Bool
}

func (e *end) LocalAddr() net.Addr  { return e.local }
func (e *end) RemoteAddr() net.Addr { return e.remote }

// SetLinger with 0 makes the next Close a reset.
func (e *end) SetLinger(sec int) error {
	e.reset.Store(sec == 0)
	return nil
}

func (e *end) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if errors.Is(err, io.EOF) && e.peerReset.Load() {
		err = &net.OpError{Op: "read", Net: "pipe", Addr: e.remote, Err: syscall.ECONNRESET}
	}
	return n, err
}

// Listener is a net.Listener whose connections are pipes.
type Listener struct {
	addr   netip.AddrPort
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once

	// OnAccept, if set, may make Accept fail. Set it before the first Accept.
	OnAccept func() error
}

// NewListener listens at an address that is only a name.
func NewListener(addr string) *Listener {
	return &Listener{addr: netip.MustParseAddrPort(addr), queue: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects from an address; it fails once the listener is closed.
func (l *Listener) Dial(from string) (net.Conn, error) {
	client, server := Pipe(netip.MustParseAddrPort(from), l.addr)
	select {
	case l.queue <- server:
		return client, nil
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	}
}

// Accept waits for a Dial.
func (l *Listener) Accept() (net.Conn, error) {
	if l.OnAccept != nil {
		if err := l.OnAccept(); err != nil {
			return nil, err
		}
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial. Accepted connections live on.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is the address that the listener was made with.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }
