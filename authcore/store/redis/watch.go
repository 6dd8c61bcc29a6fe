package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// Rules of the watch. It has connections of its own and looks at every master twice a second: at the heads of all
// groups, at the alarms of others, at who else is alive. A master is known by its replication id, which is a new one
// after each start, promotion or change of data set under it (redis 7.0 replication.c: changeReplicationId,
// shiftReplicationId). A connection to one that this watch has not opened is refused (greet). It opens a master when
//
//   - it has the role, and the gate lets its settings pass,
//   - its heads are not below what this node has seen, and a WAIT behind the reading was acknowledged,
//   - every node that was alive has said the same of it, or was silent for silentFor: so that nobody allows anything on
//     data from which a write is missing that only its writer knows of.
//
// A master whose replicas have not acknowledged a reading for staleAfter is not answered from: another one may have
// been promoted behind its back.

const (
	lookEvery   = 500 * time.Millisecond
	hurryEvery  = 50 * time.Millisecond // while a master is not open
	lookWithin  = time.Second           // one look, all its commands
	waitWithin  = 500 * time.Millisecond
	syncWithin  = 1200 * time.Millisecond // instead, where the server syncs every second
	staleAfter  = 2500 * time.Millisecond // below the down-after-milliseconds that docs/fleet.md asks for
	silentFor   = 5 * time.Second         // a live node needs one look; a dead one must not hold up the others for long
	aliveFor    = 10 * time.Second        // since the last heartbeat, when the master before was last looked at
	recalledFor = time.Minute             // the same, as the new master has it: it may be behind
	gateEvery   = 10 * time.Second        // how soon a server that turned lossy is noticed
	viewsLimit  = 64                      // masters remembered; more than a Cluster of this size has
)

// watchOptions of startWatch.
type watchOptions struct {
	client     goredis.UniversalClient // the watch's own; it closes it
	heads      *heads
	keys       keys
	node       string // display name
	nonce      string // of this process
	gate       gate
	allowLossy bool
	stale      time.Duration // that replicas may say nothing
	log        *slog.Logger
}

// view is what is known of one master.
type view struct {
	id        string // replication id
	addr      string
	first     time.Time
	looked    time.Time       // last
	acked     time.Time       // when the last look that was acknowledged began
	ahead     time.Duration   // our clock, of the server's; proven
	waiting   map[string]bool // nodes that have not yet found all theirs on it
	open      bool
	verdict   verdict
	inspected time.Time
}

// watch owns its goroutine and its client.
type watch struct {
	o       watchOptions
	now     func() time.Time
	closing context.CancelFunc
	worker  sync.WaitGroup
	rounds  sync.Mutex // held during a round

	mu     sync.Mutex
	views  map[string]*view         // guarded by mu, as all below; by replication id
	groups [groups]*view            // which of them answers for a group; nil: none does
	alarms map[int]map[string]Alarm // by anchor and node, as last seen
	known  map[int]map[string]bool  // by anchor: the nodes that were alive at the last look
	said   map[int]int64            // by anchor: when this process last wrote its heartbeat, by the server's clock
	silent map[string]silence       // by anchor and node: those that are silent for long
	twin   bool                     // another process writes ours
	aof    bool                     // every master knows WAITAOF
	failed map[string]error         // looks that failed in the last round, by address; "" when no master could be found
}

func newWatch(o watchOptions) *watch {
	return &watch{
		o: o, now: time.Now,
		views: map[string]*view{}, alarms: map[int]map[string]Alarm{}, known: map[int]map[string]bool{},
		said: map[int]int64{}, silent: map[string]silence{}, failed: map[string]error{},
	}
}

// startWatch inspects every master, makes the first round and goes on until close. It fails for a server that is lossy
// and for a copied state folder; a rollback is no error here, for the operator has to be able to accept it.
func startWatch(ctx context.Context, o watchOptions) (*watch, error) {
	w := newWatch(o)
	if err := w.join(ctx); err != nil {
		return nil, errors.Join(err, o.client.Close())
	}
	ctx, w.closing = context.WithCancel(context.WithoutCancel(ctx))
	w.worker.Go(func() { w.run(ctx) })
	return w, nil
}

