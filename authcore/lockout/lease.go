package lockout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// A lease is a record, so that it holds between nodes and through a restart. Its time is longer than verify and settle
// may take (5 s), so that it runs out only under a process that died.
const (
	LeaseFor  = 8 * time.Second
	LeaseWait = 2 * time.Second
	leasePoll = 50 * time.Millisecond
	writeFor  = 2 * time.Second // a write that takes longer is a broken store
)

// ErrHeld: another verification of the name went on for all of LeaseWait. Nothing was verified or counted.
var ErrHeld = errors.New("another attempt for this name is being verified")

// Leases lets one account password be verified at a time for a name, known or not.
type Leases struct {
	Records store.Records
	Now     func() time.Time

	mu    sync.Mutex
	local map[store.Key]*turn // those of this process, so that they queue without asking the store; guarded by mu
}

type turn struct {
	holders int // the one who has it and those who wait
	free    chan struct{}
}

// Lease is held until Release, or until its record is deleted by the batch that settles.
type Lease struct {
	l        *Leases
	key      store.Key
	revision int64
	settled  bool
}

// Take waits up to LeaseWait for the lease at (partition, print of the name).
func (l *Leases) Take(ctx context.Context, partition, print string) (*Lease, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, LeaseWait, ErrHeld)
	defer cancel()
	k := store.Key{Partition: partition, Name: "lease/" + print}
	if err := l.queue(ctx, k); err != nil {
		return nil, err
	}
	for {
		lease, err := l.write(ctx, k)
		if err == nil && ctx.Err() == nil {
			return lease, nil
		}
		if err == nil {
			lease.Release(ctx)
			return nil, context.Cause(ctx)
		}
		if !errors.Is(err, store.ErrConflict) {
			l.next(k)
			return nil, fmt.Errorf("take lease: %w", err)
		}
		select {
		case <-ctx.Done():
			l.next(k)
			return nil, context.Cause(ctx)
		case <-time.After(leasePoll):
		}
	}
}

// write is not given up with ctx: a lease that was written and is not known of would stop everybody until it runs out.
func (l *Leases) write(ctx context.Context, k store.Key) (*Lease, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeFor)
	defer cancel()
	rev, err := l.Records.Apply(ctx, k.Partition, store.Op{Kind: store.Put, Name: k.Name, Value: []byte("{}"), ExpiresAt: l.Now().Add(LeaseFor)})
	return &Lease{l: l, key: k, revision: rev}, err
}

func (l *Leases) queue(ctx context.Context, k store.Key) error {
	l.mu.Lock()
	if l.local == nil {
		l.local = make(map[store.Key]*turn)
	}
	t := l.local[k]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		l.local[k] = t
	}
	t.holders++
	l.mu.Unlock()
	select {
	case <-t.free:
		return nil
	case <-ctx.Done():
		l.leave(k, t)
		return context.Cause(ctx)
	}
}

func (l *Leases) leave(k store.Key, t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.holders--; t.holders == 0 {
		delete(l.local, k)
	}
}

func (l *Leases) next(k store.Key) {
	l.mu.Lock()
	t := l.local[k]
	l.mu.Unlock()
	t.free <- struct{}{}
	l.leave(k, t)
}

// Settle is the step that ends the lease inside the batch that settles; the batch conflicts when the lease was lost.
func (l *Lease) Settle() store.Op {
	return store.Op{Kind: store.Delete, Name: l.key.Name, IfRevision: l.revision}
}

// Held says whether the record of the lease is still ours.
func (l *Lease) Held(ctx context.Context) (bool, error) {
	rec, err := l.l.Records.Get(ctx, l.key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look after lease: %w", err)
	}
	return rec.Revision == l.revision, nil
}

// Settled says that the batch with Settle was written.
func (l *Lease) Settled() { l.settled = true }

// Release gives the lease to the next one. What was not settled is given up: its record is deleted, and when that fails
// it runs out by itself.
func (l *Lease) Release(ctx context.Context) {
	if !l.settled {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeFor)
		defer cancel()
		_, _ = l.l.Records.Apply(ctx, l.key.Partition, l.Settle())
	}
	l.l.next(l.key)
}
