package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// A nursery starts processes and ends them. It does so from one thread that lives as long as the nursery: the kernel ends a
// child when the thread that started it is gone (PR_SET_PDEATHSIG), so that nothing outlives us, even if we are killed.
type nursery struct {
	starts   chan func()
	children []*child
}

func newNursery() *nursery {
	n := &nursery{starts: make(chan func())}
	go n.run()
	return n
}

func (n *nursery) run() {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	for start := range n.starts {
		start()
	}
}

// close ends all that was started, the last first.
func (n *nursery) close() {
	for i := len(n.children) - 1; i >= 0; i-- {
		n.children[i].end()
	}
	close(n.starts)
}

// A child is a process in a group of its own. Its standard input stays open as long as we live: ours end when it closes.
type child struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader // nil: what it says goes to the log
	pipe  *os.File      // beneath out
	log   *os.File
	ended chan struct{}
	err   error // of Wait; read after ended
}

// program says what to start.
type program struct {
	name, path string
	args       []string
	env        []string
	speaks     bool   // we read its standard output
	log        string // file for the rest
}

func (n *nursery) start(p program) (*child, error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	c := &child{name: p.name, cmd: exec.Command(p.path, p.args...), log: log, ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), p.env...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithUs(c.cmd.SysProcAttr)
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	var theirs *os.File
	if p.speaks { // a pipe of our own: that of exec is closed by Wait, read or not
		ours, w, err := os.Pipe()
		if err != nil {
			return nil, errors.Join(err, log.Close())
		}
		theirs, c.cmd.Stdout, c.pipe, c.out = w, w, ours, bufio.NewReader(ours)
	}
	started := make(chan error)
	n.starts <- func() { started <- c.cmd.Start() }
	err = <-started
	if theirs != nil {
		_ = theirs.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, errors.Join(err, log.Close()))
	}
	go c.wait()
	n.children = append(n.children, c)
	return c, nil
}

// ourselves starts another role of this program.
func (n *nursery) ourselves(role, log string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return n.start(program{name: role, path: self, args: []string{role}, speaks: true, log: log})
}

func (c *child) wait() {
	c.err = c.cmd.Wait()
	_ = c.log.Close()
	close(c.ended)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// tell writes one JSON value to its standard input.
func (c *child) tell(v any) error {
	if err := json.NewEncoder(c.in).Encode(v); err != nil {
		return fmt.Errorf("tell %s: %w", c.name, err)
	}
	return nil
}

// hear reads one JSON value from its standard output, until ctx ends.
func (c *child) hear(ctx context.Context, v any) error {
	heard := make(chan error, 1)
	go func() {
		line, err := c.out.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, v)
		}
		heard <- err
	}()
	select {
	case err := <-heard:
		if err != nil {
			return fmt.Errorf("hear %s: %w", c.name, err)
		}
		return nil
	case <-ctx.Done():
		c.end() // its output ends, and so does the reader
		<-heard
		return fmt.Errorf("hear %s: %w", c.name, context.Cause(ctx))
	}
}

// gentleFor is how long a server may take to end by itself.
const gentleFor = 3 * time.Second

// end ends it and everything below it, and returns when it is gone.
func (c *child) end() {
	_ = c.in.Close()
	if c.pipe != nil {
		defer c.pipe.Close()
	}
	select {
	case <-c.ended:
		return
	default:
	}
	below := tree([]int{c.pid()})
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended in between
	select {
	case <-c.ended:
	case <-time.After(gentleFor):
		_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
		<-c.ended
	}
	for _, p := range below {
		if now, err := readProcess(p.pid); err == nil && now.began == p.began {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
}

// over ends one child before the others.
func (n *nursery) over(c *child) {
	c.end()
	n.children = slices.DeleteFunc(n.children, func(other *child) bool { return other == c })
}
