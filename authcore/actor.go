package authcore

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
)

// Client is where a request of the web or the API comes from.
type Client struct {
	Addr  netip.Addr
	Agent string // at most 200 bytes

	TrustedBrowser secret.String // at a sign-in: the token that this browser was given to be spared the second step
}

// From is the client's address as it is shown and recorded.
func (c Client) From() string {
	if !c.Addr.IsValid() {
		return ""
	}
	return c.Addr.Unmap().String()
}

// Actor is who does something over the API or by a command on the server: proven by Session, or made by CommandActor.
// The zero Actor may do nothing.
type Actor struct {
	Client
	Domain  member.DomainID
	Member  member.ID
	Address string
	Role    member.Role
	Session session.ID
	web     *session.Web
	hash    string
	rev     int64
	command bool
}

// CommandActor is the operator at the server itself, for commands beside or without a running server.
func CommandActor(command string) Actor {
	return Actor{Role: member.RoleOperator, Address: "command:" + command, command: true}
}

// Session answers who a token belongs to; ErrDenied NotSignedIn when it is nobody's, over, or ended.
func (c *Core) Session(ctx context.Context, token secret.String, client Client) (Actor, error) {
	d, hash, err := session.ParseToken(token)
	if err != nil {
		return Actor{}, deny(NotSignedIn, "")
	}
	return c.session(ctx, d, hash, client)
}

// StillSignedIn is Session once more, for a request that took its time after it was asked: what ended the session
// meanwhile ends the request too.
func (c *Core) StillSignedIn(ctx context.Context, a Actor) (Actor, error) {
	return c.session(ctx, a.Domain, a.hash, a.Client)
}

func (c *Core) session(ctx context.Context, d member.DomainID, hash string, client Client) (Actor, error) {
	over := deny(NotSignedIn, "")
	w, rev, err := cache.ReadDirect[session.Web](ctx, c.o.Records, session.WebKey(d, hash))
	if err != nil {
		return Actor{}, err
	}
	if w == nil || !w.Live(c.now()) {
		return Actor{}, over
	}
	p, epochs, err := c.webEpochs(ctx, d, w.Member)
	if err == nil && c.o.Fleet != nil && !mayGoOn(w, p, epochs) {
		p, epochs, err = c.webEpochs(c.anew(ctx), d, w.Member)
	}
	if err != nil {
		return Actor{}, err
	}
	if !mayGoOn(w, p, epochs) {
		return Actor{}, over
	}
	role, err := c.dir.Role(ctx, p.Member)
	if err != nil {
		return Actor{}, err
	}
	a := Actor{Client: client, Domain: d, Member: w.Member, Address: p.Member.Address(), Role: role, Session: w.ID, web: w, hash: hash, rev: rev}
	return a, c.used(ctx, a)
}

// stillStands holds, for a batch that makes a credential, that the actor's session is not over and its member's password
// is the one that was: what ends the credentials of a member must not miss one that is being made. The steps go with
// unchanged of the member's record as it was read before.
func (c *Core) stillStands(ctx context.Context, a Actor) ([]store.Op, error) {
	if a.web == nil {
		return nil, nil // a command at the server
	}
	k := password.Key(a.Domain, a.Member)
	_, rev, err := readDirect[password.Record](ctx, c, k)
	if err != nil {
		return nil, err
	}
	is, err := c.StillSignedIn(ctx, a)
	if err != nil {
		return nil, err
	}
	return []store.Op{unchanged(k, rev), unchanged(session.WebKey(a.Domain, a.hash), is.rev)}, nil
}

// stands says whether what w was made under still holds. An API token lives on when its member changes his password by
// routine: a reset deletes it (withoutTokens), and everything else that ends his sessions ends it too.
func stands(w *session.Web, now member.Epochs) bool {
	if w.IsToken() {
		now.Credential = w.Epochs.Credential
	}
	return w.Epochs.Covers(now)
}

// mayGoOn says whether a session lets its member, found as p, go on.
func mayGoOn(w *session.Web, p member.Person, now member.Epochs) bool {
	return p.Member != nil && p.Member.Status == member.Active && stands(w, now)
}

// anew is for what is rare: a node of a fleet reads past what it holds, for another one may have made or lifted what this
// one would refuse, and the message of it be lost.
func (c *Core) anew(ctx context.Context) context.Context {
	if c.o.Fleet == nil {
		return ctx
	}
	return cache.Past(ctx)
}

// webEpochs reads what a web session of the member stands under now. A closed domain lets nobody but operators in.
func (c *Core) webEpochs(ctx context.Context, d member.DomainID, id member.ID) (member.Person, member.Epochs, error) {
	if c.o.Recheck > 0 {
		c.webUse.mark(d)
	}
	t, err := c.dir.TenantByID(ctx, d)
	if err != nil || t == nil {
		return member.Person{}, member.Epochs{}, err
	}
	p, err := c.dir.PersonByID(ctx, d, id)
	if err != nil || p.Member == nil {
		return member.Person{}, member.Epochs{}, err
	}
	if t.Domain.Closed {
		if op, err := c.dir.IsOperator(ctx, id); err != nil || !op {
			return member.Person{}, member.Epochs{}, err
		}
	}
	a, _, err := cache.Read[password.Record](ctx, c.records, password.Key(d, id))
	if err != nil {
		return member.Person{}, member.Epochs{}, err
	}
	e := member.Epochs{Domain: t.Domain.Epoch, Member: p.Member.Epoch}
	if a != nil {
		e.Credential = a.Epoch
	}
	return p, e, nil
}

// used renews the idle time of a session, at most every session.UsedEvery.
func (c *Core) used(ctx context.Context, a Actor) error {
	now := c.now()
	if now.Sub(a.web.UsedAt) < session.UsedEvery {
		return nil
	}
	w := *a.web
	w.UsedAt = now.UTC()
	op := member.PutOp(session.WebKey(a.Domain, a.hash), w, a.rev)
	op.ExpiresAt = w.ExpiresAt
	err := c.apply(ctx, a.Domain, op)
	if errors.Is(err, store.ErrConflict) {
		return nil // another request renewed or ended it
	}
	return err
}

// openWeb makes a web session's token and the steps that write it.
func (c *Core) openWeb(d member.DomainID, w session.Web) (secret.String, []store.Op) {
	token := session.NewToken(d)
	hash := session.Hash(token)
	return token, []store.Op{
		expiring(member.PutOp(session.WebKey(d, hash), w, 0), w.ExpiresAt),
		expiring(member.PutOp(session.IndexKey(d, w.Member, w.ID), session.Index{Hash: hash}, store.AnyRevision), w.ExpiresAt),
	}
}

func expiring(op store.Op, at time.Time) store.Op {
	op.ExpiresAt = at
	return op
}

func (c *Core) newWeb(id member.ID, e member.Epochs, client Client) session.Web {
	now := c.now().UTC()
	return session.Web{
		ID: session.NewID(), Member: id, CreatedAt: now, ConfirmedAt: now, UsedAt: now, ExpiresAt: now.Add(session.WebFor),
		From: client.From(), Agent: client.Agent, Epochs: e,
	}
}

// confirmed asks that the actor proved himself within ten minutes. An API token and a command cannot: the first is
// refused, the second runs as the operator on the server.
func (c *Core) confirmed(a Actor) error {
	if a.IsToken() {
		return deny(ScopeMissing, "")
	}
	if a.command || a.web != nil && a.web.Confirmed(c.now()) {
		return nil
	}
	return deny(ReauthenticationRequired, "")
}
