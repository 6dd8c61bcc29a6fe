package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"latchkey/authcore/store"
)

// reader is a connection that reads, with its statements.
type reader struct {
	*conn
	get, forward, backward *stmt
	row                    row
}

const (
	selectOne     = "SELECT " + columns + " FROM record WHERE partition = ? AND name = ?"
	selectForward = "SELECT name, " + columns + " FROM record WHERE partition = ? AND name >= ? AND name < ? ORDER BY name"
)

// beyond is above every name, for a range without an end.
var beyond = strings.Repeat("\xff", store.MaxName+1)

func newReader(path string) (*reader, error) {
	c, err := openConn(path, reading)
	if err != nil {
		return nil, err
	}
	r := &reader{conn: c}
	err = c.prepareAll(map[**stmt]string{
		&r.get:      selectOne,
		&r.forward:  selectForward,
		&r.backward: selectForward + " DESC",
	})
	if err != nil {
		c.close()
		return nil, explain(path, err)
	}
	return r, nil
}

// open answers an error once the store is closed, or ctx has ended.
func (db *DB) open(ctx context.Context) error {
	select {
	case <-db.closing:
		return errClosed
	default:
		return ctx.Err()
	}
}

// borrow waits for a reader; give it back to db.readers.
func (db *DB) borrow(ctx context.Context) (*reader, error) {
	if err := db.open(ctx); err != nil {
		return nil, err
	}
	select {
	case r := <-db.readers:
		return r, nil
	default:
	}
	select {
	case r := <-db.readers:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-db.closing:
		return nil, errClosed
	}
}

func (db *DB) giveBack(r *reader) { db.readers <- r }

// Get keeps store.Records.
func (db *DB) Get(ctx context.Context, k store.Key) (store.Record, error) {
	if err := store.CheckKey(k); err != nil {
		return store.Record{}, err
	}
	if err := db.open(ctx); err != nil {
		return store.Record{}, err
	}
	h, held, begun := db.recent.look(k)
	if !held {
		var err error
		if h, err = db.read(ctx, k); err != nil {
			db.recent.drop(k, begun)
			return store.Record{}, err
		}
	}
	if begun != nil {
		db.recent.keep(k, begun, h)
	}
	if store.Expired(h.expires, db.now()) {
		return store.Record{}, store.ErrNotFound
	}
	if held {
		h.record.Value = bytes.Clone(h.record.Value)
	}
	return h.record, nil
}

// read reads one record from the database.
func (db *DB) read(ctx context.Context, k store.Key) (heldRecord, error) {
	r, err := db.borrow(ctx)
	if err != nil {
		return heldRecord{}, err
	}
	defer db.giveBack(r)
	found, err := r.get.one(r.row.bare(), k.Partition, k.Name)
	if err != nil {
		return heldRecord{}, fmt.Errorf("get %q in %q: %w", k.Name, k.Partition, explain(db.path, err))
	}
	if !found {
		return heldRecord{}, store.ErrNotFound
	}
	rec, expires, err := r.row.record(k.Partition, k.Name)
	return heldRecord{rec, expires}, err
}

// List keeps store.Records. Expired records are passed over here and not by the query: first their checksum must hold.
func (db *DB) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	if err := store.CheckPartition(partition); err != nil {
		return nil, err
	}
	limit, err := q.Limits()
	if err != nil {
		return nil, err
	}
	r, err := db.borrow(ctx)
	if err != nil {
		return nil, err
	}
	defer db.giveBack(r)
	found, err := r.list(ctx, partition, q, limit, db.now().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list %q in %q: %w", q.Prefix, partition, explain(db.path, err))
	}
	return found, nil
}

func (r *reader) list(ctx context.Context, partition string, q store.Query, limit int, now int64) ([]store.Record, error) {
	low, high := q.Range()
	if high == "" {
		high = beyond
	}
	s := r.forward
	if q.Reverse {
		s = r.backward
	}
	var found []store.Record
	err := s.each(r.row.named(), func() (bool, error) {
		rec, expires, err := r.row.record(partition, r.row.name())
		if err != nil {
			return false, err
		}
		if expires == 0 || expires > now {
			found = append(found, rec)
		}
		return len(found) < limit, ctx.Err()
	}, partition, low, high)
	return found, err
}
