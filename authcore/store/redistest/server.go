package redistest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Server is a started redis-server, or a sentinel. Its methods fail the test when the machine does not do as told.
type Server struct {
	Addr  string // its own: past any proxy
	Dir   string // its files; they stay when it is killed, until the test's end
	Proxy *Proxy // Options.Proxied: what clients speak to; else nil
	Link  *Proxy // ReplicatedWith and Proxied: the replica's way to its master; else nil

	program string
	as      Account
	conf    string // file
	log     string // file
	busPort int    // of a Cluster

	pid    int           // of the running program
	exited chan struct{} // closed when it has ended
}

// newServer takes ports and writes the configuration.
func newServer(t testing.TB, program string, proxied bool, conf []string) *Server {
	t.Helper()
	Need(t, program)
	p := takePorts(t)
	s := &Server{Addr: p.addr(0), Dir: t.TempDir(), program: program, busPort: p.port(1)}
	s.conf, s.log = filepath.Join(s.Dir, program+".conf"), filepath.Join(s.Dir, program+".log")
	lines := []string{
		"bind 127.0.0.1", "port " + port(s.Addr), "dir " + s.Dir, "logfile " + s.log, "daemonize no",
	}
	if program == "redis-server" {
		lines = append(lines, "appendonly yes", "appendfsync always", `save ""`, "repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
	}
	if proxied && program == "redis-server" {
		s.Proxy = newProxy(t, p.addr(2), s.Addr)
		lines = append(lines, "replica-announce-ip 127.0.0.1", "replica-announce-port "+port(s.Proxy.Addr))
	}
	s.write(t, append(lines, conf...))
	return s
}

func (s *Server) write(t testing.TB, lines []string) {
	t.Helper()
	if err := os.WriteFile(s.conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ClientAddr is where clients reach it: through its proxy if it has one.
func (s *Server) ClientAddr() string {
	if s.Proxy != nil {
		return s.Proxy.Addr
	}
	return s.Addr
}

// Command asks the server itself, past any proxy, on a connection of its own.
func (s *Server) Command(args ...any) (any, error) {
	v, err := s.command(args...)
	if err != nil {
		return v, fmt.Errorf("%v on %s: %w", args[0], s.Addr, err)
	}
	return v, nil
}

// Must is Command that has to succeed.
func (s *Server) Must(t testing.TB, args ...any) any {
	t.Helper()
	v, err := s.Command(args...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Info answers one section of INFO by name.
func (s *Server) Info(section string) (map[string]string, error) {
	v, err := s.Command("INFO", section)
	if err != nil {
		return nil, err
	}
	text, _ := v.(string)
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

// Kill ends it by SIGKILL, and waits for its end.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGKILL)
	<-s.exited
}

// Pause stops it by SIGSTOP: connections stay open, nothing is answered.
func (s *Server) Pause(t testing.TB) { t.Helper(); s.signal(t, syscall.SIGSTOP) }

// Resume lets it go on after Pause.
func (s *Server) Resume(t testing.TB) { t.Helper(); s.signal(t, syscall.SIGCONT) }

// Restart starts it again over the same files at the same address, after ending it by SIGKILL if it runs. It answers
// when the server does.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if s.Running() {
		s.Kill(t)
	}
	s.start(t)
}

// Running reports whether the program has not ended.
func (s *Server) Running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if !s.Running() {
		t.Fatalf("%s at %s has ended", s.program, s.Addr)
	}
	if err := syscall.Kill(s.pid, sig); err != nil {
		t.Fatalf("signal %v to %s at %s: %v", sig, s.program, s.Addr, err)
	}
}

// start runs the program until it is killed or the test ends, and waits for its first answer.
func (s *Server) start(t testing.TB) {
	t.Helper()
	first := s.exited == nil
	args := []string{s.conf}
	if s.program == "redis-sentinel" {
		args = append(args, "--sentinel")
	}
	cmd := exec.Command(s.program, args...)
	cmd.Dir = s.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	s.exited = make(chan struct{})
	go run(cmd, started, s.exited)
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", s.program, err)
	}
	s.pid = cmd.Process.Pid
	if first {
		t.Cleanup(func() { s.end(t) })
	}
	wait(t, "answer of "+s.program, s.ping)
}

// run owns the program. The parent-death signal is bound to the thread that started it, so it stays on that thread.
func run(cmd *exec.Cmd, started chan<- error, exited chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(exited)
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // it ends by a signal, and says why it ended earlier in its log
	}
}

func (s *Server) end(t testing.TB) {
	if s.Running() {
		if err := syscall.Kill(s.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("kill %s: %v", s.program, err)
		}
		<-s.exited
	}
	if t.Failed() {
		s.showLog(t)
	}
}

// showLog shows the end of its log, which says most.
func (s *Server) showLog(t testing.TB) {
	const most = 8 << 10
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Log(err)
		return
	}
	t.Logf("%s at %s said at the end:\n%s", s.program, s.Addr, b[max(0, len(b)-most):])
}

// ping succeeds when the server answers and has loaded its files.
func (s *Server) ping() error {
	if !s.Running() {
		b, _ := os.ReadFile(s.log)
		return fmt.Errorf("it ended: %s", b[max(0, len(b)-500):])
	}
	_, err := s.command("PING")
	return err
}

// ports is a block of four that belongs to one server: its own, the Cluster's, the proxy's. The first is held open as a
// lock while the test lasts, so that tests of other processes keep off the rest. The blocks lie below the range from
// which the kernel takes ports for others.
type ports int

const (
	firstPort = 10000
	portBlock = 4
	blocks    = 2400 // up to 19600; the mail servers of other tests begin at 20000
)

func takePorts(t testing.TB) ports {
	t.Helper()
	start := os.Getpid()*31 + int(time.Now().UnixNano()%97)
	for i := range blocks {
		base := firstPort + (start+i)%blocks*portBlock
		lock, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base))
		if err != nil {
			continue
		}
		if !allFree(base) {
			lock.Close()
			continue
		}
		t.Cleanup(func() { lock.Close() })
		return ports(base)
	}
	t.Fatal("no free block of ports")
	return 0
}

func allFree(base int) bool {
	for i := 1; i < portBlock; i++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// port is the i-th usable port of the block, from 0 to 2.
func (p ports) port(i int) int { return int(p) + 1 + i }

func (p ports) addr(i int) string { return fmt.Sprintf("127.0.0.1:%d", p.port(i)) }
