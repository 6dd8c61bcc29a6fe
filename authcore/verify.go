package authcore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
)

// Lease, verify, settle. One account password is verified at a time for a name; what it came to is written before anybody
// hears of it; so exactly N wrong ones can fail, however many race. From the hash on, the client's going away changes
// nothing. A name that nobody has, a suspended member and one without a password take the same steps and make the same
// writes, on a shadow.

// check is one account password to verify, at a door or on the web.
type check struct {
	tenant          *member.Tenant
	name            member.Name
	person          member.Person
	counts          bool // the password is looked at; else the check only costs the same
	known           bool
	secret          secret.String
	from            string
	account         *password.Record
	accountRevision int64
}

type verdict struct {
	right bool
	state password.State // with right
	epoch int64          // of the password, with right
	wait  time.Duration  // above zero: not verified, come again after that
}

// settleFor bounds verify and settle once the hash began; the lease lasts longer.
const settleFor = 5 * time.Second

// errLeaseLost: verify took longer than the lease; its result counts for nothing.
var errLeaseLost = errors.New("the lease ran out before the result was settled")

func (c *Core) verify(ctx context.Context, k check) (verdict, error) {
	if v, ok, err := c.verdictOf(ctx, k); ok || err != nil {
		return v, err
	}
	if c.hasher.Full() { // who cannot be hashed costs the store nothing
		return verdict{}, password.ErrBusy
	}
	d := k.tenant.Domain.ID
	lease, err := c.leases.Take(ctx, member.Partition(d), c.leaseName(k), k.known)
	if err != nil {
		return verdict{}, err
	}
	defer lease.Release(c.toRelease(context.WithoutCancel(ctx)))
	s := &settling{check: k, lease: lease}
	if err := c.load(ctx, s); err != nil {
		return verdict{}, err
	}
	next, grant, wait := s.failures.May(s.caseNow(c.now()))
	if wait > 0 {
		return verdict{wait: wait}, nil
	}
	slot, err := c.slotUnder(ctx, lease)
	if err != nil {
		return verdict{}, err
	}
	defer slot.Release()
	if err := c.maySettle(ctx); err != nil {
		return verdict{}, err
	}
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	if grant {
		if err := c.grant(wctx, s, next); err != nil {
			return verdict{}, err
		}
	}
	right, err := hashed(slot, s)
	if err == nil && s.counts && s.preparedOK {
		s.anew = slot.Again(s.account.Hash, s.prepared, right)
	}
	slot.Release()
	if err != nil {
		return verdict{}, err
	}
	return c.settle(wctx, s, right)
}

// slotUnder waits for a hash slot as long as the lease will outlast verify and settle.
func (c *Core) slotUnder(ctx context.Context, lease *lockout.Lease) (*password.Slot, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lease.Left()-settleFor, password.ErrBusy)
	defer cancel()
	return c.hasher.Acquire(ctx)
}

// leaseName is by member, so that aliases share it, and by name for names that nobody has. A member's is not keyed: it
// must be the same before and after a key is dropped.
func (c *Core) leaseName(k check) string {
	if k.person.Member == nil {
		return c.print("lease", "name", k.name.String())
	}
	return "member-" + string(k.person.ID)
}

// settling is a check under its lease, with what the records say now.
type settling struct {
	check
	lease      *lockout.Lease
	subject    member.ID // whose failures: the member's, or a shadow's
	failures   lockout.Failures
	revision   int64 // of the failures' record
	slowed     bool
	others     []store.Op // for a slowed or suspended administrator: that the others stay as they were seen
	prepared   secret.String
	preparedOK bool
	anew       string // the hash that takes the place of an old one, with a right password
}

// load reads the records themselves: they may have changed while the lease was waited for.
func (c *Core) load(ctx context.Context, s *settling) error {
	d := s.tenant.Domain.ID
	direct := c.records.Direct()
	m, rev, err := cache.ReadDirect[member.Member](ctx, direct, member.Key(d, s.person.ID))
	if err != nil {
		return err
	}
	if s.account, s.accountRevision, err = cache.ReadDirect[password.Record](ctx, direct, password.Key(d, s.person.ID)); err != nil {
		return err
	}
	s.person.Member, s.person.Revision = m, rev
	s.counts = s.counts && m != nil && m.Status == member.Active && s.account.State(s.tenant.Policy.Password, c.now()) != password.Gone
	s.subject = s.person.ID
	if !s.counts {
		s.subject = c.dir.Shadow(d, s.name)
	}
	s.prepared, s.preparedOK = password.Prepare(s.secret)
	f, rev, err := cache.ReadDirect[lockout.Failures](ctx, direct, lockout.Key(d, s.subject))
	if err != nil {
		return err
	}
	s.failures, s.revision = lockout.Failures{}, rev
	if f != nil {
		s.failures = *f
	}
	return c.slowed(ctx, s)
}