func (w *watch) join(ctx context.Context) error {
	if err := w.inspectAll(ctx); err != nil {
		return err
	}
	if err := w.refuseTwin(ctx); err != nil {
		return err
	}
	for {
		if err := w.round(ctx); err != nil && !errors.Is(err, errUnproven) { // a replica may come later
			return err
		}
		if w.settled() {
			return nil
		}
		select {
		case <-time.After(hurryEvery):
		case <-ctx.Done():
			return fmt.Errorf("wait for the other nodes: %w", ctx.Err())
		}
	}
}

// inspectAll tells all that is wrong with all masters at once.
func (w *watch) inspectAll(ctx context.Context) error {
	shards, err := w.masters(ctx)
	if err != nil {
		return err
	}
	var lossy []error
	aof := true
	for _, s := range shards {
		v, err := w.o.gate.inspect(ctx, s.client)
		if err != nil {
			return err
		}
		aof = aof && v.WaitAOF
		if err := v.err(); err != nil {
			lossy = append(lossy, fmt.Errorf("%s: %w", s.client.Options().Addr, err))
		}
	}
	w.mu.Lock()
	w.aof = aof
	w.mu.Unlock()
	if w.o.allowLossy {
		return nil
	}
	return errors.Join(lossy...)
}

func (w *watch) run(ctx context.Context) {
	for {
		if w.settled() {
			select {
			case <-time.After(lookEvery - hurryEvery):
			case <-w.o.heads.poke:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-time.After(hurryEvery): // so that a flood of pokes is none of looks
		case <-ctx.Done():
			return
		}
		_ = w.round(ctx) // what failed stands in w.failed
	}
}

// settled reports whether no master is held up by nodes that have not looked at it yet. After a rollback nobody is
// waited for.
func (w *watch) settled() bool {
	if w.closed() != nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.groups {
		if v != nil && !v.open && len(v.waiting) > 0 {
			return false
		}
	}
	return true
}

// round looks at every master, then says to each what was found. The first error is answered, for startWatch.
func (w *watch) round(ctx context.Context) error {
	w.rounds.Lock()
	defer w.rounds.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 3*lookWithin)
	defer cancel()
	shards, err := w.masters(ctx)
	if err != nil {
		w.fail(map[string]error{"": err})
		return err
	}
	w.keepAnchors(shards)
	sights, failed := w.lookAll(ctx, shards)
	missing := w.findings(sights)
	for i, s := range shards {
		if sights[i] == nil {
			continue
		}
		if err := w.report(ctx, s, sights[i], missing); err != nil {
			failed[s.client.Options().Addr] = err
		}
	}
	w.fail(failed)
	for _, err := range failed {
		return err
	}
	return nil
}

// keepAnchors forgets what was seen at an anchor that is none any more.
func (w *watch) keepAnchors(shards []master) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gone := func(anchor int) bool {
		return !slices.ContainsFunc(shards, func(s master) bool { return s.anchor() == anchor })
	}
	maps.DeleteFunc(w.alarms, func(anchor int, _ map[string]Alarm) bool { return gone(anchor) })
	maps.DeleteFunc(w.known, func(anchor int, _ map[string]bool) bool { return gone(anchor) })
	maps.DeleteFunc(w.said, func(anchor int, _ int64) bool { return gone(anchor) })
}

func (w *watch) fail(failed map[string]error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = failed
}

// lookAll answers a sight for each shard, nil where it failed.
func (w *watch) lookAll(ctx context.Context, shards []master) ([]*sight, map[string]error) {
	sights := make([]*sight, len(shards))
	errs := make([]error, len(shards))
	var looks sync.WaitGroup
	for i, s := range shards {
		looks.Go(func() { sights[i], errs[i] = w.look(ctx, s) })
	}
	looks.Wait()
	failed := map[string]error{}
	for i, err := range errs {
		if err != nil {
			failed[shards[i].client.Options().Addr] = err
		}
	}
	return sights, failed
}

