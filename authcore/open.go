package authcore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// AccountCredential is the credential id of sessions that the account password opened.
const AccountCredential = "account"

// appEpoch is the epoch of every app password: it never rises, for deleting one takes it away.
const appEpoch = 1

// grant is a right credential on its way to a session.
type grant struct {
	credential      string
	name            string
	until           time.Time
	account         secret.String // the account password, for upstreams with passthrough
	credentialEpoch int64
}

// open makes the session of an allowed attempt and its durable audit record: an allow that cannot be audited is refused.
func (c *Core) open(ctx context.Context, t *trial, g grant) (Decision, error) {
	if g.credential != AccountCredential {
		g.credentialEpoch = appEpoch
	}
	d, err := c.decision(t, g)
	if err != nil {
		return Decision{}, err
	}
	share := shareOf(t, d)
	if standing, ok := c.doors.Shared(share); ok {
		if standing.Epochs == d.Epochs {
			return c.join(ctx, t, d, standing)
		}
		c.endHere(ctx, standing.ID)
	}
	d.Session = session.NewID()
	door := c.doorSession(t, d, share)
	opened, err := c.doors.Open(door)
	if errors.Is(err, session.ErrTooMany) {
		return Decision{Reason: TooManyConnections, RetryAfter: retryBroken}, nil
	}
	if err != nil {
		return Decision{}, broken("open session", err)
	}
	if opened.ID != door.ID {
		return c.join(ctx, t, d, session.Shared{ID: opened.ID, Epochs: opened.Epochs})
	}
	err = c.begins(ctx, t, d, opened)
	if err != nil {
		c.endHere(ctx, d.Session)
	}
	if errors.Is(err, session.ErrTooMany) {
		return Decision{Reason: TooManyConnections, RetryAfter: retryBroken}, nil
	}
	if err != nil {
		return Decision{}, broken("record sign-in", err)
	}
	if door.Share != "" {
		c.doors.Confirm(d.Session)
	}
	if !t.soon {
		c.markUse(t, d)
	}
	return d, nil
}

// join is for a request of a DAV session that another opened, and audits.
func (c *Core) join(ctx context.Context, t *trial, d Decision, standing session.Shared) (Decision, error) {
	if standing.Epochs != d.Epochs { // both came at once, and one was decided before a revocation: the next one finds out which
		return Decision{}, broken("join session", session.ErrEnded)
	}
	if !standing.Confirmed {
		if err := c.opened(ctx, standing.ID); err != nil {
			return Decision{}, broken("record sign-in", err)
		}
	}
	d.Session = standing.ID
	c.sitAgain(ctx, d.Session)
	c.markUse(t, d)
	return d, nil
}

// markUse notes that the credential was used, and from where.
func (c *Core) markUse(t *trial, d Decision) {
	now := c.now()
	c.lastUse.mark(t, d, now)
	c.newClients.mark(t, d, now)
}

// begins counts a session over all nodes, and records it.
func (c *Core) begins(ctx context.Context, t *trial, d Decision, opened session.Door) error {
	if t.cached { // how many there are elsewhere is not known
		return c.spoolAllow(ctx, t, d, opened)
	}
	room, err := c.sit(ctx, opened)
	if err != nil {
		return err
	}
	if !room {
		return session.ErrTooMany
	}
	if !c.doors.Has(opened.ID) { // somebody ended it before it had its seat, which nobody else gives back
		c.giveBack(ctx, opened)
		return session.ErrEnded
	}
	return c.recordAllow(ctx, t, d)
}

// merge writes an entry that may repeat, together with those of others.
func (c *Core) merge(ctx context.Context, partition string, e audit.Entry, key string, every time.Duration) error {
	ctx, cancel := whileLeft(ctx)
	defer cancel()
	return c.merger.Add(unrationed(ctx), partition, e, key, every)
}

// opened waits for another request of the same session as long as for the store that it writes to.
func (c *Core) opened(ctx context.Context, id session.ID) error {
	ctx, cancel := whileLeft(ctx)
	defer cancel()
	return c.doors.Confirmed(ctx, id)
}

func (c *Core) decision(t *trial, g grant) (Decision, error) {
	dom, m := t.tenant.Domain, t.person.Member
	up := Upstream{Name: dom.Upstreams[t.a.Door], User: m.Address()}
	if up.Name == "" {
		return Decision{}, fmt.Errorf("domain %s has no upstream for door %s", dom.Name, t.a.Door)
	}
	if c.o.UserByID != nil && c.o.UserByID(up.Name) {
		up.User = string(m.ID)
	}
	if c.o.Passthrough != nil && c.o.Passthrough(up.Name) {
		up.Password = g.account
	}
	return Decision{
		Reason: Allowed, Domain: dom.ID, Member: m.ID, Credential: g.credential, CredentialName: g.name,
		Addresses: m.Addresses, Until: g.until, Upstream: up,
		Epochs: member.Epochs{Domain: dom.Epoch, Door: dom.DoorEpoch(t.doors...), Member: m.AtDoors(), Credential: g.credentialEpoch},
	}, nil
}

