package store

import (
	"context"
	"errors"
	"fmt"
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

// Check answers ErrInvalid unless e can follow in a snapshot: head is the last head before it, zero if there is none.
func (e Entry) Check(head Entry) error {
	if e.IsHead() {
		return e.checkHead(head)
	}
	if err := CheckKey(Key{e.Partition, e.Record.Name}); err != nil {
		return err
	}
	if e.Partition != head.Partition {
		return fmt.Errorf("%w: a record of %q in partition %q", ErrInvalid, e.Partition, head.Partition)
	}
	if r := e.Record.Revision; r < 1 || r > head.Highest {
		return fmt.Errorf("%w: record %q of %q has revision %d, its partition %d", ErrInvalid, e.Record.Name, e.Partition, r, head.Highest)
	}
	return CheckValue(e.Record.Value)
}

func (e Entry) checkHead(before Entry) error {
	if err := CheckPartition(e.Partition); err != nil {
		return err
	}
	if e.Partition <= before.Partition {
		return fmt.Errorf("%w: partition %q after %q", ErrInvalid, e.Partition, before.Partition)
	}
	if e.Highest < 1 {
		return fmt.Errorf("%w: partition %q at revision %d", ErrInvalid, e.Partition, e.Highest)
	}
	return nil
}

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
