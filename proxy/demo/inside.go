package demo

import (
	"net"
	"sync"
)

// The IMAP library keeps messages to itself, so POP3 reads its maildrop as an IMAP client within the process, over a
// pipe whose other end says whose mailbox it is and is let in at once.

// inside is a listener for such pipes.
type inside struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newInside() *inside {
	return &inside{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// dial answers the client's end of a connection into p's mailboxes.
func (in *inside) dial(p *person) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case in.conns <- insideConn{theirs, p}:
		return ours, nil
	case <-in.closed:
		return nil, net.ErrClosed
	}
}

func (in *inside) Accept() (net.Conn, error) {
	select {
	case c := <-in.conns:
		return c, nil
	case <-in.closed:
		return nil, net.ErrClosed
	}
}

func (in *inside) Close() error {
	in.once.Do(func() { close(in.closed) })
	return nil
}

func (in *inside) Addr() net.Addr { return insideAddr{} }

type insideAddr struct{}

func (insideAddr) Network() string { return "pipe" }
func (insideAddr) String() string  { return "inside" }

type insideConn struct {
	net.Conn
	person *person
}

// insider answers whose pipe c is, or nil for a connection from outside.
func insider(c net.Conn) *person {
	if g, ok := c.(*gatedConn); ok {
		c = g.Conn
	}
	if in, ok := c.(insideConn); ok {
		return in.person
	}
	return nil
}