func (s *settling) caseNow(now time.Time) lockout.Case {
	k := lockout.Case{Limit: s.tenant.Policy.Password.MaxFailures, Known: s.known, Slowed: s.slowed, Now: now}
	if s.counts {
		k.Password = s.account.Epoch
	} else {
		k.Known = true // a shadow stands for many names: its day is nobody's
	}
	return k
}

// grant remembers a verification that is granted to a slowed member. It holds a slot by then: who gives up in the queue
// takes the grant from nobody.
func (c *Core) grant(ctx context.Context, s *settling, next lockout.Failures) error {
	d := s.tenant.Domain.ID
	rev, err := c.records.Apply(ctx, member.Partition(d), member.PutOp(lockout.Key(d, s.subject), next, s.revision))
	if err != nil {
		return broken("grant a verification", err)
	}
	s.failures, s.revision = next, rev
	return nil
}

func hashed(slot *password.Slot, s *settling) (bool, error) {
	if !s.counts || !s.preparedOK {
		slot.Dummy(s.prepared)
		return false, nil
	}
	right, err := slot.Verify(s.account.Hash, s.prepared)
	if err != nil {
		return false, fmt.Errorf("password of member %s: %w", s.person.ID, err)
	}
	return right, nil
}

// settleTries bounds how often a settling meets a change of the same records by others: an administrator, mostly.
const settleTries = 8

func (c *Core) settle(ctx context.Context, s *settling, right bool) (verdict, error) {
	for range settleTries {
		v, ops, after := c.outcome(ctx, s, right)
		err := c.apply(ctx, s.tenant.Domain.ID, ops...)
		if err == nil {
			s.lease.Settled()
			if after != nil {
				after(ctx)
			}
			if v.right {
				c.remember(s, v)
			}
			return v, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			if after != nil { // it may have been written
				after(ctx)
			}
			return verdict{}, broken("settle", err)
		}
		held, err := s.lease.Held(ctx)
		if err != nil {
			return verdict{}, err
		}
		if !held {
			return verdict{}, errLeaseLost
		}
		was := s.account
		if err := c.load(ctx, s); err != nil {
			return verdict{}, err
		}
		if right && (!s.counts || s.account.Epoch != was.Epoch) {
			right = false // suspended, deleted or another password since: what was right is not any more
		}
	}
	return verdict{}, fmt.Errorf("settle: %w", store.ErrConflict)
}

// outcome is what a verification came to: the verdict, the batch that makes it true, and what follows once it is written.
func (c *Core) outcome(ctx context.Context, s *settling, right bool) (verdict, []store.Op, func(context.Context)) {
	d, now := s.tenant.Domain.ID, c.now()
	ops := []store.Op{s.lease.Settle()}
	if right {
		ops = append(ops, unchanged(member.Key(d, s.person.ID), s.person.Revision), s.passwordOp())
		if next, changed := s.failures.Right(s.caseNow(now)); changed {
			ops = append(ops, member.PutOp(lockout.Key(d, s.subject), next, s.revision))
		}
		return verdict{right: true, state: s.account.State(s.tenant.Policy.Password, now), epoch: s.account.Epoch}, ops, nil
	}
	next, counted, suspend := s.failures.Wrong(c.failurePrint(s), s.caseNow(now))
	limit := s.tenant.Policy.Password.MaxFailures
	if !s.counts && suspend {
		next, suspend = lockout.Failures{Password: next.Password}, false // a shadow begins anew
	}
	ops = append(ops, member.PutOp(lockout.Key(d, s.subject), next, s.revision))
	switch {
	case suspend:
		more, after := c.suspension(ctx, s, now)
		return verdict{}, append(ops, more...), after
	case counted && s.slowed && limit > 0 && next.Count == limit:
		ops = append(ops, c.toAdministrators(ctx, s.tenant.Domain, s.person.ID, notify.Event{Kind: notify.GuessingSlowed, Address: s.person.Member.Address(), From: s.from, At: now})...)
	}
	return verdict{}, ops, nil
}

