// Package sqlite keeps durable records in one SQLite file: the engine of a single node. Whoever hears that a batch was
// written hears it after the disk did. Many batches share one commit; readers never wait for the writer.
//
// It refuses what would lose or hide records: a second process on the same directory, a database that is missing, empty
// or another one while its marker says that a store existed, a database of a newer program, a damaged page, and any
// record whose checksum does not hold. It encrypts nothing: the directory is for its owner alone.
//
// Rules of this package. A connection belongs to one goroutine at a time. The database file is opened by SQLite only:
// closing a descriptor of our own would drop the locks that SQLite holds on it (POSIX record locks are per process).
// Contexts are looked at between rows and before writing and are not handed to SQLite, which would cost a goroutine a
// statement; no statement here runs for long.
package sqlite

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// Names of the files in the data directory.
const (
	databaseName = "records.db"
	markerName   = "store.id"
	lockName     = "lock"
)

// Options of Open. Dir is required.
type Options struct {
	Dir        string           // the data directory, made with mode 0700 if it is not there
	Marker     string           // file that says that a store existed; empty: store.id in Dir
	Now        func() time.Time // nil: time.Now
	Readers    int              // connections that read; 0: twice the processors, 4 to 16
	SweepEvery time.Duration    // how often expired records are deleted; 0: DefaultSweepEvery
	Log        *slog.Logger     // told of corrupt records and failures that the sweep meets; nil: nobody
}

// DefaultSweepEvery suits records that expire after minutes to months; until swept they only take room.
const DefaultSweepEvery = time.Minute

// DB is an open store. It keeps store.Records, store.Snapshotter and store.Restorer, safe for concurrent use.
type DB struct {
	path string
	id   string
	now  func() time.Time
	log  *slog.Logger
	lock *dirLock

	recent  *recent
	soon    *soon
	readers chan *reader  // those that nobody uses
	queue   chan *request // unbuffered: the callers that wait are the queue, each bounded by its context
	closing chan struct{}
	workers sync.WaitGroup // writer, sweeper

	mu        sync.Mutex
	closed    bool           // guarded by mu
	snapshots sync.WaitGroup // Add under mu, while not closed
}

// Open opens the store in o.Dir, or makes one where none existed. It answers ErrLocked (a LockedError) if another
// process holds the directory, ErrLost, ErrNewer, and ErrCorrupt for a database that is none.
func Open(ctx context.Context, o Options) (*DB, error) {
	return open(ctx, o, migrations)
}

func open(ctx context.Context, o Options, steps []migration) (*DB, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	if err := prepareDir(o.Dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	db, err := openLocked(o, steps)
	if err != nil {
		lock.release()
		return nil, fmt.Errorf("open the store in %s: %w", o.Dir, err)
	}
	db.lock = lock
	return db, nil
}

func (o Options) filled() (Options, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil || o.Dir == "" {
		return o, fmt.Errorf("data directory %q: not a path", o.Dir)
	}
	o.Dir = dir
	if o.Marker == "" {
		o.Marker = filepath.Join(dir, markerName)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Readers <= 0 {
		o.Readers = min(max(4, 2*runtime.GOMAXPROCS(0)), 16)
	}
	if o.SweepEvery <= 0 {
		o.SweepEvery = DefaultSweepEvery
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// openLocked runs once the directory is ours.
func openLocked(o Options, steps []migration) (*DB, error) {
	path := filepath.Join(o.Dir, databaseName)
	first, id, err := openStore(path, o.Marker, steps)
	if err != nil {
		return nil, err
	}
	held, waiting := newRecent(), newSoon()
	w, err := newWriter(first, path, o.Now, held, waiting)
	if err != nil {
		first.close()
		return nil, err
	}
	db := &DB{
		path:    path,
		id:      id,
		now:     o.Now,
		log:     o.Log,
		recent:  held,
		soon:    waiting,
		readers: make(chan *reader, o.Readers),
		queue:   make(chan *request),
		closing: make(chan struct{}),
	}
	for range o.Readers {
		r, err := newReader(path)
		if err != nil {
			db.closeReaders(len(db.readers))
			first.close()
			return nil, err
		}
		db.readers <- r
	}
	db.workers.Go(func() { w.run(db.queue, db.closing) })
	db.workers.Go(func() { db.sweep(o.SweepEvery) })
	return db, nil
}

// ID is the random name that the store was given when it was made.
func (db *DB) ID() string { return db.id }

// Close ends the store: batches that the writer has taken are finished, later calls end with ErrUnavailable. It waits
// for readers and snapshots.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	close(db.closing)
	db.mu.Unlock()

	db.workers.Wait()
	db.snapshots.Wait()
	db.closeReaders(cap(db.readers))
	return db.lock.release()
}

func (db *DB) closeReaders(n int) {
	for range n {
		(<-db.readers).close()
	}
}

var errClosed = fmt.Errorf("%w: it is closed", store.ErrUnavailable)
