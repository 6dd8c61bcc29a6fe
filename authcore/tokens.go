package authcore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/apppass"
	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// API tokens let an administrator's or operator's programs act for him, within scopes and domains, until a day. They end
// with what ends all his sessions, with a reset of his password and with his rights; a password that he changes himself
// leaves them.

// tokenKind is the credential kind of an API token in the audit.
const tokenKind = "api_token"

// clockAhead is how far ahead the clock of whoever asks for a token of the longest life may be.
const clockAhead = time.Minute

// APIToken is an API token as lists show it: never with its secret.
type APIToken struct {
	ID        session.ID
	Name      string
	Scopes    []session.Scope
	Domains   []string // names; session.AllDomains for all
	CreatedAt time.Time
	From      string
	UsedAt    time.Time
	ExpiresAt time.Time
}

// TokenWish is what somebody asks for.
type TokenWish struct {
	Name      string
	Scopes    []session.Scope
	Domains   []string  // names, or session.AllDomains; of operators only. Empty: the actor's own
	ExpiresAt time.Time // zero: session.TokenFor from now
}

// CreateAPIToken makes one for the actor and answers its secret, which is never seen again.
func (c *Core) CreateAPIToken(ctx context.Context, a Actor, w TokenWish) (APIToken, secret.String, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return APIToken{}, secret.String{}, err
	}
	if !a.may(readDomain, a.Domain, "", "") {
		return APIToken{}, secret.String{}, deny(Forbidden, "API tokens are for administrators")
	}
	if err := c.confirmed(a); err != nil {
		return APIToken{}, secret.String{}, err
	}
	web, err := c.newToken(ctx, a, t, w)
	if err != nil {
		return APIToken{}, secret.String{}, err
	}
	return c.createToken(ctx, a, t, web)
}

// OpenToken makes a token for a member by a command on the server: the demo's. It may do all that the member may.
func (c *Core) OpenToken(ctx context.Context, a Actor, address, name string) (secret.String, error) {
	if !a.command {
		return secret.String{}, deny(Forbidden, "")
	}
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return secret.String{}, err
	}
	w := TokenWish{Name: name, Scopes: []session.Scope{session.Read, session.Write}}
	if t.role == member.RoleOperator {
		w.Domains = []string{string(session.AllDomains)}
	}
	web, err := c.newToken(ctx, a, t, w)
	if err != nil {
		return secret.String{}, err
	}
	_, token, err := c.createToken(ctx, a, t, web)
	return token, err
}

// newToken makes what w asks for, for t. It names every mistake.
func (c *Core) newToken(ctx context.Context, a Actor, t target, w TokenWish) (session.Web, error) {
	_, epochs, err := c.webEpochs(ctx, t.domain(), t.person.ID)
	if err != nil {
		return session.Web{}, err
	}
	web := c.newWeb(t.person.ID, epochs, a.Client)
	web.Name, web.ConfirmedAt = strings.TrimSpace(w.Name), time.Time{}
	mistakes := apppass.NameMistakes(web.Name)
	for _, s := range w.Scopes {
		if s != session.Read && s != session.Write {
			mistakes = append(mistakes, policy.Mistake{Field: "scopes", Reason: fmt.Sprintf("%q is no scope: use read, write", s)})
		}
	}
	if len(w.Scopes) == 0 {
		mistakes = append(mistakes, policy.Mistake{Field: "scopes", Reason: "must name read or write"})
	}
	web.Scopes = slices.Compact(slices.Sorted(slices.Values(w.Scopes)))
	now := c.now().UTC()
	if web.ExpiresAt = w.ExpiresAt.UTC(); w.ExpiresAt.IsZero() {
		web.ExpiresAt = now.Add(session.TokenFor)
	}
	longest := now.Add(session.MaxTokenFor)
	if !web.ExpiresAt.After(now) || web.ExpiresAt.After(longest.Add(clockAhead)) {
		mistakes = append(mistakes, policy.Mistake{Field: "expires_at", Reason: "must lie ahead, by 365 days at most"})
	} else if web.ExpiresAt.After(longest) {
		web.ExpiresAt = longest
	}
	var more []policy.Mistake
	if web.Domains, more, err = c.tokenDomains(ctx, t, w.Domains); err != nil {
		return session.Web{}, err
	}
	return web, asInvalid(append(mistakes, more...))
}

