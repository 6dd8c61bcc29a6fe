package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
)

// WebDoor is the name of the web and the API where attempts at doors have that of their door.
const WebDoor = "web"

// SignInState says which step of a sign-in comes next.
type SignInState string

// The states so far. Only SignedIn carries a token.
const (
	SignedIn               SignInState = "signed_in"
	PasswordChangeRequires SignInState = "password_change_required"
	TwoStepRequired        SignInState = "two_step_required"
)

// SignInResult is what a step of a sign-in came to.
type SignInResult struct {
	State     SignInState
	Token     secret.String // of SignedIn
	ExpiresAt time.Time     // of the token, or of the ticket
	Ticket    secret.String // for the next step, once
	Actor     Actor         // of SignedIn
}

// TicketFor is how long a step may take.
const TicketFor = 10 * time.Minute

type ticket struct {
	Domain member.DomainID `json:"domain"`
	Member member.ID       `json:"member"`
	State  SignInState     `json:"state"`
	Epochs member.Epochs   `json:"epochs"` // a change of member or password voids it
	Bound  string          `json:"bound"`  // to the browser or device that began
}

func ticketKey(t secret.String) store.Key {
	return store.Key{Partition: "ticket", Name: session.Hash(t)}
}

// SignIn begins with an account password on the web or over the API. It is a Denial with a sign-in's own reason when it
// is refused, held back like at a door.
func (c *Core) SignIn(ctx context.Context, client Client, login string, sec secret.String) (SignInResult, error) {
	t := c.beginWeb(client, login, sec)
	v, d, err := c.webVerify(ctx, t, client)
	if err != nil {
		return SignInResult{}, err
	}
	if d.Reason != Allowed {
		return SignInResult{}, c.refuseWeb(ctx, t, d)
	}
	_, epochs, err := c.webEpochs(ctx, t.tenant.Domain.ID, t.person.ID)
	if err != nil {
		return SignInResult{}, err
	}
	if epochs.Credential != v.epoch {
		return SignInResult{}, c.refuseWeb(ctx, t, Decision{Reason: BadCredentials})
	}
	return c.proved(ctx, client, firstFactor{
		factor: signin.Password, domain: t.tenant.Domain.ID, member: t.person.ID, epochs: epochs, state: v.state, trial: t,
	})
}

// firstFactor is what somebody proved at the beginning of a sign-in: who he is, and by which of the ways.
type firstFactor struct {
	factor     signin.Factor
	credential string // id of the device, passkey or link, for the audit
	domain     member.DomainID
	member     member.ID
	epochs     member.Epochs  // under which it was proven: a change since then voids the rest
	state      password.State // after a password
	trial      *trial         // after a password: whose source is forgiven in the end
	again      *Actor         // whose session is confirmed by it; nil: a new one is opened
}

// proved goes on after a first factor. Whether the way is open to the member was asked before; what comes next is asked
// here, and nothing else may open a session.
func (c *Core) proved(ctx context.Context, client Client, f firstFactor) (SignInResult, error) {
	tenant, err := c.dir.TenantByID(ctx, f.domain)
	if err != nil {
		return SignInResult{}, err
	}
	p, err := c.dir.PersonByID(ctx, f.domain, f.member)
	if err != nil {
		return SignInResult{}, err
	}
	switch {
	case tenant == nil || p.Member == nil:
		return SignInResult{}, deny(TicketInvalid, "")
	case p.Member.TwoStepOn(tenant.Policy):
		return c.issueTicket(ctx, f, p.Member, client, TwoStepRequired)
	case f.factor == signin.Password && f.state != password.Good:
		return c.issueTicket(ctx, f, p.Member, client, PasswordChangeRequires)
	}
	return c.signedIn(ctx, f.domain, f.member, f.epochs, client, f.trial)
}

func (c *Core) beginWeb(client Client, login string, sec secret.String) *trial {
	conn := ConnInfo{Client: netip.AddrPortFrom(client.Addr, 0), Agent: client.Agent}
	return c.begin(Attempt{Door: WebDoor, Conn: conn, Credential: Password{UnverifiedName: login, Secret: sec}})
}

// webVerify finds the member and verifies the account password, which on the web counts for every active member.
func (c *Core) webVerify(ctx context.Context, t *trial, client Client) (verdict, Decision, error) {
	if err := c.find(ctx, t); err != nil {
		return verdict{}, Decision{}, broken("find member", err)
	}
	if d, err := c.gate(ctx, t); err != nil || d.Reason != "" {
		return verdict{}, d, err
	}
	if t.tenant == nil {
		return verdict{}, Decision{Reason: BadCredentials}, nil
	}
	counts := t.person.Member != nil && t.person.Member.Status == member.Active
	if t.tenant.Domain.Closed && counts {
		op, err := c.dir.IsOperator(ctx, t.person.ID)
		if err != nil {
			return verdict{}, Decision{}, err
		}
		counts = op
	}
	v, err := c.verify(ctx, check{
		tenant: t.tenant, name: t.name, person: t.person, counts: counts, known: t.known, secret: t.secret, from: client.From(),
		account: t.account, accountRevision: t.accountRevision,
	})
	switch {
	case errors.Is(err, lockout.ErrHeld), errors.Is(err, password.ErrBusy):
		return v, Decision{Reason: Throttled, RetryAfter: retryBroken}, nil
	case err != nil:
		return v, Decision{}, broken("verify account password", err)
	case v.wait > 0:
		return v, Decision{Reason: Throttled, RetryAfter: v.wait}, nil
	case !v.right:
		return v, Decision{Reason: BadCredentials}, nil
	}
	return v, Decision{Reason: Allowed}, nil
}

