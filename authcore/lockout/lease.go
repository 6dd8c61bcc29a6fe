package lockout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// A lease is a record, so that it holds between nodes and through a restart. Its time is longer than verify and settle
// may take (5 s), and whoever waits for a hash slot gives up while that much is Left, so that it runs out only under a
// process that died.
const (
	LeaseFor  = 8 * time.Second
	LeaseWait = 2 * time.Second
	leaseRoom = 5 * time.Second // so much ahead of ours the store's clock may be, which ends the record
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

// turn is who goes on under one key: whoever has it, and who waits in order. Those from sources that the member signed
// in from before go first, so that a stranger who keeps the lease busy does not keep the member out.
type turn struct {
	known, others []chan struct{} // one for each who waits; closed when it is his turn
}

// Lease is held until Release, or until its record is deleted by the batch that settles.
type Lease struct {
	l        *Leases
	key      store.Key
	revision int64
	until    time.Time
	settled  bool
}

// Take waits up to LeaseWait for the lease at (partition, print of the name). known says that the attempt comes from a
// source that the member signed in from before.
func (l *Leases) Take(ctx context.Context, partition, print string, known bool) (*Lease, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, LeaseWait, ErrHeld)
	defer cancel()
	k := store.Key{Partition: partition, Name: "lease/" + print}
	if err := l.queue(ctx, k, known); err != nil {
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
	until := l.Now().Add(LeaseFor)
	rev, err := l.Records.Apply(ctx, k.Partition, store.Op{Kind: store.Put, Name: k.Name, Value: []byte("{}"), ExpiresAt: until.Add(leaseRoom)})
	return &Lease{l: l, key: k, revision: rev, until: until}, err
}

// queue waits for the turn at k among those of this process.
func (l *Leases) queue(ctx context.Context, k store.Key, known bool) error {
	mine := l.join(k, known)
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	if !l.part(k, mine) { // the turn came at the same moment
		l.next(k)
	}
	return context.Cause(ctx)
}

func (l *Leases) join(k store.Key, known bool) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := make(chan struct{})
	t := l.local[k]
	switch {
	case t == nil: // nobody has it
		if l.local == nil {
			l.local = make(map[store.Key]*turn)
		}
		l.local[k] = &turn{}
		close(mine)
	case known:
		t.known = append(t.known, mine)
	default:
		t.others = append(t.others, mine)
	}
	return mine
}

// part leaves the queue; false: it was its turn already.
func (l *Leases) part(k store.Key, mine chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.local[k]
	is := func(c chan struct{}) bool { return c == mine }
	waited := len(t.known) + len(t.others)
	t.known, t.others = slices.DeleteFunc(t.known, is), slices.DeleteFunc(t.others, is)
	return len(t.known)+len(t.others) < waited
}

// next gives the turn on.
func (l *Leases) next(k store.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.local[k]
	line := &t.known
	if len(*line) == 0 {
		line = &t.others
	}
	if len(*line) == 0 {
		delete(l.local, k)
		return
	}
	close((*line)[0])
	*line = (*line)[1:]
}

// Left is how long the lease will hold. What needs the lease to hold must not begin when less is left than it may take.
func (l *Lease) Left() time.Duration { return l.until.Sub(l.l.Now()) }

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
