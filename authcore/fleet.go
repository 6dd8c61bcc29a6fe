package authcore

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// A fleet is several processes over the same records. Each tells the others that it lives, by a heartbeat, and which
// sessions it has, by seats; both are Ephemeral. What is told of a node that is dead counts for nothing, so nothing is
// renewed session by session with the heartbeat. When the ephemerals were lost, every node tells all of its own again.

// Fleet are the Options of a process that shares its records with others.
type Fleet struct {
	Name      string   // for people; empty: Options.Node
	Version   string   // of the program
	Addresses []string // of its listeners
	Silent    bool     // it asks after the others and is none of them: a command beside them

	Beat time.Duration // between two heartbeats; 0: DefaultBeat
	Dead time.Duration // how old the last one of a dead node is; 0: DefaultDead
}

// A heartbeat costs a node about forty small commands (itself, the canaries): 20 a second. A node is dead after several
// that were missed, so that one pause of a collector or of the network is none; and long before the lease, at whose end
// it has cut its sessions itself.
const (
	DefaultBeat = 2 * time.Second
	DefaultDead = 10 * time.Second
)

// Bounds of what is told.
const (
	maxNodes   = 1000             // listed: far more than share one Redis
	canaries   = 32               // values that show that a part of the ephemerals was lost: of three shards none is without one but once in 400 000
	retellEach = 20 * time.Minute // a seat is told again, so that it never gets as old as session.SeatFor
	sweepEach  = time.Minute      // which is looked after so often
	tellers    = 32               // commands at the same time
	tellPause  = 100 * time.Millisecond
	tellBatch  = 1000   // seats in a tellPause: 100 000 within ten seconds, and a Redis does ten times that
	maxOwed    = 65_536 // seats that could not be given back; those beyond are remembered for session.SeatFor
	beatFor    = 5 * time.Second
	lateFor    = time.Second // that a sign-in waits for a heartbeat that is overdue
)

const nodesIn = "nodes" // partition of the ephemeral keys

func liveKey() store.Key { return store.Key{Partition: nodesIn, Name: "live"} }

func nodeKey(process string) store.Key {
	return store.Key{Partition: nodesIn, Name: "node/" + process}
}

// canaryKey: partitions of their own lie all over a cluster.
func canaryKey(process string, i int) store.Key {
	return store.Key{Partition: fmt.Sprintf("canary-%d", i), Name: process}
}

// fleet is this process among the others.
type fleet struct {
	o       Fleet
	process string // this run: a node that starts again has none of the sessions of the run before

	started time.Time
	wake    chan struct{} // for tellFleet

	mu       sync.Mutex
	beating  *heartbeat               // the one that is being told; guarded by mu
	retell   bool                     // all seats must be told again; guarded by mu
	last     time.Time                // of the last heartbeat that was heard; guarded by mu
	swept    time.Time                // guarded by mu
	canaries time.Time                // when they were put last; guarded by mu
	draining bool                     // guarded by mu
	owed     map[store.Key][]owedSeat // given back, and not yet taken off the store; guarded by mu
	owes     int                      // how many; guarded by mu
	differ   error                    // what is wrong with the server keys; guarded by mu
}

// heartbeat is one that is being told, for whoever waits for it.
type heartbeat struct {
	done chan struct{}
	err  error // set before done is closed
}

type owedSeat struct {
	text  string
	until time.Time // then it is forgotten anyway
}

func newFleet(o *Fleet, node string, now time.Time) *fleet {
	if o == nil {
		return nil
	}
	f := &fleet{o: *o, process: node + "/" + rand.Text()[:10], started: now.UTC(), wake: make(chan struct{}, 1),
		owed: map[store.Key][]owedSeat{}}
	if f.o.Name == "" {
		f.o.Name = node
	}
	if f.o.Beat <= 0 {
		f.o.Beat = DefaultBeat
	}
	if f.o.Dead <= 0 {
		f.o.Dead = max(DefaultDead, 5*f.o.Beat)
	}
	return f
}

// told says that this process tells others of itself.
func (c *Core) told() bool { return c.fleet != nil && !c.fleet.o.Silent }

// Draining has the other nodes' lists say that this one takes nobody in any more.
func (c *Core) Draining() {
	if c.fleet != nil {
		c.fleet.mu.Lock()
		defer c.fleet.mu.Unlock()
		c.fleet.draining = true
	}
}