// refuseWeb records a refusal, holds it back, and answers it as a Denial.
func (c *Core) refuseWeb(ctx context.Context, t *trial, d Decision) error {
	if err := c.recordRefusal(ctx, t, d); err != nil {
		return err
	}
	if !d.Reason.Temporary() {
		c.wait(ctx, t.start.Add(t.hold))
	}
	return denyReason(d.Reason, d.RetryAfter)
}

func (c *Core) bound(client Client) string {
	return c.print("ticket", lockout.Source(client.Addr), client.Agent)
}

func (c *Core) issueTicket(ctx context.Context, f firstFactor, m *member.Member, client Client, state SignInState) (SignInResult, error) {
	tk := session.NewToken(f.domain)
	p, err := json.Marshal(ticket{Domain: f.domain, Member: f.member, State: state, Epochs: f.epochs, Bound: c.bound(client)})
	if err != nil {
		return SignInResult{}, err
	}
	if err := c.o.Ephemeral.Put(ctx, ticketKey(tk), p, TicketFor); err != nil {
		return SignInResult{}, broken("keep ticket", err)
	}
	entry := c.webEntry(m, client, audit.SignIn)
	entry.Reason, entry.Kind = string(state), kindOf(AccountCredential)
	if err := c.apply(ctx, f.domain, audit.Op(entry)); err != nil {
		return SignInResult{}, err
	}
	return SignInResult{State: state, Ticket: tk, ExpiresAt: c.now().Add(TicketFor)}, nil
}

func (c *Core) webEntry(m *member.Member, client Client, action audit.Action) audit.Entry {
	return audit.Entry{
		Time: c.now(), Action: action, Actor: m.Address(), Target: m.Address(), MemberID: string(m.ID), Door: WebDoor,
		From: client.From(), Agent: client.Agent,
	}
}

// signedIn opens the session of a finished sign-in. t is nil when no password was typed in this step.
func (c *Core) signedIn(ctx context.Context, d member.DomainID, id member.ID, e member.Epochs, client Client, t *trial) (SignInResult, error) {
	p, err := c.dir.PersonByID(ctx, d, id)
	if err != nil {
		return SignInResult{}, err
	}
	w := c.newWeb(id, e, client)
	token, ops := c.openWeb(d, w)
	entry := c.webEntry(p.Member, client, audit.SignIn)
	entry.Reason, entry.Kind, entry.Session = string(Allowed), kindOf(AccountCredential), string(w.ID)
	ops = append(ops, audit.Op(entry), unchanged(member.Key(d, id), p.Revision))
	sources, _, err := cache.Read[lockout.Sources](ctx, c.records, lockout.SourcesKey(d, id))
	if err != nil {
		return SignInResult{}, err
	}
	if next, changed := sources.With(lockout.Source(client.Addr), c.now()); changed {
		ops = append(ops, member.PutOp(lockout.SourcesKey(d, id), next, store.AnyRevision))
	}
	if err := c.apply(ctx, d, ops...); err != nil {
		return SignInResult{}, broken("open session", err)
	}
	if t != nil {
		if err := c.throttle.Forgive(ctx, t.source, d, t.print); err != nil {
			c.log.Warn("forgive a source", "error", err)
		}
	}
	a, err := c.Session(ctx, token, client)
	return SignInResult{State: SignedIn, Token: token, ExpiresAt: w.ExpiresAt, Actor: a}, err
}

// SignInPassword sets the new password that a sign-in asked for. A password that breaks rules leaves the ticket good.
func (c *Core) SignInPassword(ctx context.Context, client Client, tk, newPassword secret.String) (SignInResult, error) {
	bad := deny(TicketInvalid, "")
	p, err := c.o.Ephemeral.Get(ctx, ticketKey(tk))
	if errors.Is(err, store.ErrNotFound) {
		return SignInResult{}, bad
	}
	if err != nil {
		return SignInResult{}, broken("read ticket", err)
	}
	var t ticket
	if json.Unmarshal(p, &t) != nil || t.State != PasswordChangeRequires || t.Bound != c.bound(client) {
		return SignInResult{}, bad
	}
	person, epochs, err := c.webEpochs(ctx, t.Domain, t.Member)
	if err != nil {
		return SignInResult{}, err
	}
	if person.Member == nil || person.Member.Status != member.Active || epochs != t.Epochs {
		return SignInResult{}, bad
	}
	set, err := c.newPassword(ctx, t.Domain, person, newPassword, wishes{})
	if err != nil {
		return SignInResult{}, err
	}
	if _, err := c.o.Ephemeral.Take(ctx, ticketKey(tk)); errors.Is(err, store.ErrNotFound) {
		return SignInResult{}, bad
	} else if err != nil {
		return SignInResult{}, broken("take ticket", err)
	}
	entry := c.webEntry(person.Member, client, audit.PasswordChange)
	told := c.notice(person.Member, notify.Event{Kind: notify.PasswordChanged, At: c.now(), From: client.From()})
	ops := append(append(set.ops, audit.Op(entry)), told...)
	if err := c.revoke(ctx, Revocation{Domain: t.Domain, Member: t.Member}, ops...); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return SignInResult{}, bad
		}
		return SignInResult{}, broken("set password", err)
	}
	epochs.Credential = set.epoch
	return c.signedIn(ctx, t.Domain, t.Member, epochs, client, nil)
}
