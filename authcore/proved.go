package authcore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// firstFactor is what somebody proved at the beginning of a sign-in: who he is, and by which of the ways.
type firstFactor struct {
	factor     signin.Factor
	credential string // id of the device, passkey or link, for the audit
	called     string // its name
	domain     member.DomainID
	member     member.ID
	epochs     member.Epochs  // under which it was proven: a change since then voids the rest
	state      password.State // after a password
	trial      *trial         // after a password: whose source is forgiven in the end
	again      *Actor         // whose session is confirmed by it; nil: a new one is opened
	borrowed   bool           // another session of the member's was enough for it: it signs in, and confirms nothing
}

// proved goes on after a first factor. Whether the way is open to the member was asked before; what comes next is asked
// here, and nothing else may open a session.
func (c *Core) proved(ctx context.Context, client Client, f firstFactor) (SignInResult, error) {
	u := &underway{ticket: ticket{
		Domain: f.domain, Member: f.member, Began: f.epochs, Epochs: f.epochs, Bound: c.bound(client), Factor: f.factor, Borrowed: f.borrowed,
		Credential: f.credential, Called: f.called,
	}}
	if f.trial != nil {
		u.Name = f.trial.print
	}
	if a := f.again; a != nil {
		if err := c.mayConfirm(*a); err != nil {
			return SignInResult{}, err
		}
		if a.Domain != f.domain || a.Member != f.member {
			return SignInResult{}, deny(Forbidden, "somebody else was proven, not who is signed in")
		}
		u.Again = a.hash
	}
	if err := c.look(ctx, u); err != nil {
		return SignInResult{}, err
	}
	if f.again == nil && u.tenant.Policy.SignIn.TrustBrowser { // to confirm oneself is to do every step
		var err error
		if u.Done.Trusted, err = c.trusts(ctx, u, client.TrustedBrowser); err != nil {
			return SignInResult{}, err
		}
		u.next = signin.Next(u.facts, u.Done)
	}
	return c.goOn(ctx, client, u)
}

// goOn does what the machine says comes next.
func (c *Core) goOn(ctx context.Context, client Client, u *underway) (SignInResult, error) {
	switch step := u.next.(type) {
	case signin.Done:
		return c.finish(ctx, client, u)
	case signin.Missing:
		return SignInResult{}, c.missing(ctx, client, u)
	case signin.TwoStep, signin.PasswordChange, signin.Enrolment:
		return c.ask(ctx, client, u, step)
	}
	return SignInResult{}, deny(TicketInvalid, "")
}

// ask answers the ticket of the next step.
func (c *Core) ask(ctx context.Context, client Client, u *underway, step signin.Step) (SignInResult, error) {
	tk, until, err := c.keep(ctx, u, step.State())
	if err != nil {
		return SignInResult{}, err
	}
	if err := c.apply(ctx, u.Domain, audit.Op(c.stepEntry(u, client, string(step.State())))); err != nil {
		return SignInResult{}, broken("record a step", err)
	}
	r := SignInResult{State: step.State(), Ticket: tk, ExpiresAt: until}
	switch s := step.(type) {
	case signin.TwoStep:
		r.Methods, r.MayTrust = among(u.methods, s.Methods), u.tenant.Policy.SignIn.TrustBrowser
	case signin.Enrolment:
		r.Enrollable, r.MayTrust = s.Methods, u.tenant.Policy.SignIn.TrustBrowser
	case signin.PasswordChange:
		r.Rules = u.tenant.Policy.Password
	}
	return r, nil
}

// stepEntry is what the audit says of a step: the reason is the state that it leads to or why it is refused, the detail the
// method that passed the second step.
func (c *Core) stepEntry(u *underway, client Client, reason string) audit.Entry {
	e := c.webEntry(u.person.Member, client, audit.SignIn)
	if u.Again != "" {
		e.Action = audit.Reauthenticate
	}
	e.Reason, e.Kind, e.Credential, e.Name, e.Detail = reason, factorKind(u.Factor), u.Credential, u.Called, string(u.Method)
	if u.Done.Trusted {
		e.Detail = "trusted_browser"
	}
	return e
}

// factorKind is the kind of credential that a first factor is, as the audit names it.
func factorKind(f signin.Factor) string {
	if f == signin.Password {
		return kindOf(AccountCredential)
	}
	return string(f)
}

// missing ends a sign-in that asks for a second step where there is none, and names the other ways in.
func (c *Core) missing(ctx context.Context, client Client, u *underway) error {
	if err := c.apply(ctx, u.Domain, audit.Op(c.stepEntry(u, client, string(TwoStepMethodMissing)))); err != nil {
		return broken("record a refusal", err)
	}
	detail := "There is no method for the second step of this sign-in. Ask your administrator"
	if others := c.otherWays(u); len(others) > 0 {
		detail += ", or sign in by another way: " + strings.Join(others, ", ")
	}
	return deny(TwoStepMethodMissing, detail+".")
}