// maxTokenDomains bounds the domains that a token names: past it, one for all is meant.
const maxTokenDomains = 50

func (c *Core) tokenDomains(ctx context.Context, t target, names []string) (ids []member.DomainID, mistakes []policy.Mistake, err error) {
	if len(names) > maxTokenDomains {
		return nil, []policy.Mistake{{Field: "domains", Reason: fmt.Sprintf("must be at most %d", maxTokenDomains)}}, nil
	}
	for _, name := range names {
		switch d, err := c.tokenDomain(ctx, t, name); {
		case err != nil:
			return nil, nil, err
		case d == "":
			mistakes = append(mistakes, policy.Mistake{Field: "domains", Reason: fmt.Sprintf("there is no domain %q for you", name)})
		default:
			ids = append(ids, d)
		}
	}
	if len(names) == 0 {
		ids = []member.DomainID{t.domain()}
	}
	return slices.Compact(slices.Sorted(slices.Values(ids))), mistakes, nil
}

// tokenDomain answers the id of a domain that t's role reaches; empty: it reaches none of this name.
func (c *Core) tokenDomain(ctx context.Context, t target, name string) (member.DomainID, error) {
	if member.DomainID(name) == session.AllDomains {
		if t.role == member.RoleOperator {
			return session.AllDomains, nil
		}
		return "", nil
	}
	canonical, err := member.ParseDomain(name)
	if err != nil {
		return "", nil
	}
	d, err := c.dir.Tenant(ctx, canonical)
	if err != nil || d == nil || t.role != member.RoleOperator && d.Domain.ID != t.domain() {
		return "", err
	}
	return d.Domain.ID, nil
}

// madeToken is a new API token with its secret.
type madeToken struct {
	Web    session.Web
	Secret string
}

func (c *Core) createToken(ctx context.Context, a Actor, t target, w session.Web) (APIToken, secret.String, error) {
	made, err := once(ctx, c, a, member.Partition(t.domain()), func() (madeToken, error) {
		m := madeToken{w, session.NewToken(t.domain()).Reveal()}
		return m, c.writeToken(ctx, a, t, m)
	})
	if err != nil {
		return APIToken{}, secret.String{}, err
	}
	v, err := c.tokenView(ctx, made.Web)
	return v, secret.New(made.Secret), err
}

func (c *Core) writeToken(ctx context.Context, a Actor, t target, made madeToken) error {
	key, w, hash := session.TokensKey(t.domain(), t.person.ID), made.Web, session.Hash(secret.New(made.Secret))
	return c.retry(func() error {
		live, rev, err := c.liveTokens(ctx, t)
		if err != nil {
			return err
		}
		still, err := c.stillStands(ctx, a)
		if err != nil {
			return err
		}
		if len(live) >= session.MaxTokens {
			return deny(LimitReached, "delete an API token that is not used any more")
		}
		next := session.Tokens{Hashes: []string{hash}}
		for _, l := range live {
			next.Hashes = append(next.Hashes, l.hash)
		}
		ops, err := c.keepAnswer(ctx, a, key.Partition, made)
		if err != nil {
			return err
		}
		entry := c.entry(a, t, audit.TokenCreate)
		entry.Kind, entry.Credential, entry.Name = tokenKind, string(w.ID), w.Name
		ops = append(ops, c.notice(t.person.Member, notify.Event{Kind: notify.TokenCreated, Name: w.Name, At: c.now(), From: a.From()})...)
		ops = append(ops, still...)
		ops = append(ops, member.PutOp(key, next, rev), expiring(member.PutOp(session.WebKey(t.domain(), hash), w, 0), w.ExpiresAt),
			unchanged(member.Key(t.domain(), t.person.ID), t.person.Revision), audit.Op(entry))
		return c.apply(ctx, t.domain(), ops...)
	}, func() error { return c.again(ctx, &t) })
}

