// Package cache keeps decoded records in the process, bounded, over a store.Records whose writes go through it. It
// refuses to answer what a write has made stale: a batch drops every name it touched, here at once and on other nodes by
// the bus, and a gap in the bus empties the cache. What must be exact reads the records themselves (Direct).
package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/authcore/store"
)

// Topic is where batches are told on the bus.
const Topic = "records"

// DefaultEntries bounds the cache: a member takes four entries of about 1 KiB, so 10 000 members stay warm in 40 MiB.
const DefaultEntries = 40_000

// Cache is a store.Records; Get, List and Apply pass through to the engine, Read answers from memory where it can.
type Cache struct {
	store.Records
	bus  store.Bus
	node string // tells our own messages from others'
	max  int

	mu      sync.Mutex
	entries map[store.Key]entry
	changes uint64 // batches seen; guarded by mu
	blind   bool   // the bus is not heard: nothing may be kept; guarded by mu

	hits, misses atomic.Int64
}

type entry struct {
	value    any   // decoded, read-only; nil: there is no such record
	revision int64 // 0: none
}

// New wraps records. node is unique among the processes that share them.
func New(records store.Records, bus store.Bus, node string, maxEntries int) *Cache {
	if maxEntries <= 0 {
		maxEntries = DefaultEntries
	}
	return &Cache{Records: records, bus: bus, node: node, max: maxEntries, entries: make(map[store.Key]entry)}
}

// Direct answers the records under the cache.
func (c *Cache) Direct() store.Records { return c.Records }

// Counts answers how many Reads were answered from memory and how many were not.
func (c *Cache) Counts() (hits, misses int64) { return c.hits.Load(), c.misses.Load() }

// change is told behind the node's name and a line break, so that a node passes over its own without decoding them.
type change struct {
	Partition string   `json:"partition"`
	Revision  int64    `json:"revision"`
	Names     []string `json:"names"`
}

// Apply writes the batch and drops what it touched, also when the outcome is not known.
func (c *Cache) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	rev, err := c.Records.Apply(ctx, partition, ops...)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrInvalid) {
		// Nothing was written, but what we hold may be why the revision did not hold.
		c.drop(partition, names(ops, store.Put, store.Delete, store.Check))
		return rev, err
	}
	touched := names(ops, store.Put, store.Delete)
	c.drop(partition, touched)
	if msg, e := json.Marshal(change{Partition: partition, Revision: rev, Names: touched}); e == nil {
		_ = c.bus.Publish(context.WithoutCancel(ctx), Topic, append([]byte(c.node+"\n"), msg...)) // a lost message is a gap, which the other side notices
	}
	return rev, err
}

// names answers those of the steps of these kinds.
func names(ops []store.Op, kinds ...store.Kind) []string {
	n := make([]string, 0, len(ops))
	for _, o := range ops {
		if slices.Contains(kinds, o.Kind) {
			n = append(n, o.Name)
		}
	}
	return n
}

func (c *Cache) drop(partition string, names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for _, n := range names {
		delete(c.entries, store.Key{Partition: partition, Name: n})
	}
}

// Empty forgets everything: after a gap nothing held may be believed.
func (c *Cache) Empty() { c.empty(false) }

func (c *Cache) empty(blind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.blind = blind
	clear(c.entries)
}

// retryAfter is the pause between two tries to hear a broken bus.
const retryAfter = time.Second

// Run follows the bus until ctx ends. On a gap the cache is emptied, and keeps nothing until the bus is heard again.
func (c *Cache) Run(ctx context.Context) error {
	defer c.empty(true)
	for ctx.Err() == nil {
		ch, err := c.bus.Subscribe(ctx, Topic)
		if err != nil {
			c.empty(true)
			pause(ctx)
			continue
		}
		c.Empty()
		for msg := range ch {
			c.hear(msg)
		}
		c.empty(true)
	}
	return ctx.Err()
}

func (c *Cache) hear(msg []byte) {
	node, rest, ok := bytes.Cut(msg, []byte("\n"))
	if ok && string(node) == c.node {
		return
	}
	var m change
	if !ok || json.Unmarshal(rest, &m) != nil {
		c.Empty()
		return
	}
	c.drop(m.Partition, m.Names)
}

func pause(ctx context.Context) {
	t := time.NewTimer(retryAfter)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Read answers the decoded record at k, shared with others and read-only, and its revision; a nil pointer and revision 0
// when there is none. Records with an expiry are never kept.
func Read[T any](ctx context.Context, c *Cache, k store.Key) (*T, int64, error) {
	c.mu.Lock()
	e, ok := c.entries[k]
	seen := c.changes
	c.mu.Unlock()
	if ok {
		c.hits.Add(1)
		v, _ := e.value.(*T)
		return v, e.revision, nil
	}
	c.misses.Add(1)
	v, rec, err := load[T](ctx, c.Records, k)
	if err != nil {
		return nil, 0, err
	}
	if rec.ExpiresAt.IsZero() {
		c.keep(k, entry{value: v, revision: rec.Revision}, seen)
	}
	return v, rec.Revision, nil
}

// ReadDirect is Read past the cache.
func ReadDirect[T any](ctx context.Context, r store.Records, k store.Key) (*T, int64, error) {
	v, rec, err := load[T](ctx, r, k)
	return v, rec.Revision, err
}

func load[T any](ctx context.Context, r store.Records, k store.Key) (*T, store.Record, error) {
	rec, err := r.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, store.Record{}, nil
	}
	if err != nil {
		return nil, store.Record{}, fmt.Errorf("read %s of %s: %w", k.Name, k.Partition, err)
	}
	v := new(T)
	if err := json.Unmarshal(rec.Value, v); err != nil {
		return nil, store.Record{}, fmt.Errorf("read %s of %s: %w: not the JSON of a %T", k.Name, k.Partition, store.ErrCorrupt, *v)
	}
	return v, rec, nil
}

// keep holds e unless a batch was written since seen: the record read before it may be the old one.
func (c *Cache) keep(k store.Key, e entry, seen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != seen || c.blind {
		return
	}
	if len(c.entries) >= c.max {
		for old := range c.entries { // any one: map order is random enough, and cheap
			delete(c.entries, old)
			break
		}
	}
	c.entries[k] = e
}
