package authcore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"latchkey/authcore/store"
)

// One attempt has one time for all that it asks of the store, so that a store whose every answer is slow does not add up:
// the client hears "try again later" within two seconds. What an attempt waits for others, for a lease or for a hash slot,
// is not part of it, nor is the hash.
//
// The two seconds: StoreTime, releaseTime to give a lease back, and what a door takes to ask Stands.

// DefaultStoreTime is for a store over a network.
const DefaultStoreTime = 1200 * time.Millisecond

const (
	releaseTime = 150 * time.Millisecond
	// settleShare of StoreTime must be left when a hash begins: what it comes to must be written.
	settleShare = 3
)

// errSlowStore is what an attempt ends with whose time is over. Engines that notice it themselves say ErrUnavailable.
var errSlowStore = fmt.Errorf("%w: an attempt's time for it is over", store.ErrUnavailable)

// budget is what is left of it, in nanoseconds.
type budget struct{ left atomic.Int64 }

type budgetKey struct{}

// Rationed gives one attempt its time for the store: everything done under the new context shares it. Without
// Options.StoreTime, or under a context that has one, it is ctx.
func (c *Core) Rationed(ctx context.Context) context.Context {
	if c.o.StoreTime <= 0 || budgetOf(ctx) != nil {
		return ctx
	}
	return withBudget(ctx, c.o.StoreTime)
}

// unrationed is for what one attempt does for others too.
func unrationed(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, (*budget)(nil))
}

// withBudget gives what follows a time of its own.
func withBudget(ctx context.Context, d time.Duration) context.Context {
	b := &budget{}
	b.left.Store(int64(d))
	return context.WithValue(ctx, budgetKey{}, b)
}

// toRelease is the small time of its own in which an attempt gives a lease back.
func (c *Core) toRelease(ctx context.Context) context.Context {
	if c.o.StoreTime <= 0 {
		return ctx
	}
	return withBudget(ctx, releaseTime)
}

func budgetOf(ctx context.Context) *budget {
	b, _ := ctx.Value(budgetKey{}).(*budget)
	return b
}

// whileLeft is ctx until the attempt's time would be over, for what is not asked of the store itself.
func whileLeft(ctx context.Context) (context.Context, context.CancelFunc) {
	b := budgetOf(ctx)
	if b == nil {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, b.rest(), errSlowStore)
}

func (b *budget) rest() time.Duration { return time.Duration(b.left.Load()) }

func (b *budget) spend(d time.Duration) { b.left.Add(-int64(d)) }

// maySettle refuses to begin a hash whose result could not be written in time.
func (c *Core) maySettle(ctx context.Context) error {
	if b := budgetOf(ctx); b != nil && b.rest() < c.o.StoreTime/settleShare {
		return errSlowStore
	}
	return nil
}

// inTime makes one call to the store within what is left.
func inTime[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	b := budgetOf(ctx)
	if b == nil {
		return call(ctx)
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, context.Cause(ctx)
	}
	began, rest := time.Now(), b.rest()
	if rest <= 0 {
		return none, errSlowStore
	}
	within := store.Within(ctx, began.Add(rest)) // no timer, where the engine has one: there are several calls in an attempt
	defer within.End()
	v, err := call(within)
	took := time.Since(began)
	b.spend(took)
	if err != nil && took >= rest && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) {
		return none, fmt.Errorf("%w (%w)", errSlowStore, err)
	}
	return v, err
}

// rationed are records that keep to the attempt's time.
type rationed struct{ store.Records }

func (r rationed) Get(ctx context.Context, k store.Key) (store.Record, error) {
	return inTime(ctx, func(ctx context.Context) (store.Record, error) { return r.Records.Get(ctx, k) })
}

func (r rationed) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	return inTime(ctx, func(ctx context.Context) ([]store.Record, error) { return r.Records.List(ctx, partition, q) })
}

func (r rationed) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	return inTime(ctx, func(ctx context.Context) (int64, error) { return r.Records.Apply(ctx, partition, ops...) })
}

// rationedEphemeral does the same for what may be lost.
type rationedEphemeral struct{ e store.Ephemeral }

func (r rationedEphemeral) Add(ctx context.Context, k store.Key, member string, window time.Duration) (int64, error) {
	return inTime(ctx, func(ctx context.Context) (int64, error) { return r.e.Add(ctx, k, member, window) })
}

func (r rationedEphemeral) Members(ctx context.Context, k store.Key, window time.Duration, limit int) ([]string, error) {
	return inTime(ctx, func(ctx context.Context) ([]string, error) { return r.e.Members(ctx, k, window, limit) })
}

func (r rationedEphemeral) Remove(ctx context.Context, k store.Key, member string) error {
	return done(ctx, func(ctx context.Context) error { return r.e.Remove(ctx, k, member) })
}

// soonRemover answers what e can do of it beside; nil: nothing.
func soonRemover(e store.Ephemeral) store.SoonRemover {
	if r, is := e.(rationedEphemeral); is {
		e = r.e // nobody waits for it, so that no attempt's time is spent
	}
	s, _ := e.(store.SoonRemover)
	return s
}

func (r rationedEphemeral) Put(ctx context.Context, k store.Key, value []byte, ttl time.Duration) error {
	return done(ctx, func(ctx context.Context) error { return r.e.Put(ctx, k, value, ttl) })
}

func (r rationedEphemeral) Get(ctx context.Context, k store.Key) ([]byte, error) {
	return inTime(ctx, func(ctx context.Context) ([]byte, error) { return r.e.Get(ctx, k) })
}

func (r rationedEphemeral) Take(ctx context.Context, k store.Key) ([]byte, error) {
	return inTime(ctx, func(ctx context.Context) ([]byte, error) { return r.e.Take(ctx, k) })
}

func (r rationedEphemeral) Delete(ctx context.Context, k store.Key) error {
	return done(ctx, func(ctx context.Context) error { return r.e.Delete(ctx, k) })
}

// rationedBus keeps what is told to it.
type rationedBus struct{ store.Bus }

func (r rationedBus) Publish(ctx context.Context, topic string, msg []byte) error {
	return done(ctx, func(ctx context.Context) error { return r.Bus.Publish(ctx, topic, msg) })
}

func done(ctx context.Context, call func(context.Context) error) error {
	_, err := inTime(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}
