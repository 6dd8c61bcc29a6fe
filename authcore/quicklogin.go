package authcore

import (
	"context"
	"encoding/json"
	"errors"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/password"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Devices of quick login: registered after a full sign-in that is not older than ten minutes, listed and deleted. Signing
// in with one is in quicksignin.go.

// QuickDevices lists the actor's own.
func (c *Core) QuickDevices(ctx context.Context, a Actor) ([]quick.Device, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return nil, err
	}
	return c.quickDevices(ctx, t)
}

// QuickDevicesOf lists a member's for an administrator.
func (c *Core) QuickDevicesOf(ctx context.Context, a Actor, address string) ([]quick.Device, error) {
	t, err := c.memberFor(ctx, a, address, readMember)
	if err != nil {
		return nil, err
	}
	return c.quickDevices(ctx, t)
}

func (c *Core) quickDevices(ctx context.Context, t target) ([]quick.Device, error) {
	r, _, err := readDirect[quick.Record](ctx, c, quick.Key(t.domain(), t.person.ID))
	return r.Standing(t.person.Member.Epoch).Devices, err
}

// selfToAdd is the actor who wants to add a way to sign in: it must be open to him, and he must have proved himself just
// now. An API token cannot.
func (c *Core) selfToAdd(ctx context.Context, a Actor, way string) (target, *quick.Party, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return target{}, nil, err
	}
	if a.web == nil || a.web.Name != "" {
		return target{}, nil, deny(Forbidden, "an API token cannot add a way to sign in")
	}
	p, err := c.party()
	if err != nil {
		return target{}, nil, err
	}
	if !t.person.Member.MayUse(way, t.tenant.Policy) {
		return target{}, nil, deny(WayDenied, "")
	}
	return t, p, c.confirmed(a)
}

// still are the steps that hold that the actor's session stands when the batch is written: nothing is added by one that a
// new password, a suspension or an administrator ended meanwhile.
func (c *Core) still(ctx context.Context, a Actor, t target) ([]store.Op, error) {
	key := password.Key(a.Domain, a.Member)
	account, rev, err := readDirect[password.Record](ctx, c, key)
	if err != nil {
		return nil, err
	}
	now := a.web.Epochs
	now.Member, now.Credential = t.person.Member.Epoch, 0
	if account != nil {
		now.Credential = account.Epoch
	}
	if t.person.Member.Status != member.Active || !a.web.Epochs.Covers(now) {
		return nil, deny(NotSignedIn, "")
	}
	return []store.Op{unchanged(member.Key(a.Domain, a.Member), t.person.Revision), unchanged(key, rev)}, nil
}

// BeginQuickDevice begins to register the device that the actor signed in with.
func (c *Core) BeginQuickDevice(ctx context.Context, a Actor) (Ceremony, error) {
	t, p, err := c.selfToAdd(ctx, a, policy.WayQuick)
	if err != nil {
		return Ceremony{}, err
	}
	have, err := c.quickDevices(ctx, t)
	if err != nil {
		return Ceremony{}, err
	}
	if len(have) >= quick.MaxDevices {
		return Ceremony{}, deny(LimitReached, "")
	}
	_, state, err := p.BeginAssertion(nil)
	if err != nil {
		return Ceremony{}, err
	}
	return c.begun(ctx, a.Domain, ceremony{For: quickRegister, Bound: sessionBound(a.Session), Device: quick.NewID(a.Domain, a.Member), State: state}, nil)
}

// NewQuickDevice is what a device sends to be registered.
type NewQuickDevice struct {
	Ticket    secret.String
	Name      string
	Key       json.RawMessage // as quick.ParseKey takes it
	PIN       secret.String
	Origin    string // that the app speaks to
	Signature string // over quick.Message(quick.Registering, …)
}

