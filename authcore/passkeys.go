package authcore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// Passkeys: as a first factor, found without a name being typed, and as a second step after another one. Unlike devices of
// quick login they outlive a new password and a sign-out everywhere, as an authenticator app does; the member or an
// administrator deletes them.

// Passkeys lists the actor's own.
func (c *Core) Passkeys(ctx context.Context, a Actor) ([]quick.Named, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return nil, err
	}
	return c.passkeys(ctx, t)
}

// PasskeysOf lists a member's for an administrator.
func (c *Core) PasskeysOf(ctx context.Context, a Actor, address string) ([]quick.Named, error) {
	t, err := c.memberFor(ctx, a, address, readMember)
	if err != nil {
		return nil, err
	}
	return c.passkeys(ctx, t)
}

func (c *Core) passkeys(ctx context.Context, t target) ([]quick.Named, error) {
	r, _, err := readDirect[quick.Passkeys](ctx, c, quick.PasskeysKey(t.domain(), t.person.ID))
	if err != nil || r == nil {
		return nil, err
	}
	return r.Items, nil
}

func passkeysOf(d member.DomainID, id member.ID, name string, r *quick.Passkeys) quick.Whose {
	return quick.Whose{Handle: quick.PasskeyHandle(d, id), Name: name, Credentials: r.Credentials()}
}

// BeginPasskey begins to make a passkey for the actor.
func (c *Core) BeginPasskey(ctx context.Context, a Actor) (Ceremony, error) {
	t, p, err := c.selfToAdd(ctx, a, policy.WayPasskey)
	if err != nil {
		return Ceremony{}, err
	}
	r, _, err := readDirect[quick.Passkeys](ctx, c, quick.PasskeysKey(a.Domain, a.Member))
	if err != nil {
		return Ceremony{}, err
	}
	if len(r.Credentials()) >= quick.MaxPasskeys {
		return Ceremony{}, deny(LimitReached, "")
	}
	options, state, err := p.BeginRegistration(passkeysOf(a.Domain, a.Member, t.person.Member.Address(), r), quick.Passkey)
	if err != nil {
		return Ceremony{}, err
	}
	return c.begun(ctx, a.Domain, ceremony{For: passkeyRegister, Bound: sessionBound(a.Session), State: state}, options)
}

// FinishPasskey keeps what the authenticator made. A name that is not right leaves the ticket good.
func (c *Core) FinishPasskey(ctx context.Context, a Actor, ticket secret.String, name string, answer []byte) (quick.Named, error) {
	t, p, err := c.selfToAdd(ctx, a, policy.WayPasskey)
	if err != nil {
		return quick.Named{}, err
	}
	name, mistakes := quick.TakeName(name)
	if len(mistakes) > 0 {
		return quick.Named{}, invalid(mistakes...)
	}
	k, err := c.takeCeremony(ctx, session.Hash(ticket), passkeyRegister, sessionBound(a.Session))
	if err != nil {
		return quick.Named{}, err
	}
	made := quick.Named{ID: quick.NewPasskeyID(), Name: name, CreatedAt: c.now().UTC(), From: a.From()}
	key := quick.PasskeysKey(a.Domain, a.Member)
	err = c.retry(func() error {
		r, rev, err := readDirect[quick.Passkeys](ctx, c, key)
		if err != nil {
			return err
		}
		if made.Credential, err = p.FinishRegistration(passkeysOf(a.Domain, a.Member, "", r), k.State, answer); err != nil {
			return c.notProven(err)
		}
		next, err := r.With(made)
		if errors.Is(err, quick.ErrLimit) {
			return deny(LimitReached, "")
		}
		stands, err := c.still(ctx, a, t)
		if err != nil {
			return err
		}
		ops := append(stands, member.PutOp(key, next, rev))
		return c.apply(ctx, a.Domain, append(ops, c.passkeyChange(a, t, made, "passkey_added")...)...)
	}, func() error { return c.again(ctx, &t) })
	return made, err
}

// passkeyChange is the audit entry of a passkey that came or went, and the message that tells of it.
func (c *Core) passkeyChange(a Actor, t target, p quick.Named, detail string) []store.Op {
	entry := c.entry(a, t, audit.TwoStepMethod)
	entry.Detail, entry.Kind, entry.Credential, entry.Name = detail, passkeyKind, p.ID, p.Name
	return append(c.notice(t.person.Member, notify.Event{Kind: notify.MethodChanged, Name: p.Name, At: c.now(), From: a.From()}), audit.Op(entry))
}

