package redis

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

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
	if err != nil {
		return 0, fmt.Errorf("apply to %q: %w", partition, err)
	}
	return revision, nil
}

// batch is one Apply: its arguments are copies, for the caller may be gone before they are sent.
type batch struct {
	db     *DB
	group  int
	names  []string // of the steps
	before head     // what was known of the group before it was sent
	keys   []string
	args   []any
}

func (r *Records) newBatch(partition string, ops []store.Op) *batch {
	k, group := r.db.keys, groupOf(partition)
	b := &batch{db: r.db, group: group, before: r.db.heads.seen(group)}
	prefix, id := k.group(group), r.db.nextBatch()
	records := prefix + "r:" + member(partition, "")
	b.keys = append(make([]string, 0, 7+len(ops)),
		prefix+"h", prefix+"p", prefix+"i:"+partition, prefix+"x", prefix+"b:"+id, prefix+"o", prefix+"O")
	b.args = append(make([]any, 0, 5+5*len(ops)),
		partition, r.db.witness, b.before.Revision, b.before.Witness, member(partition, ""))
	b.names = make([]string, len(ops))
	for i := range ops {
		b.names[i] = ops[i].Name
		b.keys = append(b.keys, records+ops[i].Name)
		b.step(partition, &ops[i])
	}
	return b
}

// step adds the arguments of one op.
func (b *batch) step(partition string, op *store.Op) {
	want := ""
	if op.IfRevision != store.AnyRevision {
		want = string(binary.BigEndian.AppendUint64(nil, uint64(op.IfRevision)))
	}
	switch op.Kind {
	case store.Put:
		expires := store.Milliseconds(op.ExpiresAt)
		b.args = append(b.args, "p", op.Name, want, expires, body(partition, op.Name, expires, op.Value))
	case store.Delete:
		b.args = append(b.args, "d", op.Name, want)
	case store.Check:
		b.args = append(b.args, "c", op.Name, want)
	}
}

// run sends the batch and answers what became of it, first in the words of apply.lua.
func (b *batch) run(ctx context.Context) (revision int64, answer int64, err error) {
	call := applyScript.call(ctx, b.keys, b.args...)
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
		return 0, answerConflict, fmt.Errorf("record %q: %w", b.names[reply[1]-1], store.ErrConflict)
	case answerCorrupt:
		return 0, answerCorrupt, fmt.Errorf("%w: record %q is not what was written", store.ErrCorrupt, b.names[reply[1]-1])
	case answerRolledBack:
		return 0, answerRolledBack, b.db.heads.check(b.group, b.before, reply[1], reply[2])
	}
	return 0, answerHeld, errHeld
}

var errHeld = fmt.Errorf("%w: writes are held for a snapshot that did not begin, or for a restore", store.ErrUnavailable)

// held repeats the batch until the snapshot that holds writers has begun: some milliseconds.
func (b *batch) held(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callLimit, errHeld)
	defer cancel()
	for sleep(ctx, heldPause) {
		if revision, answer, err := b.run(ctx); answer != answerHeld {
			return revision, err
		}
	}
	return 0, context.Cause(ctx)
}

// numbers is a reply of integers. There is one at least, and two behind everything but answerHeld.
func numbers(cmd interface{ Slice() ([]any, error) }) ([]int64, error) {
	reply, err := cmd.Slice()
	if isWrongType(err) {
		return nil, fmt.Errorf("%w: an index or a head is not what was written", store.ErrCorrupt)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	if len(reply) == 0 {
		return nil, errForeignReply
	}
	all := make([]int64, 3) // answers have three at most
	for i, v := range reply {
		n, isNumber := v.(int64)
		if !isNumber || i >= len(all) {
			return nil, errForeignReply
		}
		all[i] = n
	}
	return all, nil
}

// nextBatch answers an id that no batch of any node has.
func (db *DB) nextBatch() string {
	return db.run + strconv.FormatInt(db.batches.Add(1), 36)
}
