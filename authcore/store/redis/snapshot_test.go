package redis

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// standalone opens a store on a server of its own.
func standalone(t testing.TB) (*DB, *redistest.Server, Options) {
	t.Helper()
	s := redistest.Standalone(t)
	o := Options{Mode: Standalone, Addresses: []string{s.Addr}, StateDir: filepath.Join(t.TempDir(), "state"), limits: unhurried()}
	return mustOpen(t, o), s, o
}

func mustApply(t testing.TB, r store.Records, partition string, ops ...store.Op) int64 {
	t.Helper()
	revision, err := r.Apply(context.Background(), partition, ops...)
	if err != nil {
		t.Fatalf("apply to %q: %v", partition, err)
	}
	return revision
}

// What is changed, deleted and made while a snapshot is read is in it as it stood when it began, over many pages.
func TestPeersSnapshotOfOneInstant(t *testing.T) {
	for name, when := range map[string]int{"before the first page": 0, "behind the first page": 1, "midway": 700} {
		t.Run(name, func(t *testing.T) { testChangedWhileRead(t, when) })
	}
}

func testChangedWhileRead(t *testing.T, when int) {
	db, _, _ := standalone(t)
	r := db.Records()
	const n = 1300
	for i := range n {
		mustApply(t, r, "p", storetest.Put(fmt.Sprintf("n%05d", i), "old"))
	}
	mustApply(t, r, "behind", storetest.Put("a", "old"))
	seen, changed := 0, false
	for e, err := range r.Snapshot(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if seen == when && !changed {
			changed = true
			changeAll(t, r, n)
		}
		if !e.IsHead() {
			seen++
			if string(e.Record.Value) != "old" {
				t.Fatalf("%q of %q: got %q, want it as it stood", e.Record.Name, e.Partition, e.Record.Value)
			}
		}
	}
	if seen != n+1 || !changed {
		t.Errorf("got %d records, want %d", seen, n+1)
	}
	if left, err := db.router.universal.Keys(t.Context(), "*}:[oO]").Result(); err != nil || len(left) != 0 {
		t.Errorf("the snapshot left %q, %v", left, err)
	}
}

// changeAll overwrites, deletes and makes records all over p.
func changeAll(t *testing.T, r store.Records, n int) {
	for i := 0; i < n; i += 3 {
		at := fmt.Sprintf("n%05d", i)
		mustApply(t, r, "p", storetest.Put(at, "new"), storetest.Delete(fmt.Sprintf("n%05d", i+1)), storetest.PutNew(at+"x", "new"))
		if i%2 == 0 {
			mustApply(t, r, "p", storetest.Put(fmt.Sprintf("n%05d", i+1), "newer"), storetest.Delete(at))
		}
	}
	mustApply(t, r, "behind", storetest.Put("a", "new"))
}

// Writers go from partition to partition: a snapshot over all groups shows a state that was there, in every mode.
func TestPeersSnapshotWhileWriting(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			r := mustOpen(t, start(t)).Records()
			ctx, stop := context.WithCancel(t.Context())
			var writers sync.WaitGroup
			defer writers.Wait()
			defer stop()
			for w := range 16 {
				writers.Go(func() { climb(t, ctx, r, w) })
			}
			for range 5 {
				time.Sleep(20 * time.Millisecond)
				wantOneState(t, r.Snapshot(t.Context()))
			}
		})
	}
}

// climb writes the same number to four partitions, one after the other, twice in each.
func climb(t *testing.T, ctx context.Context, r store.Records, w int) {
	for i := 1; ctx.Err() == nil; i++ {
		for p := range 4 {
			v := strconv.Itoa(i)
			_, err := r.Apply(ctx, fmt.Sprintf("w%d p%d", w, p), storetest.Put("a", v), storetest.Put("b", v))
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	}
}

func wantOneState(t *testing.T, entries iter.Seq2[store.Entry, error]) {
	t.Helper()
	values := make(map[string]int)
	for e, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		if !e.IsHead() {
			values[e.Partition+e.Record.Name], _ = strconv.Atoi(string(e.Record.Value))
		}
	}
	for w := range 16 {
		first, last := values[fmt.Sprintf("w%d p0a", w)], values[fmt.Sprintf("w%d p3a", w)]
		if last > first || first > last+1 {
			t.Errorf("writer %d: got %d in its first partition and %d in its last one", w, first, last)
		}
		for p := range 4 {
			at := fmt.Sprintf("w%d p%d", w, p)
			if a, b := values[at+"a"], values[at+"b"]; a != b || a > first || a < last {
				t.Errorf("%s: got %d and %d between %d and %d", at, a, b, first, last)
			}
		}
	}
}

