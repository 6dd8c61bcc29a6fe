package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that keeps no database in a directory owns it like one that does.
func TestLockAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if has, err := HasDatabase(dir); has || err != nil {
		t.Errorf("a database is in an empty directory: %v, %v", has, err)
	}
	var locked *LockedError
	if _, err := Open(t.Context(), Options{Dir: dir}); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("open beside it: got %v, want a LockedError with our pid", err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("lock twice: got %v, want ErrLocked", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatalf("open behind it: %v", err)
	}
	defer db.Close()
	if has, err := HasDatabase(dir); !has || err != nil {
		t.Errorf("the database is not seen: %v, %v", has, err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("lock beside a store: got %v, want ErrLocked", err)
	}
}

// A child that was forked and has not executed its program yet has the lock's descriptor too: the folder is free all the
// same when its owner is done.
func TestLockGivenBackBesideAFork(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.FcntlInt(l.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	next, err := lockDir(dir)
	if err != nil {
		t.Fatalf("the folder is not free: %v", err)
	}
	if err := next.release(); err != nil {
		t.Fatal(err)
	}
}
