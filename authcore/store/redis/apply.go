package redis

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

//go:embed apply.lua
var applySource string

var applyScript = newScript(applySource)

// What apply.lua answers first.
const (
	answerWritten    = 1
	answerConflict   = 2
	answerCorrupt    = 3
	answerRolledBack = 4
	answerHeld       = 5
)

// heldPause is how long a batch waits before it asks again whether a snapshot has begun.
const heldPause = 5 * time.Millisecond

// Apply keeps store.Records: one script, which a repeat of the same batch finds done. An Apply that ends with
// store.ErrUnavailable or the context's error may have been written.
func (r *Records) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	if err := store.CheckBatch(partition, ops); err != nil {
		return 0, err
	}
	if err := r.db.heads.closed(); err != nil {
		return 0, err
	}
	b := r.newBatch(partition, ops)
	revision, answer, err := b.run(ctx)
	if answer == answerHeld {
		revision, err = b.held(ctx)
	}
	r.db.words.put(b.words)
	if err != nil {
		return 0, fmt.Errorf("apply to %q: %w", partition, err)
	}
	return revision, nil
}

// batch is one Apply: its arguments are copies, for the caller may be gone before they are sent.
type batch struct {
	db     *DB
	group  int
	ops    []store.Op // the caller's, for their names while he waits
	before head       // what was known of the group before it was sent
	words  *words
}

func (r *Records) newBatch(partition string, ops []store.Op) *batch {
	w, group := r.db.words.get(), groupOf(partition)
	b := &batch{db: r.db, group: group, ops: ops, before: r.db.heads.seen(group), words: w}
	prefix := r.db.keys.group(group)
	w.add(prefix, "h")
	w.add(prefix, "p")
	w.add(prefix, "i:", partition)
	w.add(prefix, "x")
	w.add(prefix, "b:", r.db.nextBatch())
	w.add(prefix, "o")
	w.add(prefix, "O")
	within := member(partition, "")
	for i := range ops {
		w.add(prefix, "r:", within, ops[i].Name)
	}
	w.add(partition)
	w.add(r.db.witness)
	w.number(b.before.Revision)
	w.number(b.before.Witness)
	w.add(within)
	for i := range ops {
		w.step(partition, &ops[i])
	}
	return b
}

// step writes the arguments of one op.
func (w *words) step(partition string, op *store.Op) {
	w.add(kinds[op.Kind])
	w.add(op.Name)
	if op.IfRevision != store.AnyRevision {
		w.text = binary.BigEndian.AppendUint64(w.text, uint64(op.IfRevision))
	}
	w.end()
	if op.Kind == store.Put {
		expires := store.Milliseconds(op.ExpiresAt)
		w.number(expires)
		w.text = appendBody(w.text, partition, op.Name, expires, op.Value)
		w.end()
	}
}

// kinds are the steps in the words of apply.lua. Never changed.
var kinds = [...]string{store.Put: "p", store.Delete: "d", store.Check: "c"}

// run sends the batch and answers what became of it, first in the words of apply.lua.
func (b *batch) run(ctx context.Context) (revision int64, answer int64, err error) {
	call := applyScript.run(ctx, 7+len(b.ops), b.words)
	if err := b.db.do(ctx, b.group, true, call); err != nil {
		return 0, 0, err
	}
	reply, err := numbers(call.Cmd)
	if err != nil {
		return 0, 0, err
	}
	switch reply[0] {
	case answerWritten:
		b.db.heads.wrote(b.group, b.before, reply[1])
		return reply[1], answerWritten, nil
	case answerConflict:
		return 0, answerConflict, fmt.Errorf("record %q: %w", b.ops[reply[1]-1].Name, store.ErrConflict)
	case answerCorrupt:
		return 0, answerCorrupt, fmt.Errorf("%w: record %q is not what was written", store.ErrCorrupt, b.ops[reply[1]-1].Name)
	case answerRolledBack:
		return 0, answerRolledBack, b.db.heads.check(b.group, b.before, reply[1], reply[2])
	}
	return 0, answerHeld, errHeld
}

var errHeld = fmt.Errorf("%w: writes are held for a snapshot that did not begin, or for a restore", store.ErrUnavailable)

// held repeats the batch until the snapshot that holds writers has begun: some milliseconds.
func (b *batch) held(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.db.options.limits.call, errHeld)
	defer cancel()
	for sleep(ctx, heldPause) {
		if revision, answer, err := b.run(ctx); answer != answerHeld {
			return revision, err
		}
	}
	return 0, context.Cause(ctx)
}

// numbers is a reply of integers. There is one at least, and two behind everything but answerHeld. One alone is the
// revision of a batch that was written.
func numbers(cmd *goredis.Cmd) (all [3]int64, err error) { // answers have three at most
	switch reply := cmd.Val().(type) {
	case int64:
		return [3]int64{answerWritten, reply}, nil
	case []any:
		if len(reply) == 0 || len(reply) > len(all) {
			return all, errForeignReply
		}
		for i, v := range reply {
			n, isNumber := v.(int64)
			if !isNumber {
				return all, errForeignReply
			}
			all[i] = n
		}
		return all, nil
	}
	switch err := cmd.Err(); {
	case isWrongType(err):
		return all, fmt.Errorf("%w: an index or a head is not what was written", store.ErrCorrupt)
	case err != nil:
		return all, unavailable(err)
	}
	return all, errForeignReply
}

// nextBatch answers an id that no batch of any node has.
func (db *DB) nextBatch() string {
	return db.run + strconv.FormatInt(db.batches.Add(1), 36)
}
