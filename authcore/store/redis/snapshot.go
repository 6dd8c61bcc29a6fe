package redis

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"latchkey/authcore/store"
)

// Redis keeps no versions. So a snapshot has writers hold for the few milliseconds in which it marks all groups: that is
// its instant, one over all partitions and shards. From there on a batch that changes a record which the snapshot has
// yet to read first puts the old one aside (apply.lua); the walk takes those instead. Nobody waits any more; memory
// grows by what is changed meanwhile. The marks lapse with the walker: what it left is then forgotten.

//go:embed snapshot.lua
var snapshotSource string

//go:embed walk.lua
var walkSource string

var (
	snapshotScript = newScript(snapshotSource)
	walkScript     = newScript(walkSource).answering(2 * listBytes)
)

const (
	holdFor   = time.Second      // writers wait no longer than callLimit; apply.lua knows it
	markFor   = 30 * time.Second // a walker that is slower than that between two pages has lapsed
	renewMark = markFor / 3
	walkPage  = 500
)

var (
	errSnapshotRuns   = fmt.Errorf("%w: another snapshot is under way", store.ErrUnavailable)
	errSnapshotLapsed = fmt.Errorf("%w: the snapshot was not read on for too long, or the server was away", store.ErrUnavailable)
)

// Snapshot keeps store.Snapshotter. One runs at a time. It takes memory for the partitions' names.
func (r *Records) Snapshot(ctx context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		w := &walker{db: r.db, token: randomID(), renewed: time.Now()}
		stopped := false
		w.yield = func(e store.Entry, err error) bool {
			stopped = !yield(e, err)
			return !stopped
		}
		if err := w.run(ctx); err != nil && !stopped {
			yield(store.Entry{}, fmt.Errorf("snapshot: %w", err))
		}
	}
}

// walker is a snapshot on its way.
type walker struct {
	db      *DB
	token   string
	yield   func(store.Entry, error) bool
	begun   [groups]int64 // the groups' revisions at its instant
	at      [groups]int64 // and their servers' times
	renewed time.Time
}

func (w *walker) run(ctx context.Context) error {
	defer w.end(ctx)
	if err := w.begin(ctx); err != nil {
		return err
	}
	highest, err := w.partitions(ctx)
	if err != nil {
		return err
	}
	for _, partition := range slices.Sorted(maps.Keys(highest)) {
		if !w.yield(store.Entry{Partition: partition, Highest: highest[partition]}, nil) {
			return nil
		}
		if more, err := w.partition(ctx, partition); err != nil || !more {
			return err
		}
	}
	return nil
}

// begin marks all groups while all are held. A begin that took too long is tried again.
func (w *walker) begin(ctx context.Context) error {
	var err error
	for range 3 {
		if err = w.mark(ctx, "hold", holdFor, errSnapshotRuns); err != nil {
			return err
		}
		if err = w.mark(ctx, "begin", markFor, errSnapshotLapsed); err == nil {
			return nil
		}
	}
	return err
}

func (w *walker) end(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // each call has its limit
	if err := w.mark(ctx, "end", 0, nil); err != nil {
		w.db.log.Warn("the marks of a snapshot stay until they lapse", "err", err)
	}
}

// mark runs snapshot.lua on every group; refused is what its refusal means, nil: nothing.
func (w *walker) mark(ctx context.Context, what string, lasting time.Duration, refused error) error {
	return w.db.eachGroup(ctx, func(ctx context.Context, g int) error {
		call := w.db.markCall(ctx, g, what, w.token, lasting)
		if err := w.db.do(ctx, g, true, call); err != nil {
			return err
		}
		reply, err := numbers(call.Cmd)
		if err == nil && reply[0] == 0 {
			return refused
		}
		if err == nil && what == "begin" {
			w.begun[g], w.at[g] = reply[1], reply[2]
		}
		return err
	})
}

func (db *DB) markCall(ctx context.Context, group int, what, token string, lasting time.Duration) *scriptCall {
	prefix := db.keys.group(group)
	return snapshotScript.call(ctx, []string{prefix + "h", prefix + "o", prefix + "O"}, what, token, lasting.Milliseconds())
}

