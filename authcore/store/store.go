// Package store is the storage contract: durable Records, Ephemeral values that may be lost without harm, and a Bus
// that tells other nodes what changed. It is written so that an embedded SQLite file and a Redis Cluster can both keep
// it; it refuses what one of them could not do. A batch is atomic inside one partition and nowhere else, names are
// listed in byte order only, and there is no query by value.
//
// What may never be lost is a record. Losing anything ephemeral may slow or repeat a sign-in, and never allows one.
package store

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotFound: there is no such record or value, or it has expired.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a revision in a batch did not hold; nothing was written. Read again and decide anew.
	ErrConflict = errors.New("revision conflict")
	// ErrCorrupt: the record is there and is not what was written. Never take it for absent: tell the operator.
	ErrCorrupt = errors.New("corrupt record")
	// ErrUnavailable: the engine cannot answer now. A write that ends so may have happened.
	ErrUnavailable = errors.New("store unavailable")
	// ErrDistrusted: the engine can be reached and has lost what it once acknowledged (an old snapshot, a flush, a replica
	// that was behind). It comes with ErrUnavailable; nothing that is held in memory may stand in for its records.
	ErrDistrusted = errors.New("store lost what it had acknowledged")
	// ErrInvalid: the call breaks the contract (bounds, empty names, a name twice in one batch). A bug of the caller.
	ErrInvalid = errors.New("invalid store call")
)

// Bounds that every engine keeps. They are what a Redis script can do in a few milliseconds without blocking others.
const (
	MaxOps       = 128     // operations in one batch
	MaxValue     = 1 << 20 // bytes of one value
	MaxName      = 512     // bytes of a partition or of a name
	MaxListLimit = 1000    // records answered by one List
)

// Key names a record: names are unique within their partition.
type Key struct{ Partition, Name string }

// Record is what Apply wrote. Revision is that of the batch that wrote it: it rises with every batch of its partition
// and is never used again, not even after a deletion.
type Record struct {
	Name      string
	Value     []byte // owned by the caller
	Revision  int64
	ExpiresAt time.Time // zero: never; to the millisecond, in UTC
}

// Kind says what an Op does.
type Kind uint8

// The zero Kind is invalid, so that a forgotten one writes nothing.
const (
	Put    Kind = iota + 1 // write the value
	Delete                 // remove the record; removing what is not there is no error unless IfRevision says so
	Check                  // only hold IfRevision
)

// AnyRevision as IfRevision asks for nothing; zero asks that the record must not exist (an expired one does not).
const AnyRevision int64 = -1

// Op is one step of a batch.
type Op struct {
	Kind       Kind
	Name       string
	Value      []byte
	IfRevision int64
	ExpiresAt  time.Time // Put only; zero: never; kept to the millisecond; from 1970 to the end of 9999
}

// Query selects records of one partition by name, in byte order.
type Query struct {
	Prefix  string // only names that begin so; empty: all
	After   string // start behind this name (before it when Reverse); empty: from the end that the order begins at
	Reverse bool
	Limit   int // 1 to MaxListLimit; 0 is MaxListLimit
}

// Records keeps what may never be lost. Every method may end with ErrUnavailable or the context's error; an Apply that
// ends so may have been written, so callers make their batches safe to repeat (by revisions).
type Records interface {
	// Get answers ErrNotFound for an absent or expired record, ErrCorrupt for one that fails its checksum.
	Get(ctx context.Context, k Key) (Record, error)
	// List answers in byte order of names, expired ones left out. A corrupt record fails the list with ErrCorrupt.
	List(ctx context.Context, partition string, q Query) ([]Record, error)
	// Apply writes all of ops or none, durably, and answers the batch's revision, which every record it put carries.
	// ErrConflict when an IfRevision does not hold.
	Apply(ctx context.Context, partition string, ops ...Op) (revision int64, err error)
}

// Ephemeral keeps what may be lost. Keys and values are bounded like records.
type Ephemeral interface {
	// Add puts member into the set at k and answers how many distinct members were added within the window up to now.
	// Adding one again renews its time and counts once: safe to repeat.
	Add(ctx context.Context, k Key, member string, window time.Duration) (int64, error)
	// Members answers at most limit members added within the window, newest first.
	Members(ctx context.Context, k Key, window time.Duration, limit int) ([]string, error)
	Remove(ctx context.Context, k Key, member string) error
	// Put keeps value for ttl (above zero).
	Put(ctx context.Context, k Key, value []byte, ttl time.Duration) error
	// Get answers ErrNotFound when the value is absent or its time is over.
	Get(ctx context.Context, k Key) ([]byte, error)
	// Take reads and deletes in one step: of many racing calls one gets the value, the others ErrNotFound.
	Take(ctx context.Context, k Key) ([]byte, error)
	Delete(ctx context.Context, k Key) error
}

// SoonRemover is what an Ephemeral over a network can do beside: many removals that nobody waits for cost little together.
type SoonRemover interface {
	// RemoveSoon is a Remove. done, which must not wait for anything, is called once with what became of it, perhaps at
	// once and perhaps by another goroutine; the engine's Close waits for it.
	RemoveSoon(k Key, member string, done func(error))
}

// Bus carries short messages between nodes, and within one. Messages may get lost: then the channel is closed.
type Bus interface {
	Publish(ctx context.Context, topic string, msg []byte) error
	// Subscribe answers a channel that is closed when ctx ends and on every gap (a slow reader, a lost connection):
	// the subscriber then subscribes anew and reads the records again.
	Subscribe(ctx context.Context, topic string) (<-chan []byte, error)
}
