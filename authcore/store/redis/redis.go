// Package redis keeps records, ephemerals and the bus of a fleet on Redis 7: standalone, Sentinel or Cluster. Whoever
// hears that a batch was written hears it after the server, and the replicas that were asked for, did.
//
// It refuses what would lose or hide records: a record whose checksum does not hold, a group of partitions that stands
// below what this node has seen of it (ErrRolledBack), a store that a restore left half full. It reads from masters
// only, and every call ends within callLimit, with store.ErrUnavailable if the server could not be reached or did not
// acknowledge. It never says that a record is absent when it only could not ask.
//
// A snapshot shows one instant over all groups, in a Cluster too: writers hold for the milliseconds in which it is marked
// (snapshot.go). What it cannot have is time: it lapses when nobody reads on for half a minute, or the server is away.
//
// Rules of this package. A partition belongs to one of 256 groups (keys.go); all keys of a group share a hash tag, so
// that a script may touch them in a Cluster. All commands go through DB.do, which may send them twice: what must not
// happen twice says so by an id of its own.
package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// The modes of a server.
const (
	Standalone = "standalone"
	Sentinel   = "sentinel"
	Cluster    = "cluster"
)

// callLimit bounds one call with everything in it: dialling, waiting for a connection, repeating. A sign-in has 2 s.
const callLimit = 1500 * time.Millisecond

// limits are when a call, the bus and a reader give up. Nobody sets them but tests of what they do when the server has little time.
type limits struct {
	call   time.Duration // 0: callLimit
	silent int           // beats of the bus that may stay away; 0: maxSilent
	stale  time.Duration // that replicas may say nothing; 0: staleAfter
}

// Options of Open.
type Options struct {
	Mode             string   // Standalone, Sentinel or Cluster
	Addresses        []string // of the server, the sentinels, or some of the cluster's nodes
	MasterName       string   // Sentinel
	User             string
	Password         secret.String
	SentinelUser     string
	SentinelPassword secret.String
	TLS              *tls.Config     // nil: plain
	Database         int             // 0 for a cluster
	Prefix           string          // of every key; empty: "latchkey"
	Replicas         int             // how many of them acknowledge each write; for zero loss all that there are
	AllowLossy       bool            // open a server that may lose what it acknowledged
	StateDir         string          // 0700, this node's own: its id, the highest revisions it has seen
	Node             string          // display name
	Local            store.Ephemeral // counts sets while Redis cannot be asked; nil: nobody does
	Restoring        bool            // open what an interrupted Restore left, to restore again
	Log              *slog.Logger

	limits limits
}

var errClosed = fmt.Errorf("%w: it is closed", store.ErrUnavailable)

// DB is an open store, safe for concurrent use.
type DB struct {
	options Options
	log     *slog.Logger
	keys    keys
	id      string
	heads   *heads
	watch   *watch
	router  *router

	records   *Records
	ephemeral *Ephemeral
	bus       *Bus

	witness string       // the field of a head that holds this node's last revision
	run     string       // random, of this process: batches are named by it and a number
	batches atomic.Int64 // so many
	words   wordsPool

	closing chan struct{}
	workers sync.WaitGroup // owned by Close
	close   sync.Once
}

// Open dials the server, asks that it is durable, and loads what this node has seen. ctx bounds the opening alone.
func Open(ctx context.Context, o Options) (*DB, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	db := &DB{options: o, log: o.Log, keys: keys{prefix: o.Prefix}, run: randomID(), closing: make(chan struct{})}
	db.records, db.ephemeral, db.bus = &Records{db: db}, newEphemeral(db), newBus(db)
	if err := db.open(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open the store on redis: %w", err)
	}
	return db, nil
}