// runFleet keeps the heartbeat until ctx ends, and then says that this node is gone.
func (c *Core) runFleet(ctx context.Context) {
	if !c.told() {
		return
	}
	var telling sync.WaitGroup
	telling.Go(func() { c.tellFleet(ctx) })
	telling.Go(func() { c.answerNodes(ctx) })
	t := time.NewTicker(c.fleet.o.Beat)
	defer t.Stop()
	for ctx.Err() == nil {
		if err := c.beat(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("tell the fleet that this node lives", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	telling.Wait()
	c.depart(context.WithoutCancel(ctx))
}

// tellFleet does what heartbeats find to be due, and must not wait for.
func (c *Core) tellFleet(ctx context.Context) {
	for {
		select {
		case <-c.fleet.wake:
		case <-ctx.Done():
			return
		}
		if every, due := c.fleet.due(c.now()); due {
			c.tellSeats(ctx, every)
		}
		c.payOwed(ctx)
		c.agreeOnKeys(ctx)
	}
}

// due says which seats are to be told: those that were told longer than every ago.
func (f *fleet) due(now time.Time) (every time.Duration, due bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, sweep := f.retell, now.Sub(f.swept) >= sweepEach
	f.retell = false
	if sweep {
		f.swept = now
	}
	if all {
		return 0, true
	}
	return retellEach, sweep
}

// depart ends this node in the eyes of the others at once; without it they wait for Fleet.Dead.
func (c *Core) depart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, beatFor)
	defer cancel()
	err := c.o.Ephemeral.Remove(ctx, liveKey(), c.fleet.process)
	if err == nil {
		err = c.o.Ephemeral.Delete(ctx, nodeKey(c.fleet.process))
	}
	if err != nil {
		c.log.Warn("tell the fleet that this node is gone", "error", err)
	}
}

// beat says that this node lives, once for all who want it said now. When it was taken for dead meanwhile, or what was
// told was lost, all of its seats are to be told again.
func (c *Core) beat(ctx context.Context) error {
	f := c.fleet
	f.mu.Lock()
	b := f.beating
	if b == nil {
		b = &heartbeat{done: make(chan struct{})}
		f.beating = b
		f.mu.Unlock()
		b.err = c.beatNow(context.WithoutCancel(ctx))
		f.mu.Lock()
		f.beating = nil
		f.mu.Unlock()
		close(b.done)
		return b.err
	}
	f.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Core) beatNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatFor)
	defer cancel()
	f, now := c.fleet, c.now()
	me, err := json.Marshal(c.thisNode(now))
	if err != nil {
		return err
	}
	if err := c.o.Ephemeral.Put(ctx, nodeKey(f.process), me, f.o.Dead); err != nil {
		return broken("tell the node", err)
	}
	if _, err := c.o.Ephemeral.Add(ctx, liveKey(), f.process, f.o.Dead); err != nil {
		return broken("tell that it lives", err)
	}
	lost, err := c.lost(ctx)
	if err != nil {
		return broken("look after what was told", err)
	}
	f.heard(now, lost)
	return nil
}

// heard notes a heartbeat. One that comes so late that others may have taken this node for dead is a loss too.
func (f *fleet) heard(now time.Time, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retell = f.retell || lost || passed(f.last, now) >= f.o.Dead-f.o.Beat
	f.last = now
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// beatIfLate makes sure that the others take this node for living: a seat of a dead one is taken away.
func (c *Core) beatIfLate(ctx context.Context) error {
	f := c.fleet
	f.mu.Lock()
	late := passed(f.last, c.now()) >= f.o.Dead/2
	f.mu.Unlock()
	if !late {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lateFor)
	defer cancel()
	return c.beat(ctx)
}

// lost looks after the canaries, and says whether one is gone. They are put anew before they are too old.
func (c *Core) lost(ctx context.Context) (lost bool, err error) {
	now := c.now()
	c.fleet.mu.Lock()
	anew := now.Sub(c.fleet.canaries) >= retellEach
	c.fleet.mu.Unlock()
	var mu sync.Mutex
	each(tellers, upTo(canaries), func(i int) {
		k := canaryKey(c.fleet.process, i)
		_, e := c.o.Ephemeral.Get(ctx, k)
		gone := errors.Is(e, store.ErrNotFound)
		if gone || e == nil && anew {
			e = c.o.Ephemeral.Put(ctx, k, []byte("{}"), session.SeatFor)
		}
		mu.Lock()
		defer mu.Unlock()
		lost = lost || gone
		err = cmp.Or(err, e)
	})
	if err == nil && anew {
		c.fleet.mu.Lock()
		c.fleet.canaries = now
		c.fleet.mu.Unlock()
	}
	return lost, err
}

// each calls f for every item, at most n at the same time, and waits for all.
func each[T any](n int, items []T, f func(T)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	turn := make(chan struct{}, n)
	for _, it := range items {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			f(it)
		})
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func upTo(n int) []int {
	l := make([]int, n)
	for i := range l {
		l[i] = i
	}
	return l
}
