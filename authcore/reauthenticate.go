package authcore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
)

// Whoever is signed in proves himself anew, by any first factor that he may sign in with and the second step where it is
// on, before he changes what others could come in by. It is good for session.ConfirmedFor.

// mayConfirm says whether the actor's session is one that can be confirmed: an API token is none.
func (c *Core) mayConfirm(a Actor) error {
	if a.web == nil || a.IsToken() {
		return a.refusal(ownSecurity, a.Domain, a.Member, a.Role)
	}
	return nil
}

// Confirmed says whether the actor proved himself recently enough for what asks for it; else it is the Denial that he
// would get. Pages ask before somebody types what would be refused. It is a hint: what is asked for is judged again.
func (c *Core) Confirmed(a Actor) error { return c.confirmed(a) }

// Reauthenticate begins to prove the actor anew by his account password. In the end there is a new token for his session,
// and the old one is over.
func (c *Core) Reauthenticate(ctx context.Context, a Actor, sec secret.String) (SignInResult, error) {
	if err := c.mayConfirm(a); err != nil {
		return SignInResult{}, err
	}
	ctx = c.Rationed(ctx)
	f, err := c.byPassword(ctx, a.Client, a.Address, sec)
	if err != nil {
		return SignInResult{}, err
	}
	f.again = &a
	return c.proved(ctx, a.Client, f)
}

// ReauthenticationWays lists the first factors by which the actor may prove himself anew, as policies name them, and
// password.
func (c *Core) ReauthenticationWays(ctx context.Context, a Actor) ([]string, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := c.mayConfirm(a); err != nil {
		return nil, err
	}
	ways := []string{string(signin.Password)}
	for _, w := range c.offered(t.tenant.Policy.SignIn.Allowed()) {
		if t.person.Member.MayUse(w, t.tenant.Policy) {
			ways = append(ways, w)
		}
	}
	return ways, nil
}

// SignInWays says how members of a domain may begin to sign in: the same for a domain that is not here as for one that
// allows the password alone.
type SignInWays struct {
	Ways         []string // as policies name them; password first
	TrustBrowser bool
}

// WaysOf answers the ways of a domain. It tells nothing of its members.
func (c *Core) WaysOf(ctx context.Context, domain string) (SignInWays, error) {
	w := SignInWays{Ways: []string{string(signin.Password)}}
	canonical, err := member.ParseDomain(domain)
	if err != nil {
		return w, nil
	}
	t, err := c.dir.Tenant(ctx, canonical)
	if err != nil || t == nil || t.Domain.Closed {
		return w, err
	}
	w.Ways = append(w.Ways, c.offered(t.Policy.SignIn.Allowed())...)
	w.TrustBrowser = t.Policy.SignIn.TrustBrowser
	return w, nil
}

// maxAlike is how many domains are compared before their members say which is theirs: few, for it is done for anybody.
const maxAlike = 10

// WaysOfAll answers the ways of every domain, if they are the same; else, or with too many domains to compare, ok is false
// and somebody has to say which is his. It tells nothing of which domains there are.
func (c *Core) WaysOfAll(ctx context.Context) (all SignInWays, ok bool, err error) {
	prefix := member.DomainNameKey("").Name
	l, err := c.o.Records.List(ctx, member.Root, store.Query{Prefix: prefix, Limit: maxAlike + 1})
	if err != nil || len(l) > maxAlike {
		return SignInWays{}, false, err
	}
	for _, r := range l {
		name := strings.TrimPrefix(r.Name, prefix)
		t, err := c.dir.Tenant(ctx, name)
		if err != nil {
			return SignInWays{}, false, err
		}
		if t == nil || t.Domain.Closed {
			continue
		}
		w, err := c.WaysOf(ctx, name)
		if err != nil || ok && !w.same(all) {
			return SignInWays{}, false, err
		}
		all, ok = w, true
	}
	return all, ok, nil
}

func (w SignInWays) same(o SignInWays) bool {
	return slices.Equal(w.Ways, o.Ways) && w.TrustBrowser == o.TrustBrowser
}

// renew puts a new token in the place of the actor's.
func (c *Core) renew(ctx context.Context, a Actor, w session.Web, entry audit.Entry, more ...store.Op) (SignInResult, error) {
	old, rev, err := readDirect[session.Web](ctx, c, session.WebKey(a.Domain, a.hash)) // its use may have been written since
	if err != nil {
		return SignInResult{}, err
	}
	if old == nil {
		return SignInResult{}, deny(NotSignedIn, "")
	}
	token, ops := c.openWeb(a.Domain, w)
	entry.Session = string(w.ID)
	ops = append(ops, audit.Op(entry))
	ops = append(ops, store.Op{Kind: store.Delete, Name: session.WebKey(a.Domain, a.hash).Name, IfRevision: rev})
	ops = append(ops, more...)
	err = c.revoke(ctx, Revocation{Domain: a.Domain, Member: a.Member}, ops...)
	if errors.Is(err, store.ErrConflict) {
		return SignInResult{}, deny(RevisionMismatch, "something changed meanwhile: try again")
	}
	if err != nil {
		return SignInResult{}, broken("renew session", err)
	}
	fresh, err := c.Session(ctx, token, a.Client)
	return SignInResult{State: SignedIn, Token: token, ExpiresAt: w.ExpiresAt, Actor: fresh}, err
}
