package store

import (
	"context"
	"errors"
	"iter"
)

// ErrNotEmpty: a snapshot is restored into an empty store only.
var ErrNotEmpty = errors.New("the store is not empty")

// Entry is one step of a snapshot: the head of a partition, or a record of the partition whose head came before it.
// Partitions come in byte order, and so do the names in each.
type Entry struct {
	Partition string
	Highest   int64  // in a head: the highest revision that the partition has given out; it rises from there
	Record    Record // in a head: its name is empty
}

// IsHead reports whether e begins a partition.
func (e Entry) IsHead() bool { return e.Record.Name == "" }

// Snapshotter is an optional ability of Records.
type Snapshotter interface {
	// Snapshot runs over all partitions and records as they stood at one instant, while others read and write. Records
	// that have expired are left out. A corrupt record is an error that the reader may skip by going on; any other
	// error is the last step.
	Snapshot(ctx context.Context) iter.Seq2[Entry, error]
}

// Restorer is an optional ability of Records.
type Restorer interface {
	// Restore writes all entries, with their revisions, into an empty store (else ErrNotEmpty), or nothing if one of
	// them is an error.
	Restore(ctx context.Context, entries iter.Seq2[Entry, error]) error
}
