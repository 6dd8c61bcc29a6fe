package authcore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/quick"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// TwoStepView is how things stand with a member's 2-step verification: what there is, and no secret of it.
type TwoStepView struct {
	On            bool             // it is asked of him
	By            member.TwoStepBy // who asked; empty: nobody, or the policy before his next sign-in
	Required      bool             // by the policy: he cannot switch it off
	Managed       bool             // he cannot change his contacts
	Contacts      []member.Contact
	AppSince      time.Time // zero: there is none
	RecoveryLeft  int
	RecoverySince time.Time
	Passkeys      int
	Methods       []signin.Method // of which each would do today
}

// MyTwoStep answers the actor's own.
func (c *Core) MyTwoStep(ctx context.Context, a Actor) (TwoStepView, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return TwoStepView{}, err
	}
	return c.twoStepView(ctx, t)
}

// TwoStepOf answers a member's for an administrator.
func (c *Core) TwoStepOf(ctx context.Context, a Actor, address string) (TwoStepView, error) {
	t, err := c.memberFor(ctx, a, address, readMember)
	if err != nil {
		return TwoStepView{}, err
	}
	return c.twoStepView(ctx, t)
}

func (c *Core) twoStepView(ctx context.Context, t target) (TwoStepView, error) {
	m := t.person.Member
	v := TwoStepView{
		On: m.TwoStepOn(t.tenant.Policy), By: m.TwoStep, Required: t.tenant.Policy.SignIn.TwoStep == policy.TwoStepRequired,
		Managed: t.tenant.Policy.ProfileManagedExternally, Contacts: m.Contacts,
	}
	methods, _, err := readDirect[otp.Methods](ctx, c, otp.Key(t.domain(), m.ID))
	if err != nil {
		return TwoStepView{}, err
	}
	if methods.HasApp() {
		v.AppSince = methods.App.Since
	}
	if v.RecoveryLeft = methods.Left(); v.RecoveryLeft > 0 {
		v.RecoverySince = methods.Since
	}
	keys, _, err := readDirect[quick.Passkeys](ctx, c, quick.PasskeysKey(t.domain(), m.ID))
	if err != nil {
		return TwoStepView{}, err
	}
	v.Passkeys = len(keys.Credentials())
	steps, err := c.secondSteps(ctx, t.domain(), m)
	if err != nil {
		return TwoStepView{}, err
	}
	for _, s := range steps {
		if !slices.Contains(v.Methods, s.Method) {
			v.Methods = append(v.Methods, s.Method)
		}
	}
	return v, nil
}

// SwitchTwoStep switches the actor's 2-step verification on or off, and ends his sessions at the doors, where another
// credential counts now. On needs every saved contact verified, or leaveUnverified and one method that is proven. Off is
// refused where the policy requires it.
func (c *Core) SwitchTwoStep(ctx context.Context, a Actor, on, leaveUnverified bool) (TwoStepView, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return TwoStepView{}, err
	}
	if err := c.confirmed(a); err != nil {
		return TwoStepView{}, err
	}
	err = c.retry(func() error {
		m := t.person.Member
		if on == (m.TwoStep == member.ByMember) {
			return c.offOnlyIfFree(t, on)
		}
		next := *m
		var held []store.Op
		action, word := audit.TwoStepOn, "on"
		if on {
			held, err = c.proven(ctx, t, leaveUnverified)
			next.TwoStep = member.ByMember
		} else {
			err = c.offOnlyIfFree(t, on)
			next.TwoStep, action, word = "", audit.TwoStepOff, "off"
		}
		if err != nil {
			return err
		}
		return c.switchTwoStep(ctx, a, t, next, action, word, held)
	}, func() error { return c.again(ctx, &t) })
	if err != nil {
		return TwoStepView{}, err
	}
	return c.MyTwoStep(ctx, a)
}

