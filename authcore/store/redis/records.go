package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

//go:embed list.lua
var listSource string

var listScript = newScript(listSource).answering(listBytes)

// listBytes is after how much one script stops; the next goes on there. A server does nothing else meanwhile.
const listBytes = 1 << 20

// Records keeps store.Records, store.Snapshotter and store.Restorer. Each read is answered together with the group's
// head, and refused if that is below what this node has seen.
type Records struct{ db *DB }

// Get keeps store.Records. The record is read before the head: a rollback in between is seen.
func (r *Records) Get(ctx context.Context, k store.Key) (store.Record, error) {
	if err := store.CheckKey(k); err != nil {
		return store.Record{}, err
	}
	if err := r.db.heads.closed(); err != nil {
		return store.Record{}, err
	}
	group := groupOf(k.Partition)
	before := r.db.heads.seen(group)
	prefix := r.db.keys.group(group)
	get := goredis.NewStringCmd(ctx, "get", prefix+"r:"+member(k.Partition, k.Name))
	head := goredis.NewSliceCmd(ctx, "hmget", prefix+"h", "rev", r.db.witness)
	if err := r.db.do(ctx, group, false, get, head); err != nil {
		return store.Record{}, fmt.Errorf("get %q in %q: %w", k.Name, k.Partition, err)
	}
	if err := r.checkHead(group, before, head); err != nil {
		return store.Record{}, fmt.Errorf("get %q in %q: %w", k.Name, k.Partition, err)
	}
	switch raw, err := get.Result(); {
	case errors.Is(err, goredis.Nil):
		return store.Record{}, store.ErrNotFound
	case err != nil:
		return store.Record{}, corrupt(k.Partition, k.Name)
	default:
		return parse(k.Partition, k.Name, raw)
	}
}

// checkHead refuses an answer of a group that was rolled back.
func (r *Records) checkHead(group int, before head, cmd *goredis.SliceCmd) error {
	fields, err := cmd.Result()
	if err != nil || len(fields) != 2 {
		return fmt.Errorf("%w: the head of group %02x", store.ErrCorrupt, group)
	}
	revision, err1 := number(fields[0])
	witness, err2 := number(fields[1])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%w: the head of group %02x", store.ErrCorrupt, group)
	}
	return r.db.heads.check(group, before, revision, witness)
}

// number reads what a server answers as text; nil is 0.
func number(v any) (int64, error) {
	text, isText := v.(string)
	if v == nil {
		return 0, nil
	}
	if !isText {
		return 0, store.ErrCorrupt
	}
	return strconv.ParseInt(text, 10, 64)
}

// List keeps store.Records: one script, unless expired names or large records make it more. Each of them costs
// O(log n + what it answers).
func (r *Records) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	if err := store.CheckPartition(partition); err != nil {
		return nil, err
	}
	limit, err := q.Limits()
	if err != nil {
		return nil, err
	}
	var found []store.Record
	for {
		page, last, err := r.page(ctx, partition, q, limit-len(found))
		if err != nil {
			return nil, fmt.Errorf("list %q in %q: %w", q.Prefix, partition, err)
		}
		found = append(found, page...)
		if last == "" || len(found) >= limit {
			return found, nil
		}
		q.After = last
	}
}

// page answers at most many records, and the last name looked at if there may be more behind it.
func (r *Records) page(ctx context.Context, partition string, q store.Query, many int) ([]store.Record, string, error) {
	if err := r.db.heads.closed(); err != nil {
		return nil, "", err
	}
	group := groupOf(partition)
	before := r.db.heads.seen(group)
	k := r.db.keys
	low, high, order := between(q)
	call := listScript.call(ctx, []string{k.index(partition), k.head(group)},
		low, high, order, many, r.db.witness, k.records(partition), listBytes)
	if err := r.db.do(ctx, group, false, call); err != nil {
		return nil, "", err
	}
	reply, err := texts(call.Cmd)
	if err != nil {
		return nil, "", err
	}
	revision, err1 := number(reply[0])
	witness, err2 := number(reply[1])
	if err := errors.Join(err1, err2); err != nil {
		return nil, "", fmt.Errorf("%w: the head of group %02x", store.ErrCorrupt, group)
	}
	if err := r.db.heads.check(group, before, revision, witness); err != nil {
		return nil, "", err
	}
	records, err := parseAll(partition, reply[3:])
	return records, reply[2].(string), err
}

// between is the range of q in the words of BYLEX.
func between(q store.Query) (low, high, order string) {
	low, high = q.Range()
	low = "[" + low // every name is above the empty one
	if high == "" {
		high = "+"
	} else {
		high = "(" + high
	}
	if q.Reverse {
		order = "REV"
	}
	return low, high, order
}

// texts is a reply of list.lua: three and then pairs.
func texts(cmd *goredis.Cmd) ([]any, error) {
	reply, err := cmd.Slice()
	if isWrongType(err) {
		return nil, fmt.Errorf("%w: an index or a head is not what was written", store.ErrCorrupt)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	for _, v := range reply {
		if _, isText := v.(string); !isText {
			return nil, errForeignReply
		}
	}
	if len(reply)%2 == 0 || len(reply) < 3 {
		return nil, errForeignReply
	}
	return reply, nil
}

var errForeignReply = fmt.Errorf("%w: a reply that is none of ours", store.ErrUnavailable)

func parseAll(partition string, pairs []any) ([]store.Record, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	records := make([]store.Record, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		rec, err := parse(partition, pairs[i].(string), pairs[i+1].(string)) // texts has looked
		if err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	return records, nil
}
