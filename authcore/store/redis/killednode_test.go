package redis

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// A node is killed between an acknowledgement and the writing of its notes, or stopped while the server restarts: it
// forgets what it has seen last, misses nothing, and goes on.
func TestDrillNodeKilled(t *testing.T) {
	if at, is := os.LookupEnv("LATCHKEY_TEST_NODE"); is {
		writeUntilKilled(t, at)
		return
	}
	runtime.LockOSThread() // the death signal is the thread's
	defer runtime.UnlockOSThread()
	s := redistest.Standalone(t)
	dir := filepath.Join(t.TempDir(), "state")
	cmd := exec.Command(os.Args[0], "-test.run=^TestDrillNodeKilled$")
	cmd.Env = append(os.Environ(), "LATCHKEY_TEST_NODE="+s.Addr+" "+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	acknowledged := bufio.NewScanner(out)
	last := ""
	read := func(n int) {
		for range n {
			if !acknowledged.Scan() {
				t.Fatal("it ended")
			}
			if name, is := strings.CutPrefix(acknowledged.Text(), "wrote "); is {
				last = name
			}
		}
	}
	read(100)
	stopped := 2 * time.Second
	if os.Getenv("LATCHKEY_DRILLS") == "long" {
		stopped = 30 * time.Second
	}
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	s.Restart(t)
	time.Sleep(stopped)
	_ = cmd.Process.Signal(syscall.SIGCONT)
	read(5000) // what was said before, and much more
	_ = cmd.Process.Kill()
	for acknowledged.Scan() {
		last = strings.TrimPrefix(acknowledged.Text(), "wrote ")
	}
	_ = cmd.Wait()
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.Addr}, StateDir: dir})
	looks(t, db)
	if _, err := db.Records().Get(t.Context(), store.Key{Partition: "p", Name: last}); err != nil {
		t.Errorf("the last that was acknowledged, %q: %v", last, err)
	}
	if _, err := db.Records().Apply(t.Context(), "p", storetest.Put("after", "v")); err != nil {
		t.Error(err)
	}
}

// writeUntilKilled is the node: it says what was acknowledged, and ends when there is an alarm.
func writeUntilKilled(t *testing.T, at string) {
	addr, dir, _ := strings.Cut(at, " ")
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{addr}, StateDir: dir})
	for i := 0; ; i++ {
		name := fmt.Sprint("n", i)
		_, err := db.Records().Apply(t.Context(), "p", storetest.Put(name, "v"))
		if errors.Is(err, ErrRolledBack) {
			t.Fatal(err)
		}
		if err == nil {
			fmt.Println("wrote " + name)
		}
	}
}
