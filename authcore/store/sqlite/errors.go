package sqlite

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"latchkey/authcore/store"
)

var (
	// ErrLocked: another process owns the directory. It comes as a LockedError: talk to that process, or wait.
	ErrLocked = errors.New("the store is in use")
	// ErrLost: a store existed here and this is not it. An operator decides; nothing was touched.
	ErrLost = errors.New("the store was lost or swapped")
	// ErrNewer: the database was written by a newer program. Run that one.
	ErrNewer = errors.New("the database is newer than this program")
	// ErrForeign: the file is a database of something else. Nothing was touched.
	ErrForeign = errors.New("the database is not a store of this program")
)

// LockedError says who holds the directory.
type LockedError struct {
	Dir string
	PID int // 0: not told by the lock file
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%v: another process holds %s", ErrLocked, e.Dir)
	}
	return fmt.Sprintf("%v: process %d holds %s", ErrLocked, e.PID, e.Dir)
}

// Is lets errors.Is find ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// explain turns an error of SQLite at path into one of the contract, with a word for the operator. Errors that are of
// the contract already, or the context's, pass.
func explain(path string, err error) error {
	var e *sqlite.Error
	if err == nil || !errors.As(err, &e) {
		return passOrUnavailable(path, err)
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return fmt.Errorf("%w: the database file %s is damaged, restore a backup: %w", store.ErrCorrupt, path, err)
	case lib.SQLITE_FULL:
		return fmt.Errorf("%w: the disk that holds %s is full: %w", store.ErrUnavailable, path, err)
	case lib.SQLITE_READONLY:
		return fmt.Errorf("%w: %s cannot be written, it is read-only: %w", store.ErrUnavailable, path, err)
	case lib.SQLITE_CANTOPEN, lib.SQLITE_PERM, lib.SQLITE_AUTH:
		return fmt.Errorf("%w: %s cannot be opened: %w", store.ErrUnavailable, path, err)
	case lib.SQLITE_IOERR:
		return fmt.Errorf("%w: reading or writing %s failed: %w", store.ErrUnavailable, path, err)
	}
	return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, path, err)
}

func passOrUnavailable(path string, err error) error {
	for _, known := range []error{
		nil, store.ErrCorrupt, store.ErrConflict, store.ErrNotFound, store.ErrInvalid, store.ErrUnavailable, store.ErrNotEmpty,
		ErrNewer, ErrForeign, ErrLost, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %s: %w", store.ErrUnavailable, path, err)
}
