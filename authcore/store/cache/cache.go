// Package cache keeps decoded records in the process, bounded, over a store.Records whose writes go through it. It
// refuses to answer what a write has made stale: a batch drops every name it touched, here at once and on other nodes by
// the bus, and a gap in the bus empties the cache. What must be exact reads the records themselves (Direct).
//
// A message names the batch's revision: what is held from that batch or a later one stays. A read under way of a key that
// is heard to be written is answered and not kept, for it may be the old one; writes of other keys do not matter to it.
package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/authcore/store"
)

// DefaultEntries bounds the cache: a member takes four entries of about 1 KiB, so 10 000 members stay warm in 40 MiB.
const DefaultEntries = 40_000

// Options of a Cache; the zero value works for a process alone.
type Options struct {
	Node    string                 // tells our own messages from others': unique among the processes that share the records
	Entries int                    // kept at most; 0: DefaultEntries
	Kept    func(name string) bool // which records are ever kept; of the others the bus is told nothing. nil: all
	MaxAge  time.Duration          // after which an entry is read anew, whatever the bus said; 0: never
	Lease   time.Duration          // how long what is held can stand in for records that cannot be reached (Held); 0: never
}

// Cache is a store.Records; Get, List and Apply pass through to the engine, Read answers from memory where it can.
type Cache struct {
	store.Records
	bus  store.Bus
	o    Options
	born time.Time
	seed maphash.Seed

	mu      sync.Mutex
	entries map[store.Key]entry
	names   map[string]map[string]bool // of the entries, by partition; guarded by mu
	reads   map[store.Key]*reading     // that may yet be kept; guarded by mu
	blind   bool                       // the bus is not heard: nothing may be kept; guarded by mu
	untold  []telling                  // what others may not have heard; guarded by mu
	stale   map[store.Key]entry        // what was held at a gap, with a Lease alone; guarded by mu
	gapAt   time.Duration              // when the bus was not heard any more; guarded by mu
	contact time.Duration              // when the last call began that the records answered; 0: none; guarded by mu

	wake chan struct{} // there is something untold

	hits, misses atomic.Int64
}

type entry struct {
	value    any           // decoded, read-only; nil: there is no such record
	revision int64         // 0: none
	sum      uint64        // of the bytes that value was decoded from
	read     time.Duration // since the cache was born; kept with a MaxAge alone
}

// olderThan says whether a record that was read at this revision, 0 where there is none, makes e old.
func (e entry) olderThan(revision int64) bool {
	return e.revision != revision && (revision == 0 || e.revision < revision)
}

// reading is one read of the records, or several of one key at once.
type reading struct {
	readers int
	void    bool // the key was written meanwhile, or nobody knows: what is found may be old
}

// New wraps records.
func New(records store.Records, bus store.Bus, o Options) *Cache {
	if o.Entries <= 0 {
		o.Entries = DefaultEntries
	}
	if o.Kept == nil {
		o.Kept = func(string) bool { return true }
	}
	c := &Cache{Records: records, bus: bus, o: o, born: time.Now(), seed: maphash.MakeSeed(), entries: make(map[store.Key]entry), names: make(map[string]map[string]bool), reads: make(map[store.Key]*reading), wake: make(chan struct{}, 1)}
	if o.Lease > 0 {
		c.Records = watched{records, c}
	}
	return c
}

// Direct answers the records under the cache.
func (c *Cache) Direct() store.Records { return c.Records }

// Counts answers how many Reads were answered from memory and how many were not.
func (c *Cache) Counts() (hits, misses int64) { return c.hits.Load(), c.misses.Load() }

// whatever is a revision above all: what is held is dropped, whatever its own.
const whatever = math.MaxInt64

// Apply writes the batch and drops what it touched, also when the outcome is not known.
func (c *Cache) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	rev, err := c.Records.Apply(ctx, partition, ops...)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrInvalid) {
		// Nothing was written, but what we hold may be why the revision did not hold.
		c.drop(partition, c.keptOf(ops, true), whatever)
		return rev, err
	}
	m := change{Partition: partition, Revision: rev, Names: c.keptOf(ops, false)}
	if len(m.Names) == 0 {
		return rev, err
	}
	t := telling{change: m, left: 1}
	if err != nil { // it may yet be written, a little later: it is told once more
		t.Revision, t.left = 0, 2
	}
	c.drop(partition, m.Names, t.revision())
	c.tell(ctx, t)
	return rev, err
}

// keptOf answers the names in the batch that may be kept somewhere, those only checked among them if asked for.
func (c *Cache) keptOf(ops []store.Op, checked bool) (names []string) {
	for _, o := range ops {
		if (checked || o.Kind != store.Check) && c.o.Kept(o.Name) {
			names = append(names, o.Name)
		}
	}
	return names
}

// drop forgets what is held of these names from before the revision, and what is being read of them.
func (c *Cache) drop(partition string, names []string, revision int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range names {
		k := store.Key{Partition: partition, Name: n}
		if e, held := c.entries[k]; held && e.revision < revision {
			c.remove(k)
		}
		delete(c.stale, k)
		if r := c.reads[k]; r != nil {
			r.void = true
			delete(c.reads, k) // who reads from now on may keep what he finds
		}
	}
}

// Empty forgets everything.
func (c *Cache) Empty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.stale)
	c.empty()
}

// deaf says whether the bus is heard from now on: after a gap nothing held may be believed.
func (c *Cache) deaf(blind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if blind {
		c.gap()
	} else {
		clear(c.stale)
	}
	c.blind = blind
	c.empty()
}

