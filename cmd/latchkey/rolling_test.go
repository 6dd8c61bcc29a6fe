package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/authcore/store/redistest"
)

// longDrills says that drills run at full length.
func longDrills() bool { return os.Getenv("LATCHKEY_DRILLS") == "long" }

// storm signs in at a steady rate at doors picked in turn. A client never tries twice: whatever is not let in is counted.
type storm struct {
	all  sync.WaitGroup
	over chan struct{}
	good atomic.Int64
	slow atomic.Int64 // the longest, in nanoseconds, without what the machine stood still
	ways map[string]map[*stage]func() (string, error)

	stood func() time.Duration
}

func startStorm(t *testing.T, perSecond int, nodes []*stage, protocols ...string) *storm {
	t.Helper()
	return startStormOf(t, perSecond, nodes, nil, protocols...)
}

// startStormOf also goes other ways than a sign-in at a door: those that answer a status of HTTP, by their names.
func startStormOf(t *testing.T, perSecond int, nodes []*stage, ways map[string]map[*stage]func() (string, error), protocols ...string) *storm {
	t.Helper()
	m := &storm{over: make(chan struct{}), ways: ways, stood: redistest.Standstill(t)}
	m.all.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-m.over:
				return
			}
			node, protocol := nodes[i%len(nodes)], protocols[i/len(nodes)%len(protocols)]
			m.all.Go(func() { m.one(t, node, protocol) })
		}
	})
	t.Cleanup(func() { m.stop() })
	return m
}

func (m *storm) one(t *testing.T, node *stage, protocol string) {
	p := node.people["app-only"]
	want, ask := good[protocol], func() (string, error) {
		return node.door(protocol).signIn(node.tls, p.Address, p.AppPasswords[0].Secret.Reveal())
	}
	if f := m.ways[protocol][node]; f != nil {
		want, ask = "20", f
	}
	began, before := time.Now(), m.stood()
	got, err := ask()
	took := int64(time.Since(began) - (m.stood() - before))
	for was := m.slow.Load(); took > was && !m.slow.CompareAndSwap(was, took); was = m.slow.Load() {
	}
	if err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("%s after %v: %q (%v)", protocol, time.Duration(took), got, err)
		return
	}
	m.good.Add(1)
}

func (m *storm) stop() int64 {
	select {
	case <-m.over:
	default:
		close(m.over)
	}
	m.all.Wait()
	return m.good.Load()
}

// Three nodes, each with a store of its own, are restarted in turn under 100 sign-ins a second: none is refused, reset or
// left waiting, and sessions that live on are told.
func TestDrillRollingRestart(t *testing.T) {
	rounds := 1
	if longDrills() {
		rounds = 20
	}
	nodes := make([]*stage, 3)
	running := make([]*process, 3)
	for i := range nodes {
		nodes[i] = newPortedStage(t)
		running[i] = nodes[i].takeover()
	}
	for _, p := range running {
		p.says("latchkey serves")
	}
	m := startStorm(t, 100, nodes, "imap", "smtp", "dav")
	began := time.Now()
	var idle []*talk
	var old []*process
	for range rounds {
		for i, node := range nodes {
			<-time.After(time.Second)
			idle, old = append(idle, node.idle(t)), append(old, running[i])
			running[i] = node.takeover()
			running[i].says("latchkey serves")
		}
	}
	for _, k := range idle {
		_ = k.SetDeadline(time.Now().Add(patience)) // the first are older than that
		if line, err := k.hearTo("* BYE"); err != nil {
			t.Errorf("an idle session heard %q (%v), want BYE", line, err)
		}
	}
	for _, p := range old {
		if code := p.ends(); code != 0 {
			t.Errorf("the old process ended with %d", code)
		}
	}
	n := m.stop()
	t.Logf("%d sign-ins in %v, %d restarts, the slowest took %v", n, time.Since(began).Round(time.Millisecond), 3*rounds, time.Duration(m.slow.Load()))
	if want := int64((time.Since(began) - m.stood()).Seconds() * 30); n < want { // more is a measure of the machine
		t.Errorf("only %d sign-ins, want %d at least", n, want)
	}
	for _, p := range running {
		p.stop()
	}
}

