package authcore

import (
	"context"
	"errors"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// A member links a number by proving it with a code. It may be another than that of his profile, is used for nothing but
// signing in, and is shown to nobody but, masked, to himself. One number links to one member of the installation; that it
// is somebody's is told only to who has proven it.

// PhoneLink is what a member is shown of his link.
type PhoneLink struct {
	Masked string // empty: no number is linked
	Since  time.Time
}

func masked(number string) string {
	return member.Contact{Kind: member.Mobile, Value: number}.Masked()
}

// MyPhoneLink answers the actor's own.
func (c *Core) MyPhoneLink(ctx context.Context, a Actor) (PhoneLink, error) {
	if _, err := c.self(ctx, a); err != nil {
		return PhoneLink{}, err
	}
	l, err := c.phoneLink(ctx, a.Domain, a.Member)
	if err != nil || l == nil {
		return PhoneLink{}, err
	}
	return PhoneLink{Masked: masked(l.Number), Since: l.Since}, nil
}

// LinkPhone sends a code to the number that the actor wants to link.
func (c *Core) LinkPhone(ctx context.Context, a Actor, typed string) (Asked, error) {
	t, err := c.linker(ctx, a)
	if err != nil {
		return Asked{}, err
	}
	if err := c.sendable(notify.BySMS, "number"); err != nil {
		return Asked{}, err
	}
	number, err := c.number(typed)
	if err != nil {
		return Asked{}, err
	}
	asks, err := c.keepAsked(ctx, asked{
		Purpose: otp.ForLink, Domain: a.Domain, Member: a.Member, Bound: c.bound(a.Client), Session: a.Session, Number: number,
	})
	if err != nil {
		return Asked{}, err
	}
	_, err = c.askCode(ctx, codeAsk{
		ticket: ticketFor(otp.ForLink, asks.Ticket), domain: a.Domain, member: a.Member, address: a.Address, client: a.Client,
		channel: notify.BySMS, to: number, language: t.person.Member.Language,
	})
	return asks, err
}

// linker is the actor when he may link a number now.
func (c *Core) linker(ctx context.Context, a Actor) (target, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return target{}, err
	}
	if err := c.confirmed(a); err != nil {
		return target{}, err
	}
	if !t.person.Member.MayUse(policy.WayPhone, t.tenant.Policy) {
		return target{}, deny(WayDenied, "")
	}
	return t, nil
}

// ConfirmPhoneLink links the number whose code is right, in the place of the one before. AlreadyLinked: it is another
// member's.
func (c *Core) ConfirmPhoneLink(ctx context.Context, a Actor, tk, code secret.String) (PhoneLink, error) {
	t, err := c.linker(ctx, a)
	if err != nil {
		return PhoneLink{}, err
	}
	k, err := c.askedBy(ctx, a.Client, tk, otp.ForLink, a.Session)
	if err != nil {
		return PhoneLink{}, err
	}
	if k.Member != a.Member || k.Domain != a.Domain {
		return PhoneLink{}, deny(TicketInvalid, "")
	}
	if err := c.tryCode(ctx, ticketFor(k.Purpose, tk), k.Domain, k.Member, code); err != nil {
		return PhoneLink{}, err
	}
	if err := c.takeAsked(ctx, tk); err != nil {
		return PhoneLink{}, err
	}
	return c.link(ctx, a, t, k.Number)
}

// link takes the number: the pending claim, the member's record, the claim confirmed; and what he had before goes.
func (c *Core) link(ctx context.Context, a Actor, t target, number string) (PhoneLink, error) {
	d, id := t.domain(), t.person.ID
	if err := c.claims.Take(ctx, member.ClaimPhone, number, d, id); err != nil {
		return PhoneLink{}, taken(err)
	}
	next := member.PhoneLink{Number: number, Since: c.now().UTC().Truncate(time.Second)}
	old, err := c.changePhoneLink(ctx, a, t, &next, audit.LinkCreate, "")
	if err != nil {
		var d *Denial
		if errors.As(err, &d) { // nothing was written
			c.dropClaim(ctx, a, member.ClaimPhone, number)
		}
		return PhoneLink{}, err
	}
	if err := c.claims.Confirm(ctx, member.ClaimPhone, number, d, id); errors.Is(err, member.ErrClaimed) {
		return PhoneLink{}, c.unlinkLate(ctx, a, t, number)
	} else if err != nil {
		return PhoneLink{}, err
	}
	if old != nil && old.Number != number {
		if err := c.claims.Drop(ctx, member.ClaimPhone, old.Number, d, id); err != nil {
			c.log.Warn("free the number that was linked before", "error", err) // nobody's record names it: it is free
		}
	}
	return PhoneLink{Masked: masked(number), Since: next.Since}, nil
}

