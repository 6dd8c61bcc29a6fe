package http1

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// pool keeps connections between requests. The one that was used last is taken first, so that others grow old.
type pool struct {
	most int
	keep time.Duration

	mu     sync.Mutex
	idle   []*conn     // in the order in which they came; guarded by mu
	expiry *time.Timer // set while there are idle ones; guarded by mu
	closed bool        // guarded by mu
}

// take answers a connection that is good for another request; nil: there is none.
func (p *pool) take() *conn {
	for {
		c := p.pop()
		if c == nil || c.quiet() {
			return c
		}
		c.close()
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// put keeps c for the next request, or closes it.
func (p *pool) put(c *conn) {
	c.since = time.Now()
	if !p.push(c) {
		c.close()
	}
}

func (p *pool) push(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= p.most {
		return false
	}
	p.idle = append(p.idle, c)
	if p.expiry == nil {
		p.expiry = time.AfterFunc(p.keep, p.expire)
	}
	return true
}

// expire closes what was kept for long enough.
func (p *pool) expire() {
	for _, c := range p.expired(time.Now()) {
		c.close()
	}
}

func (p *pool) expired(now time.Time) []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) >= p.keep {
		n++
	}
	old := append([]*conn(nil), p.idle[:n]...)
	p.idle = append([]*conn(nil), p.idle[n:]...)
	p.expiry = nil
	if len(p.idle) > 0 {
		p.expiry = time.AfterFunc(p.keep-now.Sub(p.idle[0].since), p.expire)
	}
	return old
}

func (p *pool) close() {
	p.mu.Lock()
	all := p.idle
	p.idle, p.closed = nil, true
	if p.expiry != nil {
		p.expiry.Stop()
	}
	p.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}

// conn is a connection to the server. One exchange at a time owns it, or the pool.
type conn struct {
	net.Conn
	bare   net.Conn        // beneath TLS
	over   bool            // there is TLS over it
	ask    syscall.RawConn // to look without waiting; nil: it cannot be asked
	silent bool            // of the last look
	look   func(fd uintptr)

	since time.Time // it was put into the pool
	used  bool      // for an earlier request

	r        *bufio.Reader // borrowed while an exchange owns it
	left     int           // octets that may still be read
	heard    bool          // something of an answer has come
	stall    time.Duration // longest read; zero: the deadline is somebody else's
	deadline time.Time     // for reads, where stall is not zero
	writeBy  time.Time     // the deadline for writes; owned by who writes
}

func newConn(c net.Conn) *conn {
	made := &conn{Conn: c, bare: c}
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		made.bare, made.over = t.NetConn(), true
	}
	made.look = made.peek
	if s, ok := made.bare.(syscall.Conn); ok {
		made.ask, _ = s.SyscallConn() // fails where it is closed, which shows at the first use
	}
	return made
}

// quiet says that the server has neither closed the connection nor said anything since the last answer: who speaks unasked
// would answer the next request before it is sent.
func (c *conn) quiet() bool {
	if c.ask != nil {
		c.silent = false
		if c.ask.Control(c.look) != nil || !c.silent { // deadlines of the last exchange do not count
			return false
		}
	}
	return !c.over || c.empty()
}

// empty says that TLS holds nothing that it has read from the socket beyond the last answer. It is not let wait.
func (c *conn) empty() bool {
	if c.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	var b [1]byte
	n, err := c.Conn.Read(b[:])
	return n == 0 && timeout(err)
}

// peek may take an octet: a connection that has one is not used again.
func (c *conn) peek(fd uintptr) {
	var b [1]byte
	_, err := syscall.Read(int(fd), b[:])
	c.silent = errors.Is(err, syscall.EAGAIN)
}

// Read reads for the buffer.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHead
	}
	if c.stall > 0 {
		c.renew()
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	c.heard = c.heard || n > 0
	return n, err
}

func (c *conn) renew() {
	if now := time.Now(); worn(c.deadline, now, c.stall) {
		c.deadline = now.Add(c.stall)
		_ = c.SetReadDeadline(c.deadline) // only fails where it is closed
	}
}

// renewWrites lets the next write take as long as stall.
func (c *conn) renewWrites(stall time.Duration) {
	if now := time.Now(); worn(c.writeBy, now, stall) {
		c.writeBy = now.Add(stall)
		_ = c.SetWriteDeadline(c.writeBy) // only fails where it is closed
	}
}

// worn says whether a deadline that was stall away is to be set anew: not at each read and write of a busy connection, but
// before a twelfth of it is gone.
func worn(deadline, now time.Time, stall time.Duration) bool {
	return deadline.Sub(now) < stall-stall/12
}

// close ends the connection at once: close_notify could block.
func (c *conn) close() { _ = c.bare.Close() }

// connect answers a new connection.
func (t *Transport) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.Connect)
	defer cancel()
	c, err := t.o.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}
