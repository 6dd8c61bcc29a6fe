package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// server is a raw one: say gets each connection, and its number from 1 on.
type server struct {
	t     *testing.T
	addr  net.Addr
	conns atomic.Int32
}

// peer is one connection as the server has it.
type peer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func serve(t *testing.T, say func(n int, p *peer)) *server {
	t.Helper()
	return serveOn(t, "tcp", "127.0.0.1:0", func(c net.Conn) net.Conn { return c }, say)
}

func serveOn(t *testing.T, network, address string, wrap func(net.Conn) net.Conn, say func(n int, p *peer)) *server {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, addr: ln.Addr()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n := int(s.conns.Add(1))
			all.Go(func() {
				defer c.Close()
				c = wrap(c)
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				say(n, &peer{t, c, bufio.NewReader(c)})
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); all.Wait() })
	return s
}

// way makes a Transport to s.
func (s *server) way(change ...func(*Options)) *Transport {
	s.t.Helper()
	o := Options{lastWrite: time.Minute, Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, s.addr.Network(), s.addr.String())
	}}
	for _, c := range change {
		c(&o)
	}
	w := New(o)
	s.t.Cleanup(w.Close)
	return w
}

// head reads a head as it came; empty: there is none.
func (p *peer) head() string {
	var all strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return ""
		}
		all.WriteString(line)
		if line == "\r\n" {
			return all.String()
		}
	}
}

// request reads a request and its body; nil: there is none, or it is incomplete.
func (p *peer) request() (*http.Request, string) {
	r, err := http.ReadRequest(p.r)
	if err != nil {
		return nil, ""
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, ""
	}
	return r, string(body)
}

func (p *peer) say(s string) { _, _ = io.WriteString(p, s) }

// gone waits until the client has hung up.
func (p *peer) gone() { _, _ = io.Copy(io.Discard, p.r) }

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://host.example"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ask sends r and answers the status and the body.
func ask(t *testing.T, w *Transport, r *http.Request) (string, error) {
	t.Helper()
	res, err := w.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return fmt.Sprint(res.StatusCode, " ", string(body)), err
}

func want(t *testing.T, w *Transport, r *http.Request, answer string) {
	t.Helper()
	if got, err := ask(t, w, r); err != nil || got != answer {
		t.Errorf("%s %s: answer %q, %v; want %q", r.Method, r.URL.Path, got, err, answer)
	}
}

// settled waits until w has no request in flight any more.
func settled(t *testing.T, w *Transport) {
	t.Helper()
	for range 500 {
		if len(w.slots) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("a request is still in flight")
}

// arrived waits until something has come on the connection that is kept: words, or its end. It leaves them there.
func arrived(t *testing.T, w *Transport) {
	t.Helper()
	for range 2000 {
		if w.pool.waiting(t) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nothing has come")
}

// waiting says whether there is something to read on the only connection that is kept.
func (p *pool) waiting(t *testing.T) (something bool) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) != 1 {
		t.Fatalf("%d connections are kept, want one", len(p.idle))
	}
	err := p.idle[0].ask.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		something = !errors.Is(err, syscall.EAGAIN)
	})
	if err != nil {
		t.Fatal(err)
	}
	return something
}

// watched is a body that says when it was closed.
type watched struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func watch(r io.Reader) *watched { return &watched{Reader: r, closed: make(chan struct{})} }

func (b *watched) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// wantClosed: nobody reads the body any more.
func (b *watched) wantClosed(t *testing.T) {
	t.Helper()
	select {
	case <-b.closed:
	case <-time.After(20 * time.Second):
		t.Error("the request's body is not closed")
	}
}

var errBroken = errors.New("broken")

// breaks is a body that fails after its beginning.
type breaks struct{ left string }

func (b *breaks) Read(p []byte) (int, error) {
	if b.left == "" {
		return 0, errBroken
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}