// RegisterQuickDevice registers a device. A name, key or PIN that is not right leaves the ticket good.
func (c *Core) RegisterQuickDevice(ctx context.Context, a Actor, n NewQuickDevice) (quick.Device, error) {
	t, p, err := c.selfToAdd(ctx, a, policy.WayQuick)
	if err != nil {
		return quick.Device{}, err
	}
	dev, mistakes := quick.Wish{Name: n.Name, Key: n.Key, PIN: n.PIN}.Take()
	if len(mistakes) > 0 {
		return quick.Device{}, invalid(mistakes...)
	}
	k, err := c.takeCeremony(ctx, session.Hash(n.Ticket), quickRegister, sessionBound(a.Session))
	if err != nil {
		return quick.Device{}, err
	}
	if !p.Serves(n.Origin) {
		return quick.Device{}, invalid(policy.Mistake{Field: "origin", Reason: "is not where this service is"})
	}
	if !quick.Signed(dev.Key, quick.Message(quick.Registering, k.State.Challenge, k.Device, n.Origin), n.Signature) {
		return quick.Device{}, invalid(policy.Mistake{Field: "signature", Reason: "is not the device key's over this challenge"})
	}
	dev.ID, dev.CreatedAt, dev.From = k.Device, c.now().UTC(), a.From()
	if dev.KeyID, dev.PIN, err = c.hashPIN(ctx, dev.ID, n.PIN); err != nil {
		return quick.Device{}, err
	}
	err = c.retry(func() error {
		dev.Epoch = t.person.Member.Epoch
		return c.addDevice(ctx, a, t, dev)
	}, func() error { return c.again(ctx, &t) })
	return dev, err
}

func (c *Core) hashPIN(ctx context.Context, device string, pin secret.String) (keyID, hash string, err error) {
	slot, err := c.hasher.Acquire(ctx)
	if errors.Is(err, password.ErrBusy) {
		return "", "", denyReason(Throttled, retryBroken)
	}
	if err != nil {
		return "", "", err
	}
	defer slot.Release()
	keyID, print := quick.PrintPIN(c.o.Keys, device, pin)
	return keyID, slot.Hash(print), nil
}

func (c *Core) addDevice(ctx context.Context, a Actor, t target, dev quick.Device) error {
	stands, err := c.still(ctx, a, t)
	if err != nil {
		return err
	}
	if !t.person.Member.MayUse(policy.WayQuick, t.tenant.Policy) {
		return deny(WayDenied, "")
	}
	key := quick.Key(t.domain(), t.person.ID)
	r, rev, err := readDirect[quick.Record](ctx, c, key)
	if err != nil {
		return err
	}
	next, err := r.With(dev)
	if errors.Is(err, quick.ErrLimit) {
		return deny(LimitReached, "")
	}
	ops := append(stands, member.PutOp(key, next, rev))
	return c.apply(ctx, t.domain(), append(ops, c.quickChange(a, t, audit.QuickRegister, dev)...)...)
}

// quickChange is the audit entry of a change of a device, and the message that tells of it.
func (c *Core) quickChange(a Actor, t target, action audit.Action, dev quick.Device) []store.Op {
	entry := c.entry(a, t, action)
	entry.Kind, entry.Credential, entry.Name = quickKind, dev.ID, dev.Name
	return append(c.notice(t.person.Member, notify.Event{Kind: notify.QuickChanged, Name: dev.Name, At: c.now(), From: a.From()}), audit.Op(entry))
}

// The kinds of credentials in the audit.
const (
	quickKind   = "quick_login"
	passkeyKind = "passkey"
)

// DeleteQuickDevice deletes one of the actor's own. It needs no re-authentication.
func (c *Core) DeleteQuickDevice(ctx context.Context, a Actor, id string) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	return c.deleteDevice(ctx, a, t, id)
}

// DeleteQuickDeviceOf deletes a member's for an administrator.
func (c *Core) DeleteQuickDeviceOf(ctx context.Context, a Actor, address, id string) error {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return err
	}
	return c.deleteDevice(ctx, a, t, id)
}

func (c *Core) deleteDevice(ctx context.Context, a Actor, t target, id string) error {
	key := quick.Key(t.domain(), t.person.ID)
	return c.retry(func() error {
		r, rev, err := readDirect[quick.Record](ctx, c, key)
		if err != nil {
			return err
		}
		dev := r.Find(id, t.person.Member.Epoch)
		if dev == nil {
			return deny(NotFound, "")
		}
		ops := c.quickChange(a, t, audit.QuickDelete, *dev)
		return c.apply(ctx, t.domain(), append(ops, member.PutOp(key, r.Without(id), rev))...)
	}, func() error { return c.again(ctx, &t) })
}

