package authcore

import (
	"context"
	"maps"
	"slices"
	"time"

	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// Seats are told once more before they are too old, and when what was told may be lost; and given back once.

// tellSeats tells the sessions whose seats were told longer than every ago, at a bounded rate.
func (c *Core) tellSeats(ctx context.Context, every time.Duration) {
	for chunk := range slices.Chunk(c.doors.Told(every, every == 0), tellBatch) {
		each(tellers, chunk, func(id session.ID) { c.tellSeat(ctx, id) })
		if len(chunk) == tellBatch {
			pauseFor(ctx, tellPause)
		}
	}
}

// tellSeat tells one again. What fails is told at the next heartbeat.
func (c *Core) tellSeat(ctx context.Context, id session.ID) {
	ctx, cancel := context.WithTimeout(ctx, beatFor)
	defer cancel()
	d, ok := c.doors.Get(id)
	if !ok {
		return
	}
	k, mine := session.SeatsKey(d.Domain, d.Member, d.Door), c.seatOf(d)
	n, err := c.o.Ephemeral.Add(ctx, k, mine, session.SeatFor)
	if err != nil {
		c.doors.Untell(id)
		c.fleet.sweepSoon()
		return
	}
	if c.doors.Tell(id, 0); !c.doors.Has(id) { // it ended meanwhile
		c.giveBack(ctx, d)
		return
	}
	if n > int64(c.doors.Limit()) && c.surplus(ctx, k, mine) {
		c.cutSurplus(ctx, d)
	}
}

// surplusAfter is how long as many others as may be must have their seats: longer than an attempt that will find no room
// holds one.
const surplusAfter = 2 * time.Second

// surplus says of a seat that was just told again that as many others as may be were told before it, and stay: they came
// while this node was taken for dead, or what was told was lost.
func (c *Core) surplus(ctx context.Context, k store.Key, mine string) bool {
	before, err := c.toldBefore(ctx, k, mine)
	if err != nil || len(before) < c.doors.Limit() {
		return false
	}
	pauseFor(ctx, surplusAfter)
	still, err := c.toldBefore(ctx, k, mine)
	stay := slices.DeleteFunc(still, func(text string) bool { return !slices.Contains(before, text) })
	return err == nil && len(stay) >= c.doors.Limit()
}

// toldBefore answers the seats of the living that are older than ours.
func (c *Core) toldBefore(ctx context.Context, k store.Key, mine string) ([]string, error) {
	seats, _, err := c.seats(ctx, k, mine)
	at := slices.Index(seats, mine)
	if err != nil || at < 0 {
		return nil, err
	}
	return seats[at+1:], nil
}

// cutSurplus ends a session of which there is one too many. Nothing else tells the doors of it, so that they are waited for.
func (c *Core) cutSurplus(ctx context.Context, d session.Door) {
	c.endHere(ctx, d.ID)
	c.log.Info("a session is cut: while this node was not heard, others came in its place", "session", d.ID, "member", d.Member, "door", d.Door)
	select {
	case c.madeRooms <- d:
	case <-ctx.Done():
	}
}

func (f *fleet) sweepSoon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.swept = time.Time{}
}

// giveBack takes the seat of a session off, wherever it is. One that cannot be taken off is owed.
func (c *Core) giveBack(ctx context.Context, d session.Door) {
	if !c.told() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatFor)
	defer cancel()
	k, text := session.SeatsKey(d.Domain, d.Member, d.Door), c.seatOf(d)
	if err := c.o.Ephemeral.Remove(ctx, k, text); err != nil {
		c.fleet.owe(k, owedSeat{text, c.now().Add(session.SeatFor)})
	}
}

// leave takes the seat of a session off that ended by itself: the client is gone, and nobody waits for it.
func (c *Core) leave(ctx context.Context, d session.Door) {
	if !c.told() || c.soon == nil {
		c.giveBack(ctx, d)
		return
	}
	k, text := session.SeatsKey(d.Domain, d.Member, d.Door), c.seatOf(d)
	until := c.now().Add(session.SeatFor)
	c.soon.RemoveSoon(k, text, func(err error) {
		if err != nil {
			c.fleet.owe(k, owedSeat{text, until})
		}
	})
}

func (f *fleet) owe(k store.Key, s owedSeat) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owes < maxOwed {
		f.owed[k] = append(f.owed[k], s)
		f.owes++
	}
}

// payOwed gives back what could not be given back before.
func (c *Core) payOwed(ctx context.Context) {
	f := c.fleet
	f.mu.Lock()
	owed := f.owed
	f.owed, f.owes = map[store.Key][]owedSeat{}, 0
	f.mu.Unlock()
	each(tellers, slices.Collect(maps.Keys(owed)), func(k store.Key) {
		for _, s := range owed[k] {
			if err := c.o.Ephemeral.Remove(ctx, k, s.text); err != nil && c.now().Before(s.until) {
				f.owe(k, s)
			}
		}
	})
}

// endHere takes a session out of the registry of this process and gives its seat back.
func (c *Core) endHere(ctx context.Context, id session.ID) {
	c.outage.left(id)
	d, ok := c.doors.End(id)
	c.allows.left(id)
	if ok {
		c.giveBack(ctx, d)
	}
}