func (o Options) filled() (Options, error) {
	switch {
	case o.Mode != Standalone && o.Mode != Sentinel && o.Mode != Cluster:
		return o, fmt.Errorf("redis: mode %q is none", o.Mode)
	case len(o.Addresses) == 0:
		return o, errors.New("redis: no address")
	case o.Mode == Sentinel && o.MasterName == "":
		return o, errors.New("redis: a sentinel needs the master's name")
	case o.Mode == Cluster && o.Database != 0:
		return o, errors.New("redis: a cluster has database 0 alone")
	case strings.ContainsAny(o.Prefix, "{}"):
		return o, errors.New("redis: the prefix has a brace, which would take the keys of a group apart")
	}
	if o.Prefix == "" {
		o.Prefix = "latchkey"
	}
	o.limits = limits{cmp.Or(o.limits.call, callLimit), cmp.Or(o.limits.silent, maxSilent), cmp.Or(o.limits.stale, staleAfter)}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// open is the steps of Open, in their order.
func (db *DB) open(ctx context.Context) (err error) {
	if db.heads, err = openHeads(db.options.StateDir, db.options.Replicas == 0, db.log); err != nil {
		return err
	}
	db.witness = "n:" + db.heads.id()
	if db.watch, err = startWatch(ctx, db.watchOptions()); err != nil {
		return err
	}
	if db.router, err = newRouter(ctx, db); err != nil {
		return err
	}
	if db.id, err = db.identify(ctx); err != nil {
		return err
	}
	if other := db.heads.belongs(db.id); other != "" && db.watch.closed() == nil {
		return fmt.Errorf("the notes in %s are of the store %s, and this is %s: give this node a folder of its own", db.options.StateDir, other, db.id)
	}
	db.workers.Go(db.sweep)
	return nil
}

// Records keeps store.Records, store.Snapshotter and store.Restorer.
func (db *DB) Records() *Records { return db.records }

// Ephemeral keeps store.Ephemeral.
func (db *DB) Ephemeral() *Ephemeral { return db.ephemeral }

// Bus keeps store.Bus. It connects when it is used first.
func (db *DB) Bus() *Bus { return db.bus }

// ID is the random name that the store was given when it was made; it is kept in it.
func (db *DB) ID() string { return db.id }

// NodeID is the random name of this node, kept in its StateDir.
func (db *DB) NodeID() string { return db.heads.id() }

// Close ends the store: pipelines under way are finished, later calls end with store.ErrUnavailable.
func (db *DB) Close() error {
	var err error
	db.close.Do(func() {
		db.bus.close()
		close(db.closing)
		db.workers.Wait()
		if db.router != nil {
			err = db.router.close()
		}
		if db.watch != nil {
			err = errors.Join(err, db.watch.close(context.Background()))
		}
		if db.heads != nil {
			err = errors.Join(err, db.heads.close())
		}
	})
	return err
}

// identify answers the store's id; the first node that comes makes it.
func (db *DB) identify(ctx context.Context) (string, error) {
	meta := db.keys.meta()
	id := randomID()
	if db.watch.closed() != nil {
		id = db.heads.store() // the store was perhaps emptied: it stays the one it was
	}
	pipe := db.watch.o.client.Pipeline() // greets nobody, so that a store that was rolled back can be opened and accepted
	pipe.HSetNX(ctx, meta, "id", id)
	read := pipe.HMGet(ctx, meta, "id", "restoring", "restored")
	if _, err := pipe.Exec(ctx); err != nil && !isWrongType(err) {
		return "", unavailable(err)
	}
	fields, err := read.Result()
	if err != nil {
		return "", fmt.Errorf("%w: the store's own record: %w", store.ErrCorrupt, err)
	}
	id, isText := fields[0].(string)
	if !isText || id == "" {
		return "", fmt.Errorf("%w: the store has no id", store.ErrCorrupt)
	}
	if restoring, _ := fields[1].(string); restoring != "" && !db.options.Restoring {
		return "", ErrHalfRestored
	}
	if restored, _ := fields[2].(string); restored != "" {
		return id, db.finishRestore(ctx, restored)
	}
	return id, nil
}

// ErrHalfRestored: a restore into this store did not end. Restore again; it begins anew.
var ErrHalfRestored = errors.New("a restore into this store was interrupted: restore again")
