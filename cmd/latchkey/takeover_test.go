package main

import (
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A new process takes the sockets over. The test holds no copy of them, so that what nobody serves is refused.

// ported is the configuration with addresses in place of systemd's sockets. One member signs in many times a second, and who
// waits for a new process, or for a slow machine, waits beside others: they must not be too many.
func (s *stage) ported(text string) string {
	text = strings.Replace(text, "limits: {", "limits: {per_source: 10000, per_member_and_door: 1000, ", 1)
	for _, k := range s.sockets {
		text = strings.Replace(text, "'systemd:"+k.name+"'", "'"+s.addr[k.name]+"'", 1)
	}
	return text
}

func newPortedStage(t testing.TB) *stage {
	s := newStage(t)
	for _, k := range s.sockets {
		_ = k.ln.Close()
		s.addr[k.name] = unusedAddress(t, "127.0.0.1")
	}
	s.configure(s.ported)
	return s
}

// Ports of stages come in pairs. Below them lie those of the tests' Redis (from 10000 on) and mail servers (20000 to 31199), and
// from 32768 on the kernel gives them to connections.
const (
	firstStagePort = 31_300
	stagePairs     = 700 // up to 32699
)

// pairsSeen counts the pairs that stages of this process looked at.
var pairsSeen atomic.Int32

// unusedAddress answers one that nobody listens at, and that no other stage is given while the test lasts: the lower port of
// its pair is held open as a lock, so that tests of other processes keep off.
func unusedAddress(t testing.TB, host string) string {
	t.Helper()
	for range stagePairs {
		port := firstStagePort + (os.Getpid()*31+int(pairsSeen.Add(1)))%stagePairs*2
		lock, err := net.Listen("tcp", net.JoinHostPort(host, itoa(port)))
		if err != nil {
			continue
		}
		ln, err := net.Listen("tcp", net.JoinHostPort(host, itoa(port+1)))
		if err != nil {
			_ = lock.Close()
			continue
		}
		t.Cleanup(func() { _ = lock.Close() })
		_ = ln.Close()
		return ln.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}

// takeover starts a process that takes over, or starts where none is.
func (s *stage) takeover(env ...string) *process {
	s.t.Helper()
	return start{args: []string{"serve", "-takeover", "-config", s.file}, env: env}.begin(s.t)
}

// knocking signs in again and again until told to end, at every door, and counts what was not let in.
type knocking struct {
	all     sync.WaitGroup
	stopped chan struct{}
	good    atomic.Int64
}

func (s *stage) knock(t *testing.T, each time.Duration) *knocking {
	t.Helper()
	k := &knocking{stopped: make(chan struct{})}
	for _, protocol := range stageDoors {
		k.all.Go(func() {
			tick := time.NewTicker(each)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-k.stopped:
					return
				}
				k.all.Go(func() { s.once(t, k, protocol) })
			}
		})
	}
	return k
}

func (s *stage) once(t *testing.T, k *knocking, protocol string) {
	p := s.people["app-only"]
	began := time.Now()
	got, err := s.door(protocol).signIn(s.tls, p.Address, p.AppPasswords[0].Secret.Reveal())
	if err != nil || !strings.HasPrefix(got, good[protocol]) {
		t.Errorf("%s after %v: %q (%v)", protocol, time.Since(began), got, err)
		return
	}
	k.good.Add(1)
}

// until waits until so many were let in.
func (k *knocking) until(t *testing.T, n int64) {
	t.Helper()
	waitFor(t, "sign-ins", patience, func() bool { return k.good.Load() >= n })
}

func (k *knocking) stop() int64 {
	close(k.stopped)
	k.all.Wait()
	return k.good.Load()
}

func TestDrillTakeOver(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover() // nobody serves: it starts
	p.says("latchkey serves")
	k := s.knock(t, 40*time.Millisecond)
	for range 3 {
		k.until(t, k.good.Load()+20) // of ordinary life
		next := s.takeover()
		next.says("latchkey serves")
		if code := p.ends(); code != 0 {
			t.Errorf("the old process ended with %d:\n%s", code, p.err)
		}
		p = next
	}
	if n := k.stop(); n < 40 {
		t.Errorf("only %d were let in", n)
	} else {
		t.Logf("%d were let in", n)
	}
	s.wantAll("after three hand-overs", "app-only", good)
	s.wantAll("after three hand-overs", "account", good)
	p.stop()
	for _, k := range s.sockets {
		if c, err := net.Dial("tcp", s.addr[k.name]); err == nil {
			_ = c.Close()
			t.Errorf("%s is still open after the last one has ended", k.name)
		}
	}
}
