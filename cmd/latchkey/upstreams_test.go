package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/authcore/lockout"
	"latchkey/authcore/store/redistest"
	"latchkey/configs"
	"latchkey/proxy/proxytest"
)

// Servers behind the doors that fail: members hear "later" within five seconds, are not charged for it, and nothing of
// the failed attempts is left.

// fault is a server that fails in one way.
type fault struct {
	ln *net.TCPListener
	wg sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
}

func startFault(t *testing.T, behave func(c *net.TCPConn)) *fault {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f := &fault{ln: ln, conns: map[net.Conn]bool{}}
	f.wg.Go(func() {
		for {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			f.wg.Go(func() {
				behave(c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		f.mu.Lock()
		for c := range f.conns {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

// until says a text again and again until the other side is gone.
func until(c net.Conn, text string) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

// faults by name; nil is a server that is not there.
var faults = map[string]func(c *net.TCPConn){
	"down":   nil,
	"silent": func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) },
	"resets": func(c *net.TCPConn) { _ = c.SetLinger(0) },
	"resets after the first word": func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	},
	"closes":              func(*net.TCPConn) {},
	"talks garbage":       func(c *net.TCPConn) { until(c, "\x00\xff\x80 what\r\n") },
	"never ends its line": func(c *net.TCPConn) { until(c, "* OK 220 +OK HTTP/1.1 200 OK ") },
	"never ends":          func(c *net.TCPConn) { until(c, "* OK still\r\n220-still\r\n+OK still\r\n") },
	"greets and is silent": func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")
		_, _ = io.Copy(io.Discard, c)
	},
}

// within is what a client waits at most; a busy machine gets a little more, and what it stood still.
const within = 5*time.Second + 500*time.Millisecond

func TestDrillUpstreamsThatFail(t *testing.T) {
	t.Parallel()
	for name, behave := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			wellBehind := s.behind
			at := proxytest.Refusing(t)
			if behave != nil {
				at = startFault(t, behave).ln.Addr().String()
			}
			s.behind = map[string]string{}
			for protocol := range wellBehind {
				s.behind[protocol] = at
			}
			s.configure(nil)
			p := s.serve()
			s.later(t) // the first ones open what stays open: readers of the store
			before := descriptors(t, p)
			s.later(t)
			s.later(t)
			p.settlesAt(before)
			s.behind = wellBehind
			s.configure(nil)
			p.signal(syscall.SIGHUP)
			p.says("msg=reloaded")
			s.wantAll("when the servers are back", "app-only", good)
			s.wantAll("when the servers are back", "account", good)
			if got, err := s.door("imap").signIn(s.tls, "account@old.example", "a wr0ng one"); err != nil || !strings.HasPrefix(got, wrong["imap"]) {
				t.Errorf("a wrong password: %q (%v)", got, err)
			}
			p.stop()
			if n := s.failures(); n != 1 {
				t.Errorf("members were charged with %d, want 1: the one wrong password and no more", n)
			}
		})
	}
}

// later signs two members in at every door at once, who must all hear in time that it is for later.
func (s *stage) later(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	stood := redistest.Standstill(t)
	for _, protocol := range stageDoors {
		for _, state := range []string{"app-only", "account"} {
			all.Go(func() {
				began, before := time.Now(), stood()
				got := s.signIn(protocol, state)
				took, still := time.Since(began), stood()-before
				want := temporary[protocol]
				if protocol == "dav" && (strings.HasPrefix(got, "502") || strings.HasPrefix(got, "504")) {
					want = got[:3]
				}
				if !strings.HasPrefix(got, want) || took-still > within {
					t.Errorf("%s as %s: %q after %v and %v of standstill, want %q within %v", protocol, state, got, took-still, still, want, within)
				}
			})
		}
	}
	all.Wait()
}

// descriptors counts the open files of a process.
func descriptors(t testing.TB, p *process) int {
	t.Helper()
	l, err := os.ReadDir("/proc/" + itoa(p.cmd.Process.Pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

// settlesAt waits until no more descriptors are open than were: probes come and go.
func (p *process) settlesAt(before int) {
	p.t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	timeout := time.After(patience)
	for {
		now := descriptors(p.t, p)
		if now <= before {
			return
		}
		select {
		case <-look.C:
		case <-timeout:
			p.t.Fatalf("%d descriptors are open, %d were before", now, before)
		}
	}
}

// failures counts the wrong passwords that stand against anybody; the server must be down.
func (s *stage) failures() (n int) {
	s.t.Helper()
	s.inStore(func(ctx context.Context, w works) error {
		for e, err := range w.db.Snapshot(ctx) {
			if err != nil {
				return err
			}
			if e.IsHead() || !strings.HasPrefix(e.Record.Name, "failures/") {
				continue
			}
			var f lockout.Failures
			if err := json.Unmarshal(e.Record.Value, &f); err != nil {
				return err
			}
			n += f.Count + len(f.Day)
		}
		return nil
	})
	return n
}

// inStore works on the store while no server has it.
func (s *stage) inStore(do func(ctx context.Context, w works) error) {
	s.t.Helper()
	cfg, err := configs.Load(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	work := storeWork{"test", func(ctx context.Context, w works, _ []string, _ io.Reader, _ io.Writer) error { return do(ctx, w) }}
	if err := inStore(s.t.Context(), cfg, program{err: io.Discard}, work, nil, nil, io.Discard); err != nil {
		s.t.Fatal(err)
	}
}
