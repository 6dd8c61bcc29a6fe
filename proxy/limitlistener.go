package proxy

import (
	"errors"
	"net"
	"sync"

	"latchkey/authcore"
)

// Limit lets the connections of an HTTP listener count among those of the Server: in all, and by source, where they have
// a bound of their own. One too many is closed without a word, before its TLS handshake. name is the listener's in the
// configuration. A PROXY header is read by HeaderListener, which must be beneath: Limit(name, HeaderListener(ln, …)).
func (s *Server) Limit(name string, ln net.Listener) net.Listener {
	return &limitListener{Listener: ln, server: s, name: name}
}

type limitListener struct {
	net.Listener
	server *Server
	name   string
}

// Accept waits for a connection for which there is room.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		m := l.server.o.Metrics
		if l.server.limits.enter() {
			m.accepted.WithLabelValues(l.name).Inc()
			m.connections.WithLabelValues(l.name).Inc()
			return &limited{Conn: c, of: l}, nil
		}
		m.refused.WithLabelValues(l.name, "full").Inc()
		_ = c.Close() // it has not been used
	}
}

// limited is a connection that is counted. Its source is known when it is first read, not before: a PROXY header may have
// to come in.
type limited struct {
	net.Conn
	of *limitListener

	arrival sync.Once
	refused error // set by arrival
	leaving sync.Once

	mu     sync.Mutex
	depart func() // guarded by mu; nil: not counted by source
	gone   bool   // guarded by mu
}

var errSource = errors.New("too many connections of this source")

func (c *limited) Read(p []byte) (int, error) {
	c.arrival.Do(c.arrive)
	if c.refused != nil {
		return 0, c.refused
	}
	return c.Conn.Read(p)
}

// arrive counts the connection by its source. Close may have come before.
func (c *limited) arrive() {
	client := addrPort(c.RemoteAddr()).Addr() // reads the PROXY header
	depart, ok := c.of.server.limits.browse(client)
	if !ok {
		c.of.server.o.Metrics.refused.WithLabelValues(c.of.name, string(authcore.TooManyConnections)).Inc()
		c.refused = errSource
		return
	}
	c.mu.Lock()
	c.depart = depart
	gone := c.gone
	c.mu.Unlock()
	if gone {
		depart()
	}
}

// Close counts the connection out, once.
func (c *limited) Close() error {
	err := c.Conn.Close()
	c.leaving.Do(c.leave)
	return err
}

func (c *limited) leave() {
	c.mu.Lock()
	c.gone = true
	depart := c.depart
	c.mu.Unlock()
	if depart != nil {
		depart()
	}
	c.of.server.limits.leave()
	c.of.server.o.Metrics.connections.WithLabelValues(c.of.name).Dec()
}