// shareOf is what makes DAV requests one session: member, credential, source, doors and program. Every other connection is
// its own. Only the program's name is made up by a client, and it stands last.
func shareOf(t *trial, d Decision) string {
	if t.a.Door != policy.CalDAV && t.a.Door != policy.CardDAV {
		return ""
	}
	return strings.Join([]string{string(d.Member), d.Credential, t.source, strings.Join(t.doors, ","), t.a.Conn.Agent}, "\x00")
}

// doorSession is the session as the registry keeps it.
func (c *Core) doorSession(t *trial, d Decision, share string) session.Door {
	s := session.Door{
		ID: d.Session, Domain: d.Domain, Member: d.Member, Credential: d.Credential, CredentialName: d.CredentialName, Door: t.a.Door,
		From: t.from, Agent: t.a.Conn.Agent, Since: c.now().UTC(), Until: d.Until, Epochs: d.Epochs,
		Share: share,
	}
	if c.told() {
		s.Seat = session.SeatOf(c.fleet.process, s)
	}
	return s
}

func kindOf(credential string) string {
	switch credential {
	case "":
		return ""
	case AccountCredential:
		return "account_password"
	default:
		return "app_password"
	}
}

func (t *trial) allowEntry(d Decision, now time.Time) audit.Entry {
	return audit.Entry{
		Time: now, Action: audit.SignIn, Reason: string(d.Reason), Actor: t.person.Member.Address(), Target: t.person.Member.Address(),
		MemberID: string(d.Member), Door: t.a.Door, From: t.from, Agent: t.a.Conn.Agent,
		Kind: kindOf(d.Credential), Credential: d.Credential, Name: d.CredentialName, Session: string(d.Session),
	}
}

// recordAllow writes the audit entry, and the source that the member is now known to come from.
func (c *Core) recordAllow(ctx context.Context, t *trial, d Decision) error {
	now := c.now()
	entry := t.allowEntry(d, now)
	next, changed := t.sources.With(t.source, now)
	if t.soon = !changed && c.maySoon(t); t.soon {
		c.recordSoon(ctx, t, d, entry)
		return nil
	}
	ops := []store.Op{audit.Op(entry)}
	if changed {
		op := member.PutOp(lockout.SourcesKey(d.Domain, d.Member), next, store.AnyRevision)
		ops = append(ops, op)
	}
	if err := c.apply(ctx, d.Domain, ops...); err != nil {
		return err
	}
	if !t.failed {
		return nil
	}
	if err := c.throttle.Forgive(ctx, t.source, d.Domain, t.print); err != nil {
		c.log.Warn("forgive a source", "error", err)
	}
	return nil
}

// recordRefusal counts for the throttle and writes the audit entry, whatever becomes of the client. Equal refusals of an
// hour are one record; those of names that nobody has are one for each source, door and minute; those for whom there was
// no room are one for each domain, door and minute, for they come from everywhere.
func (c *Core) recordRefusal(ctx context.Context, t *trial, d Decision) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	e := audit.Entry{
		Time: c.now(), Action: audit.SignIn, Reason: string(d.Reason), Detail: t.detail, Door: t.a.Door,
		From: t.from, Agent: t.a.Conn.Agent,
	}
	partition, key, every := member.Root, []string{t.source, t.a.Door, e.Reason}, time.Minute
	var domain member.DomainID
	if t.tenant != nil {
		domain = t.tenant.Domain.ID
		partition = member.Partition(domain)
	}
	if t.detail == crowdDetail {
		e.From, e.Agent, key = "", "", []string{crowdDetail, t.a.Door}
	} else if m := t.person.Member; m != nil {
		e.Target, e.MemberID = m.Address(), string(m.ID)
		if d.Reason != Throttled {
			key, every = append(key, string(m.ID), e.Detail, t.secret.Reveal()), time.Hour
		}
	}
	if !d.Reason.Temporary() {
		if err := c.throttle.Failed(ctx, t.source, domain, t.print, c.print("tried", t.print, t.secret.Reveal())); err != nil {
			return err
		}
	}
	return c.merge(ctx, partition, e, c.print("audit", key...), every)
}
