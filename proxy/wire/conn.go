package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// Options of a Conn. The zero value works: no end of the dialogue, default time-outs, no trace.
type Options struct {
	// Deadline ends the whole dialogue, however lively it is. Zero: none.
	Deadline time.Time
	// ReadTimeout bounds each wait for bytes. Zero: a minute, for a person may be typing.
	ReadTimeout time.Duration
	// WriteTimeout bounds each write. Zero: ten seconds; replies of a dialogue fit any socket buffer, so a peer that
	// takes none for so long is gone.
	WriteTimeout time.Duration
	// Trace is told what passes, without secrets. Nil: nobody is.
	Trace Tracer
}

const (
	defaultReadTimeout  = time.Minute
	defaultWriteTimeout = 10 * time.Second
)

var crlf = []byte("\r\n")

// Conn is one side of a dialogue. Its owner, one goroutine, reads and writes.
type Conn struct {
	o   Options
	raw net.Conn // as it was accepted or dialled; deadlines are set here

	// Owned by the dialogue's goroutine.
	buf      []byte // the reader: resident or long; nil while nothing is there and nothing is awaited
	r, w     int    // buf[r:w] has not been read yet
	readErr  error  // the carrier will give no more octets because of it
	heard    bool   // see Heard
	ended    error  // reading ended with it, whatever is still buffered
	out      []byte // gathered, not yet written; nil: none
	writeErr error  // writing ended with it
	tlsState *tls.Conn

	mu       sync.Mutex
	c        net.Conn  // what carries the dialogue: raw, or the tls.Conn over it; guarded by mu
	deadline time.Time // of the dialogue; guarded by mu
	armed    armed     // guarded by mu
	cause    error     // why it was interrupted; guarded by mu
	phase    phase     // guarded by mu
}

// phase is how far a Conn has come.
type phase int

const (
	speaking phase = iota
	parting        // the last reply is on its way: nothing interrupts it but its own short deadline
	closed
	detached
)

// New speaks over c from now on and owns it: Close, Reset or Detach must follow.
func New(c net.Conn, o Options) *Conn {
	if o.ReadTimeout == 0 {
		o.ReadTimeout = defaultReadTimeout
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
	return &Conn{o: o, raw: c, c: c, deadline: o.Deadline}
}

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// LocalAddr is our own address.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// TLS tells what was negotiated; nil: the connection is in the clear.
func (c *Conn) TLS() *tls.ConnectionState {
	if c.tlsState == nil {
		return nil
	}
	s := c.tlsState.ConnectionState()
	return &s
}

// Close ends the connection, under TLS with close_notify. What was gathered and not flushed is lost. It is safe at any
// time and does nothing after Detach. The buffers are left to the collector, for a read may be using them.
func (c *Conn) Close() error {
	carrier, _ := c.leave(closed)
	if carrier == nil {
		return nil
	}
	if carrier != c.raw { // crypto/tls would wait five seconds for a peer that does not take close_notify
		defer time.AfterFunc(byeTimeout, func() { _ = c.raw.Close() }).Stop()
	}
	return ignoreClosed(carrier.Close())
}

// Reset ends the connection so that the peer sees it break (TCP RST, without close_notify): for an upstream that must
// not take what it has got for a whole message.
func (c *Conn) Reset() error {
	if carrier, _ := c.leave(closed); carrier == nil {
		return nil
	}
	return Reset(c.raw)
}

// leave moves to an end phase and answers the carrier, nil if an end was reached before, and why the dialogue was
// interrupted, if it was.
func (c *Conn) leave(to phase) (carrier net.Conn, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == closed || c.phase == detached {
		return nil, nil
	}
	c.phase = to
	return c.c, c.cause
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
