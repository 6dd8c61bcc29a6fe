package sqlite_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
)

func mustApply(t testing.TB, r store.Records, partition string, ops ...store.Op) int64 {
	t.Helper()
	revision, err := r.Apply(t.Context(), partition, ops...)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return revision
}

// closedStore is the directory of a store that holds one record and was closed.
func closedStore(t *testing.T) string {
	t.Helper()
	dir := dataDir(t)
	db := mustOpen(t, sqlite.Options{Dir: dir})
	mustApply(t, db, "p", storetest.Put("a", "one"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openAgain(t *testing.T, dir string) (*sqlite.DB, error) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err == nil {
		t.Cleanup(func() { db.Close() })
	}
	return db, err
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := dataDir(t)
	db := mustOpen(t, sqlite.Options{Dir: dir})
	mustApply(t, db, "p", storetest.Put("a", "one"))
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s: got mode %04o, want %04o", path, info.Mode().Perm(), want)
		}
		seen++
		return err
	})
	if err != nil || seen < 6 { // directory, database, -wal, -shm, marker, lock
		t.Errorf("saw %d files, %v, want 6", seen, err)
	}
}

func TestDirectoryOpenToOthers(t *testing.T) {
	empty := t.TempDir()
	if err := os.Chmod(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, sqlite.Options{Dir: empty})
	if info, err := os.Stat(empty); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("an empty directory: got mode %v, %v, want it closed to others", info.Mode(), err)
	}

	used := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(used, "file"), nil, 0o600), os.Chmod(used, 0o750)); err != nil {
		t.Fatal(err)
	}
	_, err := openAgain(t, used)
	if err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory with files: got %v, want a refusal that says what to do", err)
	}
	if info, err := os.Stat(used); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("a directory with files: its mode was changed to %v, %v", info.Mode(), err)
	}
}

func TestOneOwner(t *testing.T) {
	dir := dataDir(t)
	db := mustOpen(t, sqlite.Options{Dir: dir})
	_, err := openAgain(t, dir)
	var locked *sqlite.LockedError
	if !errors.Is(err, sqlite.ErrLocked) || !errors.As(err, &locked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	if locked.PID != os.Getpid() {
		t.Errorf("got pid %d, want %d", locked.PID, os.Getpid())
	}
	mustApply(t, db, "p", storetest.Put("a", "the owner goes on"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openAgain(t, dir); err != nil {
		t.Errorf("after the owner closed: %v", err)
	}
}

func TestLostStoreIsNotTakenForAnEmptyOne(t *testing.T) {
	const db, marker = "records.db", "store.id"
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   error
		says   string
	}{
		{"database missing", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, db)) }, sqlite.ErrLost, "missing or empty"},
		{"database empty", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, db), 0) }, sqlite.ErrLost, "missing or empty"},
		{"database of another store", func(t *testing.T, dir string) {
			move(t, filepath.Join(closedStore(t), db), filepath.Join(dir, db))
		}, sqlite.ErrLost, "is that of store"},
		{"marker of nothing", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, marker), 5) }, sqlite.ErrLost, "does not name a store"},
		{"log without its database", func(t *testing.T, dir string) {
			move(t, filepath.Join(dir, db), filepath.Join(dir, db+"-wal"))
			remove(t, filepath.Join(dir, marker))
		}, sqlite.ErrLost, "-wal"},
		{"something else", func(t *testing.T, dir string) {
			overwrite(t, filepath.Join(dir, db), 0, []byte("This is not a database at all."))
		}, store.ErrCorrupt, "damaged"},
		{"half of it", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, db), 8192) }, store.ErrCorrupt, "damaged"},
		{"first page garbled", func(t *testing.T, dir string) {
			overwrite(t, filepath.Join(dir, db), 100, make([]byte, 3996))
		}, store.ErrCorrupt, "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := closedStore(t)
			c.damage(t, dir)
			for range 2 { // nor at the second look
				_, err := openAgain(t, dir)
				if !errors.Is(err, c.want) {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
					t.Errorf("got %q, want it to say %q and where", err, c.says)
				}
			}
		})
	}
}

func TestMarkerRemovedOnPurpose(t *testing.T) {
	dir := closedStore(t)
	remove(t, filepath.Join(dir, "store.id"))
	db, err := openAgain(t, dir)
	if err != nil {
		t.Fatalf("the database is there: %v", err)
	}
	if _, err := db.Get(t.Context(), store.Key{Partition: "p", Name: "a"}); err != nil {
		t.Errorf("its record: %v", err)
	}
	id := db.ID()
	db.Close()
	remove(t, filepath.Join(dir, "records.db")) // the marker was written anew
	if _, err := openAgain(t, dir); !errors.Is(err, sqlite.ErrLost) || !strings.Contains(err.Error(), id) {
		t.Errorf("got %v, want ErrLost naming %s", err, id)
	}
	remove(t, filepath.Join(dir, "store.id"))
	fresh, err := openAgain(t, dir)
	if err != nil {
		t.Fatalf("both gone: %v", err)
	}
	if fresh.ID() == id {
		t.Error("the new store has the id of the lost one")
	}
}

func TestMarkerElsewhere(t *testing.T) {
	dir, marker := dataDir(t), filepath.Join(t.TempDir(), "marker")
	o := sqlite.Options{Dir: dir, Marker: marker}
	db := mustOpen(t, o)
	db.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), o); !errors.Is(err, sqlite.ErrLost) {
		t.Errorf("the whole directory is gone: got %v, want ErrLost", err)
	}
}

func TestClosed(t *testing.T) {
	db := mustOpen(t, sqlite.Options{Dir: dataDir(t)})
	for range 2 {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	_, err := db.Get(t.Context(), store.Key{Partition: "p", Name: "a"})
	wantUnavailable(t, "get", err)
	_, err = db.List(t.Context(), "p", store.Query{})
	wantUnavailable(t, "list", err)
	_, err = db.Apply(t.Context(), "p", storetest.Put("a", ""))
	wantUnavailable(t, "apply", err)
	for _, err := range db.Snapshot(t.Context()) {
		wantUnavailable(t, "snapshot", err)
	}
}

func wantUnavailable(t *testing.T, doing string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%s: got %v, want ErrUnavailable", doing, err)
	}
}

func TestOpenAfterContextEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := dataDir(t)
	if _, err := sqlite.Open(ctx, sqlite.Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string, at int64, with []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(with, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
