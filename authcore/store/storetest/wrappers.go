package storetest

import (
	"context"
	"fmt"
	"sync/atomic"

	"latchkey/authcore/store"
)

// Fault is what Faulty does to an Apply.
type Fault int

const (
	NoFault    Fault = iota
	FailBefore       // ErrUnavailable, nothing written
	FailAfter        // ErrUnavailable, though it was written
)

func (f Fault) String() string {
	return [...]string{"no fault", "failed", "failed but written"}[f]
}

// Faulty fails calls as its callbacks say; those that are nil fail nothing. Set them before use.
type Faulty struct {
	store.Records
	OnApply func(partition string, ops []store.Op) Fault
	OnGet   func(k store.Key) error
	OnList  func(partition string, q store.Query) error
}

// Get keeps store.Records.
func (f *Faulty) Get(ctx context.Context, k store.Key) (store.Record, error) {
	if f.OnGet != nil {
		if err := f.OnGet(k); err != nil {
			return store.Record{}, err
		}
	}
	return f.Records.Get(ctx, k)
}

// List keeps store.Records.
func (f *Faulty) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	if f.OnList != nil {
		if err := f.OnList(partition, q); err != nil {
			return nil, err
		}
	}
	return f.Records.List(ctx, partition, q)
}

// Apply keeps store.Records.
func (f *Faulty) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	fault := NoFault
	if f.OnApply != nil {
		fault = f.OnApply(partition, ops)
	}
	if fault == FailBefore {
		return 0, fmt.Errorf("%w: made to fail", store.ErrUnavailable)
	}
	revision, err := f.Records.Apply(ctx, partition, ops...)
	if err == nil && fault == FailAfter {
		return 0, fmt.Errorf("%w: made to fail after the write", store.ErrUnavailable)
	}
	return revision, err
}

// Counting counts the calls that reach Records. Make one with its Records set; it may be used at once from many places.
type Counting struct {
	store.Records
	gets, lists, applies, ops atomic.Int64
}

// Counts are numbers of calls, and of operations in batches. Two of them compare with ==.
type Counts struct{ Gets, Lists, Applies, Ops int64 }

// Get keeps store.Records.
func (c *Counting) Get(ctx context.Context, k store.Key) (store.Record, error) {
	c.gets.Add(1)
	return c.Records.Get(ctx, k)
}

// List keeps store.Records.
func (c *Counting) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	c.lists.Add(1)
	return c.Records.List(ctx, partition, q)
}

// Apply keeps store.Records.
func (c *Counting) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	c.applies.Add(1)
	c.ops.Add(int64(len(ops)))
	return c.Records.Apply(ctx, partition, ops...)
}

// Take answers the counts since the last Take and begins anew.
func (c *Counting) Take() Counts {
	return Counts{c.gets.Swap(0), c.lists.Swap(0), c.applies.Swap(0), c.ops.Swap(0)}
}
