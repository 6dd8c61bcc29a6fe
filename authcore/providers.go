package authcore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/oidc"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Signing in with LINE or another OpenID provider goes in two steps: a ticket and an address to send the browser to, then
// the ticket together with what the provider sent the browser back with. The ticket is for one answer, one purpose, one
// provider and the browser that began; the provider's own state, nonce and PKCE verifier lie in it.

// ProviderInfo tells of a configured provider.
type ProviderInfo struct {
	Name      string // in paths
	Way       string // as policies name it
	ReturnsTo string // the address of the page that takes its answers
}

// Providers lists the configured providers.
func (c *Core) Providers() (l []ProviderInfo) {
	for _, p := range c.providers() {
		l = append(l, ProviderInfo{Name: p.Name(), Way: p.Way(), ReturnsTo: p.RedirectURL()})
	}
	return l
}

func (c *Core) providers() []*oidc.Provider {
	if c.o.Providers == nil {
		return nil
	}
	return c.o.Providers()
}

func (c *Core) provider(name string) (*oidc.Provider, error) {
	for _, p := range c.providers() {
		if p.Name() == name {
			return p, nil
		}
	}
	return nil, deny(NotFound, "")
}

// ProviderStep sends a browser to a provider.
type ProviderStep struct {
	AuthorizeURL string
	Ticket       secret.String // for the answer, once
	ExpiresAt    time.Time
}

// ProviderAnswer is what the provider sent the browser back with.
type ProviderAnswer = oidc.Answer

// providerUse is what a ticket is for. The zero value is for nothing.
type providerUse string

const (
	useSignIn  providerUse = "sign_in"
	useConfirm providerUse = "reauthenticate"
	useLink    providerUse = "link"
)

type providerTicket struct {
	Provider string          `json:"provider"`
	Use      providerUse     `json:"use"`
	Domain   member.DomainID `json:"domain,omitempty"` // with Member and Session: whose, but at a sign-in
	Member   member.ID       `json:"member,omitempty"`
	Session  session.ID      `json:"session,omitempty"`
	Attempt  oidc.Attempt    `json:"attempt"`
	Bound    string          `json:"bound"`
}

// providerTicketKey keeps these apart from the tickets of the sign-in itself.
func providerTicketKey(t secret.String) store.Key {
	return store.Key{Partition: "provider-ticket", Name: session.Hash(t)}
}

// maxBegun bounds how often one source, perhaps an office behind one address, may begin in the ten minutes of a ticket.
const maxBegun = 300

// beginAt keeps a ticket and asks the provider where to go. a is the zero Actor at a sign-in.
func (c *Core) beginAt(ctx context.Context, client Client, a Actor, name string, use providerUse) (ProviderStep, error) {
	p, err := c.provider(name)
	if err != nil {
		return ProviderStep{}, err
	}
	begun, err := c.o.Ephemeral.Add(ctx, store.Key{Partition: "provider-begun", Name: lockout.Source(client.Addr)}, rand.Text(), TicketFor)
	if err != nil {
		return ProviderStep{}, broken("count begun sign-ins", err)
	}
	if begun > maxBegun {
		return ProviderStep{}, denyReason(Throttled, time.Minute)
	}
	address, attempt, err := p.Begin(ctx, use == useConfirm)
	if err != nil {
		return ProviderStep{}, broken("begin at provider "+name, err)
	}
	v, err := json.Marshal(providerTicket{
		Provider: name, Use: use, Domain: a.Domain, Member: a.Member, Session: a.Session, Attempt: attempt, Bound: c.bound(client),
	})
	if err != nil {
		return ProviderStep{}, err
	}
	tk := session.NewToken(a.Domain)
	if err := c.o.Ephemeral.Put(ctx, providerTicketKey(tk), v, TicketFor); err != nil {
		return ProviderStep{}, broken("keep ticket", err)
	}
	return ProviderStep{AuthorizeURL: address, Ticket: tk, ExpiresAt: c.now().Add(TicketFor)}, nil
}

// account is one at a provider whose owner has just proven that it is his.
type account struct {
	provider *oidc.Provider
	subject  string // member.HashSubject
}