// remove needs mu.
func (c *Cache) remove(k store.Key) {
	delete(c.entries, k)
	of := c.names[k.Partition]
	if delete(of, k.Name); len(of) == 0 {
		delete(c.names, k.Partition)
	}
}

// empty needs mu.
func (c *Cache) empty() {
	clear(c.entries)
	clear(c.names)
	for _, r := range c.reads {
		r.void = true
	}
	clear(c.reads)
}

// Read answers the decoded record at k, shared with others and read-only, and its revision; a nil pointer and revision 0
// when there is none. Records with an expiry, and those that Kept denies, are never kept.
func Read[T any](ctx context.Context, c *Cache, k store.Key) (*T, int64, error) {
	if c.o.Lease > 0 && onlyHeld(ctx) {
		return readHeld[T](c, k)
	}
	if past, _ := ctx.Value(pastKey{}).(bool); past {
		return ReadPast[T](ctx, c, k)
	}
	e, r := c.look(k)
	if r == nil {
		c.hits.Add(1)
		v, _ := e.value.(*T)
		return v, e.revision, nil
	}
	c.misses.Add(1)
	v, rec, err := load[T](ctx, c.Records, k)
	if err != nil || !rec.ExpiresAt.IsZero() || !c.o.Kept(k.Name) {
		c.done(k, r)
		return v, rec.Revision, err
	}
	c.keep(k, r, entry{value: v, revision: rec.Revision, sum: c.sum(rec)})
	return v, rec.Revision, nil
}

// ReadDirect is Read past the cache.
func ReadDirect[T any](ctx context.Context, r store.Records, k store.Key) (*T, int64, error) {
	v, rec, err := load[T](ctx, r, k)
	return v, rec.Revision, err
}

// ReadPast is ReadDirect of what others read through c: an entry that turns out to be old, because a message was lost
// and nobody noticed, is dropped. The records alone say what there is; where they answer the bytes that are held decoded,
// they are not decoded once more.
func ReadPast[T any](ctx context.Context, c *Cache, k store.Key) (*T, int64, error) {
	rec, err := get(ctx, c.Records, k)
	if err != nil {
		return nil, 0, err
	}
	if v := heldAt[T](c, k, rec); v != nil {
		return v, rec.Revision, nil
	}
	v, err := decode[T](k, rec)
	return v, rec.Revision, err
}

// heldAt answers what is held decoded of a record that was read just now; nil: nothing, or another one. The sum is beside
// the revision for an engine that was set back, and gives revisions out once more.
func heldAt[T any](c *Cache, k store.Key, rec store.Record) *T {
	sum := c.sum(rec)
	c.mu.Lock()
	defer c.mu.Unlock()
	e, held := c.entries[k]
	if held && e.olderThan(rec.Revision) {
		c.remove(k)
	}
	c.outdate(k, rec.Revision)
	if !held || e.revision != rec.Revision || e.sum != sum {
		return nil
	}
	v, _ := e.value.(*T)
	return v
}

func (c *Cache) sum(rec store.Record) uint64 { return maphash.Bytes(c.seed, rec.Value) }

type pastKey struct{}

// Past is a context under which Read is ReadPast.
func Past(ctx context.Context) context.Context { return context.WithValue(ctx, pastKey{}, true) }

func load[T any](ctx context.Context, r store.Records, k store.Key) (*T, store.Record, error) {
	rec, err := get(ctx, r, k)
	if err != nil {
		return nil, store.Record{}, err
	}
	v, err := decode[T](k, rec)
	return v, rec, err
}

// get answers a record of revision 0 where there is none.
func get(ctx context.Context, r store.Records, k store.Key) (store.Record, error) {
	rec, err := r.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return store.Record{}, nil
	}
	if err != nil {
		return store.Record{}, fmt.Errorf("read %s of %s: %w", k.Name, k.Partition, err)
	}
	return rec, nil
}

// decode answers nil where there is no record.
func decode[T any](k store.Key, rec store.Record) (*T, error) {
	if rec.Revision == 0 {
		return nil, nil
	}
	v := new(T)
	if err := json.Unmarshal(rec.Value, v); err != nil {
		return nil, fmt.Errorf("read %s of %s: %w: not the JSON of a %T", k.Name, k.Partition, store.ErrCorrupt, *v)
	}
	return v, nil
}

// look answers what is held, or begins a reading, which done or keep ends.
func (c *Cache) look(k store.Key) (entry, *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, held := c.entries[k]; held && (c.o.MaxAge <= 0 || time.Since(c.born)-e.read < c.o.MaxAge) {
		return e, nil
	}
	r := c.reads[k]
	if r == nil {
		r = &reading{}
		c.reads[k] = r
	}
	r.readers++
	return entry{}, r
}

// done ends a reading of which nothing is kept.
func (c *Cache) done(k store.Key, r *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(k, r)
}

// leave needs mu.
func (c *Cache) leave(k store.Key, r *reading) {
	if r.readers--; r.readers == 0 && c.reads[k] == r {
		delete(c.reads, k)
	}
}

// keep ends a reading and holds what it found, unless that may be old.
func (c *Cache) keep(k store.Key, r *reading, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(k, r)
	c.outdate(k, e.revision)
	if r.void || c.blind {
		return
	}
	if c.o.MaxAge > 0 {
		e.read = time.Since(c.born)
	}
	if len(c.entries) >= c.o.Entries {
		for old := range c.entries { // any one: map order is random enough, and cheap
			c.remove(old)
			break
		}
	}
	c.entries[k] = e
	of := c.names[k.Partition]
	if of == nil {
		of = make(map[string]bool)
		c.names[k.Partition] = of
	}
	of[k.Name] = true
}
