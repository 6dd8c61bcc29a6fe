package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/authcore/store"
)

// What is held can stand in, for the lease alone, for records that cannot be reached: where the operator chose so, and
// for those who ask for it (Held). An entry is good for that
//
//   - until the lease is over, which runs from the last call that the records answered, or from the moment the bus was not
//     heard any more, whichever was first: a revocation elsewhere is late by no more;
//   - until a change of it is heard or read, or written here, though nobody knows whether it was;
//   - until the bus is heard again: then all that was held at the gap dies;
//   - until the engine says that it is not what it was (store.ErrDistrusted): then all of it dies at once;
//   - and until it is MaxAge older than it may be in a cache that hears everything.

type heldKey struct{}

// Held is a context under which Read asks what is held and never the records: it is store.ErrUnavailable otherwise.
func Held(ctx context.Context) context.Context { return context.WithValue(ctx, heldKey{}, true) }

func onlyHeld(ctx context.Context) bool {
	is, _ := ctx.Value(heldKey{}).(bool)
	return is
}

var errNotHeld = fmt.Errorf("%w, and nothing held stands in", store.ErrUnavailable)

func readHeld[T any](c *Cache, k store.Key) (*T, int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[k]
	if !ok {
		e, ok = c.stale[k]
	}
	now := time.Since(c.born)
	if !ok || c.leaseLeft(now) <= 0 || c.o.MaxAge > 0 && now-e.read >= c.o.MaxAge+c.o.Lease {
		return nil, 0, errNotHeld
	}
	v, _ := e.value.(*T)
	return v, e.revision, nil
}

// LeaseLeft is how long what is held can stand in; zero or less: not any more.
func (c *Cache) LeaseLeft() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaseLeft(time.Since(c.born))
}

// leaseLeft needs mu.
func (c *Cache) leaseLeft(now time.Duration) time.Duration {
	if c.contact == 0 {
		return 0
	}
	from := c.contact
	if c.blind {
		from = min(from, c.gapAt)
	}
	return from + c.o.Lease - now
}

// outdate forgets what was held at a gap, where the records were read since and say otherwise. It needs mu.
func (c *Cache) outdate(k store.Key, revision int64) {
	if e, held := c.stale[k]; held && e.olderThan(revision) {
		delete(c.stale, k)
	}
}

// gap keeps what is held for the lease. It needs mu, and is followed by empty.
func (c *Cache) gap() {
	if c.blind || c.o.Lease <= 0 {
		return
	}
	c.gapAt = time.Since(c.born)
	c.stale, c.entries = c.entries, make(map[store.Key]entry)
}

// watched are records that tell the cache when they answered.
type watched struct {
	store.Records
	c *Cache
}

func (w watched) Get(ctx context.Context, k store.Key) (store.Record, error) {
	began := time.Now()
	rec, err := w.Records.Get(ctx, k)
	w.c.answered(began, err)
	return rec, err
}

func (w watched) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	began := time.Now()
	l, err := w.Records.List(ctx, partition, q)
	w.c.answered(began, err)
	return l, err
}

func (w watched) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	began := time.Now()
	rev, err := w.Records.Apply(ctx, partition, ops...)
	w.c.answered(began, err)
	return rev, err
}

// answered takes note of how a call that began then ended.
func (c *Cache) answered(began time.Time, err error) {
	distrusted := errors.Is(err, store.ErrDistrusted)
	if !distrusted && err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if distrusted {
		c.contact = 0
		clear(c.stale)
		return
	}
	c.contact = max(c.contact, began.Sub(c.born), 1)
}
