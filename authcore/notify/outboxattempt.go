package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// begin takes the lease of a message and sends it beside. It answers false when the channel has no room.
func (b *Outbox) begin(ctx context.Context, q queue, rec store.Record, w waiting, o Outgoing) (bool, error) {
	if !w.Until.After(b.o.Now()) {
		return true, b.giveUp(ctx, q, rec, o)
	}
	if !b.enter(q, o.Kind == CodeSent) {
		return false, nil
	}
	w.Attempts++
	w.Next = b.o.Now().Add(leaseFor).UTC()
	rev, err := b.o.Records.Apply(ctx, member.Partition(q.domain), waitOp(rec.Name, w, rec.Revision))
	if err != nil {
		b.leave(q.channel, nil, false)
		if errors.Is(err, store.ErrConflict) {
			return true, nil // another process has it
		}
		return true, fmt.Errorf("take a message: %w", err)
	}
	o.Attempt = w.Attempts
	b.sends.Go(func() { b.send(ctx, q, store.Record{Name: rec.Name, Revision: rev}, w, o) })
	return true, nil
}

func (b *Outbox) enter(q queue, urgent bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[q.channel]
	if l.busy >= b.room(l, urgent) || l.rests.After(b.o.Now()) {
		return false
	}
	l.busy++
	b.served(q)
	return true
}

// leave ends an attempt. told says that it tells something of the channel.
func (b *Outbox) leave(c Channel, err error, told bool) {
	b.mu.Lock()
	l := b.lanes[c]
	l.busy--
	l.ended++
	switch {
	case !told:
	case err == nil, errors.Is(err, ErrRefused), errors.Is(err, ErrNotNow):
		l.failed = 0
	default:
		if l.failed++; l.failed >= tripAfter {
			l.rests = b.o.Now().Add(restFor)
		}
	}
	b.mu.Unlock()
	b.poke()
}

// send makes one attempt and writes what became of it, also while the process stops.
func (b *Outbox) send(ctx context.Context, q queue, rec store.Record, w waiting, o Outgoing) {
	sctx, cancel := context.WithTimeout(ctx, sendWithin)
	err := b.attempt(sctx, o)
	cancel()
	if o.To != "" {
		b.o.Metrics.attempted(o, err)
	}
	if err != nil && ctx.Err() == nil {
		b.o.Log.Warn("send a message", "channel", q.channel.Word(), "kind", o.Kind, "attempt", o.Attempt, "error", err)
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	pause := pauseAfter(w.Attempts, o.Kind == CodeSent)
	if ctx.Err() != nil {
		pause = 0 // the process stops: the next one goes on
	}
	if e := b.settle(within, q, rec, w, o, pause, err); e != nil {
		b.o.Log.Error("write what became of a message: it is sent again", "channel", q.channel.Word(), "kind", o.Kind, "error", e)
	}
	b.leave(q.channel, err, o.To != "" && ctx.Err() == nil)
}

func (b *Outbox) attempt(ctx context.Context, o Outgoing) error {
	if o.To == "" {
		return nil
	}
	return b.o.Senders[o.Channel].Send(ctx, o)
}

func (b *Outbox) settle(ctx context.Context, q queue, rec store.Record, w waiting, o Outgoing, pause time.Duration, err error) error {
	if err == nil {
		_, err := b.o.Records.Apply(ctx, member.Partition(q.domain), store.Op{Kind: store.Delete, Name: rec.Name, IfRevision: rec.Revision})
		return overtaken(err)
	}
	if errors.Is(err, ErrRefused) {
		w.Refused++
	}
	w.Next = b.o.Now().Add(pause).UTC()
	if w.Refused >= refusals || !w.Next.Before(w.Until) {
		return b.giveUp(ctx, q, rec, o)
	}
	if _, err := b.o.Records.Apply(ctx, member.Partition(q.domain), waitOp(rec.Name, w, rec.Revision)); err != nil {
		return overtaken(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expect(q, false) // to see when its next attempt is due
	return nil
}

// overtaken: another process took the message over, for this one was slow.
func overtaken(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// giveUp takes a message away that cannot be brought, and says so.
func (b *Outbox) giveUp(ctx context.Context, q queue, rec store.Record, o Outgoing) error {
	ops := []store.Op{{Kind: store.Delete, Name: rec.Name, IfRevision: rec.Revision}}
	if b.o.GaveUp != nil && o.To != "" {
		ops = append(ops, b.o.GaveUp(o)...)
	}
	_, err := b.o.Records.Apply(ctx, member.Partition(q.domain), ops...)
	if err != nil {
		return overtaken(err)
	}
	if o.To != "" {
		b.o.Metrics.gaveUp(o)
	}
	return nil
}

// pauseAfter is how long to wait after the n-th attempt: 5 s, doubled up to an hour, a fifth more or less, so that many do
// not come back together. A code is tried three times at once: somebody waits for it.
func pauseAfter(n int, urgent bool) time.Duration {
	if urgent && n < quickTries {
		return time.Second
	}
	d := lastPause
	if n < 12 {
		d = min(lastPause, firstPause<<max(0, n-1))
	}
	return d - d/5 + rand.N(2*d/5)
}
