package authcore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
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
	k, err := c.takeCeremony(ctx, ticket, passkeyRegister, sessionBound(a.Session))
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

// DeletePasskey deletes one of the actor's own. It needs no re-authentication.
func (c *Core) DeletePasskey(ctx context.Context, a Actor, id string) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	return c.deletePasskey(ctx, a, t, id)
}

// DeletePasskeyOf deletes a member's for an administrator.
func (c *Core) DeletePasskeyOf(ctx context.Context, a Actor, address, id string) error {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return err
	}
	return c.deletePasskey(ctx, a, t, id)
}

func (c *Core) deletePasskey(ctx context.Context, a Actor, t target, id string) error {
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
	if err := onlyPeople(a); err != nil {
		return SignInResult{}, err
	}
	return c.passkey(ctx, a.Client, &a, ticket, answer)
}

func (c *Core) passkey(ctx context.Context, client Client, again *Actor, ticket secret.String, answer json.RawMessage) (SignInResult, error) {
	k, err := c.takeCeremony(ctx, ticket, passkeySignIn, c.bound(client))
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
	p, err := c.assertPasskey(ctx, q, k.State, answer)
	if err != nil {
		return SignInResult{}, err
	}
	return c.admit(ctx, client, q, policy.WayPasskey, p.Name, firstFactor{factor: signin.Passkey, credential: p.ID, again: again})
}

// assertPasskey checks an answer against the passkeys of a member, and answers which it was.
func (c *Core) assertPasskey(ctx context.Context, q *keyed, s quick.State, answer []byte) (quick.Named, error) {
	var found quick.Named
	key := quick.PasskeysKey(q.domain, q.member)
	err := c.assert(ctx, q, answer, s, "passkey", func() (quick.Whose, func(quick.Credential) store.Op, error) {
		r, rev, err := readDirect[quick.Passkeys](ctx, c, key)
		if err != nil || !q.may {
			return quick.Whose{}, nil, err
		}
		return passkeysOf(q.domain, q.member, "", r), func(cred quick.Credential) store.Op {
			found = *r.Find(func(p quick.Named) bool { return bytes.Equal(p.Credential.ID, cred.ID) })
			return member.PutOp(key, r.Used(cred, c.now(), q.a.Conn.Client.Addr().Unmap().String()), rev)
		}, nil
	})
	return found, err
}

// hasPasskey says whether a passkey can be the second step of a member: he has one, and the way is open to him.
func (c *Core) hasPasskey(ctx context.Context, p policy.Policy, d member.DomainID, m *member.Member) (bool, error) {
	if c.o.Party == nil || !m.MayUse(policy.WayPasskey, p) {
		return false, nil
	}
	r, _, err := readDirect[quick.Passkeys](ctx, c, quick.PasskeysKey(d, m.ID))
	return len(r.Credentials()) > 0, err
}

// beginPasskeyStep answers the options of a second step by passkey. It belongs to the ticket of the sign-in; a new
// challenge voids the one before.
func (c *Core) beginPasskeyStep(ctx context.Context, client Client, d member.DomainID, id member.ID, ticket secret.String) (Ceremony, error) {
	p, err := c.party()
	if err != nil {
		return Ceremony{}, err
	}
	r, _, err := readDirect[quick.Passkeys](ctx, c, quick.PasskeysKey(d, id))
	if err != nil {
		return Ceremony{}, err
	}
	if len(r.Credentials()) == 0 {
		return Ceremony{}, deny(TwoStepMethodMissing, "")
	}
	whose := passkeysOf(d, id, "", r)
	options, state, err := p.BeginAssertion(&whose)
	if err != nil {
		return Ceremony{}, err
	}
	k := ceremony{For: passkeyStep, Bound: c.bound(client), State: state}
	if err := c.keepCeremony(ctx, ticket, k); err != nil {
		return Ceremony{}, err
	}
	return Ceremony{Ticket: ticket, Challenge: state.Challenge, Options: options, ExpiresAt: c.now().Add(CeremonyFor)}, nil
}

// tryPasskeyStep says whether an answer passes the second step that the ticket's owner began, and which passkey it was.
// False is a Denial: TicketInvalid when no challenge was asked for, else BadCredentials, recorded and held back.
func (c *Core) tryPasskeyStep(ctx context.Context, client Client, d member.DomainID, id member.ID, ticket secret.String, answer json.RawMessage) (quick.Named, error) {
	k, err := c.takeCeremony(ctx, ticket, passkeyStep, c.bound(client))
	if err != nil {
		return quick.Named{}, err
	}
	q, err := c.findKeyed(ctx, client, nil, d, id, string(d)+"."+string(id))
	if err != nil {
		return quick.Named{}, err
	}
	if v, err := c.gate(ctx, q.trial); err != nil || v.Reason != "" {
		return quick.Named{}, c.refused(ctx, q, v, err)
	}
	if !q.may || !q.person.Member.MayUse(policy.WayPasskey, q.tenant.Policy) {
		return quick.Named{}, deny(WayDenied, "")
	}
	return c.assertPasskey(ctx, q, k.State, answer)
}