// withoutQuick are the steps that delete all devices of a member: with a password that he did not change himself.
func (c *Core) withoutQuick(d member.DomainID, id member.ID) []store.Op {
	return []store.Op{{Kind: store.Delete, Name: quick.Key(d, id).Name, IfRevision: store.AnyRevision}}
}

// BeginQuickBiometric begins to add biometrics to a device of the actor's. They take the place of those it has.
func (c *Core) BeginQuickBiometric(ctx context.Context, a Actor, id string) (Ceremony, error) {
	t, p, err := c.selfToAdd(ctx, a, policy.WayQuick)
	if err != nil {
		return Ceremony{}, err
	}
	if _, err := c.deviceOf(ctx, t, id); err != nil {
		return Ceremony{}, err
	}
	options, state, err := p.BeginRegistration(biometricOf(id, t.person.Member), quick.Biometric)
	if err != nil {
		return Ceremony{}, err
	}
	return c.begun(ctx, a.Domain, ceremony{For: quickBiometric, Bound: sessionBound(a.Session), Device: id, State: state}, options)
}

func biometricOf(device string, m *member.Member) quick.Whose {
	return quick.Whose{Handle: quick.BiometricHandle(device), Name: m.Address()}
}

func (c *Core) deviceOf(ctx context.Context, t target, id string) (*quick.Device, error) {
	r, _, err := readDirect[quick.Record](ctx, c, quick.Key(t.domain(), t.person.ID))
	if err != nil {
		return nil, err
	}
	dev := r.Find(id, t.person.Member.Epoch)
	if dev == nil {
		return nil, deny(NotFound, "")
	}
	return dev, nil
}

// FinishQuickBiometric adds what the authenticator made.
func (c *Core) FinishQuickBiometric(ctx context.Context, a Actor, id string, ticket secret.String, answer []byte) (quick.Device, error) {
	t, p, err := c.selfToAdd(ctx, a, policy.WayQuick)
	if err != nil {
		return quick.Device{}, err
	}
	k, err := c.takeCeremony(ctx, session.Hash(ticket), quickBiometric, sessionBound(a.Session))
	if err != nil {
		return quick.Device{}, err
	}
	if k.Device != id {
		return quick.Device{}, deny(TicketInvalid, "")
	}
	cred, err := p.FinishRegistration(biometricOf(id, t.person.Member), k.State, answer)
	if err != nil {
		return quick.Device{}, c.notProven(err)
	}
	var dev quick.Device
	err = c.retry(func() error {
		dev, err = c.setBiometric(ctx, a, t, id, cred)
		return err
	}, func() error { return c.again(ctx, &t) })
	return dev, err
}

func (c *Core) setBiometric(ctx context.Context, a Actor, t target, id string, cred quick.Credential) (quick.Device, error) {
	stands, err := c.still(ctx, a, t)
	if err != nil {
		return quick.Device{}, err
	}
	key := quick.Key(t.domain(), t.person.ID)
	r, rev, err := readDirect[quick.Record](ctx, c, key)
	if err != nil {
		return quick.Device{}, err
	}
	if r.Find(id, t.person.Member.Epoch) == nil {
		return quick.Device{}, deny(NotFound, "")
	}
	next := r.Changed(id, func(d *quick.Device) { d.Biometric = &cred })
	dev := *next.Find(id, t.person.Member.Epoch)
	ops := append(stands, member.PutOp(key, next, rev))
	return dev, c.apply(ctx, t.domain(), append(ops, c.quickChange(a, t, audit.QuickRegister, dev)...)...)
}

// notProven is what the client hears of an answer that does not hold. Why is for the log.
func (c *Core) notProven(err error) error {
	if !errors.Is(err, quick.ErrProof) {
		return err
	}
	c.log.Info("an authenticator's answer was refused", "error", err)
	return invalid(policy.Mistake{Field: "credential", Reason: "does not answer this challenge, or the user was not verified"})
}

// sessionBound is what a ceremony of a signed-in member is bound to.
func sessionBound(id session.ID) string { return "session " + string(id) }
