package authcore

import (
	"context"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// Sessions are what a member is signed in to now.
type Sessions struct {
	Doors   []session.Door
	Web     []session.Web
	Current session.ID // the actor's own
}

// maxWeb bounds how many web sessions are listed: the newest by id would need an index that nobody misses. maxEnded bounds
// how many that ended are passed over on the way: they stay until their time is over.
const (
	maxWeb   = 200
	maxEnded = 5_000
)

// MySessions lists the actor's own.
func (c *Core) MySessions(ctx context.Context, a Actor) (Sessions, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return Sessions{}, err
	}
	s, err := c.listSessions(ctx, t)
	s.Current = a.Session
	return s, err
}

// SessionsOf lists a member's for an administrator.
func (c *Core) SessionsOf(ctx context.Context, a Actor, address string) (Sessions, error) {
	t, err := c.memberFor(ctx, a, address, readMember)
	if err != nil {
		return Sessions{}, err
	}
	return c.listSessions(ctx, t)
}

func (c *Core) listSessions(ctx context.Context, t target) (Sessions, error) {
	doors, err := c.doorSessions(ctx, t.domain(), t.person.ID)
	if err != nil {
		return Sessions{}, err
	}
	s := Sessions{Doors: doors}
	_, epochs, err := c.webEpochs(ctx, t.domain(), t.person.ID)
	if err != nil {
		return Sessions{}, err
	}
	q := store.Query{Prefix: session.IndexPrefix(t.person.ID), Limit: maxWeb}
	for seen := 0; seen < maxEnded; {
		recs, err := c.o.Records.List(ctx, member.Partition(t.domain()), q)
		if err != nil {
			return Sessions{}, err
		}
		for _, r := range recs {
			w, err := c.webBy(ctx, t.domain(), r)
			if err != nil {
				return Sessions{}, err
			}
			if w != nil && w.Live(c.now()) && w.Epochs.Covers(epochs) && len(s.Web) < maxWeb {
				s.Web = append(s.Web, *w)
			}
			q.After = r.Name
		}
		if seen += len(recs); len(recs) < maxWeb || len(s.Web) == maxWeb {
			break
		}
	}
	return s, nil
}

// webBy answers the session that an index record names; nil when it is gone.
func (c *Core) webBy(ctx context.Context, d member.DomainID, index store.Record) (*session.Web, error) {
	var i session.Index
	if err := decode(index, &i); err != nil {
		return nil, err
	}
	w, _, err := readDirect[session.Web](ctx, c, session.WebKey(d, i.Hash))
	return w, err
}

// EndSession ends one session of a member for an administrator: at a door it is cut, on the web its token is over.
func (c *Core) EndSession(ctx context.Context, a Actor, address string, id session.ID) error {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return err
	}
	return c.endSession(ctx, a, t, id)
}

// EndSessions ends all sessions of a member, as signing out everywhere does.
func (c *Core) EndSessions(ctx context.Context, a Actor, address string) error {
	_, err := c.SignOutEverywhere(ctx, a, address)
	return err
}

// EndMySession ends one of the actor's own.
func (c *Core) EndMySession(ctx context.Context, a Actor, id session.ID) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	return c.endSession(ctx, a, t, id)
}

// EndMySessions signs the actor out everywhere, on the web and at the doors.
func (c *Core) EndMySessions(ctx context.Context, a Actor) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	return c.changeMember(ctx, a, &t, audit.SignOutEverywhere, func(m *member.Member) error { m.Epoch++; return nil })
}

// EndMyOtherSessions ends all of the actor's sessions but the one that asks, on the web and at the doors. API tokens stay:
// they are deleted one by one. What was ended meanwhile is as good as ended here.
func (c *Core) EndMyOtherSessions(ctx context.Context, a Actor) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	s, err := c.listSessions(ctx, t)
	if err != nil {
		return err
	}
	for _, d := range s.Doors {
		entry := c.entry(a, t, audit.SessionEnd)
		entry.Session = string(d.ID)
		if err := c.endDoor(ctx, d, entry); err != nil && !isDenied(err, NotFound) {
			return err
		}
	}
	for _, w := range s.Web {
		if w.ID == a.Session || w.IsToken() {
			continue
		}
		entry := c.entry(a, t, audit.SessionEnd)
		entry.Session = string(w.ID)
		if err := c.endWeb(ctx, t.domain(), t.person.ID, w.ID, entry); err != nil && !isDenied(err, NotFound) {
			return err
		}
	}
	return nil
}

func (c *Core) endSession(ctx context.Context, a Actor, t target, id session.ID) error {
	entry := c.entry(a, t, audit.SessionEnd)
	entry.Session = string(id)
	doors, err := c.doorSessions(ctx, t.domain(), t.person.ID)
	if err != nil {
		return err
	}
	for _, s := range doors {
		if s.ID == id {
			return c.endDoor(ctx, s, entry)
		}
	}
	return c.endWeb(ctx, t.domain(), t.person.ID, id, entry)
}

// endWeb ends a session on the web by its id, under whatever token it goes by then: it may be confirmed at the same time.
func (c *Core) endWeb(ctx context.Context, d member.DomainID, m member.ID, id session.ID, entry audit.Entry) error {
	return c.retry(func() error {
		key := session.IndexKey(d, m, id)
		i, rev, err := readDirect[session.Index](ctx, c, key)
		if err != nil {
			return err
		}
		if i == nil {
			return deny(NotFound, "")
		}
		return c.apply(ctx, d, audit.Op(entry), store.Op{Kind: store.Delete, Name: key.Name, IfRevision: rev},
			store.Op{Kind: store.Delete, Name: session.WebKey(d, i.Hash).Name, IfRevision: store.AnyRevision})
	}, func() error { return nil })
}

// endDoor takes the session out of the registry, which Stands asks, and tells the doors to look.
func (c *Core) endDoor(ctx context.Context, s session.Door, entry audit.Entry) error {
	entry.Door = s.Door
	if c.fleet != nil && !c.doors.Has(s.ID) {
		return c.endOnNode(ctx, s, entry)
	}
	if err := c.apply(ctx, s.Domain, audit.Op(entry)); err != nil {
		return err
	}
	c.endHere(ctx, s.ID)
	c.roomWasMade(s) // whether the bus can be heard or not
	c.tell(ctx, Revocation{Domain: s.Domain, Member: s.Member, Session: s.ID})
	return nil
}

// endOnNode ends a session that another node has: it finds the mark when it is told to look, or by looking itself.
func (c *Core) endOnNode(ctx context.Context, s session.Door, entry audit.Entry) error {
	if err := c.endElsewhere(ctx, s, audit.Op(entry)); err != nil {
		return err
	}
	c.vacate(ctx, s)
	return nil
}
