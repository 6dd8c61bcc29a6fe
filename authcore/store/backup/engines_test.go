package backup_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/backup"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
)

func openSQLite(t *testing.T) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// A store goes from one engine to the next and back, and revisions go on where they were.
func TestFromEngineToEngine(t *testing.T) {
	type engine interface {
		store.Records
		store.Snapshotter
		store.Restorer
	}
	first := filled(t)
	want := entries(t, first.Snapshot(t.Context()))
	var from engine = first
	for _, to := range []engine{openSQLite(t), openSQLite(t), memory.NewRecords(memory.Options{})} {
		file := write(t, from.Snapshot(t.Context()), backup.WriteOptions{Gzip: true})
		if _, _, err := backup.Restore(t.Context(), bytes.NewReader(file), to, backup.RestoreOptions{}); err != nil {
			t.Fatalf("restore into %T: %v", to, err)
		}
		if got := entries(t, to.Snapshot(t.Context())); !slices.Equal(got, want) {
			t.Errorf("in %T: got %d entries, want %d", to, len(got), len(want))
		}
		from = to
	}
	if got, err := from.Apply(t.Context(), "d2", storetest.PutNew("gone", "y")); err != nil || got != 3 {
		t.Errorf("got revision %d, %v, want 3, the next of a partition that was emptied", got, err)
	}
}

// One pass without verifying first: an engine that restores all or nothing keeps nothing of a file that ends early.
func TestTruncatedIntoSQLite(t *testing.T) {
	file := write(t, filled(t).Snapshot(t.Context()), backup.WriteOptions{})
	db := openSQLite(t)
	in, err := backup.NewReader(bytes.NewReader(file[:len(file)-20]))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Restore(t.Context(), in.Entries(t.Context())); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	if got := entries(t, db.Snapshot(t.Context())); len(got) != 0 {
		t.Errorf("got %d entries, want none", len(got))
	}
}
