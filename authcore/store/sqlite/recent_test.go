package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

func gotOf(t *testing.T, db *DB, name string) string {
	t.Helper()
	rec, err := db.Get(t.Context(), store.Key{Partition: "p", Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(rec.Value)
}

// A record that is held is answered as it was written last: after a put, a delete, a batch that was refused, its time.
func TestHeldRecordIsTheCommittedOne(t *testing.T) {
	clock := storetest.ManualClock()
	db := opened(t, Options{Now: clock.Now})
	want := func(value string) {
		t.Helper()
		for range 3 { // from the database, and from what is held
			if got := gotOf(t, db, "a"); got != value {
				t.Fatalf("got %q, want %q", got, value)
			}
		}
	}
	mustApply(t, db, storetest.Put("a", "one"))
	want("one")
	if n := len(db.recent.held); n != 1 {
		t.Fatalf("%d records are held, want 1", n)
	}
	mustApply(t, db, storetest.Put("a", "two"), storetest.Put("b", ""))
	want("two")
	if _, err := db.Apply(t.Context(), "p", storetest.Put("a", "three"), storetest.PutAt(99, "b", "")); !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	want("two")
	mustApply(t, db, storetest.Delete("a"))
	want("-")
	op := storetest.Put("a", "four")
	op.ExpiresAt = clock.Now().Add(time.Minute)
	mustApply(t, db, op)
	want("four")
	clock.Advance(time.Minute)
	want("-")
	if err := db.sweepAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(db.recent.held); n != 0 {
		t.Errorf("%d records are held after the sweep", n)
	}
}

// Who gets a value may change it.
func TestHeldValueIsNobodys(t *testing.T) {
	db := opened(t, Options{})
	mustApply(t, db, storetest.Put("a", "value"))
	for range 3 {
		rec, err := db.Get(t.Context(), store.Key{Partition: "p", Name: "a"})
		if err != nil || string(rec.Value) != "value" {
			t.Fatalf("got %q, %v", rec.Value, err)
		}
		clear(rec.Value)
	}
}

// A read that began before a write, and a read during it, put nothing back.
func TestNothingOldIsHeld(t *testing.T) {
	k := store.Key{Partition: "p", Name: "a"}
	old := heldRecord{record: store.Record{Name: "a", Value: []byte("old"), Revision: 1}}
	r := newRecent()
	_, _, before := r.look(k)
	r.change(k)
	_, _, during := r.look(k)
	if during != nil {
		t.Error("what is read during a write may be kept")
	}
	r.settle()
	r.keep(k, before, old)
	r.drop(k, during)
	if _, held, _ := r.look(k); held {
		t.Error("what was read before a write is held after it")
	}
}

func TestHeldIsBounded(t *testing.T) {
	r := newRecent()
	for i := range 3000 {
		k := store.Key{Partition: "p", Name: strconv.Itoa(i)}
		_, _, begun := r.look(k)
		r.keep(k, begun, heldRecord{record: store.Record{Value: make([]byte, heldValue+i%2)}})
	}
	if r.size > heldBytes+2*heldValue || len(r.held) < 500 || len(r.reading) != 0 {
		t.Errorf("%d bytes of %d records are held, %d reads are open", r.size, len(r.held), len(r.reading))
	}
	for k := range r.held {
		r.change(k)
	}
	if r.size != 0 {
		t.Errorf("%d bytes of no records", r.size)
	}
}

// Nobody reads what is older than what anybody read or was told before, by Get or by List.
func TestReadsNeverGoBack(t *testing.T) {
	db := opened(t, Options{})
	var told, seen atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	raise := func(to *atomic.Int64, n int64) {
		for was := to.Load(); n > was && !to.CompareAndSwap(was, n); was = to.Load() {
		}
	}
	reader := func(read func() (store.Record, error)) {
		for ctx.Err() == nil {
			least := max(told.Load(), seen.Load())
			rec, err := read()
			if errors.Is(err, store.ErrNotFound) && least == 0 {
				continue
			}
			if err != nil || rec.Revision < least {
				t.Errorf("revision %d, %v; %d was read or told before", rec.Revision, err, least)
				return
			}
			raise(&seen, rec.Revision)
		}
	}
	for range 3 {
		all.Go(func() {
			reader(func() (store.Record, error) {
				return db.Get(t.Context(), store.Key{Partition: "p", Name: "a"})
			})
		})
	}
	all.Go(func() {
		reader(func() (store.Record, error) {
			l, err := db.List(t.Context(), "p", store.Query{Prefix: "a"})
			if err == nil && len(l) == 0 {
				err = store.ErrNotFound
			}
			return append(l, store.Record{})[0], err
		})
	})
	for i := range 500 {
		rev, err := db.Apply(t.Context(), "p", storetest.Put("a", fmt.Sprint(i)), storetest.Put("b", strings.Repeat("x", i)))
		if err != nil {
			t.Fatal(err)
		}
		raise(&told, rev)
	}
	stop()
	all.Wait()
}
