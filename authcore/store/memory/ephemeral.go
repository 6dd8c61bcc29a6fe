package memory

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// MaxMembers is how many members one set keeps; the oldest goes first. No window counts that far: throttles refuse
// after some tens of distinct guesses.
const MaxMembers = 4096

// overhead is about what an item or a member costs beside its bytes: the structs and their places in the maps.
const overhead = 160

// Ephemeral keeps values and sets in memory, at most Options.Entries and Options.Bytes of them; what was used longest
// ago goes first. It is safe for concurrent use and owns no goroutine: what has expired goes when it is met, or when
// its turn comes.
type Ephemeral struct {
	now        func() time.Time
	maxEntries int
	maxBytes   int

	mu      sync.Mutex // guards the rest
	items   map[store.Key]*item
	recent  list[item] // front: used last
	entries int        // values and members
	bytes   int
}

// An item is what stands at one key: a value, a set, or both.
type item struct {
	key  store.Key
	node node[item]

	value   []byte    // nil: no value
	expires time.Time // of the value
	set     *set      // nil: no set
}

// NewEphemeral makes an empty one.
func NewEphemeral(o Options) *Ephemeral {
	o = o.filled()
	return &Ephemeral{now: o.Now, maxEntries: o.Entries, maxBytes: o.Bytes, items: make(map[store.Key]*item)}
}

// Add keeps store.Ephemeral.
func (e *Ephemeral) Add(ctx context.Context, k store.Key, member string, window time.Duration) (int64, error) {
	if err := checkMember(ctx, k, member); err != nil {
		return 0, err
	}
	if err := checkSpan("window", window); err != nil {
		return 0, err
	}
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	it := e.use(k)
	if it.set == nil {
		it.set = newSet()
	}
	e.account(it.set.add(member, now, window))
	e.account(it.set.prune(now))
	e.evict(it)
	return int64(it.set.count(now, window)), nil
}

// Members keeps store.Ephemeral.
func (e *Ephemeral) Members(ctx context.Context, k store.Key, window time.Duration, limit int) ([]string, error) {
	if err := check(ctx, k); err != nil {
		return nil, err
	}
	if err := checkSpan("window", window); err != nil {
		return nil, err
	}
	if limit < 1 || limit > store.MaxListLimit {
		return nil, fmt.Errorf("%w: limit %d, 1 to %d", store.ErrInvalid, limit, store.MaxListLimit)
	}
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	it := e.items[k]
	if it == nil || it.set == nil {
		return nil, nil
	}
	e.account(it.set.prune(now))
	names := it.set.newest(now, window, limit)
	e.settle(it)
	return names, nil
}

// Remove keeps store.Ephemeral.
func (e *Ephemeral) Remove(ctx context.Context, k store.Key, member string) error {
	if err := checkMember(ctx, k, member); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	it := e.items[k]
	if it == nil || it.set == nil {
		return nil
	}
	e.account(it.set.remove(member))
	e.settle(it)
	return nil
}

// Put keeps store.Ephemeral.
func (e *Ephemeral) Put(ctx context.Context, k store.Key, value []byte, ttl time.Duration) error {
	if err := check(ctx, k); err != nil {
		return err
	}
	if err := store.CheckValue(value); err != nil {
		return err
	}
	if err := checkSpan("ttl", ttl); err != nil {
		return err
	}
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	it := e.use(k)
	e.dropValue(it)
	it.value = append(make([]byte, 0, len(value)), value...) // never nil
	it.expires = now.Add(ttl)
	e.account(1, len(value))
	e.evict(it)
	return nil
}

// Get keeps store.Ephemeral.
func (e *Ephemeral) Get(ctx context.Context, k store.Key) ([]byte, error) {
	return e.read(ctx, k, false)
}

// Take keeps store.Ephemeral.
func (e *Ephemeral) Take(ctx context.Context, k store.Key) ([]byte, error) {
	return e.read(ctx, k, true)
}

func (e *Ephemeral) read(ctx context.Context, k store.Key, take bool) ([]byte, error) {
	if err := check(ctx, k); err != nil {
		return nil, err
	}
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	it := e.items[k]
	if it == nil || it.value == nil {
		return nil, store.ErrNotFound
	}
	value, live := it.value, now.Before(it.expires)
	if take || !live {
		e.dropValue(it)
		e.settle(it)
	} else {
		e.recent.toFront(&it.node)
		value = bytes.Clone(value)
	}
	if !live {
		return nil, store.ErrNotFound
	}
	return value, nil
}

// Delete keeps store.Ephemeral: it ends whatever stands at k.
func (e *Ephemeral) Delete(ctx context.Context, k store.Key) error {
	if err := check(ctx, k); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if it := e.items[k]; it != nil {
		e.drop(it)
	}
	return nil
}

// use finds or makes the item at k and marks it as used last.
func (e *Ephemeral) use(k store.Key) *item {
	it := e.items[k]
	if it == nil {
		it = &item{key: k}
		it.node.owner = it
		e.items[k] = it
		e.bytes += len(k.Partition) + len(k.Name) + overhead
	}
	e.recent.toFront(&it.node)
	return it
}

// evict drops what was used longest ago until the bounds hold. The item just written stays: a set alone is bounded by
// MaxMembers, a value by store.MaxValue.
func (e *Ephemeral) evict(keep *item) {
	for e.entries > e.maxEntries || e.bytes > e.maxBytes {
		oldest := e.recent.back()
		if oldest == nil || oldest == keep {
			return
		}
		e.drop(oldest)
	}
}

func (e *Ephemeral) drop(it *item) {
	e.dropValue(it)
	if it.set != nil {
		e.account(it.set.clear())
	}
	e.settle(it)
}

func (e *Ephemeral) dropValue(it *item) {
	if it.value != nil {
		e.account(-1, -len(it.value))
		it.value = nil
	}
}

// settle forgets an item at which nothing stands any more.
func (e *Ephemeral) settle(it *item) {
	if it.set != nil && it.set.size() == 0 {
		it.set = nil
	}
	if it.value == nil && it.set == nil {
		delete(e.items, it.key)
		e.recent.remove(&it.node)
		e.bytes -= len(it.key.Partition) + len(it.key.Name) + overhead
	}
}

func (e *Ephemeral) account(entries, bytes int) {
	e.entries += entries
	e.bytes += bytes
}

func check(ctx context.Context, k store.Key) error {
	if err := store.CheckKey(k); err != nil {
		return err
	}
	return ctx.Err()
}

func checkMember(ctx context.Context, k store.Key, member string) error {
	if err := store.CheckMember(member); err != nil {
		return err
	}
	return check(ctx, k)
}