func (u account) kind() string { return member.ClaimProvider(u.provider.Issuer()) }

// answeredAt uses the ticket up and answers whose account it was. Another browser's try leaves the ticket to its owner.
func (c *Core) answeredAt(ctx context.Context, client Client, a Actor, name string, use providerUse, tk secret.String, given ProviderAnswer) (account, error) {
	p, err := c.provider(name)
	if err != nil {
		return account{}, err
	}
	bad := deny(TicketInvalid, "")
	v, err := c.o.Ephemeral.Get(ctx, providerTicketKey(tk))
	if errors.Is(err, store.ErrNotFound) {
		return account{}, bad
	}
	if err != nil {
		return account{}, broken("read ticket", err)
	}
	var t providerTicket
	if json.Unmarshal(v, &t) != nil || t.Provider != name || t.Use != use || t.Bound != c.bound(client) ||
		t.Domain != a.Domain || t.Member != a.Member || t.Session != a.Session {
		return account{}, bad
	}
	if _, err := c.o.Ephemeral.Take(ctx, providerTicketKey(tk)); errors.Is(err, store.ErrNotFound) {
		return account{}, bad
	} else if err != nil {
		return account{}, broken("take ticket", err)
	}
	subject, err := p.Finish(ctx, t.Attempt, given)
	if errors.Is(err, oidc.ErrRefused) {
		c.log.Warn("a provider's answer was refused", "provider", name, "for", use, "cause", err)
		return account{}, deny(ProviderRefused, "")
	}
	if err != nil {
		return account{}, broken("finish at provider "+name, err)
	}
	return account{provider: p, subject: member.HashSubject(p.Issuer(), subject)}, nil
}

// SignInProvider begins to sign in at a provider.
func (c *Core) SignInProvider(ctx context.Context, client Client, name string) (ProviderStep, error) {
	return c.beginAt(ctx, client, Actor{}, name, useSignIn)
}

// SignInProviderCallback goes on with the provider's answer.
func (c *Core) SignInProviderCallback(ctx context.Context, client Client, name string, tk secret.String, given ProviderAnswer) (SignInResult, error) {
	u, err := c.answeredAt(ctx, client, Actor{}, name, useSignIn, tk, given)
	if err != nil {
		return SignInResult{}, c.refuseStranger(ctx, client, c.wayAt(name), nil, err)
	}
	return c.provedAt(ctx, client, u, nil)
}

// ReauthenticateProvider begins to prove the actor anew at a provider, which is asked to ask him.
func (c *Core) ReauthenticateProvider(ctx context.Context, a Actor, name string) (ProviderStep, error) {
	if _, err := c.self(ctx, a); err != nil {
		return ProviderStep{}, err
	}
	return c.beginAt(ctx, a.Client, a, name, useConfirm)
}

// ReauthenticateProviderCallback goes on with the provider's answer.
func (c *Core) ReauthenticateProviderCallback(ctx context.Context, a Actor, name string, tk secret.String, given ProviderAnswer) (SignInResult, error) {
	if _, err := c.self(ctx, a); err != nil {
		return SignInResult{}, err
	}
	u, err := c.answeredAt(ctx, a.Client, a, name, useConfirm, tk, given)
	if err != nil {
		return SignInResult{}, c.refuseStranger(ctx, a.Client, c.wayAt(name), &a, err)
	}
	return c.provedAt(ctx, a.Client, u, &a)
}

