package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// What may be lost lies in keys of a name's own group, so that throttles of one domain spread over a Cluster:
//
//	prefix:{gg}:s:<len>:<partition>:<name>   a set: members by the server's time in microseconds
//	prefix:{gg}:v:<len>:<partition>:<name>   a value, behind the id of the call that put it
//	prefix:{gg}:c:<len>:<partition>:<name>   who took or deleted the value in the last claimFor, and what
//
// DB.do may send a call twice. Adding and removing bear that. A value carries the id of its Put, and its end leaves a
// claim: a repeat of the Take that ended it is answered the value again, another one is not, and a repeat of its Put
// writes nothing.
const (
	// maxMembers is how many members one set keeps, as store/memory does; the oldest goes first.
	maxMembers = 4096
	// claimFor is well above the time in which a call is repeated (callLimit), and what is still under way after it.
	claimFor = 10 * time.Second
	// maxSpan bounds windows and times to live: what is kept longer is a record. Numbers stay exact in Lua.
	maxSpan = 10 * 365 * 24 * time.Hour
)

//go:embed ephemeral_add.lua
var addSource string

//go:embed ephemeral_members.lua
var membersSource string

//go:embed ephemeral_put.lua
var putSource string

//go:embed ephemeral_take.lua
var takeSource string

//go:embed ephemeral_delete.lua
var deleteSource string

// Never changed: what newScript makes of the sources.
var (
	addScript     = newScript(addSource)
	membersScript = newScript(membersSource)
	putScript     = newScript(putSource)
	takeScript    = newScript(takeSource)
	deleteScript  = newScript(deleteSource)
)

// Ephemeral keeps store.Ephemeral in Redis. Sets are counted in Options.Local too: while Redis cannot be asked, Add and
// Members answer what this node alone has seen, so that throttles go on. Nothing of that is told to Redis when it is
// back. That is safe: what limits guesses for good are records, none of which could be verified meanwhile. Single-use
// values have no such shadow: two nodes would each give one out.
type Ephemeral struct {
	db    *DB
	local store.Ephemeral // nil: none

	run   [8]byte // random, of this process: calls are named by it and a number
	calls atomic.Uint64
}

func newEphemeral(db *DB) *Ephemeral {
	e := &Ephemeral{db: db, local: db.options.Local}
	_, _ = rand.Read(e.run[:]) // never fails
	return e
}

// Add keeps store.Ephemeral.
func (e *Ephemeral) Add(ctx context.Context, k store.Key, member string, window time.Duration) (int64, error) {
	if err := cmp.Or(store.CheckMember(member), store.CheckKey(k), checkSpan("window", window)); err != nil {
		return 0, err
	}
	here, hereErr := e.addHere(ctx, k, member, window)
	w, group := e.setWords(k)
	w.add(member)
	w.number(micros(window))
	w.number(maxMembers)
	add := addScript.run(ctx, 1, w)
	defer e.db.words.put(w)
	if err := e.db.do(ctx, group, true, add); err != nil {
		if hereErr == nil && errors.Is(err, store.ErrUnavailable) {
			return here, nil
		}
		return 0, fmt.Errorf("add to a set: %w", err)
	}
	return add.Int64()
}

// addHere answers an error when nobody counts here.
func (e *Ephemeral) addHere(ctx context.Context, k store.Key, member string, window time.Duration) (int64, error) {
	if e.local == nil {
		return 0, store.ErrUnavailable
	}
	return e.local.Add(ctx, k, member, window)
}

// Members keeps store.Ephemeral.
func (e *Ephemeral) Members(ctx context.Context, k store.Key, window time.Duration, limit int) ([]string, error) {
	if err := cmp.Or(store.CheckKey(k), checkSpan("window", window)); err != nil {
		return nil, err
	}
	if limit < 1 || limit > store.MaxListLimit {
		return nil, fmt.Errorf("%w: limit %d, 1 to %d", store.ErrInvalid, limit, store.MaxListLimit)
	}
	w, group := e.setWords(k)
	w.number(micros(window))
	w.number(int64(limit))
	members := membersScript.run(ctx, 1, w)
	defer e.db.words.put(w)
	if err := e.db.do(ctx, group, false, members); err != nil {
		if e.local != nil && errors.Is(err, store.ErrUnavailable) {
			return e.local.Members(ctx, k, window, limit)
		}
		return nil, fmt.Errorf("members of a set: %w", err)
	}
	return members.StringSlice()
}

// Remove keeps store.Ephemeral.
func (e *Ephemeral) Remove(ctx context.Context, k store.Key, member string) error {
	if err := cmp.Or(store.CheckMember(member), store.CheckKey(k)); err != nil {
		return err
	}
	if e.local != nil {
		if err := e.local.Remove(ctx, k, member); err != nil {
			return err
		}
	}
	group, remove, _ := e.remove(ctx, k, member) // its words are left to the collector
	if err := e.db.do(ctx, group, true, remove); err != nil {
		return fmt.Errorf("remove from a set: %w", err)
	}
	return replied(remove.Err())
}

