package authcore

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// WebDoor is the name of the web and the API where attempts at doors have that of their door.
const WebDoor = "web"

// SignInState says which step of a sign-in comes next.
type SignInState = signin.State

// The states. Only SignedIn carries a token.
const (
	SignedIn               = signin.SignedIn
	TwoStepRequired        = signin.TwoStepRequired
	PasswordChangeRequires = signin.PasswordRequired
	EnrolmentRequired      = signin.EnrolmentRequired
)

// SignInResult is what a step of a sign-in came to.
type SignInResult struct {
	State      SignInState
	Token      secret.String   // of SignedIn
	ExpiresAt  time.Time       // of the token, or of the ticket
	Ticket     secret.String   // for the next step, once
	Actor      Actor           // of SignedIn
	Methods    []SecondMethod  // of TwoStepRequired: any one of them
	Enrollable []signin.Method // of EnrolmentRequired: any one of them
	Rules      policy.Password // of PasswordChangeRequires: what the new one is checked against
	MayTrust   bool            // of TwoStepRequired and EnrolmentRequired: the browser may be spared it the next time
	Trust      secret.String   // of SignedIn, where it was asked for: spares this browser the second step
	TrustUntil time.Time       // of Trust
}

// SignIn begins with an account password on the web or over the API. It is a Denial with a sign-in's own reason when it
// is refused, held back like at a door.
func (c *Core) SignIn(ctx context.Context, client Client, login string, sec secret.String) (SignInResult, error) {
	ctx = c.Rationed(ctx)
	f, err := c.byPassword(ctx, client, login, sec)
	if err != nil {
		return SignInResult{}, err
	}
	return c.proved(ctx, client, f)
}

// byPassword is the first factor that an account password is.
func (c *Core) byPassword(ctx context.Context, client Client, login string, sec secret.String) (firstFactor, error) {
	ctx = c.anew(ctx)
	t := c.beginWeb(client, login, sec)
	defer c.crowd.leave(t)
	v, d, err := c.webVerify(ctx, t, client)
	if err != nil {
		return firstFactor{}, err
	}
	if d.Reason != Allowed {
		return firstFactor{}, c.refuseWeb(ctx, t, d)
	}
	_, epochs, err := c.webEpochs(ctx, t.tenant.Domain.ID, t.person.ID)
	if err != nil {
		return firstFactor{}, err
	}
	if epochs.Credential != v.epoch {
		return firstFactor{}, c.refuseWeb(ctx, t, Decision{Reason: BadCredentials})
	}
	return firstFactor{
		factor: signin.Password, domain: t.tenant.Domain.ID, member: t.person.ID, epochs: epochs, state: v.state, trial: t,
	}, nil
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
	if !c.crowd.enter(t) {
		return verdict{}, t.noRoom(), nil
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

func (c *Core) webEntry(m *member.Member, client Client, action audit.Action) audit.Entry {
	return audit.Entry{
		Time: c.now(), Action: action, Actor: m.Address(), Target: m.Address(), MemberID: string(m.ID), Door: WebDoor,
		From: client.From(), Agent: client.Agent,
	}
}

// SignInPassword sets the new password that a sign-in asked for. A password that breaks rules leaves the ticket good.
func (c *Core) SignInPassword(ctx context.Context, client Client, tk, newPassword secret.String) (SignInResult, error) {
	u, err := c.at(ctx, client, tk, PasswordChangeRequires)
	if err != nil {
		return SignInResult{}, err
	}
	set, err := c.newPassword(ctx, u.Domain, u.person, newPassword, wishes{})
	if err != nil {
		return SignInResult{}, err
	}
	if !set.follows(u.Epochs.Credential) {
		return SignInResult{}, deny(TicketInvalid, "")
	}
	if err := c.spend(ctx, u, signin.PasswordSet); err != nil {
		return SignInResult{}, err
	}
	entry := c.webEntry(u.person.Member, client, audit.PasswordChange)
	told := c.notice(u.person.Member, notify.Event{Kind: notify.PasswordChanged, At: c.now(), From: client.From()})
	ops := append(append(set.ops, unchanged(member.Key(u.Domain, u.Member), u.person.Revision), audit.Op(entry)), told...)
	if err := c.revoke(ctx, Revocation{Domain: u.Domain, Member: u.Member}, ops...); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return SignInResult{}, deny(TicketInvalid, "")
		}
		return SignInResult{}, broken("set password", err)
	}
	u.Epochs.Credential = set.epoch
	if err := c.look(ctx, u); err != nil {
		return SignInResult{}, err
	}
	return c.goOn(ctx, client, u)
}
