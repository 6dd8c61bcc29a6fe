package authcore

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// How many sessions a member may have at a door holds over all nodes together, and exactly: a session may begin once its
// seat was among at most that many, its own included, at one instant. So whoever began before and still goes on was
// counted. Seats of dead nodes are taken off; a DAV session gives its seat up to a newcomer, the one first that was told
// longest ago. One more command a sign-in is the price where there is room.

const (
	renewShared = 5 * time.Minute // a DAV session in use tells its seat again
	roomTries   = 10              // looks for room: newcomers that came later must have given way by then
	roomPause   = 25 * time.Millisecond

	// endedFor is how long it is remembered that somebody ended one session: longer than any lease, at whose end a node
	// that could read nothing has cut all of its sessions anyway.
	endedFor = time.Hour
)

// sit takes a seat for a session that is about to begin here; false: the member has as many as he may.
func (c *Core) sit(ctx context.Context, d session.Door) (bool, error) {
	if !c.told() {
		return true, nil
	}
	if err := c.beatIfLate(ctx); err != nil {
		return false, err
	}
	k, mine := session.SeatsKey(d.Domain, d.Member, d.Door), c.seatOf(d)
	n, err := c.o.Ephemeral.Add(ctx, k, mine, session.SeatFor)
	if err != nil {
		return false, err
	}
	c.doors.Tell(d.ID, 0)
	if n <= int64(c.doors.Limit()) {
		return true, nil
	}
	return c.findRoom(ctx, d, k, mine)
}

// seatOf is the text of a session's seat, made once for those that began here.
func (c *Core) seatOf(d session.Door) string {
	if d.Seat != "" {
		return d.Seat
	}
	return session.SeatOf(c.fleet.process, d)
}

// sitAgain keeps a DAV session that is in use from looking idle to other nodes.
func (c *Core) sitAgain(ctx context.Context, id session.ID) {
	if c.told() && c.doors.Tell(id, renewShared) {
		c.tellSeat(ctx, id)
	}
}

