package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
)

// The test program runs itself as the process that is killed or runs out of disk.
const (
	roleVar = "LATCHKEY_STORE_TEST_ROLE"
	dirVar  = "LATCHKEY_STORE_TEST_DIR"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "write until killed":
		os.Exit(writeUntilKilled(os.Getenv(dirVar)))
	case "write until full":
		os.Exit(writeUntilFull(os.Getenv(dirVar)))
	}
	os.Exit(m.Run())
}

func child(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), roleVar+"="+role, dirVar+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

const killedWriters = 8

// writeUntilKilled counts up in one record per writer, and prints each number after it was acknowledged.
func writeUntilKilled(dir string) int {
	db, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var writers sync.WaitGroup
	for i := range killedWriters {
		writers.Go(func() {
			name, n, err := strconv.Itoa(i), 0, error(nil)
			if rec, err := db.Get(context.Background(), store.Key{Partition: "p", Name: name}); err == nil {
				n, _ = strconv.Atoi(string(rec.Value))
			}
			for err == nil {
				n++
				value := strconv.Itoa(n)
				var revision int64
				revision, err = db.Apply(context.Background(), "p", storetest.Put(name, value), storetest.Put(name+"/twin", value))
				if err == nil {
					fmt.Fprintf(os.Stdout, "%s %d %d\n", name, n, revision) // one write each: lines stay whole
				}
			}
			fmt.Fprintln(os.Stderr, err)
		})
	}
	writers.Wait()
	return 1
}

// acknowledged is what the killed process was told, over all rounds.
type acknowledged struct {
	numbers  map[string]int
	revision int64
}

// read takes lines until the process is dead; the first one calls begun.
func (a *acknowledged) read(r io.Reader, begun func()) (lines int) {
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		var name string
		var n int
		var revision int64
		if _, err := fmt.Sscanf(scanner.Text(), "%s %d %d", &name, &n, &revision); err != nil {
			continue // the last line, cut by the kill
		}
		a.numbers[name] = max(a.numbers[name], n)
		a.revision = max(a.revision, revision)
		if lines++; lines == 1 {
			begun()
		}
	}
	return lines
}

// Killed at random moments, the store holds every acknowledged batch, and each batch whole. The moments lie behind the first
// acknowledgement, but in the first round: a machine without time takes long to come to it.
func TestKilledStoreKeepsWhatItAcknowledged(t *testing.T) {
	dir := dataDir(t)
	told := acknowledged{numbers: make(map[string]int)}
	total := 0
	for round := range 6 {
		cmd := child(t, "write until killed", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Hour, func() { cmd.Process.Kill() })
		soon := func() { kill.Reset(time.Duration(50+rand.IntN(250)) * time.Millisecond) }
		if round == 0 {
			soon()
		}
		total += told.read(out, soon)
		if err := cmd.Wait(); err == nil {
			t.Fatalf("round %d: the process ended by itself", round)
		}
		kill.Stop()
		wantAcknowledged(t, dir, told)
	}
	if total < killedWriters {
		t.Errorf("only %d batches were acknowledged in all: the test saw nothing", total)
	}
	t.Logf("%d acknowledged batches", total)
}

func wantAcknowledged(t *testing.T, dir string, told acknowledged) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatalf("open after the kill: %v", err)
	}
	defer db.Close()
	for name, n := range told.numbers {
		rec, err := db.Get(t.Context(), store.Key{Partition: "p", Name: name})
		if err != nil {
			t.Errorf("writer %s: %v", name, err)
			continue
		}
		if got, err := strconv.Atoi(string(rec.Value)); err != nil || got < n {
			t.Errorf("writer %s: got %d, %v, want the acknowledged %d", name, got, err, n)
		}
		twin, err := db.Get(t.Context(), store.Key{Partition: "p", Name: name + "/twin"})
		if err != nil || string(twin.Value) != string(rec.Value) || twin.Revision != rec.Revision {
			t.Errorf("writer %s: half a batch: %q beside %q, %v", name, rec.Value, twin.Value, err)
		}
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Errorf("verify: %v", err)
	}
	if revision := mustApply(t, db, "p", storetest.Put("probe", "")); revision <= told.revision {
		t.Errorf("got revision %d, want one above the acknowledged %d", revision, told.revision)
	}
}

// writeUntilFull writes under a limit on the size of files until it fails, lifts the limit and writes again.
func writeUntilFull(dir string) int {
	signal.Ignore(syscall.SIGXFSZ) // the write then fails with EFBIG instead
	say := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	db, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		return say(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return say(err)
	}
	free := limit
	limit.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return say(err)
	}
	for n := 1; ; n++ {
		_, err := db.Apply(context.Background(), "p", storetest.Put(strconv.Itoa(n), strings.Repeat("v", 50_000)))
		if errors.Is(err, store.ErrUnavailable) {
			fmt.Println("failed", n)
			break
		}
		if err != nil || n > 1000 {
			return say(fmt.Errorf("batch %d: got %w, want ErrUnavailable at some time", n, err))
		}
		fmt.Println("wrote", n)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &free); err != nil {
		return say(err)
	}
	if _, err := db.Apply(context.Background(), "p", storetest.Put("after", "")); err != nil {
		return say(fmt.Errorf("with room again: %w", err))
	}
	if err := db.Close(); err != nil {
		return say(err)
	}
	return 0
}

func TestFailingDiskKeepsWhatWasAcknowledged(t *testing.T) {
	dir := dataDir(t)
	out, err := child(t, "write until full", dir).Output()
	if err != nil {
		t.Fatalf("the writing process: %v", err)
	}
	wrote := strings.Count(string(out), "wrote")
	if wrote == 0 || !strings.Contains(string(out), "failed") {
		t.Fatalf("got %q, want some writes and a failure", out)
	}
	db := mustOpen(t, sqlite.Options{Dir: dir})
	for n := 1; n <= wrote; n++ {
		if _, err := db.Get(t.Context(), store.Key{Partition: "p", Name: strconv.Itoa(n)}); err != nil {
			t.Errorf("batch %d of %d: %v", n, wrote, err)
		}
	}
	if _, err := db.Get(t.Context(), store.Key{Partition: "p", Name: "after"}); err != nil {
		t.Errorf("the batch after: %v", err)
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Errorf("verify: %v", err)
	}
}
