package authcore

import (
	"context"
	"errors"

	"latchkey/authcore/apppass"
	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// Profile is a member as the API shows him, to himself and to administrators.
type Profile struct {
	Member       *member.Member
	Role         member.Role
	Domain       *member.Domain
	AcceptsApps  bool // app passwords are what counts for him at the doors
	OptionFixed  bool // he cannot choose: the domain has chosen
	BornRequired bool // it is as old as it is that has chosen: no administrator can choose otherwise
	AppPasswords int
	TwoStepOn    bool // by his choice or the policy
	Revision     int64
	Policy       policy.Policy // of his domain: the rules that hold for him
}

// Me answers the actor's own profile.
func (c *Core) Me(ctx context.Context, a Actor) (Profile, error) {
	t, err := c.selfFor(ctx, a, readSelf)
	if err != nil {
		return Profile{}, err
	}
	return c.profile(ctx, t)
}

func (c *Core) profile(ctx context.Context, t target) (Profile, error) {
	apps, _, err := cache.Read[apppass.Record](ctx, c.records, apppass.Key(t.domain(), t.person.ID))
	if err != nil {
		return Profile{}, err
	}
	p := Profile{Member: t.person.Member, Role: t.role, Domain: t.tenant.Domain, Revision: t.person.Revision, Policy: t.tenant.Policy}
	if apps != nil {
		p.AppPasswords = len(apps.Items)
	}
	p.TwoStepOn = t.person.Member.TwoStepOn(t.tenant.Policy)
	born := t.tenant.Domain.BornRequired(c.o.Cutoff)
	p.BornRequired = born
	p.OptionFixed = t.tenant.Policy.ThirdParty.OnlyAppPasswords(born, c.now())
	p.AcceptsApps = t.person.Member.Accepts(t.tenant.Domain, t.tenant.Policy, c.o.Cutoff, c.now()) == policy.AppPassword
	return p, nil
}

// ChangePassword sets the actor's own new password after the current one. It ends every other session that the old one
// opened, at the doors too, and answers a new token. deleteApps also deletes all app passwords.
func (c *Core) ChangePassword(ctx context.Context, a Actor, current, next secret.String, deleteApps bool) (SignInResult, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return SignInResult{}, err
	}
	if a.web == nil {
		return SignInResult{}, deny(Forbidden, "")
	}
	tr := c.beginWeb(a.Client, a.Address, current)
	v, d, err := c.webVerify(c.anew(ctx), tr, a.Client)
	if err != nil {
		return SignInResult{}, err
	}
	if d.Reason != Allowed {
		return SignInResult{}, c.refuseWeb(ctx, tr, d)
	}
	set, err := c.newPassword(ctx, a.Domain, t.person, next, wishes{})
	if err != nil {
		return SignInResult{}, err
	}
	if !set.follows(v.epoch) {
		return SignInResult{}, deny(RevisionMismatch, "the password was changed meanwhile: sign in anew")
	}
	w := *a.web
	now := c.now().UTC()
	w.UsedAt, w.Epochs.Credential = now, set.epoch
	if !t.person.Member.TwoStepOn(t.tenant.Policy) {
		w.ConfirmedAt = now // else a password alone would stand for both steps
	}
	more := append(set.ops, unchanged(member.Key(a.Domain, a.Member), t.person.Revision))
	more = append(more, c.notice(t.person.Member, notify.Event{Kind: notify.PasswordChanged, At: now, From: a.From()})...)
	if deleteApps {
		apps, err := c.withoutApps(ctx, a.Domain, a.Member)
		if err != nil {
			return SignInResult{}, err
		}
		more = append(more, apps...)
	}
	return c.renew(ctx, a, w, c.webEntry(t.person.Member, a.Client, audit.PasswordChange), more...)
}

// SignOut ends the actor's own session.
func (c *Core) SignOut(ctx context.Context, a Actor) error {
	if a.web == nil || a.IsToken() {
		return a.refusal(ownSecurity, a.Domain, a.Member, a.Role)
	}
	entry := audit.Entry{Time: c.now(), Action: audit.SignOut, Actor: a.Address, Target: a.Address, MemberID: string(a.Member), Door: WebDoor,
		From: a.From(), Agent: a.Agent, Session: string(a.Session)}
	err := c.endWeb(ctx, a.Domain, a.Member, a.Session, entry)
	var d *Denial
	if errors.As(err, &d) && d.Reason == NotFound { // ended by another request
		return nil
	}
	return err
}

// entry is what an actor did to a target.
func (c *Core) entry(a Actor, t target, action audit.Action) audit.Entry {
	e := audit.Entry{Time: c.now(), Action: action, Actor: a.Address, From: a.From(), Agent: a.Agent, Session: string(a.Session), Door: WebDoor}
	if a.IsToken() {
		e.Kind, e.Credential, e.Name = tokenKind, string(a.Session), a.web.Name
	}
	if t.person.Member != nil {
		e.Target, e.MemberID = t.person.Member.Address(), string(t.person.ID)
	} else if t.tenant != nil {
		e.Target = t.tenant.Domain.Name
	}
	return e
}
