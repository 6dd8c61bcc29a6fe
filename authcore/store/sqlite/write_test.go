package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"weak"

	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

func opened(t *testing.T, o Options) *DB {
	t.Helper()
	o.Dir = filepath.Join(t.TempDir(), "data")
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mustApply(t *testing.T, db *DB, ops ...store.Op) int64 {
	t.Helper()
	revision, err := db.Apply(t.Context(), "p", ops...)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// occupied runs during while the writer is held by a job, so that callers gather behind it.
func occupied(t *testing.T, db *DB, during func()) {
	t.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- db.do(context.Background(), func(*writer) error {
			close(held)
			<-free
			return nil
		})
	}()
	<-held
	during()
	close(free)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestWaitingForTheWriterEndsWithTheContext(t *testing.T) {
	db := opened(t, Options{})
	occupied(t, db, func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := db.Apply(ctx, "p", storetest.Put("a", "x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want context.DeadlineExceeded", err)
		}
	})
	if _, err := db.Get(t.Context(), store.Key{Partition: "p", Name: "a"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it was never taken: got %v, want ErrNotFound", err)
	}
}

func TestWaitingForAReaderEndsWithTheContext(t *testing.T) {
	db := opened(t, Options{Readers: 1})
	r, err := db.borrow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer db.giveBack(r)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := db.Get(ctx, store.Key{Partition: "p", Name: "a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
}

// In one group each batch has its own end: conditions see what came before in the group, and a refused batch harms
// nobody.
func TestEachOfAGroupHasItsOwnEnd(t *testing.T) {
	db := opened(t, Options{})
	first := mustApply(t, db, storetest.Put("a", "1"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i, c := range []struct {
		ctx      context.Context
		ops      []store.Op
		revision int64
		want     error
	}{
		{t.Context(), []store.Op{storetest.PutAt(first, "a", "2")}, first + 1, nil},
		{t.Context(), []store.Op{storetest.PutAt(first, "a", "lost"), storetest.Put("lost", "")}, 0, store.ErrConflict},
		{gone, []store.Op{storetest.Put("lost", "")}, 0, context.Canceled},
		{t.Context(), []store.Op{storetest.PutAt(first+1, "a", "3")}, first + 2, nil},
		{t.Context(), []store.Op{storetest.Check("lost", 0), storetest.PutNew("b", "1")}, first + 3, nil},
	} {
		groupOf(t, db).add(c.ctx, c.ops).want(i, c.revision, c.want)
	}
	wantGroup(t, db, first)
}

// group is a hand-made one, so that the test does not hang on who comes when.
type group struct {
	t        *testing.T
	db       *DB
	requests []*request
}

func groupOf(t *testing.T, db *DB) *group { return &group{t: t, db: db} }

func (g *group) add(ctx context.Context, ops []store.Op) *group {
	g.requests = append(g.requests, newRequest(ctx, "p", ops))
	return g
}

func (g *group) commit() {
	g.t.Helper()
	err := g.db.do(g.t.Context(), func(w *writer) error {
		w.commitGroup(g.requests)
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *group) want(i int, revision int64, want error) {
	g.t.Helper()
	g.commit()
	if res := <-g.requests[0].done; res.revision != revision || !errors.Is(res.err, want) {
		g.t.Errorf("batch %d: got revision %d, %v, want %d, %v", i, res.revision, res.err, revision, want)
	}
}

// wantGroup commits the same kinds of batches in one group.
func wantGroup(t *testing.T, db *DB, first int64) {
	t.Helper()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	g := groupOf(t, db).
		add(t.Context(), []store.Op{storetest.PutAt(first+2, "a", "4")}).
		add(t.Context(), []store.Op{storetest.PutAt(first+2, "a", "lost"), storetest.Put("lost", "")}).
		add(gone, []store.Op{storetest.Put("lost", "")}).
		add(t.Context(), []store.Op{storetest.PutAt(first+4, "a", "5")}).
		add(t.Context(), []store.Op{storetest.Check("lost", 0), storetest.PutNew("c", "1")})
	g.commit()
	for i, want := range []result{{first + 4, nil}, {0, store.ErrConflict}, {0, context.Canceled}, {first + 5, nil}, {first + 6, nil}} {
		if got := <-g.requests[i].done; got.revision != want.revision || !errors.Is(got.err, want.err) {
			t.Errorf("batch %d of the group: got %d, %v, want %d, %v", i, got.revision, got.err, want.revision, want.err)
		}
	}
	if got, err := db.Get(t.Context(), store.Key{Partition: "p", Name: "a"}); err != nil || string(got.Value) != "5" {
		t.Errorf("got %q, %v, want 5", got.Value, err)
	}
}

// A full disk is told as such, keeps what was there, and is over when there is room again.
func TestFullDisk(t *testing.T) {
	db := opened(t, Options{})
	mustApply(t, db, storetest.Put("a", "before"))
	pages, err := number(t, db, "PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := number(t, db, fmt.Sprintf("PRAGMA max_page_count = %d", pages+2)); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("v", 64<<10)
	g := groupOf(t, db).
		add(t.Context(), []store.Op{storetest.Put("large", large)}).
		add(t.Context(), []store.Op{storetest.Put("a", "small")})
	g.commit()
	res := <-g.requests[0].done
	if !errors.Is(res.err, store.ErrUnavailable) || !strings.Contains(res.err.Error(), "full") {
		t.Errorf("got %v, want ErrUnavailable that says that the disk is full", res.err)
	}
	if res := <-g.requests[1].done; res.err != nil {
		t.Errorf("the small one beside it: %v", res.err)
	}
	if got, err := db.Get(t.Context(), store.Key{Partition: "p", Name: "a"}); err != nil || string(got.Value) != "small" {
		t.Errorf("got %q, %v, want the small one", got.Value, err)
	}
	if _, err := number(t, db, "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	mustApply(t, db, storetest.Put("large", large))
	if err := db.Verify(t.Context()); err != nil {
		t.Errorf("verify: %v", err)
	}
}

func TestReadOnlyIsSaid(t *testing.T) {
	db := opened(t, Options{})
	err := db.do(t.Context(), func(w *writer) error { return w.exec("PRAGMA query_only = ON") })
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Apply(t.Context(), "p", storetest.Put("a", "x"))
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("got %v, want ErrUnavailable that says read-only", err)
	}
}

func TestSweep(t *testing.T) {
	clock := storetest.ManualClock()
	db := opened(t, Options{Now: clock.Now})
	until := func(name string, after time.Duration) store.Op {
		op := storetest.Put(name, "x")
		op.ExpiresAt = clock.Now().Add(after)
		return op
	}
	for i := range 3 * sweepStep {
		mustApply(t, db, until("soon"+strconv.Itoa(i), time.Second), until("late"+strconv.Itoa(i), time.Hour))
	}
	last := mustApply(t, db, storetest.Put("never", "x"))
	clock.Advance(time.Minute)
	// One that was altered is left, so that it is found.
	err := db.do(t.Context(), func(w *writer) error {
		return w.exec("UPDATE record SET value = x'00' WHERE name = CAST('soon7' AS BLOB)")
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.sweepAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNumber(t, db, "SELECT count(*) FROM record", 3*sweepStep+2)
	wantNumber(t, db, "SELECT count(*) FROM record WHERE name = CAST('soon7' AS BLOB)", 1)
	if got := mustApply(t, db, storetest.PutNew("soon1", "again")); got != last+1 {
		t.Errorf("after the sweep: got revision %d, want %d", got, last+1)
	}
}

// A lowered revision of a partition would be given out twice: it is found instead.
func TestAlteredPartitionIsNamed(t *testing.T) {
	db := opened(t, Options{})
	mustApply(t, db, storetest.Put("a", "1"))
	mustApply(t, db, storetest.Put("a", "2"))
	if err := db.do(t.Context(), func(w *writer) error { return w.exec("UPDATE partition SET revision = 1") }); err != nil {
		t.Fatal(err)
	}
	_, err := db.Apply(t.Context(), "p", storetest.Put("a", "3"))
	if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), `"p"`) {
		t.Errorf("got %v, want ErrCorrupt naming the partition", err)
	}
}

// A snapshot is of one instant, whatever is written meanwhile.
func TestSnapshotOfOneInstant(t *testing.T) {
	db := opened(t, Options{})
	const n = 50
	for i := range n {
		mustApply(t, db, storetest.Put(fmt.Sprintf("n%03d", i), "before"))
	}
	seen := 0
	for e, err := range db.Snapshot(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.IsHead() {
			if e.Highest != n {
				t.Errorf("got revision %d, want %d", e.Highest, n)
			}
			continue
		}
		if string(e.Record.Value) != "before" {
			t.Errorf("%s: got %q, want %q", e.Record.Name, e.Record.Value, "before")
		}
		mustApply(t, db, storetest.Put(fmt.Sprintf("n%03d", n-1-seen), "after"), storetest.Put(fmt.Sprintf("new%03d", seen), ""))
		seen++
	}
	if seen != n {
		t.Errorf("got %d records, want %d", seen, n)
	}
}

func TestSnapshotEndsWithTheContext(t *testing.T) {
	db := opened(t, Options{})
	mustApply(t, db, storetest.Put("a", ""), storetest.Put("b", ""), storetest.Put("c", ""))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	steps := 0
	for _, err := range db.Snapshot(ctx) {
		steps, last = steps+1, err
		cancel()
	}
	if steps != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("got %d steps and %v at the end, want 2 and context.Canceled", steps, last)
	}
}

// Whoever was told of a batch, with all that he knows, is let go of: else the last one is held until another comes.
func TestWriterLetsGoOfWhomItTold(t *testing.T) {
	db := opened(t, Options{})
	told := make(chan error, 1)
	held := func() weak.Pointer[[1 << 10]byte] {
		secret := new([1 << 10]byte)
		db.ApplySoon(t.Context(), "p", []store.Op{storetest.Put("a", "1")}, func(_ int64, err error) {
			told <- err
			runtime.KeepAlive(secret)
		})
		return weak.Make(secret)
	}()
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if runtime.GC(); held.Value() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("it is held")
}
