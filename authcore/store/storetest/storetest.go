// Package storetest is the conformance suite of the storage contract: one for every engine, embedded or not. It asks
// nothing that a Redis Cluster could not do: no order between partitions, no more of a clock than that it moves on.
// Beside it stand wrappers for other packages' tests: Counting counts calls, Faulty fails them.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/store"
)

// A RecordsEngine is one empty Records and what the suite may do to it.
type RecordsEngine struct {
	store.Records
	Clock
	// Reopen ends the engine as a stop of the process would and opens it again over the same data; nil: it cannot.
	Reopen func(t *testing.T) store.Records
}

// An EphemeralEngine is one empty Ephemeral and its clock.
type EphemeralEngine struct {
	store.Ephemeral
	Clock
}

// Clock is the time that an engine goes by. An engine with a clock of its own may answer time.Now and wait in Advance:
// the suite advances by a few seconds in all.
type Clock struct {
	Now     func() time.Time
	Advance func(d time.Duration)
}

// ManualClock answers a clock that moves only by Advance.
func ManualClock() Clock {
	var mu sync.Mutex
	now := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	return Clock{
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		},
		Advance: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(d)
		},
	}
}

// mustApply writes a batch that has to succeed.
func mustApply(t *testing.T, r store.Records, partition string, ops ...store.Op) int64 {
	t.Helper()
	revision, err := r.Apply(t.Context(), partition, ops...)
	if err != nil {
		t.Fatalf("apply to %q: %v", partition, err)
	}
	if revision <= 0 {
		t.Fatalf("apply to %q: got revision %d, want one above 0", partition, revision)
	}
	return revision
}

func wantError(t *testing.T, doing string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", doing, got, want)
	}
}

// wantValue asks for exactly this value under the name; nil: for its absence.
func wantValue(t *testing.T, r store.Records, partition, name string, want []byte) store.Record {
	t.Helper()
	got, err := r.Get(t.Context(), store.Key{Partition: partition, Name: name})
	if want == nil {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get %q: got %v, want ErrNotFound", name, err)
		}
		return store.Record{}
	}
	if err != nil {
		t.Errorf("get %q: %v", name, err)
		return store.Record{}
	}
	if got.Name != name || !bytes.Equal(got.Value, want) {
		t.Errorf("get %q: got %q with value %q, want value %q", name, got.Name, got.Value, want)
	}
	return got
}

func names(records []store.Record) []string {
	list := make([]string, len(records))
	for i, r := range records {
		list[i] = r.Name
	}
	return list
}

// race runs n calls at once, as nearly as goroutines can, and answers their errors.
func race(ctx context.Context, n int, call func(ctx context.Context, i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var racers sync.WaitGroup
	for i := range n {
		racers.Go(func() {
			<-start
			errs[i] = call(ctx, i)
		})
	}
	close(start)
	racers.Wait()
	return errs
}

// wantOneWinner asks that exactly one call succeeded and that all others ended with loser.
func wantOneWinner(t *testing.T, errs []error, loser error) {
	t.Helper()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, loser):
			t.Errorf("racer %d: got %v, want %v", i, err, loser)
		}
	}
	if won != 1 {
		t.Errorf("got %d winners of %d, want 1", won, len(errs))
	}
}

// Put, PutNew, Delete and Check are ops in short, for the suite and for other tests.

// Put writes value whatever is there.
func Put(name, value string) store.Op {
	return store.Op{Kind: store.Put, Name: name, Value: []byte(value), IfRevision: store.AnyRevision}
}

// PutNew writes value if nothing is there.
func PutNew(name, value string) store.Op {
	return store.Op{Kind: store.Put, Name: name, Value: []byte(value)}
}

// PutAt writes value over the record of that revision.
func PutAt(revision int64, name, value string) store.Op {
	return store.Op{Kind: store.Put, Name: name, Value: []byte(value), IfRevision: revision}
}

// Delete removes whatever is there.
func Delete(name string) store.Op {
	return store.Op{Kind: store.Delete, Name: name, IfRevision: store.AnyRevision}
}

// Check holds a revision.
func Check(name string, revision int64) store.Op {
	return store.Op{Kind: store.Check, Name: name, IfRevision: revision}
}

func numbered(i int) string { return fmt.Sprintf("n%04d", i) }