// RemoveSoon keeps store.SoonRemover: the command goes with the next pipeline. It is sent once; what was not acknowledged is
// done's to repeat.
func (e *Ephemeral) RemoveSoon(k store.Key, member string, done func(error)) {
	if err := cmp.Or(store.CheckMember(member), store.CheckKey(k)); err != nil {
		done(err)
		return
	}
	if e.local != nil {
		_ = e.local.Remove(context.Background(), k, member) // what is left lapses
	}
	group, remove, w := e.remove(context.Background(), k, member)
	e.db.doSoon(group, remove, func(err error) {
		e.db.words.put(w)
		if err != nil {
			err = fmt.Errorf("remove from a set: %w", err)
		}
		done(err)
	})
}

func (e *Ephemeral) remove(ctx context.Context, k store.Key, member string) (int, *goredis.IntCmd, *words) {
	w, group := e.setWords(k)
	w.add(member)
	return group, goredis.NewIntCmd(ctx, w.behind("zrem")...), w
}

// setWords begin with the key of a name's set.
func (e *Ephemeral) setWords(k store.Key) (w *words, group int) {
	w = e.db.words.get()
	both := appendMember(w.text, k.Partition, k.Name)
	group = int(crc32.Checksum(both, castagnoli) % groups) // as groupOf
	w.text = append(append(both[:0], e.db.keys.group(group)...), "s:"...)
	w.text = appendMember(w.text, k.Partition, k.Name)
	w.end()
	return w, group
}

// Put keeps store.Ephemeral.
func (e *Ephemeral) Put(ctx context.Context, k store.Key, value []byte, ttl time.Duration) error {
	if err := cmp.Or(store.CheckKey(k), store.CheckValue(value), checkSpan("ttl", ttl)); err != nil {
		return err
	}
	at := e.place(k)
	put := putScript.call(ctx, []string{at.value, at.claim}, e.call(), bytesOf(value), millis(ttl))
	if err := e.db.do(ctx, at.group, true, put); err != nil {
		return fmt.Errorf("put a value: %w", err)
	}
	return replied(put.Err())
}

// Get keeps store.Ephemeral.
func (e *Ephemeral) Get(ctx context.Context, k store.Key) ([]byte, error) {
	if err := store.CheckKey(k); err != nil {
		return nil, err
	}
	at := e.place(k)
	get := goredis.NewStringCmd(ctx, "get", at.value)
	if err := e.db.do(ctx, at.group, false, get); err != nil {
		return nil, fmt.Errorf("get a value: %w", err)
	}
	value, err := get.Bytes()
	switch {
	case errors.Is(err, goredis.Nil):
		return nil, store.ErrNotFound
	case err != nil:
		return nil, replied(err)
	case len(value) < callBytes:
		return nil, fmt.Errorf("%w: a value that was not put", store.ErrCorrupt)
	}
	return value[callBytes:], nil
}

// Take keeps store.Ephemeral.
func (e *Ephemeral) Take(ctx context.Context, k store.Key) ([]byte, error) {
	if err := store.CheckKey(k); err != nil {
		return nil, err
	}
	at := e.place(k)
	take := takeScript.call(ctx, []string{at.value, at.claim}, e.call(), claimFor.Milliseconds())
	if err := e.db.do(ctx, at.group, true, take); err != nil {
		return nil, fmt.Errorf("take a value: %w", err)
	}
	text, err := take.Text()
	if errors.Is(err, goredis.Nil) {
		return nil, store.ErrNotFound
	}
	return []byte(text), replied(err)
}

// Delete keeps store.Ephemeral: it ends whatever stands at k.
func (e *Ephemeral) Delete(ctx context.Context, k store.Key) error {
	if err := store.CheckKey(k); err != nil {
		return err
	}
	if e.local != nil {
		if err := e.local.Delete(ctx, k); err != nil {
			return err
		}
	}
	at := e.place(k)
	del := deleteScript.call(ctx, []string{at.value, at.claim, at.set}, e.call(), claimFor.Milliseconds())
	if err := e.db.do(ctx, at.group, true, del); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return replied(del.Err())
}

// where a name's set, value and claim lie.
type where struct {
	group             int
	set, value, claim string
}

func (e *Ephemeral) place(k store.Key) where {
	both := member(k.Partition, k.Name)
	w := where{group: groupOf(both)}
	prefix := e.db.keys.group(w.group)
	w.set, w.value, w.claim = prefix+"s:"+both, prefix+"v:"+both, prefix+"c:"+both
	return w
}

// callBytes is how long the id of a call is.
const callBytes = 16

// call names one call: no other one in the fleet has its name, a repeat of it has.
func (e *Ephemeral) call() string {
	id := make([]byte, 0, callBytes)
	return string(binary.BigEndian.AppendUint64(append(id, e.run[:]...), e.calls.Add(1)))
}

// bytesOf keeps a copy: a call that ends early leaves its arguments to whoever sends them.
func bytesOf(value []byte) string { return string(value) }

func checkSpan(what string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%w: %s %v", store.ErrInvalid, what, d)
	}
	return nil
}

func micros(d time.Duration) int64 { return max(min(d, maxSpan).Microseconds(), 1) }

func millis(d time.Duration) string {
	return strconv.FormatInt(max(min(d, maxSpan).Milliseconds(), 1), 10)
}

// replied wraps the error that a reply was, such as something else under a key of ours.
func replied(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: redis: %s", store.ErrCorrupt, plain(err))
}
