package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

func (db *DB) watchOptions() watchOptions {
	o := db.options
	return watchOptions{
		client: o.universalClient(), heads: db.heads, keys: db.keys, node: o.Node, nonce: randomID(),
		gate:       gate{replicas: o.Replicas, failover: o.Mode != Standalone, cluster: o.Mode == Cluster, user: o.User},
		allowLossy: o.AllowLossy, stale: o.limits.stale, log: db.log,
	}
}

// AcceptRollback gives all nodes the leave to go on with what is there, if one of them found something missing (see
// State). What is lost as far as known is logged first. To repeat it is safe, also after an error.
func (db *DB) AcceptRollback(ctx context.Context) error {
	if err := db.watch.accept(ctx); err != nil {
		return err
	}
	id, err := db.identify(ctx)
	if err != nil {
		return fmt.Errorf("after the rollback was accepted: %w", err)
	}
	db.heads.adopt(id)
	return nil
}

// Durability is what the watch knows of the servers.
type Durability struct {
	Lossy      []string      // what to set, so that nothing acknowledged may be lost; writes are refused meanwhile, but with AllowLossy
	Windows    []string      // what these settings do not promise, or not now
	WaitAOF    string        // "used", or why not
	RolledBack []Alarm       // what nodes miss; all nodes are closed while it is not empty
	Unwritten  error         // why this node cannot keep what it has seen on its disk; nil: it does
	Failing    []string      // masters that could not be looked at in the last round, and why
	Ahead      time.Duration // of this node's clock, of that of the server whose clock differs most, at least; negative: behind
	Copied     bool          // another process runs with a copy of this node's state folder; this one answers nothing any more
}

// State is what /readyz, the metrics and doctor tell of the store: whether it is reached, heard, durable, and the same.
// Of no trouble all is zero but Durability.WaitAOF, Bus.Hears and its Since.
type State struct {
	Durability
	Breakers map[string]BreakerState // those that are not closed, by what they stand before: "127.0.0.1:6379 writes"
	Bus      BusState
}

// State answers at once: nothing is asked for it.
func (db *DB) State() State {
	breakers := db.Breakers()
	maps.DeleteFunc(breakers, func(_ string, b BreakerState) bool { return b.State == BreakerClosed })
	return State{db.Durability(), breakers, db.bus.State()}
}

// Durability answers at once, from the last look.
func (db *DB) Durability() Durability { return db.watch.durability() }

func (w *watch) durability() Durability {
	d := Durability{WaitAOF: "unproven: the server is older than 7.2", Unwritten: w.o.heads.unwritten()}
	own := w.o.heads.rolledBack()
	all := w.alarmsNow()
	if len(own) > 0 {
		all[w.o.heads.id()] = w.alarm(own)
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		d.RolledBack = append(d.RolledBack, all[id])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aof {
		d.WaitAOF = "used"
	}
	for _, id := range slices.Sorted(maps.Keys(w.views)) {
		v := w.views[id]
		for _, why := range v.verdict.Lossy {
			d.Lossy = append(d.Lossy, v.addr+": "+why)
		}
		for _, why := range v.verdict.Windows {
			d.Windows = append(d.Windows, v.addr+": "+why)
		}
		if v.ahead.Abs() > d.Ahead.Abs() {
			d.Ahead = v.ahead
		}
	}
	for addr, err := range w.failed {
		d.Failing = append(d.Failing, addr+": "+err.Error())
	}
	d.Copied = w.twin
	slices.Sort(d.Failing)
	return d
}

// unwritten is why the notes cannot be kept now.
func (h *heads) unwritten() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.failing)
}
