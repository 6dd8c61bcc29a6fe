package authcore

import (
	"context"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

func administratorOps(d member.DomainID, id member.ID, was, is member.Role) []store.Op {
	name := member.AdministratorKey(d, id).Name
	switch {
	case was != member.RoleAdministrator && is == member.RoleAdministrator:
		return []store.Op{{Kind: store.Put, Name: name, Value: []byte("{}"), IfRevision: store.AnyRevision}}
	case was == member.RoleAdministrator && is != member.RoleAdministrator:
		return []store.Op{{Kind: store.Delete, Name: name, IfRevision: store.AnyRevision}}
	default:
		return nil
	}
}

// Suspend suspends a member and ends all his sessions.
func (c *Core) Suspend(ctx context.Context, a Actor, address string) (Profile, error) {
	return c.act(ctx, a, address, audit.MemberSuspend, true, func(m *member.Member) error {
		if m.Status == member.Deleted {
			return deny(NotFound, "")
		}
		m.Status, m.SuspendedReason, m.SuspendedAt, m.SuspendedBy = member.Suspended, member.ByAdministrator, c.now().UTC(), a.Address
		m.Epoch++
		return nil
	})
}

// Lift lifts a suspension and clears the count of wrong passwords.
func (c *Core) Lift(ctx context.Context, a Actor, address string) (Profile, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return Profile{}, err
	}
	clear := store.Op{Kind: store.Delete, Name: lockout.Key(t.domain(), t.person.ID).Name, IfRevision: store.AnyRevision}
	err = c.changeMember(ctx, a, &t, audit.MemberLift, func(m *member.Member) error {
		if m.Status == member.Deleted {
			return deny(NotFound, "")
		}
		m.Status, m.SuspendedReason, m.SuspendedAt, m.SuspendedBy = member.Active, "", time.Time{}, ""
		return nil
	}, clear)
	if err != nil {
		return Profile{}, err
	}
	return c.MemberOf(ctx, a, address)
}

// SignOutEverywhere ends all sessions of a member, on the web and at the doors.
func (c *Core) SignOutEverywhere(ctx context.Context, a Actor, address string) (Profile, error) {
	return c.act(ctx, a, address, audit.SignOutEverywhere, false, func(m *member.Member) error { m.Epoch++; return nil })
}

// DeleteMember deletes a member: he can be restored for member.RestorableFor.
func (c *Core) DeleteMember(ctx context.Context, a Actor, address string) error {
	_, err := c.act(ctx, a, address, audit.MemberDelete, true, func(m *member.Member) error {
		if m.Status == member.Deleted {
			return deny(NotFound, "")
		}
		m.Status, m.DeletedAt = member.Deleted, c.now().UTC()
		m.Epoch++
		return nil
	})
	return err
}

func (c *Core) act(ctx context.Context, a Actor, address string, action audit.Action, keepsOne bool, change func(*member.Member) error) (Profile, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return Profile{}, err
	}
	var others []store.Op
	if keepsOne {
		if others, err = c.notLast(ctx, a, t); err != nil {
			return Profile{}, err
		}
	}
	if action == audit.MemberDelete { // what he signed in with is nobody's business any more; restored, he is told anew
		others = append(others, store.Op{Kind: store.Delete, Name: clientsKey(t.domain(), t.person.ID).Name, IfRevision: store.AnyRevision})
	}
	if err := c.changeMember(ctx, a, &t, action, change, others...); err != nil {
		return Profile{}, err
	}
	return c.MemberOf(ctx, a, address)
}

func (c *Core) restore(ctx context.Context, a Actor, t *target, ifRevision int64) error {
	return c.changeMember(ctx, a, t, audit.MemberRestore, func(m *member.Member) error {
		if err := over(*t, ifRevision); err != nil {
			return err
		}
		if m.Status != member.Deleted || c.now().Sub(m.DeletedAt) >= member.RestorableFor {
			return deny(NotDeleted, "only a member deleted within 7 days can be restored")
		}
		m.Status, m.DeletedAt = member.Active, time.Time{}
		if !m.SuspendedAt.IsZero() { // only lifting ends a suspension
			m.Status = member.Suspended
		}
		return nil
	})
}

// ResetPassword gives a member a temporary password, to be shown once. keepApps keeps his app passwords, which else are
// deleted.
func (c *Core) ResetPassword(ctx context.Context, a Actor, address string, keepApps bool) (secret.String, time.Time, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return secret.String{}, time.Time{}, err
	}
	if t.person.Member.Status == member.Deleted {
		return secret.String{}, time.Time{}, deny(NotFound, "")
	}
	made, err := once(ctx, c, a, member.Partition(t.domain()), func() (madeTemporary, error) { return c.resetPassword(ctx, a, t, keepApps) })
	if err != nil {
		return secret.String{}, time.Time{}, err
	}
	return secret.New(made.Secret), made.Until, nil
}

// madeTemporary is a temporary password that was given to a member.
type madeTemporary struct {
	Secret string
	Until  time.Time
}

func (c *Core) resetPassword(ctx context.Context, a Actor, t target, keepApps bool) (madeTemporary, error) {
	temporary := password.NewTemporary()
	made := madeTemporary{temporary.Reveal(), c.now().Add(password.TemporaryFor).UTC()}
	return made, c.retry(func() error {
		set, err := c.newPassword(ctx, t.domain(), t.person, temporary, wishes{temporary: true})
		if err != nil {
			return err
		}
		kept, err := c.keepAnswer(ctx, a, member.Partition(t.domain()), made)
		if err != nil {
			return err
		}
		ops := append(set.ops, audit.Op(c.entry(a, t, audit.PasswordReset)))
		ops = append(ops, c.notice(t.person.Member, notify.Event{Kind: notify.PasswordWasReset, At: c.now(), From: a.From()})...)
		ops = append(ops, kept...)
		tokens, err := c.withoutTokens(ctx, t.domain(), t.person.ID)
		if err != nil {
			return err
		}
		ops = append(ops, tokens...)
		if !keepApps {
			apps, err := c.withoutApps(ctx, t.domain(), t.person.ID)
			if err != nil {
				return err
			}
			ops = append(ops, apps...)
		}
		return c.revoke(ctx, Revocation{Domain: t.domain(), Member: t.person.ID}, ops...)
	}, func() error { return c.again(ctx, &t) })
}
