package authcore

import (
	"context"
	"errors"
	"sync"
	"time"

	"latchkey/authcore/apppass"
	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/session"
	"latchkey/authcore/spool"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// While the records cannot be reached nobody signs in. Where the operator chose so (Options.ServeCached), those go on for
// the lease whose records this node holds from before: an attempt that broke on the records is looked at once more, by the
// same rule, match and judge, over what is held alone. What comes of it is an allow, which is on disk in the spool before
// the client hears OK, or nothing: whatever is not allowed so is told as temporary, for it could not be counted as wrong.
// It is counted in the throttle, which works from this node's memory then, so that guesses stay few.
//
//   - An app password: as always, it costs no hash.
//   - The account password: where a verdict of the last minute stands in and no wrong one is counted, from a source that
//     the member signed in from before. Nothing is hashed and no failure can be counted.
//
// Sessions opened so are judged by what is held until the client has heard OK. They are judged anew by the records when
// those are back, and end with the lease.

// outageTime is what such a look may take of the ephemerals.
const outageTime = 150 * time.Millisecond

// contactEvery is how often a node looks whether the records are there, with ServeCached alone.
const contactEvery = time.Second

// replayFor bounds one try to empty the spool.
const replayFor = 30 * time.Second

// cachedDetail marks in the audit who was let in by what was held.
const cachedDetail = "cached"

// outage are the sessions that were opened in one.
type outage struct {
	mu       sync.Mutex
	sessions map[session.ID]session.Door // guarded by mu
	served   int64                       // since the start; guarded by mu
}

func (o *outage) add(d session.Door) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sessions == nil {
		o.sessions = map[session.ID]session.Door{}
	}
	o.sessions[d.ID] = d
	o.served++
}

func (o *outage) has(id session.ID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.sessions[id]
	return ok
}

func (o *outage) left(id session.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sessions, id)
}

// take answers them all, and forgets them.
func (o *outage) take() map[session.ID]session.Door {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.sessions
	o.sessions = nil
	return l
}

// standsIn says whether what is held may stand in for what ended with err.
func (c *Core) standsIn(err error) bool {
	return c.o.ServeCached && c.o.Spool != nil && errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrDistrusted) && c.records.LeaseLeft() > 0
}

// decideHeld looks once more at an attempt that broke on the records. false: it stays broken.
func (c *Core) decideHeld(ctx context.Context, a Attempt) (Decision, bool) {
	ctx = cache.Held(withBudget(ctx, outageTime))
	t := c.begin(a)
	t.cached = true
	if c.find(ctx, t) != nil {
		return Decision{}, false
	}
	if d, err := c.gate(ctx, t); err != nil || d.Reason != "" {
		return Decision{}, false
	}
	c.rule(t)
	g, guess := c.matchHeld(ctx, t)
	if g == nil {
		if guess {
			tried := c.print("tried", t.print, t.secret.Reveal())
			if err := c.throttle.Failed(ctx, t.source, t.domain(), t.print, tried); err != nil {
				c.log.Warn("count in an outage", "error", err)
			}
		}
		return Decision{}, false
	}
	d, err := c.open(ctx, t, *g)
	if err != nil {
		c.log.Warn("sign in by what is held", "error", err)
	}
	return d, err == nil && d.Allowed()
}

func (t *trial) domain() member.DomainID {
	if t.tenant == nil {
		return ""
	}
	return t.tenant.Domain.ID
}

// matchHeld answers the credential that lets the member in. guess: the secret was compared, and is none of his.
func (c *Core) matchHeld(ctx context.Context, t *trial) (g *grant, guess bool) {
	item := t.apps.Match(c.o.Keys, t.secret)
	switch {
	case t.accepts == policy.AppPassword && item != nil:
		if !t.judgeApp(item, c.now()).Allowed() {
			return nil, false
		}
		return &grant{credential: item.ID, name: item.Name, until: item.ExpiresAt}, false
	case t.accepts != policy.AccountPassword:
		return nil, item == nil
	case item != nil || !t.known || t.person.Member.Status != member.Active:
		return nil, false
	}
	v, ok, err := c.verdictOf(ctx, t.check(true))
	if err != nil || !ok || v.state != password.Good || !t.doorOpen() {
		return nil, !ok // a right one without a verdict too: nobody can tell
	}
	return &grant{credential: AccountCredential, account: t.secret, credentialEpoch: v.epoch}, false
}

