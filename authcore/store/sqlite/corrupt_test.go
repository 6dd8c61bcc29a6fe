package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
)

// alter replaces one occurrence of old in the closed database.
func alter(t *testing.T, dir, old, changed string) {
	t.Helper()
	path := filepath.Join(dir, "records.db")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(file, []byte(old))
	if at < 0 || len(old) != len(changed) {
		t.Fatalf("%q is not in the database", old)
	}
	overwrite(t, path, int64(at), []byte(changed))
}

func TestAlteredRecordIsNamed(t *testing.T) {
	dir := dataDir(t)
	db := mustOpen(t, sqlite.Options{Dir: dir})
	mustApply(t, db, "dom", storetest.Put("alpha", "value-of-alpha"), storetest.Put("beta", "value-of-beta"))
	db.Close()
	alter(t, dir, "value-of-beta", "value-of-BETA")
	db, err := openAgain(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Get(t.Context(), store.Key{Partition: "dom", Name: "alpha"}); err != nil {
		t.Errorf("the record beside it: %v", err)
	}
	_, err = db.Get(t.Context(), store.Key{Partition: "dom", Name: "beta"})
	wantNamed(t, "get", err)
	_, err = db.List(t.Context(), "dom", store.Query{})
	wantNamed(t, "list", err)
	for _, op := range []store.Op{storetest.PutNew("beta", ""), storetest.PutAt(1, "beta", ""), storetest.Check("beta", 1)} {
		_, err = db.Apply(t.Context(), "dom", op)
		wantNamed(t, "apply", err)
	}
	wantNamed(t, "verify", db.Verify(t.Context()))
	wantSkippable(t, db)
	mustApply(t, db, "dom", storetest.Put("beta", "mended"))
	if err := db.Verify(t.Context()); err != nil {
		t.Errorf("after it was written anew: %v", err)
	}
}

// wantNamed asks for ErrCorrupt with the names and without the value.
func wantNamed(t *testing.T, doing string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("%s: got %v, want ErrCorrupt", doing, err)
		return
	}
	if s := err.Error(); !strings.Contains(s, `"beta"`) || !strings.Contains(s, `"dom"`) || strings.Contains(s, "value-of") {
		t.Errorf("%s: got %q, want it to name the record and not its value", doing, s)
	}
}

// wantSkippable asks that a snapshot tells of the record and goes on.
func wantSkippable(t *testing.T, db *sqlite.DB) {
	t.Helper()
	var names []string
	corrupt := 0
	for e, err := range db.Snapshot(t.Context()) {
		if err != nil {
			wantNamed(t, "snapshot", err)
			corrupt++
			continue
		}
		names = append(names, e.Record.Name)
	}
	if corrupt != 1 || len(names) != 2 || names[1] != "alpha" {
		t.Errorf("snapshot: got %q and %d corrupt, want the head, alpha and 1", names, corrupt)
	}
}

// Whatever page is garbled, no record is ever taken for absent, nor answered wrong.
func TestGarbledPages(t *testing.T) {
	const records, page = 300, 4096
	dir := dataDir(t)
	db := mustOpen(t, sqlite.Options{Dir: dir})
	for i := range records {
		mustApply(t, db, "p", storetest.Put(fmt.Sprintf("n%04d", i), strings.Repeat(fmt.Sprint(i), 50)))
	}
	db.Close()
	path := filepath.Join(dir, "records.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{7})
	garbage := make([]byte, page)
	for at := 0; at < len(whole); at += page {
		for _, fill := range []string{"zeros", "noise"} {
			clear(garbage)
			if fill == "noise" {
				random.Read(garbage)
			}
			overwrite(t, path, 0, whole)
			overwrite(t, path, int64(at), garbage)
			readGarbled(t, dir, fmt.Sprintf("page %d of %s", at/page+1, fill), records)
		}
	}
}

func readGarbled(t *testing.T, dir, what string, records int) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, sqlite.ErrForeign) {
			t.Errorf("%s: open: got %v, want ErrCorrupt", what, err)
		}
		return
	}
	defer db.Close()
	for i := range records {
		got, err := db.Get(t.Context(), store.Key{Partition: "p", Name: fmt.Sprintf("n%04d", i)})
		if err == nil && string(got.Value) != strings.Repeat(fmt.Sprint(i), 50) {
			t.Fatalf("%s: record %d has a wrong value", what, i)
		}
		if err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("%s: record %d: got %v, want it or ErrCorrupt", what, i, err)
		}
	}
	listed, err := db.List(t.Context(), "p", store.Query{})
	if err == nil && len(listed) != records || err != nil && !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("%s: list: got %d records, %v, want %d or ErrCorrupt", what, len(listed), err, records)
	}
}