// acknowledgement is what to send behind writes, and behind the reads of a look.
func (w *watch) acknowledgement(within time.Duration) acknowledgement {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := acknowledgement{replicas: w.o.gate.replicas, aof: w.aof, within: within}
	if a.aof {
		a.within = max(within, syncWithin)
	}
	return a
}

// errNotYet: a repeat a moment later may be let through.
var errNotYet = fmt.Errorf("%w: not yet", store.ErrUnavailable)

// errRefused: a repeat within this call would not be.
var errRefused = fmt.Errorf("%w: refused", store.ErrUnavailable)

// answering says why nothing may be asked of a group now; nil: it may. It is asked before each command.
func (w *watch) answering(group int, write bool) error {
	if err := w.closed(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.groups[group]
	switch {
	case v == nil:
		return fmt.Errorf("%w: no master of group %02x has been looked at", errNotYet, group)
	case !v.open && len(v.waiting) > 0:
		return fmt.Errorf("%w: %s has become the master; %d nodes have not looked at it yet", errNotYet, v.addr, len(v.waiting))
	case !v.open:
		return fmt.Errorf("%w: %s has become the master and was not looked at yet", errNotYet, v.addr)
	case w.o.gate.replicas > 0 && !w.o.allowLossy && w.now().Sub(v.acked) > w.o.stale:
		return fmt.Errorf("%w: the replicas of %s have acknowledged nothing since %s", errRefused, v.addr, v.acked.UTC().Format(time.TimeOnly))
	case write && !w.o.allowLossy && len(v.verdict.Lossy) > 0:
		return fmt.Errorf("%w: %w", errRefused, v.verdict.err())
	}
	return nil
}

// closed answers ErrRolledBack while this node or another one misses something, and refuses a copied state folder.
func (w *watch) closed() error {
	if err := w.o.heads.closed(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, alarms := range w.alarms {
		for _, a := range alarms {
			return fmt.Errorf("%w: %s", ErrRolledBack, a)
		}
	}
	if w.twin {
		return fmt.Errorf("%w: %w", errRefused, errTwin)
	}
	return nil
}

// greet refuses a new connection to a server that is no master, or one that is not open yet. It is called with every
// connection that records and ephemerals use, before anything else is asked on it.
func (w *watch) greet(ctx context.Context, c *goredis.Conn) error {
	text, err := c.Info(ctx, "replication").Result()
	if err != nil {
		return fmt.Errorf("ask a new connection for its master: %w", err)
	}
	info := infoFields(text)
	if info["role"] == "" && w.o.gate.failover && !w.o.gate.cluster {
		return nil // a sentinel: the client greets them too, and only they have no role
	}
	w.mu.Lock()
	v := w.views[info["master_replid"]]
	open := v != nil && v.open
	w.mu.Unlock()
	if open && info["role"] == "master" {
		return nil
	}
	w.o.heads.lookNow()
	return fmt.Errorf("%w: connected to a %s that was not looked at yet", store.ErrUnavailable, info["role"])
}

// close says good-bye to the masters that answer, so that nobody waits for this node.
func (w *watch) close(ctx context.Context) error {
	w.closing()
	w.worker.Wait()
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	if shards, err := w.masters(ctx); err == nil && w.heard() {
		for _, s := range shards {
			_ = w.say(ctx, s, left, w.lastSaid(s)) // a crash says nothing either
		}
	}
	return w.o.client.Close()
}

func (w *watch) lastSaid(s master) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said[s.anchor()]
}

// heard reports whether the heartbeat under this node's id is this process's.
func (w *watch) heard() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.said) > 0 && !w.twin
}

// alarmsNow are all alarms, by node.
func (w *watch) alarmsNow() map[string]Alarm {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]Alarm{}
	for _, alarms := range w.alarms {
		maps.Copy(all, alarms)
	}
	return all
}