// DeletePasskey deletes one of the actor's own. It needs no re-authentication, and is refused where it is the last method
// of a member of whom two-step is asked.
func (c *Core) DeletePasskey(ctx context.Context, a Actor, id string) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	return c.deletePasskey(ctx, a, t, id, c.otherMethods)
}

// DeletePasskeyOf deletes a member's for an administrator.
func (c *Core) DeletePasskeyOf(ctx context.Context, a Actor, address, id string) error {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return err
	}
	return c.deletePasskey(ctx, a, t, id, func(context.Context, target) ([]store.Op, error) { return nil, nil })
}

// otherMethods refuses where a member of whom two-step is asked has no method but passkeys and recovery codes. Its steps
// hold that the others are still there when the batch is written.
func (c *Core) otherMethods(ctx context.Context, t target) ([]store.Op, error) {
	used, err := c.hasPasskey(ctx, t.domain(), t.person.Member)
	if err != nil || !used || !t.person.Member.TwoStepOn(t.tenant.Policy) {
		return nil, err
	}
	key := otp.Key(t.domain(), t.person.ID)
	_, rev, err := readDirect[otp.Methods](ctx, c, key)
	if err != nil {
		return nil, err
	}
	steps, err := c.secondSteps(ctx, t.domain(), t.person.Member)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(steps, func(s SecondStep) bool { return s.Method != signin.ByPasskey && s.Method != signin.ByRecovery }) {
		return nil, deny(TwoStepMethodMissing, "It is your last method of 2-step verification: add another one first.")
	}
	return []store.Op{unchanged(member.Key(t.domain(), t.person.ID), t.person.Revision), unchanged(key, rev)}, nil
}

func (c *Core) deletePasskey(ctx context.Context, a Actor, t target, id string, others func(context.Context, target) ([]store.Op, error)) error {
	key := quick.PasskeysKey(t.domain(), t.person.ID)
	return c.retry(func() error {
		r, rev, err := readDirect[quick.Passkeys](ctx, c, key)
		if err != nil {
			return err
		}
		p := r.Find(func(p quick.Named) bool { return p.ID == id })
		if p == nil {
			return deny(NotFound, "")
		}
		ops := c.passkeyChange(a, t, *p, "passkey_deleted")
		if len(r.Items) == 1 {
			held, err := others(ctx, t)
			if err != nil {
				return err
			}
			ops = append(ops, held...)
		}
		return c.apply(ctx, t.domain(), append(ops, member.PutOp(key, r.Without(id), rev))...)
	}, func() error { return c.again(ctx, &t) })
}

// BeginPasskeySignIn answers a challenge for whoever has a passkey here.
func (c *Core) BeginPasskeySignIn(ctx context.Context, client Client) (Ceremony, error) {
	p, err := c.party()
	if err != nil {
		return Ceremony{}, err
	}
	options, state, err := p.BeginAssertion(nil)
	if err != nil {
		return Ceremony{}, err
	}
	return c.begun(ctx, member.NewDomainID(), ceremony{For: passkeySignIn, Bound: c.bound(client), State: state}, options)
}

// SignInPasskey signs in with a passkey.
func (c *Core) SignInPasskey(ctx context.Context, client Client, ticket secret.String, answer json.RawMessage) (SignInResult, error) {
	return c.passkey(ctx, client, nil, ticket, answer)
}

// ReauthenticatePasskey confirms the actor's session with a passkey.
func (c *Core) ReauthenticatePasskey(ctx context.Context, a Actor, ticket secret.String, answer json.RawMessage) (SignInResult, error) {
	if err := c.mayConfirm(a); err != nil {
		return SignInResult{}, err
	}
	return c.passkey(ctx, a.Client, &a, ticket, answer)
}

func (c *Core) passkey(ctx context.Context, client Client, again *Actor, ticket secret.String, answer json.RawMessage) (SignInResult, error) {
	k, err := c.takeCeremony(ctx, session.Hash(ticket), passkeySignIn, c.bound(client))
	if err != nil {
		return SignInResult{}, err
	}
	var d member.DomainID
	var id member.ID
	used, err := quick.ReadAssertion(answer)
	if err == nil {
		d, id, _ = quick.ParseHandle(used.UnverifiedHandle())
	}
	q, err := c.findKeyed(ctx, client, again, d, id, string(d)+"."+string(id))
	if err != nil {
		return SignInResult{}, err
	}
	if v, err := c.gate(ctx, q.trial); err != nil || v.Reason != "" {
		return SignInResult{}, c.refused(ctx, q, v, err)
	}
	p, err := c.assertPasskey(ctx, assertion{
		party: q.party, domain: q.domain, member: q.owner(), from: client.From(), state: k.State, answer: answer,
	}, nil)
	if err != nil {
		return SignInResult{}, c.refuseProof(ctx, q, err)
	}
	return c.admit(ctx, client, q, policy.WayPasskey, firstFactor{factor: signin.Passkey, credential: p.ID, called: p.Name, again: again})
}

