package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// Merger writes attempts that may repeat: those with the same key within the same step of time are counted in one
// record. The first caller of a round waits Gather for others and writes for all, so that a storm costs a few writes;
// every caller hears only when its own entry is durable. A round takes entries until the one before it is written: two at
// once would meet in the same records.
type Merger struct {
	Records store.Records
	Gather  time.Duration // 0: DefaultGather

	mu    sync.Mutex
	round *round             // that still takes entries; guarded by mu
	last  *round             // that was closed last; guarded by mu
	steps map[store.Key]step // records that equal entries go to; guarded by mu
}

// step is the record of equal entries: named by the time of its first, so that the newest list first.
type step struct {
	name  string
	until time.Time
}

// maxSteps bounds what is remembered; past it equal entries of an hour may lie in two records.
const maxSteps = 20_000

// writeFor bounds the write of a round.
const writeFor = 5 * time.Second

// DefaultGather is short beside the hold of a refusal, and long beside a write.
const DefaultGather = 20 * time.Millisecond

// MaxRound bounds the distinct entries of a round; the caller that finds it full is told to try later.
const MaxRound = 10_000

// ErrFull: more distinct attempts are refused than can be recorded.
var ErrFull = errors.New("too many refused attempts to record")

type round struct {
	entries map[store.Key]*Entry
	done    chan struct{}
	err     error // set before done is closed
}

// Add counts e, which happened at e.Time, under key (which must not tell what it was made of) in a record of every.
func (m *Merger) Add(ctx context.Context, partition string, e Entry, key string, every time.Duration) error {
	e.Time, e.Last, e.Count = e.Time.UTC(), e.Time.UTC(), 1
	m.mu.Lock()
	k := m.record(partition, e.Time, key, every)
	r, leads := m.round, false
	if r == nil {
		r, leads = &round{entries: make(map[store.Key]*Entry), done: make(chan struct{})}, true
		m.round = r
	}
	if old := r.entries[k]; old != nil {
		old.Count, old.Last = old.Count+1, e.Last
	} else if len(r.entries) == MaxRound {
		m.mu.Unlock()
		return ErrFull
	} else {
		r.entries[k] = &e
	}
	m.mu.Unlock()
	if leads { // not on the caller's goroutine: he may have to answer before the round is written
		go m.lead(ctx, r) // bounded by writeFor; Wait waits for it
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wait waits until the rounds begun so far are written, or are not: their callers may have given up waiting.
func (m *Merger) Wait() {
	m.mu.Lock()
	r := m.round
	if r == nil {
		r = m.last
	}
	m.mu.Unlock()
	if r != nil {
		<-r.done
	}
}

// record names the record that e goes to. The caller holds mu.
func (m *Merger) record(partition string, at time.Time, key string, every time.Duration) store.Key {
	first := at.Truncate(every)
	id := store.Key{Partition: partition, Name: name(first, key)}
	if s, ok := m.steps[id]; ok {
		return store.Key{Partition: partition, Name: s.name}
	}
	if m.steps == nil {
		m.steps = make(map[store.Key]step)
	}
	if len(m.steps) >= maxSteps {
		maps.DeleteFunc(m.steps, func(_ store.Key, s step) bool { return !at.Before(s.until) })
	}
	if len(m.steps) >= maxSteps {
		clear(m.steps)
	}
	s := step{name: name(at, key), until: first.Add(every)}
	m.steps[id] = s
	return store.Key{Partition: partition, Name: s.name}
}

// lead closes the round after Gather and after the one before, and writes it, whatever becomes of its callers. At most two
// go on at a time: one writes, one waits to.
func (m *Merger) lead(ctx context.Context, r *round) {
	gather := m.Gather
	if gather <= 0 {
		gather = DefaultGather
	}
	time.Sleep(gather)
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if last != nil { // there is no later one: the next is led when this is closed
		<-last.done
	}
	m.mu.Lock()
	m.round, m.last = nil, r
	m.mu.Unlock()
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeFor)
	defer cancel()
	r.err = m.write(wctx, r.entries)
	close(r.done)
}

func (m *Merger) write(ctx context.Context, entries map[store.Key]*Entry) error {
	byPartition := make(map[string][]store.Key)
	for k := range entries {
		byPartition[k.Partition] = append(byPartition[k.Partition], k)
	}
	for p, keys := range byPartition {
		for len(keys) > 0 {
			n := min(len(keys), store.MaxOps)
			if err := m.batch(ctx, p, keys[:n], entries); err != nil {
				return err
			}
			keys = keys[n:]
		}
	}
	return nil
}

// tries bounds how often a batch meets another node's write of the same record.
const tries = 8

func (m *Merger) batch(ctx context.Context, partition string, keys []store.Key, entries map[store.Key]*Entry) error {
	var err error
	for range tries {
		ops := make([]store.Op, 0, len(keys))
		for _, k := range keys {
			op, err := m.merged(ctx, k, *entries[k])
			if err != nil {
				return err
			}
			ops = append(ops, op)
		}
		if _, err = m.Records.Apply(ctx, partition, ops...); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return nil
}

func (m *Merger) merged(ctx context.Context, k store.Key, e Entry) (store.Op, error) {
	rec, err := m.Records.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return put(k.Name, e, 0), nil
	}
	if err != nil {
		return store.Op{}, fmt.Errorf("read audit entry: %w", err)
	}
	var old Entry
	if err := json.Unmarshal(rec.Value, &old); err != nil {
		return store.Op{}, fmt.Errorf("read audit entry %s: %w", k.Name, store.ErrCorrupt)
	}
	old.Count += e.Count
	old.Last = e.Last
	return put(k.Name, old, rec.Revision), nil
}
