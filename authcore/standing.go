package authcore

import (
	"context"
	"time"

	"latchkey/authcore/apppass"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/session"
	"latchkey/authcore/store/cache"
)

// Stands says from the records, and never a cache, whether a live session may go on: none of its epochs has risen, its
// credential is there and in its time, and nobody ended it. It evaluates no policy. Where the sign-in is not on record yet
// it waits for that, and answers an error if it failed: such a session never stands.
func (c *Core) Stands(ctx context.Context, s Standing) (bool, error) {
	a := c.allows.awaited(s.Session) // before the registry is asked: what has left is out of that already
	if !s.Until.IsZero() && !c.now().Before(s.Until) || !c.doors.Has(s.Session) {
		return false, nil
	}
	ok, err := c.standsByRecords(ctx, s)
	if err != nil || !ok {
		return false, err
	}
	if err := c.allows.settled(ctx, s.Session, a); err != nil {
		return false, broken("record sign-in", err)
	}
	return true, nil
}

func (c *Core) standsByRecords(ctx context.Context, s Standing) (bool, error) {
	if !c.outage.has(s.Session) {
		return c.standsNow(ctx, s)
	}
	ok, err := c.standsNow(withBudget(ctx, standsHeldAfter), s)
	if err != nil && c.standsIn(err) {
		return c.standsHeld(ctx, s)
	}
	return ok, err
}

// standsHeldAfter is how long the records are asked for a session that was opened without them: less than doors wait.
const standsHeldAfter = 300 * time.Millisecond

func (c *Core) standsNow(ctx context.Context, s Standing) (bool, error) {
	if over, err := c.wasEnded(ctx, s.Domain, s.Session); over || err != nil {
		return false, err
	}
	dom, _, err := cache.ReadPast[member.Domain](ctx, c.records, member.DomainKey(s.Domain))
	if err != nil || dom == nil {
		return false, err
	}
	m, _, err := cache.ReadPast[member.Member](ctx, c.records, member.Key(s.Domain, s.Member))
	if err != nil || m == nil {
		return false, err
	}
	now := member.Epochs{Domain: dom.Epoch, Door: dom.DoorEpoch(s.at()...), Member: m.AtDoors()}
	if now.Credential, err = c.credentialEpoch(ctx, s); err != nil {
		return false, err
	}
	return s.Epochs.Covers(now), nil
}

func (s Standing) at() []string {
	if len(s.Doors) > 0 {
		return s.Doors
	}
	return []string{s.Door}
}

// credentialEpoch is 0, under which nothing was ever opened, for an app password that is gone.
func (c *Core) credentialEpoch(ctx context.Context, s Standing) (int64, error) {
	if s.Credential == AccountCredential {
		p, _, err := cache.ReadPast[password.Record](ctx, c.records, password.Key(s.Domain, s.Member))
		if err != nil || p == nil {
			return 0, err
		}
		return p.Epoch, nil
	}
	apps, _, err := cache.ReadPast[apppass.Record](ctx, c.records, apppass.Key(s.Domain, s.Member))
	if err != nil || !apps.Has(s.Credential) {
		return 0, err
	}
	return appEpoch, nil
}

// Ended takes a session out of the registry. It is called once for every allowed Decision that opened one.
func (c *Core) Ended(ctx context.Context, id session.ID, _ End) {
	c.outage.left(id)
	d, ok := c.doors.End(id)
	c.allows.left(id)
	if ok {
		c.leave(ctx, d)
	}
}
