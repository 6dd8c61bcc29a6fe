package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// elderRole is one of the tests': it starts a child, says its number, and waits to be killed.
const elderRole = "elder-of-a-test"

func playElder() int {
	n := newNursery()
	c, err := n.start(program{name: "sleep", path: "/bin/sleep", args: []string{"60"}, log: os.DevNull})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(c.pid())
	time.Sleep(time.Minute)
	return 0
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 200 {
		if p, err := readProcess(pid); gone(pid) || err == nil && p.parent == 1 && zombie(pid) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

// Who is killed outright takes what he has started with him.
func TestNothingOutlivesUs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	elder := exec.Command(self, elderRole)
	out, err := elder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := elder.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	pid, aerr := strconv.Atoi(strings.TrimSpace(said))
	if err := elder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = elder.Wait()
	if err != nil || aerr != nil {
		t.Fatalf("the elder said %q", said)
	}
	waitGone(t, pid)
}

// What a child has started ends with it, even if neither listens to signals.
func TestEndOfATree(t *testing.T) {
	n := newNursery()
	file := filepath.Join(t.TempDir(), "pid")
	script := `trap "" TERM; (trap "" TERM; exec sleep 60) & echo $! >` + file + `.new; mv ` + file + `.new ` + file + `; while :; do sleep 1; done`
	c, err := n.start(program{name: "sh", path: "/bin/sh", args: []string{"-c", script}, log: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for range 200 {
		if text, err = os.ReadFile(file); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	below, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(tree([]int{c.pid()})); got < 2 {
		t.Errorf("the tree has %d processes, want two or three", got)
	}
	n.close()
	waitGone(t, c.pid())
	waitGone(t, below)
}

// Names of processes may hold anything.
func TestParseStat(t *testing.T) {
	const rest = ` S 7 42 42 0 -1 4194560 1 2 0 0 100 50 25 25 20 0 1 0 12345 1000 1 18446744073709551615`
	for name, tt := range map[string]struct {
		text string
		want process
		bad  bool
	}{
		"plain":    {text: "42 (nginx)" + rest, want: process{42, 7, "12345", 2}},
		"brackets": {text: "42 (a) S 1 (b)" + rest, want: process{42, 7, "12345", 2}},
		"empty":    {text: "", bad: true},
		"cut off":  {text: "42 (nginx) S 7", bad: true},
		"no name":  {text: "42 S 7", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.text))
			if (err != nil) != tt.bad || err == nil && got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// Our own processor time and memory can be read.
func TestOurselves(t *testing.T) {
	until := time.Now().Add(50 * time.Millisecond)
	for time.Now().Before(until) {
	}
	ours := []int{os.Getpid()}
	pss, err := proportional(ours)
	top, perr := peak(ours)
	if cpuOf(ours) <= 0 || busy() <= 0 || err != nil || perr != nil || pss <= 0 || top < pss {
		t.Errorf("processor time %v of %v, memory %d of %d, %v, %v", cpuOf(ours), busy(), pss, top, err, perr)
	}
	if _, err := proportional([]int{1 << 30}); err == nil {
		t.Error("a process that is not there has memory")
	}
}
