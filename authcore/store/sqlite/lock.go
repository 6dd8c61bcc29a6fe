package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// prepareDir makes the data directory, for its owner alone. An empty one is closed to others; one that holds files and
// is open to others is refused, for it may be something else altogether.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look into the data directory: %w", err)
	}
	if len(files) > 0 {
		return fmt.Errorf("data directory %s is open to other users (mode %04o): close it with chmod 700", dir, info.Mode().Perm())
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("close the data directory to others: %w", err)
	}
	return nil
}

// Lock takes the data directory for a process whose records lie elsewhere: no other process may own it at the same time.
// It answers ErrLocked (a LockedError) if one does. Closing gives it back.
func Lock(dir string) (io.Closer, error) {
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	l, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return closer(l.release), nil
}

type closer func() error

func (c closer) Close() error { return c() }

// HasDatabase says that a database lies in the directory, of whatever age.
func HasDatabase(dir string) (bool, error) {
	size, err := sizeOf(filepath.Join(dir, databaseName))
	return size > 0, err
}

// dirLock is the flock that decides who owns a data directory. The kernel gives it back when the process ends, however
// that happens; the file stays, and what stands in it tells others the pid, no more.
type dirLock struct{ file *os.File }

func lockDir(dir string) (*dirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &LockedError{Dir: dir, PID: readPID(f)}
	}
	if err == nil {
		err = writePID(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	return &dirLock{f}, nil
}

// release unlocks by word and not by closing alone: a child that was forked at this moment has the descriptor until it
// executes its program, and would hold the lock so long.
func (l *dirLock) release() error {
	err := errors.Join(l.file.Truncate(0), unix.Flock(int(l.file.Fd()), unix.LOCK_UN))
	if err = errors.Join(err, l.file.Close()); err != nil {
		return fmt.Errorf("release the data directory: %w", err)
	}
	return nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// readPID answers 0 if the holder has not written it yet.
func readPID(f *os.File) int {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}
