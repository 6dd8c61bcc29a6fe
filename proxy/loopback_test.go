package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/wire"
)

// tcpStage is a stage on loopback, with TLS, and an upstream behind a socket.
type tcpStage struct {
	*stage
	addr     string
	ca       *proxytest.CA
	upstream net.Listener
	serving  sync.WaitGroup
}

func newTCPStage(t *testing.T, upstream func(c net.Conn), change func(*stage)) *tcpStage {
	t.Helper()
	ca := proxytest.NewCA(t)
	s := &tcpStage{ca: ca, upstream: listen(t)}
	s.stage = prepare(t, func(st *stage) {
		st.settings.TLS = ca.Server(t, "door.example")
		st.options.Dialer = s
		st.options.MaxPerSource = 1000 // all of them are on 127.0.0.1
		if change != nil {
			change(st)
		}
	})
	s.serving.Go(func() { s.accept(upstream) })
	t.Cleanup(func() {
		_ = s.upstream.Close()
		s.serving.Wait()
	})
	ln := listen(t)
	s.addr = ln.Addr().String()
	s.open(ln)
	return s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func (s *tcpStage) accept(upstream func(c net.Conn)) {
	for {
		c, err := s.upstream.Accept()
		if err != nil {
			return
		}
		s.serving.Go(func() { upstream(c) })
	}
}

func (s *tcpStage) Dial(ctx context.Context, u authcore.Upstream, _ authcore.ConnInfo) (*proxy.Leg, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.upstream.Addr().String())
	if err != nil {
		return nil, err
	}
	return &proxy.Leg{Conn: wire.New(c, wire.Options{}), Name: u.Name, SignIn: proxy.SignIn{User: u.User}}, nil
}

func (s *tcpStage) connect() *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return newClient(s.t, c).startTLS(s.ca.Client("door.example"))
}

func descriptors(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no list of descriptors: %v", err)
	}
	return len(files)
}

// settles waits, in real time, until count answers want again.
func settles(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		got := count()
		if got <= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: got %d, want %d", what, got, want)
		}
	}
}

func TestManySessionsOverTCP(t *testing.T) {
	s := newTCPStage(t, echo, nil)
	const sessions = 30
	var wg sync.WaitGroup
	for i := range sessions {
		c := s.connect()
		wg.Go(func() {
			defer c.Close()
			_, _ = io.WriteString(c, "IN a@new.example secret\r\nsent ahead\r\n")
			for _, want := range []string{"hello", "ok A B", "sent ahead"} {
				if got, err := c.r.ReadString('\n'); err != nil || got != want+"\r\n" {
					t.Errorf("got %q, %v; want %q", got, err, want)
					return
				}
			}
			big := strings.Repeat(fmt.Sprintf("line of client %d\r\n", i), 5000)
			go func() { _, _ = io.WriteString(c, big) }()
			back := make([]byte, len(big))
			if _, err := io.ReadFull(c.r, back); err != nil || string(back) != big {
				t.Errorf("client %d: %d octets came back changed, %v", i, len(big), err)
			}
		})
	}
	wg.Wait()
	settles(t, "calls of Ended that are missing", 0, func() int { return sessions - len(s.auth.EndedCalls()) })
	for _, e := range s.auth.EndedCalls() {
		if !e.Established || e.FromClient == 0 || e.FromUpstream == 0 {
			t.Errorf("End: %+v", e.End)
		}
	}
}

// Every way out gives its descriptors and goroutines back.
func TestNothingLeaks(t *testing.T) {
	for name, tt := range map[string]struct {
		upstream func(c net.Conn)
		change   func(s *stage)
	}{
		"the upstream refuses": {greets(func(c net.Conn) { _, _ = io.WriteString(c, "no\r\n") }), nil},
		"the upstream resets":  {greets(resets), nil},
		"the upstream closes":  {func(c net.Conn) { _ = c.Close() }, nil},
		"the records say no": {echo, func(s *stage) {
			s.auth.OnStands = func(context.Context, authcore.Standing) (bool, error) { return false, nil }
		}},
		"the records fail": {echo, func(s *stage) {
			s.auth.OnStands = func(context.Context, authcore.Standing) (bool, error) { return false, errors.New("down") }
		}},
		"the reply panics": {echo, func(s *stage) { s.chat.panicAt = "reply" }},
		"the login panics": {echo, func(s *stage) { s.chat.panicAt = "login" }},
		"the relay panics": {echo, func(s *stage) { s.chat.panicAt = "relay" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTCPStage(t, tt.upstream, tt.change)
			fds, goroutines := descriptors(t), runtime.NumGoroutine()
			for range 20 {
				c := s.connect()
				c.expect("hello")
				c.say("IN a@new.example secret")
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
			settles(t, "descriptors", fds, func() int { return descriptors(t) })
			settles(t, "goroutines", goroutines, runtime.NumGoroutine)
			settles(t, "calls of Ended that are missing", 0, func() int { return 20 - len(s.auth.EndedCalls()) })
			if n := s.live.Len(); n != 0 {
				t.Errorf("%d sessions are registered", n)
			}
		})
	}
}

func TestClientsThatBreakOff(t *testing.T) {
	s := newTCPStage(t, echo, nil)
	first := s.connect() // the relay opens what it needs for all sessions
	first.expect("hello")
	first.say("IN a@new.example secret")
	first.expect("ok A B")
	_ = first.Close()
	settles(t, "sessions", 0, s.live.Len)
	settles(t, "calls of Ended that are missing", 0, func() int { return 1 - len(s.auth.EndedCalls()) })
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	for range 20 {
		for _, talk := range []string{"", "\x16\x03", "GET / HTTP/1.1\r\n\r\n"} {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, talk)
			_ = wire.Reset(c)
		}
		c := s.connect()
		c.expect("hello")
		c.say("IN a@new.example secret")
		_ = c.Close()
	}
	settles(t, "descriptors", fds, func() int { return descriptors(t) })
	settles(t, "goroutines", goroutines, runtime.NumGoroutine)
	settles(t, "sessions", 0, s.live.Len)
}