// passwordOp holds that the right password is still the member's, and keeps a hash of today's cost in the place of an old
// one. A right password alone costs that one hash more.
func (s *settling) passwordOp() store.Op {
	k := password.Key(s.tenant.Domain.ID, s.person.ID)
	if s.anew == "" {
		return unchanged(k, s.accountRevision)
	}
	return member.PutOp(k, s.account.Upgraded(s.anew), s.accountRevision)
}

// failurePrint names a wrong password among those of a member, or of the names that share a shadow.
func (c *Core) failurePrint(s *settling) string {
	name := ""
	if !s.counts {
		name = s.name.String()
	}
	tried := s.secret.Reveal()
	if s.preparedOK {
		tried = s.prepared.Reveal()
	}
	return c.print("failure", string(s.subject), name, tried)
}

func unchanged(k store.Key, revision int64) store.Op {
	return store.Op{Kind: store.Check, Name: k.Name, IfRevision: revision}
}

// suspension suspends the member, ends his sessions, and tells the administrators, in the batch that settles.
func (c *Core) suspension(ctx context.Context, s *settling, now time.Time) ([]store.Op, func(context.Context)) {
	d := s.tenant.Domain.ID
	m := *s.person.Member
	m.Status, m.SuspendedReason, m.SuspendedAt, m.SuspendedBy = member.Suspended, member.BySignInFailures, now.UTC(), ""
	m.Epoch++
	ops := []store.Op{
		member.PutOp(member.Key(d, m.ID), m, s.person.Revision),
		audit.Op(audit.Entry{Time: now, Action: audit.MemberSuspend, Target: m.Address(), MemberID: string(m.ID), Reason: member.BySignInFailures, From: s.from}),
	}
	ops = append(ops, s.others...)
	ops = append(ops, c.toAdministrators(ctx, s.tenant.Domain, s.person.ID, notify.Event{Kind: notify.MemberSuspended, Address: m.Address(), From: s.from, At: now})...)
	r := Revocation{Domain: d, Member: m.ID}
	return append(ops, c.revokedOps(r)...), func(ctx context.Context) { c.tell(ctx, r) }
}

// maxTold bounds how many administrators hear of one thing: a batch has a bound, and a domain seldom has more.
const maxTold = 32

// toAdministrators tells them, and the webhooks, what happened to a member.
func (c *Core) toAdministrators(ctx context.Context, dom *member.Domain, who member.ID, e notify.Event) []store.Op {
	d := dom.ID
	ops := c.hook(dom.Name, who, e)
	ids, err := c.dir.Administrators(ctx, d)
	if err != nil {
		c.log.Error("find administrators to tell", "domain", d, "error", err)
		return ops
	}
	for _, id := range ids[:min(len(ids), maxTold)] {
		p, err := c.dir.PersonByID(ctx, d, id)
		if err != nil || p.Member == nil {
			c.log.Error("find an administrator to tell", "domain", d, "member", id, "error", err)
			continue
		}
		ops = append(ops, c.notice(p.Member, e)...)
	}
	return ops
}

// slowed says whether the member is never suspended: an operator, or the last active administrator of the domain.
func (c *Core) slowed(ctx context.Context, s *settling) error {
	s.slowed, s.others = false, nil
	operator, err := c.dir.IsOperator(ctx, s.person.ID) // asked of everybody: the same reads
	if err != nil || !s.counts {
		return err
	}
	if operator {
		s.slowed = true
		return nil
	}
	limit := s.tenant.Policy.Password.MaxFailures
	if s.person.Member.Role != member.RoleAdministrator || limit == 0 || s.failures.Count+1 < limit {
		return nil // until the next one may suspend, an administrator costs what everybody costs
	}
	others, err := c.dir.OtherActiveAdministrators(ctx, s.tenant.Domain.ID, s.person.ID)
	if err != nil {
		return err
	}
	s.slowed = len(others) == 0
	if !s.slowed { // one of them must still be active when this one is suspended
		s.others = []store.Op{unchanged(member.Key(s.tenant.Domain.ID, others[0].ID), others[0].Revision)}
	}
	return nil
}
