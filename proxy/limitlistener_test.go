package proxy_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"

	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// web serves a limited listener as HTTP servers do: a goroutine for each connection, which reads first.
type web struct {
	*stage
	ln    net.Listener
	front *proxytest.Listener
	all   sync.WaitGroup
}

func newWeb(t *testing.T, s *stage) *web {
	w := &web{stage: s, front: proxytest.NewListener("192.0.2.1:443")}
	w.ln = s.server.Limit("web", proxy.HeaderListener(w.front, func() []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}))
	w.all.Go(func() {
		for {
			c, err := w.ln.Accept()
			if err != nil {
				return
			}
			w.all.Go(func() { w.serve(c) })
		}
	})
	t.Cleanup(func() { _ = w.ln.Close() })
	return w
}

func (w *web) serve(c net.Conn) {
	defer c.Close()
	p := make([]byte, 100)
	for {
		n, err := c.Read(p)
		if err != nil {
			return
		}
		if _, err := c.Write(p[:n]); err != nil {
			return
		}
	}
}

func (w *web) dial(from string) *client {
	w.t.Helper()
	c, err := w.front.Dial(from)
	if err != nil {
		w.t.Fatal(err)
	}
	return newClient(w.t, c)
}

func TestLimitBySource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb(t, newStage(t, nil))
		var first *client
		for i := range 200 {
			c := w.dial(fmt.Sprintf("192.0.2.7:%d", 1000+i))
			c.say("hi")
			c.expect("hi")
			if first == nil {
				first = c
			}
			defer c.Close()
		}
		w.dial("192.0.2.7:2000").expectClosed()
		other := w.dial("192.0.2.8:2000")
		other.say("hi")
		other.expect("hi")
		defer other.Close()
		if got := w.metric("connections_refused_total", "listener=web", "why=too_many_connections"); got != 1 {
			t.Errorf("refused: got %v, want 1", got)
		}
		_ = first.Close()
		synctest.Wait()
		c := w.dial("192.0.2.7:3000")
		c.say("hi")
		c.expect("hi")
		_ = c.Close()
		synctest.Wait()
		if got := w.metric("connections_open", "listener=web"); got != 200 {
			t.Errorf("open: got %v, want 200", got)
		}
	})
}

// Behind a load balancer, the source is the client that its header names, and one that sends no header holds up nobody.
func TestLimitBySourceOfTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb(t, newStage(t, nil))
		silent := w.dial("10.0.0.1:999")
		defer silent.Close()
		for i := range 201 {
			c := w.dial(fmt.Sprintf("10.0.0.1:%d", 1000+i))
			defer c.Close()
			c.say("PROXY TCP4 192.0.2.7 192.0.2.1 4000 443")
			if i == 200 {
				c.expectClosed()
				continue
			}
			c.say("hi")
			c.expect("hi")
		}
		c := w.dial("10.0.0.1:2000")
		defer c.Close()
		c.say("PROXY TCP4 192.0.2.8 192.0.2.1 4000 443")
		c.say("hi")
		c.expect("hi")
	})
}

// The total is one for all listeners, and a place is given back once.
func TestLimitInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) { s.options.MaxConnections = 2 })
		w := newWeb(t, s)
		mail := s.dial("192.0.2.9:1")
		mail.expect("hello")
		c := w.dial("192.0.2.7:1")
		c.say("hi")
		c.expect("hi")
		w.dial("192.0.2.8:1").expectClosed()
		s.dial("192.0.2.9:2").expect("no too_many_connections: " + proxy.TooManyInAll)
		_ = c.Close()
		synctest.Wait()
		again := w.dial("192.0.2.8:2")
		again.say("hi")
		again.expect("hi")
		w.dial("192.0.2.8:3").expectClosed()
		_ = again.Close()
		synctest.Wait()
		if got := w.metric("connections_refused_total", "listener=web", "why=full"); got != 2 {
			t.Errorf("refused: got %v, want 2", got)
		}
	})
}

// A connection that is closed before it was read, or twice, is counted out once.
func TestLimitOfTheUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) { s.options.MaxConnections = 1 })
		front := proxytest.NewListener("192.0.2.1:443")
		ln := s.server.Limit("web", front)
		defer ln.Close()
		for i := range 3 {
			peer := make(chan net.Conn, 1)
			go func() {
				c, _ := front.Dial(fmt.Sprintf("192.0.2.7:%d", 1+i))
				peer <- c
			}()
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			_ = c.Close()
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a closed connection can be read")
			}
			_ = (<-peer).Close()
		}
		if got := s.metric("connections_open", "listener=web"); got != 0 {
			t.Errorf("open: got %v, want 0", got)
		}
	})
}
