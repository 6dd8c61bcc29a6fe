package demo

import (
	"net"
	"sync"
	"time"
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
	case in.conns <- insideConn{pipeEnd{theirs, ours}, p}:
		return pipeEnd{ours, theirs}, nil
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

// pipeEnd is an end of a pipe; the deadlines of both ends go with the first that closes. The timer of one that still runs
// keeps the whole pipe, the libraries set deadlines of many minutes, and a pipe that is closed lets nobody take them back.
type pipeEnd struct {
	net.Conn
	other net.Conn
}

func (e pipeEnd) Close() error {
	_ = e.Conn.SetDeadline(time.Time{}) // only fails after the other end has closed, and done the same
	_ = e.other.SetDeadline(time.Time{})
	return e.Conn.Close()
}

type insideConn struct {
	pipeEnd
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