// liveToken is a token that is good now.
type liveToken struct {
	session.Web
	hash string
}

// liveTokens answers a member's, and the revision of their list.
func (c *Core) liveTokens(ctx context.Context, t target) ([]liveToken, int64, error) {
	list, rev, err := readDirect[session.Tokens](ctx, c, session.TokensKey(t.domain(), t.person.ID))
	if err != nil || list == nil {
		return nil, 0, err
	}
	_, epochs, err := c.webEpochs(ctx, t.domain(), t.person.ID)
	if err != nil {
		return nil, 0, err
	}
	var live []liveToken
	for _, hash := range list.Hashes {
		w, _, err := readDirect[session.Web](ctx, c, session.WebKey(t.domain(), hash))
		if err != nil {
			return nil, 0, err
		}
		if w != nil && w.Live(c.now()) && stands(w, epochs) {
			live = append(live, liveToken{*w, hash})
		}
	}
	return live, rev, nil
}

func (c *Core) tokenView(ctx context.Context, w session.Web) (APIToken, error) {
	v := APIToken{ID: w.ID, Name: w.Name, Scopes: w.Scopes, CreatedAt: w.CreatedAt, From: w.From, UsedAt: w.UsedAt, ExpiresAt: w.ExpiresAt}
	for _, d := range w.Domains {
		if d == session.AllDomains {
			v.Domains = append(v.Domains, string(d))
			continue
		}
		t, err := c.dir.TenantByID(ctx, d)
		if err != nil {
			return APIToken{}, err
		}
		if t != nil {
			v.Domains = append(v.Domains, t.Domain.Name)
		}
	}
	return v, nil
}

// APITokens lists the actor's own that are good, the newest first.
func (c *Core) APITokens(ctx context.Context, a Actor) ([]APIToken, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return nil, err
	}
	live, _, err := c.liveTokens(ctx, t)
	if err != nil {
		return nil, err
	}
	l := make([]APIToken, len(live))
	for i, w := range live {
		if l[i], err = c.tokenView(ctx, w.Web); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// DeleteAPIToken deletes one of the actor's own. It needs no re-authentication.
func (c *Core) DeleteAPIToken(ctx context.Context, a Actor, id session.ID) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	return c.retry(func() error {
		live, rev, err := c.liveTokens(ctx, t)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(live, func(l liveToken) bool { return l.ID == id })
		if i < 0 {
			return deny(NotFound, "")
		}
		gone := live[i]
		next := session.Tokens{Hashes: []string{}}
		for _, l := range slices.Delete(live, i, i+1) {
			next.Hashes = append(next.Hashes, l.hash)
		}
		entry := c.entry(a, t, audit.TokenDelete)
		entry.Kind, entry.Credential, entry.Name = tokenKind, string(id), gone.Name
		return c.apply(ctx, t.domain(), member.PutOp(session.TokensKey(t.domain(), t.person.ID), next, rev), deleteOp(session.WebKey(t.domain(), gone.hash)),
			audit.Op(entry))
	}, func() error { return nil })
}

// withoutTokens are the steps that delete all API tokens of a member.
func (c *Core) withoutTokens(ctx context.Context, d member.DomainID, id member.ID) ([]store.Op, error) {
	key := session.TokensKey(d, id)
	list, rev, err := readDirect[session.Tokens](ctx, c, key)
	if err != nil || list == nil {
		return []store.Op{unchanged(key, 0)}, err
	}
	ops := []store.Op{{Kind: store.Delete, Name: key.Name, IfRevision: rev}}
	for _, hash := range list.Hashes {
		ops = append(ops, deleteOp(session.WebKey(d, hash)))
	}
	return ops, nil
}

func deleteOp(k store.Key) store.Op {
	return store.Op{Kind: store.Delete, Name: k.Name, IfRevision: store.AnyRevision}
}
