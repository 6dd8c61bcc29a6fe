package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests run the real program in processes of its own: the test binary is the program when it is told so, and is under
// the race detector there too when the tests are.

const beProgram = "LATCHKEY_TEST_IS_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		main() // so is what it starts
		return
	}
	os.Exit(m.Run())
}

// patience bounds every wait of a test: what takes longer hangs.
const patience = 60 * time.Second

// call runs a command to its end.
type called struct {
	out, err string
	code     int
}

func call(t testing.TB, args ...string) called {
	t.Helper()
	return callWith(t, "", args...)
}

func callWith(t testing.TB, stdin string, args ...string) called {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), beProgram+"=1")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("latchkey %s: %v", strings.Join(args, " "), err)
	}
	return called{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// well is call for a command that has to succeed.
func well(t testing.TB, args ...string) called {
	t.Helper()
	c := call(t, args...)
	if c.code != 0 {
		t.Fatalf("latchkey %s: exit %d\n%s%s", strings.Join(args, " "), c.code, c.out, c.err)
	}
	return c
}

// refused is call for a command that has to fail, saying every one of the words.
func refused(t testing.TB, words []string, args ...string) {
	t.Helper()
	c := call(t, args...)
	if c.code != exitFailed {
		t.Errorf("latchkey %s: exit %d, want %d\n%s", strings.Join(args, " "), c.code, exitFailed, c.err)
	}
	for _, w := range words {
		if !strings.Contains(c.err, w) {
			t.Errorf("latchkey %s: does not say %q:\n%s", strings.Join(args, " "), w, c.err)
		}
	}
}

// process is the program while it runs.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    *transcript
	err    *transcript
	exited chan struct{} // closed when it has ended
}

// transcript is what a process wrote, to be read while it writes.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer  // guarded by mu
	more chan struct{} // closed and made anew at each write; guarded by mu
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *transcript) state() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.more
}

// start is how a process is started.
type start struct {
	args    []string
	env     []string
	sockets []namedSocket // passed as systemd passes them
	deaf    bool          // its standard error is a pipe that nobody reads
	renews  bool          // it starts the process that comes after it, which has its standard error too and lives on
	binary  string        // another build; empty: the test's own
}

type namedSocket struct {
	name string
	ln   *net.TCPListener
}

func (s start) begin(t testing.TB) *process {
	t.Helper()
	p := &process{t: t, out: newTranscript(), err: newTranscript(), exited: make(chan struct{})}
	if s.binary == "" {
		s.binary = os.Args[0]
	}
	p.cmd = exec.Command(s.binary, s.args...)
	p.cmd.Env = append(append(os.Environ(), beProgram+"=1"), s.env...)
	if len(s.sockets) > 0 {
		p.pass(s)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	p.cmd.WaitDelay = patience // what it wrote at last is read, however late this process comes to it
	if s.renews {
		p.cmd.WaitDelay = time.Second
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that dies leaves no server behind
	if s.deaf {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		defer w.Close()
		p.cmd.Stderr = w
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start latchkey %s: %v", strings.Join(s.args, " "), err)
	}
	for _, f := range p.cmd.ExtraFiles {
		_ = f.Close() // the process has its own
	}
	go p.wait()
	t.Cleanup(p.kill)
	return p
}

// pass hands the sockets over. LISTEN_PID is the pid of the process itself, which only a shell knows beforehand.
func (p *process) pass(s start) {
	var names []string
	for _, k := range s.sockets {
		f, err := k.ln.File()
		if err != nil {
			p.t.Fatal(err)
		}
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, f)
		names = append(names, k.name)
	}
	p.cmd.Path, p.cmd.Args = "/bin/sh", append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, s.binary}, s.args...)
	p.cmd.Env = append(p.cmd.Env, "LISTEN_FDS="+itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
}

func (p *process) wait() {
	defer close(p.exited)
	_ = p.cmd.Wait() // how it ended is in ProcessState
}

// says waits until the process has written the words to its standard error.
func (p *process) says(words string) {
	p.t.Helper()
	p.saysAgain(words, 1)
}

// saysAgain waits until it has written them n times.
func (p *process) saysAgain(words string, n int) {
	p.t.Helper()
	p.await(p.err, words, n)
}

// shows waits until the process has written the words to its standard output.
func (p *process) shows(words string) {
	p.t.Helper()
	p.await(p.out, words, 1)
}

func (p *process) await(s *transcript, words string, n int) {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		text, more := s.state()
		if strings.Count(text, words) >= n {
			return
		}
		select {
		case <-more:
		case <-p.exited:
			if strings.Count(s.String(), words) < n {
				p.t.Fatalf("ended with %v and never said %q:\n%s", p.cmd.ProcessState, words, p.err)
			}
			return
		case <-timeout:
			p.t.Fatalf("never said %q:\n%s", words, s)
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %v: %v", s, err)
	}
}

// ends waits for its end and answers the exit code.
func (p *process) ends() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("does not end:\n%s", p.err)
		return -1
	}
}

// stop is SIGTERM and a good end.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.ends(); code != 0 {
		p.t.Fatalf("exit %d at SIGTERM:\n%s", code, p.err)
	}
}

// kill is SIGKILL; a process that has ended is left alone.
func (p *process) kill() {
	select {
	case <-p.exited:
	default:
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	if p.t.Failed() {
		p.t.Logf("standard error of the program:\n%s", p.err)
	}
}
