package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"latchkey/authcore/store"
)

// One commit takes at most so many batches and bytes: what a slow disk syncs in some tens of milliseconds.
const (
	groupRequests = 256
	groupBytes    = 8 << 20
)

// request is one batch on its way to the writer, or a job that runs in a transaction of its own.
type request struct {
	ctx       context.Context
	partition string
	ops       []store.Op // the values are copies: the caller may be gone before they are written
	size      int
	job       func(*writer) error
	done      chan result        // takes one without waiting
	tell      func(int64, error) // instead, where nobody waits
}

func (req *request) answer(res result) {
	if req.tell != nil {
		req.tell(res.revision, res.err)
		return
	}
	req.done <- res
}

type result struct {
	revision int64
	err      error
}

// Apply keeps store.Records. Once the writer has taken the batch, a context that ends only ends the waiting: the batch
// may be written.
func (db *DB) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	if err := store.CheckBatch(partition, ops); err != nil {
		return 0, err
	}
	req := newRequest(ctx, partition, ops)
	if err := db.send(ctx, req); err != nil {
		return 0, err
	}
	select {
	case res := <-req.done:
		return res.revision, res.err
	case <-ctx.Done():
		return 0, fmt.Errorf("apply to %q, perhaps written: %w", partition, ctx.Err())
	}
}

// do runs a job on the writer and waits for its end.
func (db *DB) do(ctx context.Context, job func(*writer) error) error {
	req := &request{ctx: ctx, job: job, done: make(chan result, 1)}
	if err := db.send(ctx, req); err != nil {
		return err
	}
	return (<-req.done).err
}

func (db *DB) send(ctx context.Context, req *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case db.queue <- req:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return errClosed
	}
}

func newRequest(ctx context.Context, partition string, ops []store.Op) *request {
	req := &request{ctx: ctx, partition: partition, ops: make([]store.Op, len(ops)), done: make(chan result, 1)}
	for i, op := range ops {
		op.Value = bytes.Clone(op.Value)
		req.ops[i] = op
	}
	req.size = bytesOf(req.ops)
	return req
}

func bytesOf(ops []store.Op) (n int) {
	for i := range ops {
		n += len(ops[i].Name) + len(ops[i].Value)
	}
	return n
}

// writer is the only connection that writes. Its goroutine owns it.
type writer struct {
	*conn
	path   string
	now    func() time.Time
	recent *recent
	soon   *soon
	row    row

	begin, commit, rollback *stmt
	get, put, insert        *stmt
	remove                  *stmt
	head, putHead           *stmt
	expired, anyRecords     *stmt

	heads map[string]int64 // highest revisions of the partitions in this transaction
	known map[string]int64 // those that this writer, the only one, has committed last
}

// maxKnown bounds known: some 10 MB of domains.
const maxKnown = 100_000

func newWriter(c *conn, path string, now func() time.Time, held *recent, waiting *soon) (*writer, error) {
	w := &writer{conn: c, path: path, now: now, recent: held, soon: waiting, heads: make(map[string]int64), known: make(map[string]int64)}
	err := c.prepareAll(map[**stmt]string{
		&w.begin:    "BEGIN IMMEDIATE",
		&w.commit:   "COMMIT",
		&w.rollback: "ROLLBACK",
		&w.get:      selectOne,
		&w.put: `INSERT INTO record (partition, name, revision, expires, crc, value) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (partition, name) DO UPDATE SET
			revision = excluded.revision, expires = excluded.expires, crc = excluded.crc, value = excluded.value`,
		&w.insert: `INSERT INTO record (partition, name, revision, expires, crc, value) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (partition, name) DO NOTHING`,
		&w.remove: "DELETE FROM record WHERE partition = ? AND name = ?",
		&w.head:   "SELECT revision, crc FROM partition WHERE name = ?",
		&w.putHead: `INSERT INTO partition (name, revision, crc) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, crc = excluded.crc`,
		&w.expired: "SELECT partition, name, " + columns + ` FROM record
			WHERE expires > 0 AND expires <= ? AND (expires, partition, name) > (?, ?, ?)
			ORDER BY expires, partition, name LIMIT ?`,
		&w.anyRecords: "SELECT EXISTS (SELECT 1 FROM record) OR EXISTS (SELECT 1 FROM partition)",
	})
	if err != nil {
		return nil, explain(path, err)
	}
	return w, nil
}

