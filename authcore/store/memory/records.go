package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// Records keeps records in memory. It is safe for concurrent use.
type Records struct {
	now func() time.Time

	mu         sync.RWMutex
	partitions map[string]*partition // guarded by mu
}

type partition struct {
	revision int64
	records  map[string]record
	names    []string // those of records, in byte order
}

type record struct {
	value    []byte // never changed once it is here
	revision int64
	expires  int64 // store.Milliseconds
}

// NewRecords makes an empty store.
func NewRecords(o Options) *Records {
	return &Records{now: o.filled().Now, partitions: make(map[string]*partition)}
}

// Get keeps store.Records.
func (r *Records) Get(ctx context.Context, k store.Key) (store.Record, error) {
	if err := store.CheckKey(k); err != nil {
		return store.Record{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	now := r.now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec, there := r.partitions[k.Partition].live(k.Name, now)
	if !there {
		return store.Record{}, store.ErrNotFound
	}
	return rec.export(k.Name), nil
}

// List keeps store.Records.
func (r *Records) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	if err := store.CheckPartition(partition); err != nil {
		return nil, err
	}
	limit, err := q.Limits()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := r.now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.partitions[partition].list(q, limit, now), nil
}

// Apply keeps store.Records.
func (r *Records) Apply(ctx context.Context, name string, ops ...store.Op) (int64, error) {
	if err := store.CheckBatch(name, ops); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.partitions[name]
	for i := range ops {
		if !p.holds(&ops[i], now) {
			return 0, fmt.Errorf("record %q: %w", ops[i].Name, store.ErrConflict)
		}
	}
	if p == nil {
		p = &partition{records: make(map[string]record)}
		r.partitions[name] = p
	}
	p.revision++
	for i := range ops {
		p.apply(&ops[i])
	}
	return p.revision, nil
}

// live answers the record unless it is absent or expired; p may be nil.
func (p *partition) live(name string, now time.Time) (record, bool) {
	if p == nil {
		return record{}, false
	}
	rec, there := p.records[name]
	return rec, there && !store.Expired(rec.expires, now)
}

func (p *partition) holds(op *store.Op, now time.Time) bool {
	if op.IfRevision == store.AnyRevision {
		return true
	}
	rec, there := p.live(op.Name, now)
	if op.IfRevision == 0 {
		return !there
	}
	return there && rec.revision == op.IfRevision
}

func (p *partition) apply(op *store.Op) {
	switch op.Kind {
	case store.Put:
		p.put(op.Name, record{bytes.Clone(op.Value), p.revision, store.Milliseconds(op.ExpiresAt)})
	case store.Delete:
		if i, there := slices.BinarySearch(p.names, op.Name); there {
			p.names = slices.Delete(p.names, i, i+1)
			delete(p.records, op.Name)
		}
	}
}

func (p *partition) put(name string, rec record) {
	if i, there := slices.BinarySearch(p.names, name); !there {
		p.names = slices.Insert(p.names, i, name)
	}
	p.records[name] = rec
}

func (p *partition) list(q store.Query, limit int, now time.Time) []store.Record {
	if p == nil {
		return nil
	}
	var found []store.Record
	for _, name := range p.between(q) {
		if len(found) == limit {
			break
		}
		if rec, there := p.live(name, now); there {
			found = append(found, rec.export(name))
		}
	}
	return found
}

// between runs over the names that q selects, in its order.
func (p *partition) between(q store.Query) iter.Seq2[int, string] {
	low, high := q.Range()
	from, _ := slices.BinarySearch(p.names, low)
	to := len(p.names)
	if high != "" {
		to, _ = slices.BinarySearch(p.names, high)
	}
	names := p.names[from:max(from, to)]
	if q.Reverse {
		return slices.Backward(names)
	}
	return slices.All(names)
}

func (rec record) export(name string) store.Record {
	return store.Record{
		Name:      name,
		Value:     bytes.Clone(rec.value),
		Revision:  rec.revision,
		ExpiresAt: store.FromMilliseconds(rec.expires),
	}
}

// Snapshot keeps store.Snapshotter. It copies the tables at its start, not the values.
func (r *Records) Snapshot(ctx context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		now := r.now()
		frozen := r.freeze()
		for _, name := range slices.Sorted(maps.Keys(frozen)) {
			if err := ctx.Err(); err != nil {
				yield(store.Entry{}, err)
				return
			}
			if !yieldPartition(name, frozen[name], now, yield) {
				return
			}
		}
	}
}

func yieldPartition(name string, p *partition, now time.Time, yield func(store.Entry, error) bool) bool {
	if !yield(store.Entry{Partition: name, Highest: p.revision}, nil) {
		return false
	}
	for _, n := range p.names {
		if rec, there := p.live(n, now); there {
			if !yield(store.Entry{Partition: name, Record: rec.export(n)}, nil) {
				return false
			}
		}
	}
	return true
}

func (r *Records) freeze() map[string]*partition {
	r.mu.RLock()
	defer r.mu.RUnlock()
	frozen := make(map[string]*partition, len(r.partitions))
	for name, p := range r.partitions {
		frozen[name] = &partition{revision: p.revision, records: maps.Clone(p.records), names: slices.Clone(p.names)}
	}
	return frozen
}

// Restore keeps store.Restorer.
func (r *Records) Restore(ctx context.Context, entries iter.Seq2[store.Entry, error]) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.partitions) != 0 {
		return store.ErrNotEmpty
	}
	restored := make(map[string]*partition)
	var head store.Entry
	for e, err := range entries {
		if err = cmp.Or(err, ctx.Err()); err == nil {
			err = e.Check(head)
		}
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if e.IsHead() {
			head = e
			restored[e.Partition] = &partition{revision: e.Highest, records: make(map[string]record)}
			continue
		}
		restored[e.Partition].put(e.Record.Name, record{bytes.Clone(e.Record.Value), e.Record.Revision, store.Milliseconds(e.Record.ExpiresAt)})
	}
	r.partitions = restored
	return nil
}
