package authcore

import (
	"context"
	"errors"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// Link tells a member that he signs in with an account at a provider, and nothing of that account.
type Link struct {
	Provider string
	Since    time.Time
}

// Links lists the actor's own.
func (c *Core) Links(ctx context.Context, a Actor) ([]Link, error) {
	if _, err := c.self(ctx, a); err != nil {
		return nil, err
	}
	l, _, err := readDirect[member.ProviderLinks](ctx, c, member.ProviderLinksKey(a.Domain, a.Member))
	if err != nil || l == nil {
		return nil, err
	}
	var links []Link
	for _, i := range l.Items {
		links = append(links, Link{Provider: i.Provider, Since: i.Since})
	}
	return links, nil
}

// LinkProvider begins to link the actor to his account at a provider.
func (c *Core) LinkProvider(ctx context.Context, a Actor, name string) (ProviderStep, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return ProviderStep{}, err
	}
	if err := c.confirmed(a); err != nil {
		return ProviderStep{}, err
	}
	p, err := c.provider(name)
	if err != nil {
		return ProviderStep{}, err
	}
	l, _, err := readDirect[member.ProviderLinks](ctx, c, member.ProviderLinksKey(a.Domain, a.Member))
	switch {
	case err != nil:
		return ProviderStep{}, err
	case !t.person.Member.MayUse(p.Way(), t.tenant.Policy):
		return ProviderStep{}, deny(WayDenied, "")
	case l.At(name, p.Issuer()) != nil:
		return ProviderStep{}, deny(AlreadyLinked, "")
	}
	return c.beginAt(ctx, a.Client, a, name, useLink)
}

// LinkProviderCallback links the account that the provider's answer is of. An account is one member's.
func (c *Core) LinkProviderCallback(ctx context.Context, a Actor, name string, tk secret.String, given ProviderAnswer) (Link, error) {
	if _, err := c.self(ctx, a); err != nil {
		return Link{}, err
	}
	u, err := c.answeredAt(ctx, a.Client, a, name, useLink, tk, given)
	if err != nil {
		return Link{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, member.PendingFor/2) // what takes longer must not meet a claim that is free again
	defer cancel()
	err = c.claims.Take(ctx, u.kind(), u.subject, a.Domain, a.Member)
	if errors.Is(err, member.ErrClaimed) {
		return Link{}, deny(AlreadyLinked, "")
	}
	if err != nil {
		return Link{}, err
	}
	l := member.ProviderLink{Provider: name, Issuer: u.provider.Issuer(), Subject: u.subject, Since: c.now().UTC()}
	if err := c.writeLink(ctx, a, u, l); err != nil {
		var d *Denial
		if errors.As(err, &d) { // nothing was written; else it may have been, and the claim is free by itself if it was not
			c.dropClaim(ctx, a, u.kind(), u.subject)
		}
		return Link{}, err
	}
	return c.confirmLink(ctx, a, u, l)
}

// writeLink is the moment from which the account counts. The way is judged anew, for the browser was away for minutes.
func (c *Core) writeLink(ctx context.Context, a Actor, u account, l member.ProviderLink) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	return c.retry(func() error {
		stands, err := c.mayLink(ctx, a, t, u.provider.Way())
		if err != nil {
			return err
		}
		old, rev, err := readDirect[member.ProviderLinks](ctx, c, member.ProviderLinksKey(a.Domain, a.Member))
		if err != nil {
			return err
		}
		if old.At(l.Provider, l.Issuer) != nil {
			return deny(AlreadyLinked, "")
		}
		next := member.ProviderLinks{Items: []member.ProviderLink{l}}
		if old != nil {
			next.Items = append(next.Items, old.Items...)
		}
		ops := append(c.linkChanged(a, t, audit.LinkCreate, u.provider.Way()),
			member.PutOp(member.ProviderLinksKey(a.Domain, a.Member), next, rev))
		return c.apply(ctx, a.Domain, append(ops, stands...)...)
	}, func() error { return c.again(ctx, &t) })
}

// mayLink are the steps that hold what a link needs when it is written: the actor's session stands, whatever ended it while
// he was at the provider or looked for his phone, and the way is open to him.
func (c *Core) mayLink(ctx context.Context, a Actor, t target, way string) ([]store.Op, error) {
	stands, err := c.still(ctx, a, t)
	if err != nil {
		return nil, err
	}
	if !t.person.Member.MayUse(way, t.tenant.Policy) {
		return nil, deny(WayDenied, "")
	}
	return append(stands, unchanged(member.PolicyKey(a.Domain), t.tenant.PolicyRevision)), nil
}

// confirmLink says that the claim stands. Whoever could not say it in time gives the account up; a failure leaves a link
// that works, for the member's own record decides.
func (c *Core) confirmLink(ctx context.Context, a Actor, u account, l member.ProviderLink) (Link, error) {
	err := c.claims.Confirm(ctx, u.kind(), u.subject, a.Domain, a.Member)
	if errors.Is(err, member.ErrClaimed) {
		if _, err := c.removeLink(ctx, a, l.Provider, u.provider.Way()); err != nil {
			return Link{}, err
		}
		return Link{}, deny(AlreadyLinked, "")
	}
	if err != nil {
		c.log.Warn("confirm claim", "error", err)
	}
	return Link{Provider: l.Provider, Since: l.Since}, nil
}

// Unlink frees the account. Sessions that it opened go on.
func (c *Core) Unlink(ctx context.Context, a Actor, name string) error {
	if _, err := c.self(ctx, a); err != nil {
		return err
	}
	if err := c.confirmed(a); err != nil {
		return err
	}
	l, err := c.removeLink(ctx, a, name, c.wayAt(name))
	if err != nil {
		return err
	}
	c.dropClaim(ctx, a, member.ClaimProvider(l.Issuer), l.Subject)
	return nil
}

// wayAt is the way of a provider that the configuration may not name any more: its name has to do then.
func (c *Core) wayAt(name string) string {
	if p, err := c.provider(name); err == nil {
		return p.Way()
	}
	return name
}

func (c *Core) removeLink(ctx context.Context, a Actor, name, way string) (gone member.ProviderLink, err error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return gone, err
	}
	return gone, c.retry(func() error {
		old, rev, err := readDirect[member.ProviderLinks](ctx, c, member.ProviderLinksKey(a.Domain, a.Member))
		if err != nil {
			return err
		}
		l := old.At(name, "")
		if l == nil {
			return deny(NotFound, "")
		}
		gone = *l
		put := member.PutOp(member.ProviderLinksKey(a.Domain, a.Member), old.Without(gone), rev)
		if len(old.Items) == 1 {
			put = store.Op{Kind: store.Delete, Name: put.Name, IfRevision: rev}
		}
		return c.apply(ctx, a.Domain, append(c.linkChanged(a, t, audit.LinkDelete, way), put)...)
	}, func() error { return c.again(ctx, &t) })
}

func (c *Core) linkChanged(a Actor, t target, action audit.Action, way string) []store.Op {
	e := c.entry(a, t, action)
	e.Detail = way
	return append(c.notice(t.person.Member, notify.Event{Kind: notify.LinkChanged, At: c.now(), From: a.From(), Name: way}), audit.Op(e))
}

// dropClaim frees an account that no record names. Where it fails the claim is free all the same, a minute later at most.
func (c *Core) dropClaim(ctx context.Context, a Actor, kind, subject string) {
	if err := c.claims.Drop(ctx, kind, subject, a.Domain, a.Member); err != nil {
		c.log.Warn("drop claim", "error", err)
	}
}
