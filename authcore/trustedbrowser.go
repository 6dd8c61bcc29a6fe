package authcore

import (
	"cmp"
	"context"
	"crypto/subtle"
	"slices"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// A member whose policy allows it may ask, at a second step, that this browser be spared it for 30 days. What the browser
// shows then is a token of 256 random bits, kept as its hash, good for this member alone. It spares the second step and
// nothing else: it proves nobody, and who must enrol still does.

// mayTrust says whether the browser of a sign-in that is done is trusted from now on.
func (u *underway) mayTrust() bool {
	return u.Trust && (u.Done.SecondStep || u.Done.Enrolled) && u.tenant.Policy.SignIn.TrustBrowser
}

// trusts says whether a browser that shows token is spared the second step of this member.
func (c *Core) trusts(ctx context.Context, u *underway, token secret.String) (bool, error) {
	d, hash, err := session.ParseToken(token)
	if err != nil || d != u.Domain {
		return false, nil
	}
	t, _, err := readDirect[session.Trust](ctx, c, session.TrustKey(u.Domain, u.Member, session.TrustIDOf(hash)))
	if err != nil {
		return false, err
	}
	return t.Stands(c.now(), u.Epochs) && subtle.ConstantTimeCompare([]byte(t.Hash), []byte(hash)) == 1, nil
}

// trust makes the token and the steps that keep it; the oldest makes room.
func (c *Core) trust(ctx context.Context, client Client, u *underway, r *SignInResult) ([]store.Op, error) {
	all, err := c.trustsOf(ctx, u.Domain, u.Member)
	if err != nil {
		return nil, err
	}
	var ops []store.Op
	for _, t := range all[:max(0, len(all)-session.MaxTrust+1)] {
		ops = append(ops, untrust(u.Domain, u.Member, t.ID))
	}
	r.Trust, r.TrustUntil = session.NewToken(u.Domain), c.now().UTC().Add(session.TrustFor)
	hash := session.Hash(r.Trust)
	t := session.Trust{
		ID: session.TrustIDOf(hash), Hash: hash, CreatedAt: c.now().UTC(), ExpiresAt: r.TrustUntil, From: client.From(), Agent: client.Agent, Epochs: u.Epochs,
	}
	entry := c.webEntry(u.person.Member, client, audit.BrowserTrust)
	entry.Detail = "trusted"
	return append(ops, expiring(member.PutOp(session.TrustKey(u.Domain, u.Member, t.ID), t, 0), t.ExpiresAt), audit.Op(entry)), nil
}

func untrust(d member.DomainID, m member.ID, id string) store.Op {
	return store.Op{Kind: store.Delete, Name: session.TrustKey(d, m, id).Name, IfRevision: store.AnyRevision}
}

// trustsOf lists a member's, the oldest first.
func (c *Core) trustsOf(ctx context.Context, d member.DomainID, m member.ID) ([]session.Trust, error) {
	recs, err := c.o.Records.List(ctx, member.Partition(d), store.Query{Prefix: session.TrustPrefix(m), Limit: maxWeb})
	if err != nil {
		return nil, broken("list trusted browsers", err)
	}
	l := make([]session.Trust, len(recs))
	for i, r := range recs {
		if err := decode(r, &l[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(l, func(a, b session.Trust) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return l, nil
}

// TrustedBrowsers lists the actor's browsers that are spared the second step, the newest first.
func (c *Core) TrustedBrowsers(ctx context.Context, a Actor) ([]session.Trust, error) {
	t, err := c.self(ctx, a)
	if err != nil || !t.tenant.Policy.SignIn.TrustBrowser {
		return nil, err
	}
	_, epochs, err := c.webEpochs(ctx, a.Domain, a.Member)
	if err != nil {
		return nil, err
	}
	all, err := c.trustsOf(ctx, a.Domain, a.Member)
	slices.Reverse(all)
	return slices.DeleteFunc(all, func(t session.Trust) bool { return !t.Stands(c.now(), epochs) }), err
}

// EndTrust asks one of the actor's browsers for the second step again; id empty: all of them.
func (c *Core) EndTrust(ctx context.Context, a Actor, id string) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	all, err := c.trustsOf(ctx, a.Domain, a.Member)
	if err != nil {
		return err
	}
	if id != "" {
		all = slices.DeleteFunc(all, func(t session.Trust) bool { return t.ID != id })
		if len(all) == 0 {
			return deny(NotFound, "")
		}
	}
	entry := c.entry(a, t, audit.BrowserTrust)
	entry.Detail = "removed"
	ops := []store.Op{audit.Op(entry)}
	for _, t := range all[:min(len(all), store.MaxOps-1)] {
		ops = append(ops, untrust(a.Domain, a.Member, t.ID))
	}
	return c.apply(ctx, a.Domain, ops...)
}