// idle is a session that waits for news.
func (s *stage) idle(t *testing.T) *talk {
	t.Helper()
	p := s.people["app-only"]
	k, answer, err := s.door("imap").enter(s.tls, p.Address, p.AppPasswords[0].Secret.Reveal())
	if err != nil || !strings.HasPrefix(answer, good["imap"]) {
		t.Fatalf("%q (%v)", answer, err)
	}
	t.Cleanup(func() { _ = k.Close() })
	if _, err := k.ask("b SELECT INBOX", "b OK"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ask("c IDLE", "+"); err != nil {
		t.Fatal(err)
	}
	return k
}

// A message in flight is finished by the process that began with it, and arrives once.
func TestDrillTakeOverFinishesAMessage(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	one := s.people["app-only"]
	k, answer, err := s.door("smtp").enter(s.tls, one.Address, one.AppPasswords[0].Secret.Reveal())
	if err != nil || !strings.HasPrefix(answer, good["smtp"]) {
		t.Fatalf("%q (%v)", answer, err)
	}
	defer k.Close()
	for _, line := range []string{"MAIL FROM:<" + one.Address + ">", "RCPT TO:<" + one.Address + ">", "DATA"} {
		if got, err := k.ask(line, "2", "3", "4", "5"); err != nil || got[0] > '3' {
			t.Fatalf("%s: %q (%v)", line, got, err)
		}
	}
	if err := k.say("Subject: over the restart.\r\n"); err != nil {
		t.Fatal(err)
	}
	next := s.takeover()
	next.says("latchkey serves")
	for range 5 {
		<-time.After(100 * time.Millisecond)
		if err := k.say("another line"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := k.ask(".", "2", "4", "5"); err != nil || got[0] != '2' {
		t.Errorf("the message in flight: %q (%v)", got, err)
	}
	if code := p.ends(); code != 0 {
		t.Errorf("the old process ended with %d", code)
	}
	w := &letters{t: t, s: s, name: one.Address, pass: one.AppPasswords[0].Secret.Reveal(), sent: []string{"over the restart."}}
	w.holds(t, s)
	next.stop()
}

// A mistake of the new process is told at its exit, and the old one serves on, untouched.
func TestDrillTakeOverWithAMistake(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	idle := s.idle(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		change func(string) string
		says   string
	}{
		"an unknown key":          {func(c string) string { return "colour: red\n" + c }, "colour"},
		"a certificate not there": {func(c string) string { return strings.Replace(c, "server.pem", "gone.pem", 1) }, "gone.pem"},
		"a secret not there":      {func(c string) string { return strings.Replace(c, s.path("master"), s.path("gone"), 1) }, "gone"},
		"keys not there":          {func(c string) string { return strings.Replace(c, "keys.json", "gone.json", 1) }, "gone.json"},
		"an address that is taken": {func(c string) string {
			return strings.Replace(c, s.addr["pop3"], taken.Addr().String(), 1)
		}, "address already in use"},
	} {
		s.configure(func(text string) string { return c.change(s.ported(text)) })
		next := s.takeover()
		if code := next.ends(); code != exitFailed || !strings.Contains(next.err.String(), c.says) {
			t.Errorf("%s: exit %d, says %s", name, code, next.err)
		}
		if got := s.signIn("imap", "app-only"); !strings.HasPrefix(got, good["imap"]) {
			t.Errorf("%s: after it %q", name, got)
		}
	}
	if err := idle.say("DONE"); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.hearTo("c OK"); err != nil {
		t.Errorf("the session from before: %v", err)
	}
	s.configure(s.ported)
	next := s.takeover()
	next.says("latchkey serves")
	if code := p.ends(); code != 0 {
		t.Errorf("the old process ended with %d", code)
	}
	next.stop()
}

// approach speaks the new process's part up to a word, and then hangs up.
func (s *stage) approach(t *testing.T, until string) {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(s.path("data"), controlName))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	u := c.(*net.UnixConn)
	e := &elder{conversation: conversation{c: u, r: bufio.NewReaderSize(u, maxNote)}}
	if until == "" {
		return
	}
	if err := e.introduce(); err != nil {
		t.Fatal(err)
	}
	fds, err := e.takePassed()
	if err != nil || len(fds) != len(s.sockets) {
		t.Fatalf("%d sockets, %v", len(fds), err)
	}
	defer closeAll(fds)
	if _, err := e.want(sayOffer); err != nil || until == sayOffer {
		return
	}
	if err := e.say(note{Say: sayReady}); err != nil || until == sayReady {
		return
	}
	if err := e.takeSessions(); err != nil {
		t.Errorf("after ready: %v", err)
	}
}

// Whenever the new process dies before it serves, the old one serves on; it takes the store again if it had given it up.
func TestDrillTakeOverByOneThatDies(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	m := startStorm(t, 20, []*stage{s}, "imap", "smtp", "pop3", "dav")
	for _, c := range []struct {
		until, says string
		n           int // how often it was said by then
	}{
		{"", "", 0}, {sayHello, "this one serves on", 1}, {sayOffer, "this one serves on", 2}, {sayReady, "latchkey serves", 2}, {sayReleased, "latchkey serves", 3},
	} {
		s.approach(t, c.until)
		p.saysAgain(c.says, c.n)
		s.wantAll(fmt.Sprintf("after one that died at %q", c.until), "account", good)
	}
	m.stop()
	next := s.takeover()
	next.says("latchkey serves")
	if code := p.ends(); code != 0 {
		t.Errorf("the old process ended with %d", code)
	}
	next.stop()
}

// elderThatDies plays the old process up to a word. It holds the store until it dies.
func (s *stage) elderThatDies(t *testing.T, until string, told chan<- error) {
	data := s.path("data")
	lock, err := os.OpenFile(filepath.Join(data, "lock"), os.O_RDWR, 0)
	if err != nil {
		told <- err
		return
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		told <- err
		return
	}
	path := filepath.Join(data, controlName)
	_ = os.Remove(path)
	ln, err := net.Listen("unix", path)
	if err != nil {
		told <- err
		return
	}
	socks := sockets{}
	for _, k := range s.sockets {
		if socks[k.name], err = net.Listen("tcp", s.addr[k.name]); err != nil {
			told <- err
			return
		}
	}
	defer socks.close()
	told <- nil
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hand-over", func(w http.ResponseWriter, _ *http.Request) {
		x, err := hijack(w)
		if err != nil {
			told <- err
			return
		}
		defer func() { socks.close(); _ = lock.Close(); x.close(); told <- nil }()
		if _, err := x.want(sayHello); err != nil || until == sayHello {
			return
		}
		var fds []int
		var names []string
		for _, k := range s.sockets {
			fd, err := descriptor(socks[k.name])
			if err != nil {
				return
			}
			fds, names = append(fds, fd), append(names, handedOver(k.name, s.addr[k.name]))
		}
		defer closeAll(fds)
		_ = x.pass(fds)
		if until == "pass" {
			return
		}
		_ = x.say(note{Say: sayOffer, Sockets: names})
		if until == sayOffer {
			return
		}
		_, _ = x.want(sayReady)
	})
	srv := &http.Server{Handler: mux}
	_ = srv.Serve(ln)
}

