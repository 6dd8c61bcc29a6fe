package storetest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"latchkey/authcore/store"
)

// testSnapshot moves records from one engine to another one and asks that nobody can tell.
func testSnapshot(t *testing.T, from, to RecordsEngine) {
	snapshotter, ok := from.Records.(store.Snapshotter)
	if !ok {
		t.Skip("this engine makes no snapshots")
	}
	restorer := to.Records.(store.Restorer)
	at := from.Now().Add(time.Hour).Truncate(time.Millisecond)
	for i := range 40 {
		mustApply(t, from, fmt.Sprintf("p%02d", i%20), Put(numbered(i), "value"), putUntil("until "+numbered(i), at))
	}
	mustApply(t, from, "p00", putUntil("expired", from.Now().Add(-time.Second)))
	mustApply(t, from, "emptied", Put("a", "x"))
	emptied := mustApply(t, from, "emptied", Delete("a"))

	entries := collect(t, snapshotter.Snapshot(t.Context()))
	wantOrdered(t, entries)
	if err := restorer.Restore(t.Context(), replay(entries, nil)); err != nil {
		t.Fatalf("restore: %v", err)
	}
	again := collect(t, to.Records.(store.Snapshotter).Snapshot(t.Context()))
	if got, want := describe(again), describe(entries); !slices.Equal(got, want) {
		t.Errorf("after restoring got %d entries, want %d:\n got %q\nwant %q", len(got), len(want), got, want)
	}
	wantValue(t, to, "p00", "expired", nil)
	if got := mustApply(t, to, "emptied", PutNew("a", "y")); got <= emptied {
		t.Errorf("a restored partition gave out revision %d, want one above %d", got, emptied)
	}
	wantError(t, "restore into a store that is not empty", restorer.Restore(t.Context(), replay(entries, nil)), store.ErrNotEmpty)
}

// testRestoreRefuses ends a restore with an error: nothing of it stays.
func testRestoreRefuses(t *testing.T, e RecordsEngine) {
	restorer, ok := e.Records.(store.Restorer)
	if !ok {
		t.Skip("this engine restores nothing")
	}
	broken := errors.New("the file ends here")
	entries := []store.Entry{
		{Partition: "p", Highest: 9},
		{Partition: "p", Record: store.Record{Name: "a", Value: []byte("v"), Revision: 7}},
	}
	wantError(t, "restore", restorer.Restore(t.Context(), replay(entries, broken)), broken)
	wantValue(t, e, "p", "a", nil)
	if err := restorer.Restore(t.Context(), replay(entries, nil)); err != nil {
		t.Fatalf("restore after a broken one: %v", err)
	}
	if got := wantValue(t, e, "p", "a", []byte("v")); got.Revision != 7 {
		t.Errorf("got revision %d, want 7", got.Revision)
	}
	if got := mustApply(t, e, "p", PutAt(7, "a", "w")); got != 10 {
		t.Errorf("got revision %d, want 10, the next of the partition", got)
	}
}

func collect(t *testing.T, entries iter.Seq2[store.Entry, error]) []store.Entry {
	t.Helper()
	var all []store.Entry
	for e, err := range entries {
		if err != nil {
			t.Fatalf("snapshot: %v", err)
		}
		all = append(all, e)
	}
	return all
}

// replay runs over entries, and ends with err if it is not nil.
func replay(entries []store.Entry, err error) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(store.Entry{}, err)
		}
	}
}

func wantOrdered(t *testing.T, entries []store.Entry) {
	t.Helper()
	var partition, name string
	for i, e := range entries {
		switch {
		case e.IsHead() && e.Partition > partition:
			partition, name = e.Partition, ""
		case !e.IsHead() && e.Partition == partition && e.Record.Name > name:
			name = e.Record.Name
		default:
			t.Errorf("entry %d: %q %q does not follow %q %q", i, e.Partition, e.Record.Name, partition, name)
		}
	}
}

func describe(entries []store.Entry) []string {
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = fmt.Sprintf("%q %d %q %q %d %v", e.Partition, e.Highest, e.Record.Name, e.Record.Value, e.Record.Revision, e.Record.ExpiresAt.UnixMilli())
	}
	return list
}