// assertPasskey checks an answer against the passkeys of s.member, and answers which it was. more is written with the use.
func (c *Core) assertPasskey(ctx context.Context, s assertion, more func() ([]store.Op, error)) (quick.Named, error) {
	var found quick.Named
	s.name = "passkey"
	s.load = func() (quick.Whose, keeps, error) {
		if s.member == nil {
			return quick.Whose{}, nil, nil
		}
		key := quick.PasskeysKey(s.domain, s.member.ID)
		r, rev, err := readDirect[quick.Passkeys](ctx, c, key)
		if err != nil {
			return quick.Whose{}, nil, err
		}
		return passkeysOf(s.domain, s.member.ID, "", r), func(cred quick.Credential) ([]store.Op, error) {
			found = *r.Find(func(p quick.Named) bool { return bytes.Equal(p.Credential.ID, cred.ID) })
			ops := []store.Op{member.PutOp(key, r.Used(cred, c.now(), s.from), rev)}
			if more == nil {
				return ops, nil
			}
			with, err := more()
			return append(ops, with...), err
		}, nil
	}
	err := c.assert(ctx, s)
	return found, err
}

// hasPasskey says whether a passkey can be the second step of a member: he has one, and the way is open to him.
func (c *Core) hasPasskey(ctx context.Context, d member.DomainID, m *member.Member) (bool, error) {
	t, err := c.dir.TenantByID(ctx, d)
	if err != nil || t == nil || !c.opensPasskeys(m, t.Policy) {
		return false, err
	}
	r, _, err := cache.Read[quick.Passkeys](ctx, c.records, quick.PasskeysKey(d, m.ID))
	return len(r.Credentials()) > 0, err
}

// opensPasskeys says whether m may use passkeys under a policy.
func (c *Core) opensPasskeys(m *member.Member, p policy.Policy) bool {
	return c.o.Party != nil && m.MayUse(policy.WayPasskey, p)
}

// SignInPasskeyStep answers a challenge for the member's passkeys, where the second step of a sign-in offers them. It
// belongs to the ticket; a new one voids the one before.
func (c *Core) SignInPasskeyStep(ctx context.Context, client Client, ticket secret.String) (Ceremony, error) {
	u, err := c.at(ctx, client, ticket, TwoStepRequired)
	if err != nil {
		return Ceremony{}, err
	}
	if !slices.Contains(kinds(u.offered()), signin.ByPasskey) {
		return Ceremony{}, invalid(policy.Mistake{Field: "ticket", Reason: "is for a step that offers no passkey"})
	}
	p, err := c.party()
	if err != nil {
		return Ceremony{}, err
	}
	r, _, err := readDirect[quick.Passkeys](ctx, c, quick.PasskeysKey(u.Domain, u.Member))
	if err != nil {
		return Ceremony{}, err
	}
	whose := passkeysOf(u.Domain, u.Member, "", r)
	options, state, err := p.BeginAssertion(&whose)
	if err != nil {
		return Ceremony{}, err
	}
	if err := c.keepCeremony(ctx, session.Hash(ticket), ceremony{For: passkeyStep, Bound: c.bound(client), State: state}); err != nil {
		return Ceremony{}, err
	}
	return Ceremony{Challenge: state.Challenge, Options: options, ExpiresAt: c.now().Add(CeremonyFor)}, nil
}

// tryPasskeyStep passes the second step by a passkey. Denied as BadCode: no challenge was asked for, it was answered
// before, or the answer does not hold.
func (c *Core) tryPasskeyStep(ctx context.Context, t secondTry) error {
	k, err := c.takeCeremony(ctx, t.ticket, passkeyStep, c.bound(t.client))
	var d *Denial
	if errors.As(err, &d) {
		return deny(BadCode, "")
	}
	if err != nil {
		return err
	}
	p, err := c.party()
	if err != nil {
		return err
	}
	person, err := c.dir.PersonByID(ctx, t.domain, t.member)
	if err != nil {
		return err
	}
	_, err = c.assertPasskey(ctx, assertion{
		party: p, domain: t.domain, member: person.Member, from: t.client.From(), state: k.State, answer: t.answer,
	}, func() ([]store.Op, error) { return c.passedOps(ctx, t, nil) })
	if errors.Is(err, quick.ErrProof) || errors.Is(err, quick.ErrCloned) {
		c.log.Info("an authenticator's answer was refused", "error", err)
		return deny(BadCode, "")
	}
	return err
}
