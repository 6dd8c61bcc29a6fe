package authcore

import (
	"context"
	"errors"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// CreateOperator makes an operator at the server itself: the domain and the member where they are missing, and the right.
// It answers the temporary password of a member that it made.
func (c *Core) CreateOperator(ctx context.Context, a Actor, address string) (secret.String, error) {
	if !a.command {
		return secret.String{}, deny(Forbidden, "")
	}
	n, err := member.ParseName(address, "")
	if err != nil {
		return secret.String{}, invalid(policy.Mistake{Field: "address", Reason: "must be an address like name@example.org"})
	}
	if err := c.needDomain(ctx, a, n.Domain); err != nil {
		return secret.String{}, err
	}
	shown := secret.String{}
	t, err := c.memberFor(ctx, a, n.String(), giveOperator)
	if isDenied(err, NotFound) {
		if _, shown, err = c.CreateMember(ctx, a, n.Domain, NewMember{Address: n.String(), Role: member.RoleAdministrator}); err == nil {
			t, err = c.memberFor(ctx, a, n.String(), giveOperator)
		}
	}
	if err != nil {
		return secret.String{}, err
	}
	return shown, c.grantOperator(ctx, a, t)
}

func (c *Core) needDomain(ctx context.Context, a Actor, name string) error {
	t, err := c.dir.Tenant(ctx, name)
	if err != nil || t != nil {
		return err
	}
	_, err = c.CreateDomain(ctx, a, NewDomain{Name: name})
	return err
}

func (c *Core) grantOperator(ctx context.Context, a Actor, t target) error {
	if err := c.apply(ctx, t.domain(), audit.Op(c.entry(a, t, audit.OperatorGrant))); err != nil {
		return err
	}
	op := member.PutOp(member.OperatorKey(t.person.ID), member.Operator{Domain: t.domain(), Since: c.now().UTC()}, store.AnyRevision)
	_, err := c.records.Apply(ctx, member.Root, op)
	return err
}

// ResetOperator is the break-glass: a temporary password for an operator or the administrators' administrator who is
// locked out, with the count of wrong passwords cleared and a suspension lifted.
func (c *Core) ResetOperator(ctx context.Context, a Actor, address string) (secret.String, time.Time, error) {
	if !a.command {
		return secret.String{}, time.Time{}, deny(Forbidden, "")
	}
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return secret.String{}, time.Time{}, err
	}
	if t.role.Rank() < member.RoleAdministrator.Rank() {
		return secret.String{}, time.Time{}, deny(Forbidden, "break-glass is for operators and administrators: they reset a member's password")
	}
	clear := store.Op{Kind: store.Delete, Name: lockout.Key(t.domain(), t.person.ID).Name, IfRevision: store.AnyRevision}
	err = c.changeMember(ctx, a, &t, audit.OperatorReset, func(m *member.Member) error {
		m.Status, m.SuspendedReason, m.SuspendedAt, m.SuspendedBy, m.DeletedAt = member.Active, "", time.Time{}, "", time.Time{}
		m.TwoStep = ""
		return nil
	}, clear)
	if err != nil {
		return secret.String{}, time.Time{}, err
	}
	return c.ResetPassword(ctx, a, address, true)
}

func isDenied(err error, r DenialReason) bool {
	var d *Denial
	return errors.As(err, &d) && d.Reason == r
}
