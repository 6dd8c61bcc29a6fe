package demo

import (
	"net"
	"sync"
)

// gate counts the connections of one protocol, refuses those over its limit, and can close and await them all: the
// libraries close connections and do not all wait for them.
type gate struct {
	limit int

	mu        sync.Mutex
	shutting  bool                  // guarded by mu
	listeners map[net.Listener]bool // guarded by mu
	conns     map[*gatedConn]bool   // guarded by mu
	open      sync.WaitGroup        // one for each of conns; only raised under mu while not shutting
}

func newGate(limit int) *gate {
	return &gate{limit: limit, listeners: make(map[net.Listener]bool), conns: make(map[*gatedConn]bool)}
}

// listen puts the gate before l. The listener is closed with the gate.
func (g *gate) listen(l net.Listener) net.Listener {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutting {
		_ = l.Close()
	} else {
		g.listeners[l] = true
	}
	return &gatedListener{Listener: l, gate: g}
}

// admit answers c as a counted connection, or closes it and answers nil.
func (g *gate) admit(c net.Conn) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutting || len(g.conns) >= g.limit {
		_ = c.Close()
		return nil
	}
	gc := &gatedConn{Conn: c, gate: g}
	g.conns[gc] = true
	g.open.Add(1)
	return gc
}

func (g *gate) leave(c *gatedConn) {
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	g.open.Done()
}

// shut closes listeners and connections, and waits until each connection was let go by whoever served it.
func (g *gate) shut() {
	g.mu.Lock()
	g.shutting = true
	for l := range g.listeners {
		_ = l.Close()
	}
	for c := range g.conns {
		_ = c.Conn.Close() // the connection beneath: only who serves it may say that he is done
	}
	g.mu.Unlock()
	g.open.Wait()
}

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.gate.admit(c); c != nil {
			return c, nil
		}
	}
}

type gatedConn struct {
	net.Conn
	gate *gate
	once sync.Once
}

// Close is called by whoever serves the connection, when he is done with it.
func (c *gatedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.gate.leave(c) })
	return err
}
