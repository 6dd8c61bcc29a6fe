package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

var (
	addNote   = migration{"a table of notes", "CREATE TABLE note (text TEXT NOT NULL) STRICT; INSERT INTO note VALUES ('first')"}
	countNote = migration{"notes with a number", "ALTER TABLE note ADD COLUMN number INTEGER NOT NULL DEFAULT 7"}
	failing   = migration{"a step that fails half-way", "CREATE TABLE half (n INTEGER); SELECT * FROM nowhere"}
)

func openSteps(t *testing.T, dir string, more ...migration) (*DB, error) {
	t.Helper()
	db, err := open(t.Context(), Options{Dir: dir}, append(append([]migration{}, migrations...), more...))
	if err == nil {
		t.Cleanup(func() { db.Close() })
	}
	return db, err
}

// number runs a query on the writer.
func number(t *testing.T, db *DB, sql string) (n int64, err error) {
	t.Helper()
	doErr := db.do(t.Context(), func(w *writer) error {
		n, err = w.number(sql)
		return nil
	})
	if doErr != nil {
		t.Fatal(doErr)
	}
	return n, err
}

func wantNumber(t *testing.T, db *DB, sql string, want int64) {
	t.Helper()
	if got, err := number(t, db, sql); err != nil || got != want {
		t.Errorf("%s: got %d, %v, want %d", sql, got, err, want)
	}
}

func TestMigrationsOneAfterTheOther(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, err := openSteps(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), "p", storetest.Put("a", "kept")); err != nil {
		t.Fatal(err)
	}
	id := db.ID()
	for i, more := range [][]migration{{addNote}, {addNote, countNote}, {addNote, countNote}} {
		db.Close()
		if db, err = openSteps(t, dir, more...); err != nil {
			t.Fatalf("with %d more steps: %v", len(more), err)
		}
		wantNumber(t, db, "PRAGMA user_version", int64(len(migrations)+len(more)))
		wantNumber(t, db, "SELECT count(*) FROM note", 1)
		if db.ID() != id {
			t.Errorf("open %d: got id %s, want %s", i, db.ID(), id)
		}
	}
	wantNumber(t, db, "SELECT number FROM note", 7)
	if got, err := db.Get(t.Context(), store.Key{Partition: "p", Name: "a"}); err != nil || string(got.Value) != "kept" {
		t.Errorf("the record from before: got %q, %v", got.Value, err)
	}
}

func TestMigrationsAllAtOnce(t *testing.T) {
	db, err := openSteps(t, filepath.Join(t.TempDir(), "data"), addNote, countNote)
	if err != nil {
		t.Fatal(err)
	}
	wantNumber(t, db, "SELECT number FROM note", 7)
}

func TestFailedMigrationLeavesNoTrace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, err := openSteps(t, dir, addNote, failing)
	if err == nil || !strings.Contains(err.Error(), failing.name) {
		t.Fatalf("got %v, want an error that names the step", err)
	}
	db, err := openSteps(t, dir, addNote, countNote)
	if err != nil {
		t.Fatalf("with the step mended: %v", err)
	}
	wantNumber(t, db, "SELECT count(*) FROM note", 1) // the step before it ran once
	wantNumber(t, db, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'", 0)
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, err := openSteps(t, dir, addNote)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, err = openSteps(t, dir)
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "run the newer program") {
		t.Fatalf("got %v, want ErrNewer and what to do", err)
	}
	if db, err = openSteps(t, dir, addNote); err != nil {
		t.Fatalf("by the newer program again: %v", err)
	}
	wantNumber(t, db, "SELECT count(*) FROM note", 1)
}

func TestForeignDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, databaseName)
	if err := errors.Join(os.Chmod(dir, 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c, err := openConn(path, writing)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.exec("CREATE TABLE store (id TEXT)"), c.close()); err != nil {
		t.Fatal(err)
	}
	if _, err := openSteps(t, dir); !errors.Is(err, ErrForeign) {
		t.Errorf("got %v, want ErrForeign", err)
	}
	if _, err := os.Stat(filepath.Join(dir, markerName)); err == nil {
		t.Error("it was given a marker")
	}
}

// The settings that durability hangs on hold on the connections themselves.
func TestConnectionsAreDurable(t *testing.T) {
	db, err := openSteps(t, filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	wantNumber(t, db, "PRAGMA synchronous", 2) // FULL
	wantNumber(t, db, "PRAGMA cell_size_check", 1)
	wantNumber(t, db, "PRAGMA application_id", applicationID)
	r, err := db.borrow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer db.giveBack(r)
	if n, err := r.number("PRAGMA query_only"); err != nil || n != 1 {
		t.Errorf("a reader: got query_only %d, %v, want 1", n, err)
	}
	if err := r.exec("DELETE FROM record"); err == nil {
		t.Error("a reader could write")
	}
}