// A restore that died leaves a store that nobody opens but to restore again.
func TestPeersRestoreInterrupted(t *testing.T) {
	db, _, o := standalone(t)
	dying := func(yield func(store.Entry, error) bool) {
		for p := range 40 {
			at := fmt.Sprintf("p%02d", p)
			if !yield(store.Entry{Partition: at, Highest: 9}, nil) ||
				!yield(store.Entry{Partition: at, Record: store.Record{Name: "a", Value: []byte("v"), Revision: 7}}, nil) {
				return
			}
			if p == 20 {
				_ = db.Close()
			}
		}
	}
	if err := db.Records().Restore(t.Context(), dying); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a restore that died: got %v, want ErrUnavailable", err)
	}
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrHalfRestored) {
		t.Fatalf("open what it left: got %v, want ErrHalfRestored", err)
	}
	o.Restoring = true
	again := mustOpen(t, o)
	whole := func(yield func(store.Entry, error) bool) {
		_ = yield(store.Entry{Partition: "q", Highest: 3}, nil)
	}
	if err := again.Records().Restore(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Records().Get(t.Context(), store.Key{Partition: "p00", Name: "a"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what the first one left: got %v, want ErrNotFound", err)
	}
	again.Close()
	o.Restoring = false
	if got := mustApply(t, mustOpen(t, o).Records(), "q", storetest.Put("a", "v")); got != 4 {
		t.Errorf("got revision %d, want 4", got)
	}
}

// A snapshot that nobody reads on lapses: the next one runs, the first says so instead of showing half, and nothing of
// either is left.
func TestPeersSnapshotLapsed(t *testing.T) {
	db, s, _ := standalone(t)
	r := db.Records()
	for i := range 1200 {
		mustApply(t, r, "p", storetest.Put(fmt.Sprintf("n%04d", i), "old"))
	}
	next, stop := iter.Pull2(r.Snapshot(t.Context()))
	defer stop()
	for range 3 { // it stands within the first page
		if _, err, more := next(); err != nil || !more {
			t.Fatal(err)
		}
	}
	for _, err := range r.Snapshot(t.Context()) {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("a second one beside it: got %v, want store.ErrUnavailable", err)
		}
	}
	for g := range groups {
		s.Must(t, "HSET", db.keys.head(g), "snap until", 1)
	}
	mustApply(t, r, "p", storetest.Put("n1100", "new"))
	records := 0
	for e, err := range r.Snapshot(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if !e.IsHead() {
			records++
		}
	}
	if records != 1200 {
		t.Errorf("the second one: got %d records, want 1200", records)
	}
	lapsed := false
	for _, err, more := next(); more; _, err, more = next() {
		lapsed = lapsed || errors.Is(err, store.ErrUnavailable)
	}
	if !lapsed {
		t.Error("the first one ended as if it were whole")
	}
	if left, err := db.router.universal.Keys(t.Context(), "*}:[oO]").Result(); err != nil || len(left) != 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// A master whose clock is behind that of the one before does not hold writers for the difference.
func TestPeersHeldByAnotherClock(t *testing.T) {
	db, s, _ := standalone(t)
	ahead := time.Now().Add(5 * time.Minute).UnixMilli()
	s.Must(t, "HSET", db.keys.head(groupOf("p")), "hold", ahead, "snap token", "of nobody", "snap until", ahead)
	mustApply(t, db.Records(), "p", storetest.Put("a", "v"))
	end := time.Now().Add(900 * time.Millisecond).Truncate(time.Millisecond)
	s.Must(t, "HSET", db.keys.head(groupOf("p")), "hold", end.UnixMilli())
	mustApply(t, db.Records(), "p", storetest.Put("a", "v"))
	if early := time.Until(end); early > 0 {
		t.Errorf("held until %v before the hold ends", early)
	}
}

// A restore that died after its commit is whole: the next Open ends it, and batches are not held.
func TestPeersRestoreCommitted(t *testing.T) {
	db, _, o := standalone(t)
	s := &restore{db: db, token: randomID()}
	whole := func(yield func(store.Entry, error) bool) {
		for p := range 40 {
			at := fmt.Sprintf("p%02d", p)
			if !yield(store.Entry{Partition: at, Highest: 9}, nil) ||
				!yield(store.Entry{Partition: at, Record: store.Record{Name: "a", Value: []byte("v"), Revision: 7}}, nil) {
				return
			}
		}
	}
	for _, err := range []error{s.enter(t.Context()), s.claim(t.Context()), s.write(t.Context(), whole), s.commit(t.Context()), db.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := mustOpen(t, o).Records()
	for p := range 40 {
		at := fmt.Sprintf("p%02d", p)
		if rec, err := r.Get(t.Context(), store.Key{Partition: at, Name: "a"}); err != nil || rec.Revision != 7 {
			t.Fatalf("%s: got revision %d, %v, want 7", at, rec.Revision, err)
		}
		if got := mustApply(t, r, at, storetest.Put("b", "v")); got <= 9 {
			t.Errorf("%s: got revision %d, want one above 9", at, got)
		}
	}
}