// eachGroup runs a step on all groups, as many at once as fill a pipeline.
func (db *DB) eachGroup(ctx context.Context, step func(ctx context.Context, group int) error) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(pipeCommands)
	for g := range groups {
		all.Go(func() error { return step(ctx, g) })
	}
	return all.Wait()
}

// partitions answers what each of them had given out at the snapshot's instant, at most.
func (w *walker) partitions(ctx context.Context) (map[string]int64, error) {
	all := make(map[string]int64)
	for g := range groups {
		err := w.db.scanPartitions(ctx, g, func(partition string, highest int64) {
			if w.begun[g] > 0 { // else the group was empty
				all[partition] = min(highest, w.begun[g])
			}
		})
		if err = cmp.Or(err, w.renew(ctx)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// scanPartitions runs over the group's partitions; one may come twice.
func (db *DB) scanPartitions(ctx context.Context, group int, found func(partition string, highest int64)) error {
	for cursor := uint64(0); ; {
		scan := goredis.NewScanCmd(ctx, nil, "hscan", db.keys.partitions(group), cursor, "count", 1000)
		if err := db.do(ctx, group, false, scan); err != nil {
			return err
		}
		pairs, next, err := scan.Result()
		if err != nil || len(pairs)%2 != 0 {
			return fmt.Errorf("%w: the partitions of group %02x", store.ErrCorrupt, group)
		}
		for i := 0; i < len(pairs); i += 2 {
			highest, err := number(pairs[i+1])
			if err != nil || highest < 1 || pairs[i] == "" {
				return fmt.Errorf("%w: the partitions of group %02x", store.ErrCorrupt, group)
			}
			found(pairs[i], highest)
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// renew keeps the marks from lapsing.
func (w *walker) renew(ctx context.Context) error {
	if time.Since(w.renewed) < renewMark {
		return nil
	}
	w.renewed = time.Now()
	return w.mark(ctx, "renew", markFor, errSnapshotLapsed)
}

func (w *walker) partition(ctx context.Context, partition string) (bool, error) {
	low := ""
	for {
		page, next, err := w.page(ctx, partition, low)
		if err != nil {
			return false, err
		}
		for _, name := range slices.Sorted(maps.Keys(page)) {
			if more := w.record(partition, name, page[name]); !more {
				return false, nil
			}
		}
		if err := w.renew(ctx); err != nil || next == "" {
			return true, err
		}
		low = next
	}
}

func (w *walker) record(partition, name, raw string) bool {
	rec, err := parse(partition, name, raw)
	if err == nil && store.Expired(store.Milliseconds(rec.ExpiresAt), time.UnixMilli(w.at[groupOf(partition)])) {
		return true
	}
	return w.yield(store.Entry{Partition: partition, Record: rec}, err)
}

// page answers records from low on, and where the next page begins.
func (w *walker) page(ctx context.Context, partition, low string) (map[string]string, string, error) {
	group, k := groupOf(partition), w.db.keys
	prefix := k.group(group)
	of := member(partition, "")
	behind := strings.TrimSuffix(of, ":") + ";" // the first that does not begin with of
	call := walkScript.call(ctx, []string{k.index(partition), prefix + "h", prefix + "o", prefix + "O"},
		low, of, behind, k.records(partition), w.token, walkPage, listBytes)
	if err := w.db.do(ctx, group, false, call); err != nil {
		return nil, "", err
	}
	reply, err := call.Slice()
	if err != nil || len(reply)%2 != 0 {
		return nil, "", errors.Join(errForeignReply, err)
	}
	if len(reply) == 0 {
		return nil, "", errSnapshotLapsed
	}
	return pageOf(reply)
}

// pageOf cuts both lists of a reply where the shorter one ends: behind there it knows only half.
func pageOf(reply []any) (map[string]string, string, error) {
	texts := make([]string, len(reply))
	for i, v := range reply {
		text, isText := v.(string)
		if !isText {
			return nil, "", errForeignReply
		}
		texts[i] = text
	}
	last := texts[0]
	if other := texts[1]; last == "" || other != "" && other < last {
		last = other
	}
	page := make(map[string]string, len(texts)/2)
	for i := 2; i < len(texts); i += 2 {
		if last == "" || texts[i] <= last {
			page[texts[i]] = texts[i+1]
		}
	}
	if last == "" {
		return page, "", nil
	}
	return page, last + "\x00", nil
}
