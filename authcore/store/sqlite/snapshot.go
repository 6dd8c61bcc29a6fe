package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"iter"

	"latchkey/authcore/store"
)

// Snapshot keeps store.Snapshotter. It holds one read transaction from its first step to its last; meanwhile the
// write-ahead log grows by what is written.
func (db *DB) Snapshot(ctx context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if !db.enterSnapshot() {
			yield(store.Entry{}, errClosed)
			return
		}
		defer db.snapshots.Done()
		stopped := false
		step := func(e store.Entry, err error) bool {
			stopped = !yield(e, err)
			return !stopped
		}
		if err := db.walk(ctx, step); err != nil && !stopped {
			yield(store.Entry{}, fmt.Errorf("snapshot: %w", explain(db.path, err)))
		}
	}
}

func (db *DB) enterSnapshot() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if !db.closed {
		db.snapshots.Add(1)
	}
	return !db.closed
}

// walk runs over the store on a connection of its own.
func (db *DB) walk(ctx context.Context, yield func(store.Entry, error) bool) error {
	c, err := openConn(db.path, reading)
	if err != nil {
		return err
	}
	defer c.close()
	w := walker{db: db, ctx: ctx, yield: yield, now: db.now().UnixMilli()}
	var heads *stmt
	err = c.prepareAll(map[**stmt]string{
		&heads:     "SELECT name, revision, crc FROM partition ORDER BY name",
		&w.records: "SELECT name, " + columns + " FROM record WHERE partition = ? ORDER BY name",
	})
	if err != nil {
		return err
	}
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	var head [3]driver.Value
	return heads.each(head[:], func() (bool, error) { return w.partition(text(head[0]), head[1], head[2]) })
}

// walker is a snapshot on its way.
type walker struct {
	db      *DB
	ctx     context.Context
	yield   func(store.Entry, error) bool
	now     int64
	records *stmt
	row     row
}

func (w *walker) partition(name string, revision, crc driver.Value) (bool, error) {
	highest, err := w.row.head(name, revision, crc)
	more := w.yield(store.Entry{Partition: name, Highest: highest}, err)
	if !more {
		return false, nil
	}
	err = w.records.each(w.row.named(), func() (bool, error) {
		if err := w.stopped(); err != nil {
			return false, err
		}
		rec, expires, err := w.row.record(name, w.row.name())
		if expires == 0 || expires > w.now {
			more = w.yield(store.Entry{Partition: name, Record: rec}, err)
		}
		return more, nil
	}, name)
	return more, cmp.Or(err, w.stopped())
}

func (w *walker) stopped() error {
	select {
	case <-w.db.closing:
		return errClosed
	default:
		return w.ctx.Err()
	}
}

// Restore keeps store.Restorer: one transaction on the writer, however long it takes. It takes constant memory.
func (db *DB) Restore(ctx context.Context, entries iter.Seq2[store.Entry, error]) error {
	err := db.do(ctx, func(w *writer) error {
		return w.transact(func() error { return w.restore(ctx, entries) })
	})
	if err != nil {
		return fmt.Errorf("restore: %w", explain(db.path, err))
	}
	return nil
}

func (w *writer) restore(ctx context.Context, entries iter.Seq2[store.Entry, error]) error {
	var exists [1]driver.Value
	if _, err := w.anyRecords.one(exists[:]); err != nil {
		return err
	}
	if exists[0] != int64(0) {
		return store.ErrNotEmpty
	}
	var head store.Entry
	for e, err := range entries {
		if err = cmp.Or(err, ctx.Err()); err == nil {
			err = e.Check(head)
		}
		if err != nil {
			return err
		}
		if e.IsHead() {
			head = e
			err = w.writeHead(e.Partition, e.Highest)
		} else {
			err = w.putRecord(e.Partition, e.Record)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