// spoolAllow is recordAllow while the records cannot be reached.
func (c *Core) spoolAllow(ctx context.Context, t *trial, d Decision, door session.Door) error {
	e := t.allowEntry(d, c.now())
	e.Detail = cachedDetail
	op := audit.Op(e)
	in := spool.Entry{Partition: member.Partition(d.Domain), Name: op.Name, Value: op.Value, ExpiresAt: op.ExpiresAt}
	if err := c.o.Spool.Append(ctx, in); err != nil {
		return err
	}
	c.outage.add(door)
	return nil
}

// standsHeld is Stands by what is held, for a session that was opened so.
func (c *Core) standsHeld(ctx context.Context, s Standing) (bool, error) {
	ctx = cache.Held(ctx)
	dom, _, err := cache.Read[member.Domain](ctx, c.records, member.DomainKey(s.Domain))
	if err != nil || dom == nil {
		return false, err
	}
	m, _, err := cache.Read[member.Member](ctx, c.records, member.Key(s.Domain, s.Member))
	if err != nil || m == nil {
		return false, err
	}
	now := member.Epochs{Domain: dom.Epoch, Door: dom.DoorEpoch(s.at()...), Member: m.AtDoors()}
	if s.Credential == AccountCredential {
		p, _, err := cache.Read[password.Record](ctx, c.records, password.Key(s.Domain, s.Member))
		if err != nil || p == nil {
			return false, err
		}
		now.Credential = p.Epoch
	} else {
		apps, _, err := cache.Read[apppass.Record](ctx, c.records, apppass.Key(s.Domain, s.Member))
		if err != nil || !apps.Has(s.Credential) {
			return false, err
		}
		now.Credential = appEpoch
	}
	return s.Epochs.Covers(now), nil
}

// contactKey is read to see whether the records are there; nobody writes it.
var contactKey = store.Key{Partition: member.Root, Name: "contact"}

// attendOutage keeps the contact with the records, until ctx ends: when they are back the spool is emptied and sessions
// that were opened without them are judged anew; when the lease is over those end.
func (c *Core) attendOutage(ctx context.Context) {
	if !c.o.ServeCached || c.o.Spool == nil {
		return
	}
	tick := time.NewTicker(contactEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		c.contact(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (c *Core) contact(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, c.contactTime())
	defer cancel()
	_, err := c.records.Direct().Get(asking, contactKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		if c.records.LeaseLeft() <= 0 {
			c.judgeAnew(ctx, true)
		}
		return
	}
	c.judgeAnew(ctx, false)
	if !c.o.Spool.Pending() {
		return
	}
	within, stop := context.WithTimeout(ctx, replayFor)
	defer stop()
	if err := c.o.Spool.Replay(within, c.o.Records); err != nil {
		c.log.Warn("replay what was audited without the records: it is tried again", "error", err)
		return
	}
	c.log.Info("what was audited without the records is in them", "entries", c.o.Spool.State().Replayed)
}

// contactTime is what a look for the records may take.
func (c *Core) contactTime() time.Duration {
	if c.o.StoreTime > 0 {
		return c.o.StoreTime
	}
	return DefaultStoreTime
}

// judgeAnew has the doors ask about the sessions that were opened without the records; over: they are not to go on.
func (c *Core) judgeAnew(ctx context.Context, over bool) {
	for id, s := range c.outage.take() {
		if over {
			c.endHere(ctx, id) // so that Stands says no
		}
		select {
		case c.madeRooms <- s:
		case <-ctx.Done():
			return
		}
	}
}
