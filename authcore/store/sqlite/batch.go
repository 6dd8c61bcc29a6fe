package sqlite

import (
	"database/sql/driver"
	"fmt"

	"latchkey/authcore/store"
)

// batch applies one request within the open transaction. Everything is read and judged before anything is written, so
// that a refusal leaves no trace and needs no savepoint.
func (w *writer) batch(req *request) (int64, error) {
	if err := req.ctx.Err(); err != nil {
		return 0, err // the caller is gone and was told so
	}
	if revision, done, err := w.putNew(req); done || err != nil {
		return revision, err
	}
	now := w.now().UnixMilli()
	for i := range req.ops {
		if err := w.judge(req.partition, &req.ops[i], now); err != nil {
			return 0, err
		}
	}
	highest, err := w.highest(req.partition)
	if err != nil {
		return 0, err
	}
	revision := highest + 1
	for i := range req.ops {
		if err := w.write(req.partition, revision, &req.ops[i]); err != nil {
			return 0, err
		}
	}
	w.heads[req.partition] = revision
	return revision, nil
}

// putNew applies a batch of one record that must not be there, as an audit entry is, without looking first. false: something
// is there, perhaps expired, and nothing was written.
func (w *writer) putNew(req *request) (revision int64, done bool, err error) {
	if len(req.ops) != 1 || req.ops[0].Kind != store.Put || req.ops[0].IfRevision != 0 {
		return 0, false, nil
	}
	highest, err := w.highest(req.partition)
	if err != nil {
		return 0, false, err
	}
	op := &req.ops[0]
	revision = highest + 1
	n, err := w.putWith(w.insert, req.partition, store.Record{Name: op.Name, Value: op.Value, Revision: revision, ExpiresAt: op.ExpiresAt})
	if err != nil || n == 0 {
		return 0, false, err
	}
	w.heads[req.partition] = revision
	return revision, true, nil
}

// judge holds the op's condition against the record as the transaction sees it.
func (w *writer) judge(partition string, op *store.Op, now int64) error {
	if op.IfRevision == store.AnyRevision {
		return nil
	}
	found, err := w.get.one(w.row.bare(), partition, op.Name)
	if err != nil {
		return err
	}
	var revision int64 // 0: absent
	if found {
		rec, expires, err := w.row.record(partition, op.Name)
		if err != nil {
			return err
		}
		if expires == 0 || expires > now {
			revision = rec.Revision
		}
	}
	if revision != op.IfRevision {
		return fmt.Errorf("record %q: %w", op.Name, store.ErrConflict)
	}
	return nil
}

func (w *writer) write(partition string, revision int64, op *store.Op) error {
	switch op.Kind {
	case store.Put:
		return w.putRecord(partition, store.Record{Name: op.Name, Value: op.Value, Revision: revision, ExpiresAt: op.ExpiresAt})
	case store.Delete:
		return w.removeRecord(partition, op.Name)
	}
	return nil
}

func (w *writer) removeRecord(partition, name string) error {
	w.recent.change(store.Key{Partition: partition, Name: name})
	return w.remove.exec(partition, name)
}

func (w *writer) putRecord(partition string, r store.Record) error {
	_, err := w.putWith(w.put, partition, r)
	return err
}

// putWith answers how many records were written.
func (w *writer) putWith(s *stmt, partition string, r store.Record) (int64, error) {
	value := r.Value
	if value == nil {
		value = []byte{} // nil would be NULL
	}
	expires := store.Milliseconds(r.ExpiresAt)
	w.recent.change(store.Key{Partition: partition, Name: r.Name})
	return s.change(partition, r.Name, r.Revision, expires, w.row.checksum(partition, r.Name, r.Revision, expires, value), value)
}

// highest answers the highest revision that the partition has given out, 0 for a new one.
func (w *writer) highest(partition string) (int64, error) {
	if revision, known := w.heads[partition]; known {
		return revision, nil
	}
	if revision, known := w.known[partition]; known {
		return revision, nil
	}
	var pair [2]driver.Value
	found, err := w.head.one(pair[:], partition)
	if err != nil || !found {
		return 0, err
	}
	return w.row.head(partition, pair[0], pair[1])
}

func (w *writer) flushHeads() error {
	for partition, revision := range w.heads {
		if err := w.writeHead(partition, revision); err != nil {
			return err
		}
	}
	return nil
}

// learnHeads remembers what was committed.
func (w *writer) learnHeads() {
	if len(w.known) > maxKnown {
		clear(w.known)
	}
	for partition, revision := range w.heads {
		w.known[partition] = revision
	}
}

// writeHead writes what known is not sure of until the transaction is committed.
func (w *writer) writeHead(partition string, revision int64) error {
	delete(w.known, partition)
	return w.putHead.exec(partition, revision, w.row.headChecksum(partition, revision))
}