// provedAt signs in the member whom the account is linked to. Its owner may know whether it is linked and whether the way
// is open; that a member is suspended, or his domain closed, he is told no other than after a password.
func (c *Core) provedAt(ctx context.Context, client Client, u account, again *Actor) (SignInResult, error) {
	ctx = c.anew(ctx)
	held, err := c.claims.Holder(ctx, u.kind(), u.subject)
	if err != nil {
		return SignInResult{}, broken("find linked member", err)
	}
	if held == nil || again != nil && !again.is(held.Domain, held.Member) {
		return SignInResult{}, c.refuseStranger(ctx, client, u.provider.Way(), again, deny(NotLinked, ""))
	}
	person, epochs, err := c.webEpochs(ctx, held.Domain, held.Member)
	if err != nil {
		return SignInResult{}, err
	}
	tenant, err := c.dir.TenantByID(ctx, held.Domain)
	if err != nil {
		return SignInResult{}, err
	}
	way := u.provider.Way()
	switch {
	case tenant == nil || person.Member == nil || person.Member.Status != member.Active:
		return SignInResult{}, c.refuseProvider(ctx, client, *held, way, denyReason(BadCredentials, 0))
	case !person.Member.MayUse(way, tenant.Policy):
		return SignInResult{}, c.refuseProvider(ctx, client, *held, way, deny(WayDenied, ""))
	}
	return c.proved(ctx, client, firstFactor{factor: signin.Factor(way), domain: held.Domain, member: held.Member, epochs: epochs, again: again,
		credential: u.provider.Name(), called: u.provider.Name()})
}

// offered leaves out the ways of providers that are not configured, whatever policies allow.
func (c *Core) offered(ways []string) []string {
	return slices.DeleteFunc(slices.Clone(ways), func(w string) bool { return ofProvider(w) && c.providerBy(w) == nil })
}

func ofProvider(way string) bool {
	return way == policy.WayLINE || strings.HasPrefix(way, policy.OIDCPrefix)
}

func (c *Core) providerBy(way string) *oidc.Provider {
	for _, p := range c.providers() {
		if p.Way() == way {
			return p
		}
	}
	return nil
}

// wayStands judges the way of a first factor at each step that follows it: what was denied or unlinked since leads no
// further.
func (c *Core) wayStands(ctx context.Context, u *underway) error {
	way := wayFor(u.Factor)
	switch {
	case u.Factor == signin.Password:
		return nil
	case !u.person.Member.MayUse(way, u.tenant.Policy):
		return deny(WayDenied, "")
	case !ofProvider(way):
		return nil
	}
	l, _, err := readDirect[member.ProviderLinks](ctx, c, member.ProviderLinksKey(u.Domain, u.Member))
	if err != nil {
		return err
	}
	if p := c.providerBy(way); p == nil || l.At(p.Name(), p.Issuer()) == nil {
		return deny(TicketInvalid, "")
	}
	return nil
}

// refuseStranger records an answer that is not believed, or is of an account that is not linked: on whoever is signed in, or
// as an attempt of nobody's, merged by source and minute.
func (c *Core) refuseStranger(ctx context.Context, client Client, way string, again *Actor, why error) error {
	var d *Denial
	if !errors.As(why, &d) || d.Reason != NotLinked && d.Reason != ProviderRefused {
		return why
	}
	if again != nil {
		return c.refuseProvider(ctx, client, member.Claim{Domain: again.Domain, Member: again.Member}, way, why)
	}
	e := audit.Entry{Time: c.now(), Action: audit.SignIn, Reason: string(d.Reason), Door: WebDoor, From: client.From(), Agent: client.Agent, Kind: way}
	key := c.print("audit", "provider", lockout.Source(client.Addr), way, e.Reason)
	if err := c.merge(ctx, member.Root, e, key, time.Minute); err != nil {
		return broken("record refusal", err)
	}
	return why
}

// refuseProvider records why an owner of a linked account does not get in, and answers it. Equal ones are counted by the
// hour.
func (c *Core) refuseProvider(ctx context.Context, client Client, held member.Claim, way string, why error) error {
	p, err := c.dir.PersonByID(ctx, held.Domain, held.Member)
	if err != nil {
		return err
	}
	e := audit.Entry{Time: c.now(), Action: audit.SignIn, MemberID: string(held.Member), Door: WebDoor, From: client.From(), Agent: client.Agent, Kind: way}
	if p.Member != nil {
		e.Target = p.Member.Address()
	}
	var d *Denial
	if errors.As(why, &d) {
		e.Reason = string(d.Reason)
	}
	key := c.print("audit", "provider", string(held.Member), way, e.Reason, e.From, e.Agent)
	if err := c.merge(ctx, member.Partition(held.Domain), e, key, time.Hour); err != nil {
		return broken("record refusal", err)
	}
	return why
}
