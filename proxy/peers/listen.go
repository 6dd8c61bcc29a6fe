package peers

import (
	"net"
	"sync"
	"testing"
)

// listenUntilEnd converses with everybody who connects; at the test's end all are closed and waited for.
func listenUntilEnd(t testing.TB, l net.Listener, converse func(net.Conn)) {
	var conns connections
	var accepting sync.WaitGroup
	accepting.Go(func() { conns.accept(l, converse) })
	t.Cleanup(func() {
		l.Close()
		accepting.Wait() // nobody is accepted any more
		conns.closeAll()
	})
}

// connections are those that a test server has open.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool // guarded by mu
	wg   sync.WaitGroup
}

func (cs *connections) accept(l net.Listener, converse func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		cs.serve(c, converse)
	}
}

// serve runs converse on c in a goroutine of its own, which closeAll waits for.
func (cs *connections) serve(c net.Conn, converse func(net.Conn)) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.open == nil {
		cs.open = map[net.Conn]bool{}
	}
	cs.open[c] = true
	cs.wg.Go(func() {
		converse(c)
		c.Close()
		cs.mu.Lock()
		defer cs.mu.Unlock()
		delete(cs.open, c)
	})
}

func (cs *connections) closeAll() {
	cs.mu.Lock()
	for c := range cs.open {
		c.Close()
	}
	cs.mu.Unlock()
	cs.wg.Wait()
}