// otherWays are the ways by which the member may begin a sign-in, but for the one he came by.
func (c *Core) otherWays(u *underway) []string {
	var l []string
	for _, w := range append([]string{string(signin.Password)}, u.tenant.Policy.SignIn.Allowed()...) {
		if w != wayFor(u.Factor) && (w == string(signin.Password) || u.person.Member.MayUse(w, u.tenant.Policy)) {
			l = append(l, w)
		}
	}
	return l
}

// wayFor is the way that a factor belongs to, as policies name it.
func wayFor(f signin.Factor) string {
	if f == signin.QuickPIN || f == signin.QuickBiometric {
		return policy.WayQuick
	}
	return string(f)
}

// finish opens the session, or confirms the one that asked for it. It is written over the member's record as the machine
// saw it: a change in between is looked at first.
func (c *Core) finish(ctx context.Context, client Client, u *underway) (SignInResult, error) {
	var r SignInResult
	err := c.retry(func() (err error) {
		r, err = c.finishOnce(ctx, client, u)
		return err
	}, func() error {
		if err := c.look(ctx, u); err != nil {
			return err
		}
		if _, done := u.next.(signin.Done); !done {
			return deny(TicketInvalid, "")
		}
		return nil
	})
	if err != nil {
		return SignInResult{}, err
	}
	if u.Name != "" {
		if err := c.throttle.Forgive(ctx, lockout.Source(client.Addr), u.Domain, u.Name); err != nil {
			c.log.Warn("forgive a source", "error", err)
		}
	}
	r.Actor, err = c.Session(ctx, r.Token, client)
	return r, err
}

func (c *Core) finishOnce(ctx context.Context, client Client, u *underway) (SignInResult, error) {
	w, ops, err := c.confirmedSession(ctx, client, u)
	if err != nil {
		return SignInResult{}, err
	}
	token, opened := c.openWeb(u.Domain, w)
	r := SignInResult{State: SignedIn, Token: token, ExpiresAt: w.ExpiresAt}
	entry := c.stepEntry(u, client, string(Allowed))
	entry.Session = string(w.ID)
	ops = append(append(ops, opened...), audit.Op(entry), unchanged(member.Key(u.Domain, u.Member), u.person.Revision))
	sources, _, err := cache.Read[lockout.Sources](ctx, c.records, lockout.SourcesKey(u.Domain, u.Member))
	if err != nil {
		return SignInResult{}, err
	}
	if next, changed := sources.With(lockout.Source(client.Addr), c.now()); changed {
		ops = append(ops, member.PutOp(lockout.SourcesKey(u.Domain, u.Member), next, store.AnyRevision))
	}
	if u.account != nil && u.account.ResetBy != "" && u.Factor == signin.Password {
		next := *u.account
		next.ResetBy = ""
		ops = append(ops, member.PutOp(password.Key(u.Domain, u.Member), next, u.accountRevision))
	}
	if u.mayTrust() {
		more, err := c.trust(ctx, client, u, &r)
		if err != nil {
			return SignInResult{}, err
		}
		ops = append(ops, more...)
	}
	if err := c.apply(ctx, u.Domain, ops...); err != nil {
		return SignInResult{}, fmt.Errorf("open session: %w", err)
	}
	return r, nil
}

// confirmedSession is the session that a finished sign-in opens, or the one that it confirms, with the steps that end its
// old token. A confirmed session lasts no longer than it did.
func (c *Core) confirmedSession(ctx context.Context, client Client, u *underway) (session.Web, []store.Op, error) {
	if u.Again == "" {
		w := c.newWeb(u.Member, u.Epochs, client)
		w.Lasts(u.tenant.Policy.Sessions)
		if !u.bothSteps() {
			w.ConfirmedAt = time.Time{}
		}
		return w, nil, nil
	}
	key := session.WebKey(u.Domain, u.Again)
	old, rev, err := readDirect[session.Web](ctx, c, key)
	if err != nil {
		return session.Web{}, nil, err
	}
	if old == nil || old.Member != u.Member || !old.Live(c.now()) || !old.Epochs.Covers(u.Began) {
		return session.Web{}, nil, deny(NotSignedIn, "")
	}
	w, now := *old, c.now().UTC()
	w.ConfirmedAt, w.UsedAt, w.Epochs = now, now, u.Epochs
	return w, []store.Op{{Kind: store.Delete, Name: key.Name, IfRevision: rev}}, nil
}

// bothSteps says whether the sign-in stands for a confirmation too: a trusted browser is spared a step of it that no
// confirmation is spared, and whoever has one session could make himself a fresh one by a code that it reads.
func (u *underway) bothSteps() bool {
	return u.Done.SecondStep || u.Done.Enrolled || !u.Borrowed && !u.facts.TwoStepAsked
}

// among are the methods of the kinds.
func among(l []SecondMethod, kinds []signin.Method) []SecondMethod {
	return slices.DeleteFunc(slices.Clone(l), func(m SecondMethod) bool { return !slices.Contains(kinds, m.Kind) })
}
