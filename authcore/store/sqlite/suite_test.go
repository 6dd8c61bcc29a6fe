package sqlite_test

import (
	"path/filepath"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
)

func mustOpen(t testing.TB, o sqlite.Options) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func dataDir(t testing.TB) string { return filepath.Join(t.TempDir(), "data") }

func TestConformance(t *testing.T) {
	storetest.RunRecords(t, func(t *testing.T) storetest.RecordsEngine {
		clock := storetest.ManualClock()
		o := sqlite.Options{Dir: dataDir(t), Now: clock.Now}
		db := mustOpen(t, o)
		return storetest.RecordsEngine{Records: db, Clock: clock, Reopen: func(t *testing.T) store.Records {
			if err := db.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			return mustOpen(t, o)
		}}
	})
}