// findRoom looks whether there is room once the dead and those that must give way are gone.
func (c *Core) findRoom(ctx context.Context, d session.Door, k store.Key, mine string) (bool, error) {
	for range roomTries {
		seats, gone, err := c.seats(ctx, k, mine)
		if err == nil {
			err = c.takeOff(ctx, k, gone)
		}
		if err != nil {
			return false, err
		}
		at := slices.Index(seats, mine)
		older := len(seats) - 1 - at
		switch room := len(seats) <= c.doors.Limit(); {
		case room && at >= 0 && len(gone) == 0:
			return true, nil
		case room: // look again without the gone
			err = c.sitIfLost(ctx, k, mine, at >= 0)
		case at < 0:
			return false, nil
		case older < c.doors.Limit(): // those that came later give way
			pauseFor(ctx, roomPause+rand.N(roomPause))
		case !c.makeRoom(ctx, d, seats[at+1:], older-c.doors.Limit()):
			return false, nil
		}
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// takeOff takes seats off in which nobody sits.
func (c *Core) takeOff(ctx context.Context, k store.Key, gone []string) error {
	for _, text := range gone {
		if err := c.o.Ephemeral.Remove(ctx, k, text); err != nil {
			return err
		}
	}
	return nil
}

// sitIfLost takes the seat anew when all were lost.
func (c *Core) sitIfLost(ctx context.Context, k store.Key, mine string, there bool) error {
	if there {
		return nil
	}
	_, err := c.o.Ephemeral.Add(ctx, k, mine, session.SeatFor)
	return err
}

// seats answers the seats of the living, the newest first, and those in which nobody sits: of dead nodes, and those of this
// one that a lost answer left.
func (c *Core) seats(ctx context.Context, k store.Key, mine string) (seats, gone []string, err error) {
	all, err := c.o.Ephemeral.Members(ctx, k, session.SeatFor, store.MaxListLimit)
	if err != nil {
		return nil, nil, err
	}
	live, err := c.liveProcesses(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, text := range all {
		s, err := session.ParseSeat(text, "", "", "")
		if err == nil && (text == mine || c.sitsIn(s, live)) {
			seats = append(seats, text)
		} else {
			gone = append(gone, text)
		}
	}
	return seats, gone, nil
}

// sitsIn: a session is in the registry of its own node before its seat is taken, and leaves it before the seat is given back.
func (c *Core) sitsIn(s session.Seat, live map[string]bool) bool {
	if s.Process == c.fleet.process {
		return c.doors.Has(s.Door.ID)
	}
	return live[s.Process]
}

// makeRoom ends a DAV session among the seats before ours; of several newcomers each takes another, by its place.
func (c *Core) makeRoom(ctx context.Context, d session.Door, older []string, place int) bool {
	for _, text := range slices.Backward(older) {
		s, err := session.ParseSeat(text, d.Domain, d.Member, d.Door)
		if err != nil || s.Door.Share == "" {
			continue
		}
		if place == 0 {
			return c.unseat(ctx, s, text) == nil
		}
		place--
	}
	return false
}

// unseat ends a session so that another may have its place.
func (c *Core) unseat(ctx context.Context, s session.Seat, text string) error {
	if d, ok := c.doors.End(s.Door.ID); ok {
		c.giveBack(ctx, d)
		c.roomWasMade(d)
		return nil
	}
	if err := c.endElsewhere(ctx, s.Door); err != nil {
		return err
	}
	return c.o.Ephemeral.Remove(ctx, session.SeatsKey(s.Door.Domain, s.Door.Member, s.Door.Door), text)
}

// endElsewhere ends a session that another node has, in one batch with ops.
func (c *Core) endElsewhere(ctx context.Context, d session.Door, ops ...store.Op) error {
	mark := store.Op{Kind: store.Put, Name: session.EndedKey(d.Domain, d.ID).Name, Value: []byte("{}"), IfRevision: store.AnyRevision, ExpiresAt: c.now().Add(endedFor)}
	return c.revoke(ctx, Revocation{Domain: d.Domain, Member: d.Member, Session: d.ID}, append(ops, mark)...)
}

// wasEnded says that somebody ended the session on another node.
func (c *Core) wasEnded(ctx context.Context, d member.DomainID, id session.ID) (bool, error) {
	if !c.told() {
		return false, nil
	}
	_, err := c.o.Records.Get(ctx, session.EndedKey(d, id))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// doorSessions answers the live sessions of a member at the doors of all nodes, the oldest first.
func (c *Core) doorSessions(ctx context.Context, d member.DomainID, id member.ID) ([]session.Door, error) {
	here := c.doors.List(d, id)
	if c.fleet == nil {
		return here, nil
	}
	found, err := c.seatsOf(ctx, d, id)
	if err != nil || len(found) == 0 {
		return c.named(here), err
	}
	nodes, err := c.liveNodes(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, n := range nodes {
		names[n.Process] = n.Name
	}
	l := c.named(here)
	for _, s := range found {
		if name, lives := names[s.Process]; lives && s.Process != c.fleet.process {
			s.Door.Node = name
			l = append(l, s.Door)
		}
	}
	slices.SortStableFunc(l, func(a, b session.Door) int { return a.Since.Compare(b.Since) })
	return l, nil
}

// named says of sessions of this process where they are.
func (c *Core) named(l []session.Door) []session.Door {
	for i := range l {
		l[i].Node = c.fleet.o.Name
	}
	return l
}

// seatsOf answers the seats of a member at every door.
func (c *Core) seatsOf(ctx context.Context, d member.DomainID, id member.ID) (l []session.Seat, err error) {
	var mu sync.Mutex
	each(tellers, policy.Doors(), func(door string) {
		all, e := c.o.Ephemeral.Members(ctx, session.SeatsKey(d, id, door), session.SeatFor, store.MaxListLimit)
		mu.Lock()
		defer mu.Unlock()
		if e != nil {
			err = broken("list sessions", e)
		}
		for _, text := range all {
			if s, e := session.ParseSeat(text, d, id, door); e == nil {
				l = append(l, s)
			}
		}
	})
	return l, err
}

// vacate takes the seat of a session off that was ended on another node, so that no list shows it any more. What fails
// here that node does.
func (c *Core) vacate(ctx context.Context, d session.Door) {
	k := session.SeatsKey(d.Domain, d.Member, d.Door)
	all, err := c.o.Ephemeral.Members(ctx, k, session.SeatFor, store.MaxListLimit)
	if err != nil {
		return
	}
	for _, text := range all {
		if s, err := session.ParseSeat(text, d.Domain, d.Member, d.Door); err == nil && s.Door.ID == d.ID {
			_ = c.o.Ephemeral.Remove(ctx, k, text)
		}
	}
}
