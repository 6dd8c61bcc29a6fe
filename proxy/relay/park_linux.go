package relay

import (
	"crypto/tls"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/proxy/wire"
)

// park starts a session in a shard. It answers nil, and has touched nothing, if the session must run instead: not both
// connections have descriptors, or there is no descriptor left for it.
func (r *Relay) park(client, upstream handed, o Options) *Session {
	c, u := bare(client.conn), bare(upstream.conn)
	if c == nil || u == nil {
		return nil
	}
	s := r.shard()
	if s == nil {
		return nil
	}
	p := &parked{shard: s, over: true} // until it begins
	p.Session = Session{relay: r, o: o, started: time.Since(r.born), parked: p}
	p.client.p, p.upstream.p = p, p
	p.client.tail = lineEnd // a dialogue ends with a whole reply
	if o.Splitter != nil {
		m := newMachine(o.Splitter, p)
		p.machine = &m
	}
	if !p.own(c, u) {
		return nil
	}
	p.client.stand(client.conn)
	p.upstream.stand(upstream.conn)
	begin := func() error { return s.post(func() { p.begin(client.ahead, upstream.ahead) }) }
	if err := r.enter(&p.Session, begin); err != nil {
		p.refuse(err)
	}
	return &p.Session
}

// descriptor is a connection that has one.
type descriptor interface {
	net.Conn
	syscall.Conn
}

// bare answers what is beneath c, nil if that has no descriptor, or if TLS cannot do without it.
func bare(c net.Conn) descriptor {
	if t, ok := c.(*tls.Conn); ok {
		if c, ok = t.NetConn().(*wire.Footing); !ok {
			return nil
		}
	}
	for {
		switch v := c.(type) {
		case *net.TCPConn:
			return v
		case *net.UnixConn:
			return v
		case interface{ Raw() net.Conn }:
			c = v.Raw()
		default:
			return nil
		}
	}
}

// own takes both descriptors from the runtime's poller.
func (p *parked) own(client, upstream descriptor) bool {
	c, err := duplicate(client)
	if err != nil {
		return false
	}
	u, err := duplicate(upstream)
	if err != nil {
		_ = unix.Close(c)
		return false
	}
	p.client.fd, p.upstream.fd = int32(c), int32(u)
	_ = client.Close() // the duplicate lives on
	_ = upstream.Close()
	return true
}

func duplicate(c descriptor) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	err = raw.Control(func(have uintptr) { fd, failed = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil && failed != nil {
		err = os.NewSyscallError("fcntl", failed)
	}
	return fd, err
}

// stand puts the socket beneath the TLS of c.
func (l *socket) stand(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		l.tls = t
		t.NetConn().(*wire.Footing).Replace((*footing)(l))
	}
}

// refuse ends a session that no shard has got.
func (p *parked) refuse(cause error) {
	p.upstream.hangUp()
	p.client.hangUp()
	go p.tell(End{Cause: cause})
}