// run takes requests until the store closes; what it has taken it answers.
func (w *writer) run(queue <-chan *request, closing <-chan struct{}) {
	defer w.finish()
	var group []*request
	for {
		var job *request
		select {
		case first := <-queue:
			group, job = gather(w.soon.take(group[:0]), first, queue)
		case <-w.soon.due:
			group, job = gather(w.soon.take(group[:0]), nil, queue)
		case <-closing:
			w.finishSoon(group)
			return
		}
		w.commitGroup(group)
		clear(group) // until there is another one it is nobody's
		if job != nil {
			w.do(job)
		}
	}
}

func (w *writer) do(req *request) {
	err := req.job(w)
	w.recent.settle()
	clear(w.known) // a job may have written any
	req.answer(result{err: err})
}

// finishSoon writes what was taken on.
func (w *writer) finishSoon(group []*request) {
	w.soon.close()
	for group = w.soon.take(group[:0]); len(group) > 0; group = w.soon.take(group[:0]) {
		w.commitGroup(group)
	}
}

// finish moves the log into the database, so that an orderly stop leaves one whole file.
func (w *writer) finish() {
	_ = w.exec("PRAGMA wal_checkpoint(TRUNCATE)") // a snapshot may hold it up: the log then stays, and is good
	w.close()
}

// gather adds the callers that are waiting already to those who are not. A job ends the group. The writer steps aside once,
// so that those whom the last commit woke get in line: a fifth more commits with 32 callers.
func gather(group []*request, first *request, queue <-chan *request) (_ []*request, job *request) {
	size := 0
	if first != nil {
		if first.job != nil {
			return group, first
		}
		group, size = append(group, first), first.size
		runtime.Gosched()
	}
	for len(group) < groupRequests && size < groupBytes {
		select {
		case next := <-queue:
			if next.job != nil {
				return group, next
			}
			group = append(group, next)
			size += next.size
		default:
			return group, nil
		}
	}
	return group, nil
}

// commitGroup writes the group in one transaction and then answers each. If a statement fails, the others are not
// charged for it: each batch is tried alone. After a failed commit nobody knows what was written, so all hear that.
func (w *writer) commitGroup(group []*request) {
	if len(group) == 0 {
		return
	}
	results := make([]result, len(group))
	err := w.transactGroup(group, results)
	w.recent.settle()
	if errors.Is(err, errBeforeCommit) && len(group) > 1 {
		for i := range group {
			w.commitGroup(group[i : i+1])
		}
		return
	}
	for i, req := range group {
		if err != nil && results[i].err == nil {
			results[i] = result{err: fmt.Errorf("apply to %q: %w", req.partition, explain(w.path, err))}
		}
		req.answer(results[i])
	}
}

// errBeforeCommit marks failures after which nothing was written for certain.
var errBeforeCommit = errors.New("nothing was written")

// transactGroup answers an error if the transaction as a whole failed; results hold what became of single batches.
func (w *writer) transactGroup(group []*request, results []result) error {
	clear(w.heads)
	if err := w.begin.exec(); err != nil {
		return fmt.Errorf("%w: %w", errBeforeCommit, err)
	}
	wrote := false
	for i, req := range group {
		revision, err := w.batch(req)
		if err != nil && !isVerdict(err) {
			_ = w.rollback.exec()
			return fmt.Errorf("%w: %w", errBeforeCommit, err)
		}
		results[i] = result{revision, err}
		wrote = wrote || err == nil
	}
	if !wrote {
		return w.rollback.exec()
	}
	if err := w.flushHeads(); err != nil {
		_ = w.rollback.exec()
		return fmt.Errorf("%w: %w", errBeforeCommit, err)
	}
	if err := w.commit.exec(); err != nil {
		_ = w.rollback.exec() // SQLite may have done it already
		return err
	}
	w.learnHeads()
	return nil
}

// isVerdict reports whether err is about one batch, found before it wrote anything, and the transaction goes on.
func isVerdict(err error) bool {
	for _, verdict := range []error{store.ErrConflict, store.ErrCorrupt, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, verdict) {
			return true
		}
	}
	return false
}