// offOnlyIfFree refuses to switch off what the policy requires.
func (c *Core) offOnlyIfFree(t target, on bool) error {
	if !on && t.tenant.Policy.SignIn.TwoStep == policy.TwoStepRequired {
		return deny(TwoStepRequiredByPolicy, "")
	}
	return nil
}

// switchTwoStep writes the member with what tells of it. The policy is held, for it says whether he may.
func (c *Core) switchTwoStep(ctx context.Context, a Actor, t target, next member.Member, action audit.Action, word string, held []store.Op) error {
	if next.TwoStepOn(t.tenant.Policy) != t.person.Member.TwoStepOn(t.tenant.Policy) {
		next.DoorsEpoch++
	}
	ops := []store.Op{
		member.PutOp(member.Key(t.domain(), next.ID), next, t.person.Revision), audit.Op(c.entry(a, t, action)),
		unchanged(member.PolicyKey(t.domain()), t.tenant.PolicyRevision),
	}
	ops = append(ops, held...)
	ops = append(ops, c.notice(&next, notify.Event{Kind: notify.TwoStepChanged, Name: word, At: c.now(), From: a.From()})...)
	if next.AtDoors() == t.person.Member.AtDoors() {
		return c.apply(ctx, t.domain(), ops...)
	}
	return c.revoke(ctx, Revocation{Domain: t.domain(), Member: next.ID}, ops...)
}

// proven asks that the member proved what codes will go to: each of his contacts, and at least one method in all. Its steps
// hold that the method is still there.
func (c *Core) proven(ctx context.Context, t target, leaveUnverified bool) ([]store.Op, error) {
	some := false
	var mistakes []policy.Mistake
	for i, k := range t.person.Member.Contacts {
		some = some || k.Verified && c.reaches(k)
		if !k.Verified && c.reaches(k) {
			mistakes = append(mistakes, policy.Mistake{Field: fmt.Sprintf("contacts[%d]", i), Reason: k.Masked() + " is not verified: verify it by a code, or remove it"})
		}
	}
	if len(mistakes) > 0 && !leaveUnverified {
		return nil, invalid(mistakes...)
	}
	if some {
		return nil, nil
	}
	methods, rev, err := readDirect[otp.Methods](ctx, c, otp.Key(t.domain(), t.person.ID))
	if err != nil {
		return nil, err
	}
	if methods.HasApp() {
		return []store.Op{unchanged(otp.Key(t.domain(), t.person.ID), rev)}, nil
	}
	held, err := c.heldPasskey(ctx, t)
	if err != nil {
		return nil, orMissing(err)
	}
	return held, nil
}

// orMissing says what to do where nothing is proven yet.
func orMissing(err error) error {
	if d, ok := err.(*Denial); ok {
		return deny(d.Reason, "Verify a personal e-mail address or mobile number, or add an authenticator app, first.")
	}
	return err
}

// ResetTwoStep takes a member's authenticator app and recovery codes away, forgets the codes of his day, which somebody else
// may have used up, and switches off what he switched on himself, for an administrator whom he asked for help. His contacts stay, and so does what the policy requires.
func (c *Core) ResetTwoStep(ctx context.Context, a Actor, address string) (TwoStepView, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return TwoStepView{}, err
	}
	key := otp.Key(t.domain(), t.person.ID)
	err = c.retry(func() error {
		if t.person.Member == nil {
			return deny(NotFound, "")
		}
		next := *t.person.Member
		next.TwoStep = ""
		gone := []store.Op{
			{Kind: store.Delete, Name: key.Name, IfRevision: store.AnyRevision},
			{Kind: store.Delete, Name: otp.DayKey(t.domain(), t.person.ID).Name, IfRevision: store.AnyRevision},
		}
		return c.switchTwoStep(ctx, a, t, next, audit.TwoStepOff, "off", gone)
	}, func() error { return c.again(ctx, &t) })
	if err != nil {
		return TwoStepView{}, err
	}
	return c.TwoStepOf(ctx, a, address)
}
