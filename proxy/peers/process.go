package peers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// startWait bounds the wait for a server's first answer: they answer within a second, but the machine may be busy.
const startWait = 30 * time.Second

// stopWait is how long a server may take to end when asked, before it is killed.
const stopWait = 5 * time.Second

// A server is a started program with its folder and its block of ports.
type server struct {
	name  string
	dir   string
	ports ports
	logs  []string // files that are shown when the test fails

	pid    int           // of the program; 0: it was killed
	exited chan struct{} // closed when the program has ended
}

// newServer makes the folder, readable for the users that servers change to, and takes the ports.
func newServer(t testing.TB, name string) *server {
	t.Helper()
	// Not t.TempDir: its parents are closed to other users, and socket names must stay under 108 bytes.
	dir, err := os.MkdirTemp("", "peer-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("%s: remove its folder: %v", name, err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &server{name: name, dir: dir, ports: takePorts(t)}
}

// start runs the program until the test ends.
func (s *server) start(t testing.TB, path string, args ...string) {
	t.Helper()
	s.logs = append(s.logs, s.output())
	s.launch(t, path, args...)
	t.Cleanup(func() {
		s.stop(t)
		if t.Failed() {
			s.showLogs(t)
		}
	})
}

func (s *server) output() string { return filepath.Join(s.dir, "output.log") }

// launch starts the program. It leads a process group of its own, which dies with the test's process too.
func (s *server) launch(t testing.TB, path string, args ...string) {
	t.Helper()
	output, err := os.OpenFile(s.output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) // not a pipe, which a child could hold open
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd := exec.Command(path, args...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	s.exited = make(chan struct{})
	started := make(chan error)
	go s.run(cmd, started)
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", s.name, err)
	}
	s.pid = cmd.Process.Pid
}

// run owns the program. The parent-death signal is bound to the thread that started it, so it stays on that thread.
func (s *server) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.exited)
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // it ends by a signal, and says why it ended earlier in its log
	}
}

// stop asks the program to end, and kills its group when it does not, or when it left children behind.
func (s *server) stop(t testing.TB) {
	if s.pid == 0 {
		return
	}
	_ = syscall.Kill(s.pid, syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopWait):
		t.Logf("%s did not end when asked", s.name)
	}
	s.kill(t)
}

// kill ends the program and its children without a word.
func (s *server) kill(t testing.TB) {
	if s.pid == 0 { // a signal to 0 would be to this process's own group
		return
	}
	if err := syscall.Kill(-s.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("%s: kill its process group: %v", s.name, err)
	}
	<-s.exited
	s.pid = 0
}

// ready waits until addr accepts a connection and, if greets, the server speaks first on it.
func (s *server) ready(t testing.TB, addr string, greets bool) {
	t.Helper()
	deadline := time.Now().Add(startWait)
	var last error
	for time.Now().Before(deadline) {
		select {
		case <-s.exited:
			s.showLogs(t)
			t.Fatalf("%s ended while starting", s.name)
		case <-time.After(20 * time.Millisecond):
		}
		if last = answers(addr, greets); last == nil {
			return
		}
	}
	s.showLogs(t)
	t.Fatalf("%s does not answer on %s: %v", s.name, addr, last)
}

// refuses waits until connections to addr are refused: children of what was killed may hold its listener a moment longer.
func (s *server) refuses(t testing.TB, addr string) {
	t.Helper()
	for deadline := time.Now().Add(stopWait); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if errors.Is(answers(addr, false), syscall.ECONNREFUSED) {
			return
		}
	}
	t.Fatalf("%s was killed and still accepts on %s", s.name, addr)
}

func answers(addr string, greets bool) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if !greets {
		return nil
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

func (s *server) showLogs(t testing.TB) {
	t.Helper()
	for _, name := range s.logs {
		if log := tailOf(name, 32<<10); log != "" {
			t.Logf("%s, end of %s:\n%s", s.name, filepath.Base(name), log)
		}
	}
}

func tailOf(name string, most int64) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return ""
		}
	}
	b, _ := io.ReadAll(f)
	return string(b)
}

// write puts a file into the server's folder.
func (s *server) write(t testing.TB, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// ports is a block of ports that belongs to one server: ports(0) is held open as a lock while the test lasts, so that
// tests of other processes keep off the rest. The blocks lie below the range from which the kernel takes ports for others.
type ports int

const (
	firstPort = 20000
	portBlock = 16
	blocks    = 700 // up to 31200; the kernel's own range begins at 32768
)

func takePorts(t testing.TB) ports {
	t.Helper()
	start := os.Getpid() * 31
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

// port is the i-th usable port of the block, from 0 to 14.
func (p ports) port(i int) int { return int(p) + 1 + i }

func (p ports) addr(i int) string { return fmt.Sprintf("127.0.0.1:%d", p.port(i)) }
