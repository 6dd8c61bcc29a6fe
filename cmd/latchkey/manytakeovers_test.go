package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a process holds does not grow from one take-over to the next.

// held is what a process holds open, as the kernel and its own metrics say.
type held struct{ descriptors, goroutines int }

func (s *stage) held(t *testing.T, pid int) held {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	status, body := get(t, "http://"+s.addr["ops"]+"/metrics")
	found := regexp.MustCompile(`(?m)^go_goroutines (\d+)$`).FindStringSubmatch(body)
	if status != http.StatusOK || found == nil {
		t.Fatalf("/metrics: %d", status)
	}
	n, _ := strconv.Atoi(found[1])
	return held{len(entries), n}
}

// wantNoMore waits until a process holds no more than it may: what is left of a sign-in ends a little later.
func (s *stage) wantNoMore(t *testing.T, when string, pid int, most held) {
	t.Helper()
	var now held
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(50 * time.Millisecond) {
		if now = s.held(t, pid); now.descriptors <= most.descriptors && now.goroutines <= most.goroutines {
			return
		}
	}
	t.Errorf("%s it holds %+v, want no more than %+v", when, now, most)
}

// slack is what requests that have just ended may still hold.
func (h held) slack(n int) held { return held{h.descriptors + n, h.goroutines + n} }

func times(short, long int) int {
	if longDrills() {
		return long
	}
	return short
}

// One after the other takes over, at times by SIGUSR2 of the one before. The last one holds what the first one held, and
// none is left of the others.
func TestDrillManyTakeOvers(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	s.wantAll("before", "app-only", good)
	first := s.held(t, p.cmd.Process.Pid)
	for i := range 50 {
		next := s.takeover()
		next.says("latchkey serves")
		if code := p.ends(); code != 0 {
			t.Fatalf("the %dth ended with %d:\n%s", i, code, p.err)
		}
		p = next
	}
	s.wantAll("after", "app-only", good)
	s.wantNoMore(t, "the last one", p.cmd.Process.Pid, first.slack(6))
	p.stop()
}

// One that dies, again and again, once the store was given up to it: the old one takes it again each time, and holds what
// it held.
func TestDrillManyThatDie(t *testing.T) {
	s := newPortedStage(t)
	p := s.takeover()
	p.says("latchkey serves")
	s.wantAll("before", "app-only", good)
	s.approach(t, sayReleased)
	p.saysAgain("latchkey serves", 2)
	s.wantAll("after the first", "app-only", good)
	first := s.held(t, p.cmd.Process.Pid)
	const n = 50
	for range n {
		s.approach(t, sayReleased)
		s.wantAll("after one that died", "app-only", good)
	}
	p.saysAgain("latchkey serves", n+2)
	s.wantNoMore(t, "after many", p.cmd.Process.Pid, first.slack(6))
	p.stop()
}

// renewed starts the program from a file that the test may replace.
func (s *stage) renewed(t *testing.T) (p *process, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "latchkey")
	if err := os.Link(os.Args[0], file); err != nil {
		copyFile(t, os.Args[0], file)
	}
	p = start{args: []string{"serve", "-config", s.file}, binary: file}.begin(t)
	p.says("latchkey serves")
	return p, file
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeProgram(t, to, b, 0o755)
}

// writeProgram writes a file that is run then. Nothing is started meanwhile: a process that is on its way into its own program
// would have the file open for a moment more, and what is open to be written is not run.
func writeProgram(t *testing.T, file string, text []byte, mode os.FileMode) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, text, mode); err != nil {
		t.Fatal(err)
	}
}

// replace puts another program in the file's place, as an upgrade does.
func replace(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	writeProgram(t, file+".new", []byte(text), mode)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// SIGUSR2 where something else lies at the program's path: the log says what it did, and the old process serves on.
func TestDrillRenewByAWrongProgram(t *testing.T) {
	s := newPortedStage(t)
	p, file := s.renewed(t)
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		says       string
	}{
		{"not executable", "#!/bin/sh\nexit 0\n", 0o644, "permission denied"},
		{"no program", "a letter\n", 0o755, "exec format error"},
		{"one that fails", "#!/bin/sh\necho it is another program >&2\nexit 3\n", 0o755, "exit status 3"},
		{"one that ends well", "#!/bin/sh\nexit 0\n", 0o755, "has ended and never asked for the listening sockets"},
	} {
		replace(t, file, c.text, c.mode)
		p.signal(syscall.SIGUSR2)
		p.says(c.says)
		s.wantAll("after "+c.name, "app-only", good)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR2)
	p.says("no such file")
	s.wantAll("after it was not there", "app-only", good)
	p.stop()
}

// One that neither asks nor ends is ended; until then no other one is started.
func TestDrillRenewByOneThatHangs(t *testing.T) {
	t.Parallel()
	s := newPortedStage(t)
	p, file := s.renewed(t)
	child := filepath.Join(t.TempDir(), "pid")
	replace(t, file, "#!/bin/sh\necho $$ >"+child+"\nexec sleep 1000\n", 0o755)
	p.signal(syscall.SIGUSR2)
	p.says("started the process that takes over")
	p.signal(syscall.SIGUSR2)
	p.says("one is on its way already")
	s.wantAll("while one hangs", "app-only", good)
	p.says("did not ask for the listening sockets")
	b, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	for deadline := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the one that hung still runs")
		}
	}
	p.stop()
}

// SIGUSR2 twice in a row, and SIGHUP between: one process takes over, and reads the file as it is then.
func TestDrillRenewTwice(t *testing.T) {
	s := newPortedStage(t)
	told := listenNotify(t)
	p := start{args: []string{"serve", "-config", s.file}, env: []string{"NOTIFY_SOCKET=" + told.LocalAddr().String()}, renews: true}.begin(t)
	p.says("latchkey serves")
	m := startStorm(t, 20, []*stage{s}, "imap", "smtp", "pop3", "dav")
	for _, k := range []syscall.Signal{syscall.SIGUSR2, syscall.SIGHUP, syscall.SIGUSR2, syscall.SIGHUP} {
		if err := p.cmd.Process.Signal(k); err != nil && !errors.Is(err, os.ErrProcessDone) { // it may be renewed by then
			t.Fatalf("signal %v: %v", k, err)
		}
		<-time.After(5 * time.Millisecond) // signals of one kind that come at once are one
	}
	next := hearMainPID(t, told)
	if code := p.ends(); code != 0 {
		t.Errorf("the old process ended with %d:\n%s", code, p.err)
	}
	s.wantAll("after it was renewed", "app-only", good)
	m.stop()
	stopStranger(t, next)
}

// stopStranger stops a process that another one started, and waits for its end: it writes into the test's folders until then.
func stopStranger(t *testing.T, p *os.Process) {
	t.Helper()
	fd, err := unix.PidfdOpen(p.Pid, 0) // it is nobody's child here
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop the new process: %v", err)
	}
	waitFor(t, "the end of the new process", patience, func() bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) // a signal may come in between
		return n == 1
	})
}

// hearMainPID waits until systemd hears of a new main process; READY of that may come first.
func hearMainPID(t *testing.T, told interface {
	SetReadDeadline(time.Time) error
	Read([]byte) (int, error)
}) *os.Process {
	t.Helper()
	for {
		if err := told.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		n, err := told.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutPrefix(string(b[:n]), "MAINPID=")
		if !ok {
			continue
		}
		pid, _ := strconv.Atoi(text)
		next, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = next.Kill() })
		return next
	}
}
