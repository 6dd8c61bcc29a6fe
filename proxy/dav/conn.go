package dav

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"latchkey/authcore"
	"latchkey/proxy"
)

// conn is what is remembered of a connection.
type conn struct {
	bare net.Conn // beneath TLS

	identify sync.Once
	info     authcore.ConnInfo // set by identify

	refusals atomic.Int32

	mu  sync.Mutex
	now *live // of the last request, where there is one at a time (HTTP/1); nil: none; guarded by mu
}

type connKey struct{}

// remember is called before TLS, and before a PROXY header was read: it must not ask for addresses.
func (h *handler) remember(ctx context.Context, c net.Conn) context.Context {
	known := &conn{bare: c}
	if t, ok := c.(*tls.Conn); ok {
		known.bare = t.NetConn()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[c] = known
	return context.WithValue(ctx, connKey{}, known)
}

// watch forgets a connection that has closed.
func (h *handler) watch(c net.Conn, state http.ConnState) {
	if state != http.StateClosed {
		return
	}
	h.mu.Lock()
	known := h.conns[c]
	delete(h.conns, c)
	h.mu.Unlock()
	if known != nil {
		known.belong(nil)
	}
}

func connOf(r *http.Request) *conn {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		return c
	}
	return &conn{} // a handler that is used without Serve: nobody to close
}

// infoOf is what is known of the connection and of this request's words.
func (c *conn) infoOf(r *http.Request, s Settings) authcore.ConnInfo {
	c.identify.Do(func() {
		c.info = authcore.ConnInfo{ID: rand.Text()}
		if c.bare == nil {
			return
		}
		c.info.Client, c.info.Local = addrPort(c.bare.RemoteAddr()), addrPort(c.bare.LocalAddr())
		c.info.ClientVouched = vouched(c.info.Client.Addr())
		if r.TLS != nil {
			c.info = proxy.WithTLS(c.info, r.TLS)
		}
	})
	info := c.info
	info.Listener, info.DefaultDomain, info.Agent = s.Listener, s.DefaultDomain, agent(r.UserAgent())
	return info
}

// vouched: a loopback address is told to nobody, whoever says it.
func vouched(a netip.Addr) bool {
	return a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast()
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := tcp.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// maxAgent bounds the name of a program, as in lists and audit.
const maxAgent = 200

// agent cleans a User-Agent for lists and audit.
func agent(s string) string {
	clean := make([]byte, 0, min(len(s), maxAgent))
	for _, b := range []byte(s) {
		if len(clean) == maxAgent {
			break
		}
		if b >= ' ' && b < 0x7f {
			clean = append(clean, b)
		}
	}
	return string(clean)
}

// belong remembers whose request runs on c, HTTP/1 alone; nil: nobody's any more.
func (c *conn) belong(l *live) {
	c.mu.Lock()
	before := c.now
	c.now = l
	c.mu.Unlock()
	if before != nil && before != l {
		before.dropConn(c)
	}
}

// close ends what waits on the connection, at once: without close_notify, which could block.
func (c *conn) close() {
	if c.bare != nil {
		_ = c.bare.Close() // only fails if it is closed
	}
}
