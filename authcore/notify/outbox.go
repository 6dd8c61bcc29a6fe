package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// Bounds of the outbox of one process.
const (
	lanesOf    = 8                // messages of one channel on their way at the same time
	lanesCode  = 2                // of these, for codes alone
	sendWithin = 30 * time.Second // one attempt
	leaseFor   = time.Minute      // longer than an attempt: afterwards whoever began it is taken for dead
	visitPage  = 64               // records looked at in one visit of a queue
	perVisit   = 8                // messages taken from a queue before the others have their turn
	sweepEvery = time.Minute      // what no hint told of is found so
	settleFor  = 5 * time.Second  // to write what became of an attempt
	tripAfter  = 5                // failures of a channel in a row, then it rests
	restFor    = 30 * time.Second // then one message tries it
	quickTries = 3                // of a code
	firstPause = 5 * time.Second  // doubled by each attempt
	lastPause  = time.Hour        // at most
	refusals   = 3                // then a message that the other side does not take is given up
	maxQueues  = 100_000          // remembered; those beyond are found by a sweep
)

// OutboxOptions are what an Outbox needs.
type OutboxOptions struct {
	Records store.Records
	Keys    *secret.Keys
	Senders map[Channel]Sender
	Now     func() time.Time
	Log     *slog.Logger
	Metrics *Metrics // nil: nothing is counted
	// Domains pages through all domains: an empty next ends it.
	Domains func(ctx context.Context, after string, limit int) (ids []member.DomainID, next string, err error)
	// GaveUp answers what is written when a message is given up, in the batch that takes it away; nil: nothing.
	GaveUp func(o Outgoing) []store.Op
}

// Outbox takes out what waits in the domains. It runs in every process that shares the records: which one sends a message
// is decided by a lease on its record. A domain has its turn after a few messages of another, a channel that is down holds
// up no other, and codes go first.
type Outbox struct {
	o      OutboxOptions
	wake   chan struct{}
	missed chan struct{}
	sends  sync.WaitGroup

	mu     sync.Mutex
	rests  time.Time         // until then the records are not asked: they could not be reached; guarded by mu
	queues map[queue]*visit  // that may hold something; guarded by mu
	turn   []queue           // in which order they are visited; guarded by mu
	lanes  map[Channel]*lane // never changed; each guarded by mu
}

// queue is what waits in one domain for one channel.
type queue struct {
	domain  member.DomainID
	channel Channel
}

// visit is what is known of a queue.
type visit struct {
	due   time.Time
	after string // where the next look goes on; empty: at the beginning
	hints int    // how often something new was told: what came while it was looked at is not missed
	stuck int    // the lane had no room when it had ended so many attempts, and one; 0: there was room
}

// lane is one channel's way out.
type lane struct {
	busy   int       // attempts on their way
	ended  int       // attempts
	failed int       // in a row
	rests  time.Time // until then it is not tried
}

// NewOutbox makes one. Run must run.
func NewOutbox(o OutboxOptions) *Outbox {
	b := &Outbox{o: o, wake: make(chan struct{}, 1), missed: make(chan struct{}, 1), queues: map[queue]*visit{}, lanes: map[Channel]*lane{}}
	for c := range o.Senders {
		b.lanes[c] = &lane{}
	}
	return b
}

// Hint says that something new waits in a domain.
func (b *Outbox) Hint(d member.DomainID) {
	b.mu.Lock()
	for c := range b.o.Senders {
		b.expect(queue{d, c}, true)
	}
	b.mu.Unlock()
	b.poke()
}

// expect puts a queue among those to visit now. The caller holds mu.
func (b *Outbox) expect(q queue, fresh bool) {
	v := b.queues[q]
	if v == nil {
		if len(b.queues) >= maxQueues {
			return
		}
		v = &visit{}
		b.queues[q] = v
		b.turn = append(b.turn, q)
	}
	v.due, v.stuck = time.Time{}, 0
	v.hints++
	if fresh {
		v.after = "" // codes stand at the beginning
	}
}

