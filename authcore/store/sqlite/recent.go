package sqlite

import (
	"bytes"
	"sync"

	"latchkey/authcore/store"
)

// Bounds of what is held: some 40 000 records of members. What is larger than heldValue is read from the database.
const (
	heldBytes = 16 << 20
	heldValue = 16 << 10
	heldCost  = 250 // bytes that a record takes beside its names and its value
)

// recent are records as they were committed last, so that a Get of one needs no statement. It is the engine's own memory
// of its database, as SQLite's page cache is, and not one that may be late: this process alone has the database, and its
// one writer takes a record out before the statement that changes it, and lets nobody put it back until the transaction
// is over. So a Get answers what SQLite would have answered while it ran, and nobody reads what is older than what
// anybody could have read before.
type recent struct {
	mu      sync.Mutex
	held    map[store.Key]heldRecord // guarded by mu
	size    int                      // of held, about, in bytes; guarded by mu
	reading map[store.Key]*lookup    // who may put back what he reads; guarded by mu
	changed map[store.Key]struct{}   // by the transaction under way; guarded by mu
}

// heldRecord passed its checksum when it was read. Its value is shared and read-only.
type heldRecord struct {
	record  store.Record
	expires int64
}

func (h heldRecord) cost(k store.Key) int {
	return len(k.Partition) + len(k.Name) + len(h.record.Value) + heldCost
}

// lookup is one read of the database. It may be kept as long as recent knows of it.
type lookup struct{ _ byte }

func newRecent() *recent {
	return &recent{held: map[store.Key]heldRecord{}, reading: map[store.Key]*lookup{}, changed: map[store.Key]struct{}{}}
}

// look answers what is held, or begins a reading, which keep or drop ends; nil: what is read cannot be kept.
func (r *recent) look(k store.Key) (heldRecord, bool, *lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h, is := r.held[k]; is {
		return h, true, nil
	}
	if _, is := r.changed[k]; is || r.reading[k] != nil {
		return heldRecord{}, false, nil
	}
	begun := &lookup{}
	r.reading[k] = begun
	return heldRecord{}, false, begun
}

// keep ends a reading with what was found, unless the record was changed meanwhile.
func (r *recent) keep(k store.Key, begun *lookup, h heldRecord) {
	h.record.Value = bytes.Clone(h.record.Value) // the other one is the caller's
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading[k] != begun {
		return
	}
	delete(r.reading, k)
	if len(h.record.Value) > heldValue {
		return
	}
	for old := range r.held { // any one: map order is random enough, and cheap
		if r.size < heldBytes {
			break
		}
		r.forget(old)
	}
	r.held[k] = h
	r.size += h.cost(k)
}

// drop ends a reading that found nothing to keep.
func (r *recent) drop(k store.Key, begun *lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading[k] == begun {
		delete(r.reading, k)
	}
}

// change is called before a statement changes the record at k.
func (r *recent) change(k store.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(k)
	delete(r.reading, k)
	r.changed[k] = struct{}{}
}

// settle is called when the transaction is over, whatever became of it.
func (r *recent) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.changed)
}

// forget needs mu.
func (r *recent) forget(k store.Key) {
	if h, is := r.held[k]; is {
		r.size -= h.cost(k)
		delete(r.held, k)
	}
}
