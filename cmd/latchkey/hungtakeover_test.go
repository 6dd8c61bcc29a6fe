package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Processes that hang or die where a take-over does not expect it.

// The old process hangs: the new one says so and ends, and when the old one goes on it serves on.
func TestDrillTakeOverFromOneThatHangs(t *testing.T) {
	t.Parallel()
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	p.saysAgain("upstream is well", len(s.behind)) // else a probe hangs with it, and finds its server down
	p.signal(syscall.SIGSTOP)
	next := s.takeover()
	code := next.ends()
	p.signal(syscall.SIGCONT)
	if code != exitFailed || !strings.Contains(next.err.String(), "does not answer") {
		t.Errorf("exit %d, says %s", code, next.err)
	}
	s.wantAll("after the old one went on", "app-only", good)
	p.stop()
}

// The new process hangs for a while, wherever it stands then: it takes over all the same.
func TestDrillTakeOverByOneThatHangsForAWhile(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	for _, at := range []string{"a new process asks for the listening sockets", "the new process is ready"} {
		next := s.takeover()
		p.says(at)
		next.signal(syscall.SIGSTOP)
		<-time.After(time.Second)
		next.signal(syscall.SIGCONT)
		next.says("latchkey serves")
		s.wantAll("after "+at, "app-only", good)
		if code := p.ends(); code != 0 {
			t.Errorf("the old process ended with %d", code)
		}
		p = next
	}
	p.stop()
}

// The new process hangs after the store was given up to it, perhaps with the store in its hand: it is ended, and the old
// one serves on. At full length alone, for it is waited for as long as a store may take to open.
func TestDrillTakeOverByOneThatHangs(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	for range times(0, 50) {
		next := s.takeover()
		p.says("the new process is ready")
		next.signal(syscall.SIGSTOP)
		<-time.After(time.Second)
		if strings.Contains(p.err.String(), "the new process serves") { // it was faster
			next.signal(syscall.SIGCONT)
			next.says("latchkey serves")
			p = next
			continue
		}
		p.says("this one serves on")
		if code := next.ends(); code != -1 {
			t.Errorf("the one that hung ended with %d, want by a signal", code)
		}
		p.saysAgain("latchkey serves", 2)
		s.wantAll("after the new one was ended", "app-only", good)
		break
	}
	p.stop()
}

// The new process is killed as soon as it serves: the sessions that it judged end, the old process ends, and whoever comes
// next has the store.
func TestDrillTakeOverByOneThatDiesLater(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	for range times(5, 50) {
		idle := s.idle(t)
		next := s.takeover()
		next.says("latchkey serves")
		next.kill()
		if line, err := idle.hearTo("* BYE"); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("an idle session heard %q (%v), want its end", line, err)
		}
		if code := p.ends(); code != 0 {
			t.Errorf("the old process ended with %d:\n%s", code, p.err)
		}
		p = s.takeover()
		p.says("latchkey serves")
		s.wantAll("after both", "app-only", good)
	}
	p.stop()
}

// Sockets of IPv6 go over as those of IPv4 do.
func TestDrillTakeOverIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	_ = ln.Close()
	s := newPortedStage(t)
	v4 := s.addr["imap"]
	s.addr["imap"] = unusedAddress(t, "::1")
	s.configure(func(c string) string { return strings.ReplaceAll(s.ported(c), v4, s.addr["imap"]) })
	p := s.takeover()
	p.says("latchkey serves")
	m := startStorm(t, 20, []*stage{s}, "imap")
	for range 2 {
		next := s.takeover()
		next.says("latchkey serves")
		if code := p.ends(); code != 0 {
			t.Errorf("the old process ended with %d", code)
		}
		p = next
	}
	m.stop()
	s.wantAll("after two", "app-only", good)
	p.stop()
}