// When the old process dies, the new one serves if it had got the sockets, and else ends: nobody holds what nobody serves.
func TestDrillTakeOverFromOneThatDies(t *testing.T) {
	for until, serves := range map[string]bool{sayHello: false, "pass": false, sayOffer: true, sayReady: true} {
		t.Run(until, func(t *testing.T) {
			s := newPortedStage(t)
			told := make(chan error, 4)
			go s.elderThatDies(t, until, told)
			if err := <-told; err != nil {
				t.Fatal(err)
			}
			next := s.takeover()
			if err := <-told; err != nil {
				t.Fatal(err)
			}
			if !serves {
				if code := next.ends(); code != exitFailed {
					t.Errorf("exit %d", code)
				}
				return
			}
			next.says("latchkey serves")
			s.wantAll("after the old one died", "app-only", good)
			next.stop()
		})
	}
}

// SIGUSR2 starts the program anew: it takes over, and systemd hears who the main process is.
func TestDrillRenew(t *testing.T) {
	s := newPortedStage(t)
	told := listenNotify(t)
	p := start{args: []string{"serve", "-config", s.file}, env: []string{"NOTIFY_SOCKET=" + told.LocalAddr().String()}, renews: true}.begin(t)
	if got := hearNotify(t, told); got != "READY=1" {
		t.Errorf("systemd hears %q, want READY=1", got)
	}
	m := startStorm(t, 20, []*stage{s}, "imap", "smtp", "pop3", "dav")
	p.signal(syscall.SIGUSR2)
	var pid int
	for pid == 0 { // READY of the new one may come first
		if text, ok := strings.CutPrefix(hearNotify(t, told), "MAINPID="); ok {
			pid, _ = strconv.Atoi(text)
		}
	}
	next, err := os.FindProcess(pid)
	if err != nil || pid == p.cmd.Process.Pid {
		t.Fatalf("main process %d (%v), the old one is %d", pid, err, p.cmd.Process.Pid)
	}
	t.Cleanup(func() { _ = next.Kill() })
	if code := p.ends(); code != 0 {
		t.Errorf("the old process ended with %d", code)
	}
	s.wantAll("after it was renewed", "app-only", good)
	m.stop()
	stopStranger(t, next)
}

// While load balancers are told, the doors are open and /readyz says that they will close.
func TestDrillDrainNotice(t *testing.T) {
	t.Parallel()
	s := newPortedStage(t)
	s.configure(func(c string) string {
		return strings.Replace(s.ported(c), "drain_timeout: 15s", "drain_timeout: 15s, drain_notice: 10s", 1)
	})
	p := s.takeover()
	p.says("latchkey serves")
	p.signal(syscall.SIGTERM)
	p.says("telling load balancers")
	if status, body := get(t, "http://"+s.addr["ops"]+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	s.wantAll("while load balancers are told", "app-only", good)
	if code := p.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
}