// unlinkLate takes away a link whose number is another's by now: linking took longer than its claim waits.
func (c *Core) unlinkLate(ctx context.Context, a Actor, t target, number string) error {
	lost := deny(AlreadyLinked, "")
	var d *Denial
	if _, err := c.changePhoneLink(ctx, a, t, nil, audit.LinkDelete, number); err != nil && !errors.As(err, &d) {
		return err
	}
	return lost
}

func taken(err error) error {
	if errors.Is(err, member.ErrClaimed) {
		return deny(AlreadyLinked, "")
	}
	return err
}

// changePhoneLink writes the member's link, nil to take away one that is of the number (empty: any), with its audit and its
// message, and answers the one before.
func (c *Core) changePhoneLink(ctx context.Context, a Actor, t target, next *member.PhoneLink, action audit.Action, number string) (old *member.PhoneLink, err error) {
	key := member.PhoneLinkKey(t.domain(), t.person.ID)
	err = c.retry(func() (err error) {
		var rev int64
		if old, rev, err = readDirect[member.PhoneLink](ctx, c, key); err != nil {
			return err
		}
		entry := c.entry(a, t, action)
		entry.Detail = policy.WayPhone
		ops := []store.Op{audit.Op(entry)}
		switch {
		case next != nil:
			stands, err := c.mayLink(ctx, a, t, policy.WayPhone)
			if err != nil {
				return err
			}
			ops = append(append(ops, stands...), member.PutOp(key, next, rev))
		case old == nil || number != "" && number != old.Number:
			return deny(NotFound, "")
		default:
			ops = append(ops, unchanged(member.Key(t.domain(), t.person.ID), t.person.Revision),
				store.Op{Kind: store.Delete, Name: key.Name, IfRevision: rev})
		}
		ops = append(ops, c.notice(t.person.Member, notify.Event{Kind: notify.LinkChanged, Name: policy.WayPhone, At: c.now(), From: a.From()})...)
		return c.apply(ctx, t.domain(), ops...)
	}, func() error { return c.again(ctx, &t) })
	return old, err
}

// UnlinkPhone takes the actor's link away.
func (c *Core) UnlinkPhone(ctx context.Context, a Actor) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	if err := c.confirmed(a); err != nil {
		return err
	}
	old, err := c.changePhoneLink(ctx, a, t, nil, audit.LinkDelete, "")
	if err != nil {
		return err
	}
	if err := c.claims.Drop(ctx, member.ClaimPhone, old.Number, a.Domain, a.Member); err != nil {
		c.log.Warn("free the number that was unlinked", "error", err) // nobody's record names it: it is free
	}
	return nil
}

// ReauthenticatePhone sends the actor a code to the number he linked, to prove himself once more. It never goes to his
// inbox: the session that asks could read it there.
func (c *Core) ReauthenticatePhone(ctx context.Context, a Actor) (Asked, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return Asked{}, err
	}
	if a.web == nil || a.web.Name != "" {
		return Asked{}, deny(Forbidden, "an API token cannot be re-authenticated")
	}
	if !t.person.Member.MayUse(policy.WayPhone, t.tenant.Policy) {
		return Asked{}, deny(WayDenied, "")
	}
	if err := c.sendable(notify.BySMS, "number"); err != nil {
		return Asked{}, err
	}
	l, err := c.phoneLink(ctx, a.Domain, a.Member)
	if err != nil {
		return Asked{}, err
	}
	if l == nil {
		return Asked{}, deny(NotFound, "no number is linked")
	}
	asks, err := c.keepAsked(ctx, asked{
		Purpose: otp.ForPhone, Domain: a.Domain, Member: a.Member, Address: a.Address, Bound: c.bound(a.Client), Session: a.Session,
		Print: c.print("linked number", l.Number),
	})
	if err != nil {
		return Asked{}, err
	}
	_, err = c.askCode(ctx, codeAsk{
		ticket: ticketFor(otp.ForPhone, asks.Ticket), domain: a.Domain, member: a.Member, address: a.Address, client: a.Client,
		channel: notify.BySMS, to: l.Number, language: t.person.Member.Language,
	})
	return asks, err
}

// ReauthenticatePhoneCode confirms the actor's session by a right code; two-step follows where it is on.
func (c *Core) ReauthenticatePhoneCode(ctx context.Context, a Actor, tk, code secret.String) (SignInResult, error) {
	if _, err := c.self(ctx, a); err != nil {
		return SignInResult{}, err
	}
	t, err := c.askedBy(ctx, a.Client, tk, otp.ForPhone, a.Session)
	if err != nil {
		return SignInResult{}, err
	}
	f, err := c.phoneProved(ctx, a.Client, t, tk, code)
	if err != nil {
		return SignInResult{}, err
	}
	f.again = &a
	return c.proved(ctx, a.Client, f)
}