func (b *Outbox) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, and returns when nothing is on its way any more.
func (b *Outbox) Run(ctx context.Context) {
	defer b.sends.Wait()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	b.sweep(ctx)
	for ctx.Err() == nil {
		next := b.round(ctx)
		t := time.NewTimer(next)
		select {
		case <-b.wake:
		case <-t.C:
		case <-sweep.C:
			b.sweep(ctx)
		case <-b.missed:
			b.sweep(ctx)
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// Sweep says that hints may have been missed.
func (b *Outbox) Sweep() {
	select {
	case b.missed <- struct{}{}:
	default:
	}
}

// sweep looks for what no hint told of: after a start, a gap in the bus, or the death of another process.
func (b *Outbox) sweep(ctx context.Context) {
	const page = 256
	after := ""
	for {
		ids, next, err := b.o.Domains(ctx, after, page)
		if err != nil {
			if ctx.Err() == nil {
				b.o.Log.Warn("sweep the outbox", "error", err)
			}
			return
		}
		for _, d := range ids {
			b.look(ctx, d)
		}
		if after = next; next == "" {
			return
		}
	}
}

func (b *Outbox) look(ctx context.Context, d member.DomainID) {
	recs, err := b.o.Records.List(ctx, member.Partition(d), store.Query{Prefix: OutboxPrefix, Limit: 1})
	if err != nil || len(recs) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.o.Senders {
		if b.queues[queue{d, c}] == nil {
			b.expect(queue{d, c}, false)
		}
	}
}

// round visits each queue that is due once, and answers when the next one is.
func (b *Outbox) round(ctx context.Context) (wait time.Duration) {
	b.mu.Lock()
	turn := slices.Clone(b.turn)
	b.mu.Unlock()
	if rest := b.resting(); rest > 0 {
		return rest
	}
	wait = sweepEvery
	for _, q := range turn {
		if ctx.Err() != nil {
			return wait
		}
		if due := b.attend(ctx, q); due >= 0 {
			wait = min(wait, due)
		}
		if rest := b.resting(); rest > 0 {
			return rest
		}
	}
	return max(wait, time.Millisecond)
}

// resting is how long the records are left alone.
func (b *Outbox) resting() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rests.Sub(b.o.Now())
}

// attend visits a queue if it is due and its channel has room, and answers in how long it is due again; below zero: when
// something wakes the outbox.
func (b *Outbox) attend(ctx context.Context, q queue) time.Duration {
	v, wait := b.turnOf(q)
	if v == nil {
		return wait
	}
	next, due, err := b.visit(ctx, q, v.after)
	full := errors.Is(err, errFull)
	if full {
		err = nil
	}
	if err != nil && ctx.Err() == nil {
		b.o.Log.Error("visit the outbox", "domain", q.domain, "channel", q.channel.Word(), "error", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.visited(q, *v, next, due, full, err)
}

// turnOf answers a queue as it is before its visit; nil: it is not its turn for so long, below zero until something wakes.
func (b *Outbox) turnOf(q queue) (*visit, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, now, l := b.queues[q], b.o.Now(), b.lanes[q.channel]
	switch {
	case v == nil:
		return nil, -1
	case v.due.After(now):
		return nil, v.due.Sub(now)
	case l.rests.After(now):
		return nil, l.rests.Sub(now)
	case l.busy >= b.room(l, true) || v.stuck == l.ended+1:
		return nil, -1 // the end of an attempt wakes
	}
	before := *v
	return &before, 0
}

// visited says when a queue is due again after a visit that ended so. The caller holds mu.
func (b *Outbox) visited(q queue, before visit, next string, due time.Time, full bool, err error) time.Duration {
	now := b.o.Now()
	if err != nil {
		due = now.Add(firstPause)
	}
	if errors.Is(err, store.ErrUnavailable) { // the other queues would end so too
		b.rests = now.Add(pauseAfter(1, false))
	}
	v := b.queues[q]
	if v == nil || v.hints != before.hints {
		return 0 // something new came
	}
	if next == "" && due.IsZero() && err == nil {
		b.forget(q)
		return -1
	}
	v.after, v.due = next, due
	if l := b.lanes[q.channel]; full && l.busy > 0 {
		v.stuck = l.ended + 1
		return -1
	}
	return max(0, due.Sub(now))
}

// room is how many messages the lane takes at the same time. The caller holds mu.
func (b *Outbox) room(l *lane, urgent bool) int {
	switch {
	case l.failed >= tripAfter:
		return 1 // one tries whether it is well again
	case urgent:
		return lanesOf
	default:
		return lanesOf - lanesCode
	}
}

func (b *Outbox) forget(q queue) {
	delete(b.queues, q)
	b.turn = slices.DeleteFunc(b.turn, func(t queue) bool { return t == q })
}

// served puts a queue behind the others, so that a place that comes free is theirs first. The caller holds mu.
func (b *Outbox) served(q queue) {
	if i := slices.Index(b.turn, q); i >= 0 {
		b.turn = append(slices.Delete(b.turn, i, i+1), q)
	}
}

// errFull: the channel has no room for the next message.
var errFull = errors.New("no room")

// visit begins what is due in a page of the queue. It answers where to go on, and when: zero time and no place when the
// queue is empty.
func (b *Outbox) visit(ctx context.Context, q queue, after string) (next string, due time.Time, err error) {
	p := queuePrefix(q.channel)
	query := store.Query{Prefix: p, Limit: visitPage, After: after}
	recs, err := b.o.Records.List(ctx, member.Partition(q.domain), query)
	if err != nil {
		return after, due, fmt.Errorf("list outbox: %w", err)
	}
	now := b.o.Now()
	begun := 0
	var lost []error
	defer func() { b.lost(q, lost) }()
	for _, rec := range recs {
		w, err := readWaiting(rec)
		if err == nil && w.Next.After(now) && w.Until.After(now) {
			due = sooner(due, w.Next)
			continue
		}
		var o Outgoing
		if err == nil {
			o, err = w.open(b.o.Keys, rec.Name)
		}
		if err != nil {
			lost = append(lost, err) // it is gone with its time, and no reason to come again
			continue
		}
		if begun == perVisit {
			return after, now, nil
		}
		ok, err := b.begin(ctx, q, rec, w, o)
		if err != nil {
			return after, due, err
		}
		if !ok {
			return after, now, errFull
		}
		begun++
		due = sooner(due, now.Add(leaseFor))
	}
	switch {
	case len(recs) == visitPage:
		return recs[len(recs)-1].Name, now, nil
	case after != "":
		return "", sooner(due, now.Add(firstPause)), nil // what stands before
	}
	return "", due, nil
}

// lost logs once a visit that messages cannot be read: a record is broken, or its key is gone.
func (b *Outbox) lost(q queue, l []error) {
	if len(l) > 0 {
		b.o.Log.Error("messages in the outbox cannot be read", "channel", q.channel.Word(), "messages", len(l), "error", l[0])
	}
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
