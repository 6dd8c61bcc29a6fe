package main

import (
	"bytes"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/store/redistest"
)

// Redis dies at every step of every change: before the k-th script reaches it, or after it was done and before anybody
// heard of it.

// tap stands between one node and Redis and counts the scripts that go by.
type tap struct {
	ln net.Listener
	to string

	mu      sync.Mutex
	left    int // scripts until it trips; 0: it does not; guarded by mu, as below
	after   bool
	tripped chan struct{}
	resume  chan struct{}
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{ln: ln, to: to}
	var all sync.WaitGroup
	all.Go(func() { p.accept(&all) })
	t.Cleanup(func() { _ = ln.Close(); p.disarm(); all.Wait() })
	return p
}

func (p *tap) accept(all *sync.WaitGroup) {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = c.Close()
			continue
		}
		all.Go(func() { defer up.Close(); defer c.Close(); p.requests(c, up) })
		all.Go(func() { defer up.Close(); defer c.Close(); _, _ = io.Copy(c, gate{up, p}) })
	}
}

// gate holds back answers while the tap is tripped.
type gate struct {
	net.Conn
	p *tap
}

func (g gate) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.p.mu.Lock()
	silent := g.p.resume != nil && g.p.left < 0
	g.p.mu.Unlock()
	if silent {
		return 0, io.ErrClosedPipe
	}
	return n, err
}

func (p *tap) requests(c, up net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		trips, after, resume, tripped := p.count(b[:n])
		if trips && !after {
			close(tripped)
			<-resume
			return
		}
		if _, err := up.Write(b[:n]); err != nil {
			return
		}
		if trips {
			<-time.After(5 * time.Millisecond) // it is done, and synced
			close(tripped)
			<-resume
			return
		}
	}
}

func (p *tap) count(b []byte) (trips, after bool, resume, tripped chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left <= 0 {
		return false, false, nil, nil
	}
	p.left -= bytes.Count(bytes.ToLower(b), []byte("evalsha"))
	if p.left > 0 {
		return false, false, nil, nil
	}
	p.left = -1
	return true, p.after, p.resume, p.tripped
}

// arm lets the tap trip at the k-th script from now; the answer is closed then.
func (p *tap) arm(k int, after bool) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.after, p.tripped, p.resume = k, after, make(chan struct{}), make(chan struct{})
	return p.tripped
}

func (p *tap) disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = 0
	if p.resume != nil {
		close(p.resume)
		p.resume = nil
	}
}

func TestDrillFleetSteps(t *testing.T) {
	s := redistest.Standalone(t)
	p := newTap(t, s.Addr)
	at := []string{p.ln.Addr().String(), s.Addr, s.Addr}
	f := newFleetDrill(t, func(i int) string { return "addresses: ['" + at[i] + "'], replicas: 0" })
	f.only = f.nodes[0]
	t.Log(tableHead)
	was, began := f.figures(), time.Now()
	var longest time.Duration
	trips := 0
	for k := 1; k < 12; k++ {
		for _, sub := range f.subjects {
			for _, after := range []bool{false, true} {
				if !longDrills() {
					k = 1 + mathrand.IntN(8)
				}
				if back := f.step(t, s, p, sub, k, after); back > 0 {
					trips++
					longest = max(longest, back)
				}
				if !longDrills() && time.Since(began) > 10*time.Second {
					k = 12
				}
				if k == 12 || t.Failed() {
					break
				}
			}
			if k == 12 || t.Failed() {
				break
			}
		}
	}
	f.line(t, fmt.Sprintf("killed at %d steps", trips), was, longest)
	if trips == 0 {
		t.Error("no step was hit")
	}
}

// step kills Redis at the k-th script of a change; zero: there were fewer.
func (f *fleetDrill) step(t *testing.T, s *redistest.Server, p *tap, sub subject, k int, after bool) (back time.Duration) {
	t.Helper()
	f.now.Store(fmt.Sprintf("%T, step %d, after %v", sub, k, after))
	over, done := make(chan struct{}), make(chan struct{})
	tripped := p.arm(k, after)
	go func() { defer close(done); sub.change(t, f.ledger, over) }()
	select {
	case <-tripped:
		s.Kill(t)
		p.disarm()
		s.Restart(t)
		back = f.back(t)
	case <-done:
		p.disarm()
	}
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Errorf("%v: the change is not acknowledged 20 s after it", f.now.Load())
		close(over)
		<-done
	}
	for _, c := range sub.claims() {
		if w, _ := c.now(); w == shutOut {
			f.try(t, c, f.any(), f.fresh())
		} else if w == enters {
			f.try(t, c, f.any(), "127.200.1.3")
		}
	}
	if m, ok := sub.(*newcomers); ok {
		f.all(t, m)
	}
	return back
}
