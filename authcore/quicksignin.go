package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/password"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// Signing in with a device. A PIN is looked at only after the device's key has signed the challenge: whoever has no device
// learns nothing of one, and spends none of its five tries. One PIN of a device is verified at a time, under a lease, and
// what it came to is written before anybody hears of it.

// BeginQuickSignIn answers a challenge for a device. Nothing is looked up: an unknown device gets the same.
func (c *Core) BeginQuickSignIn(ctx context.Context, client Client, device string) (Ceremony, error) {
	p, err := c.party()
	if err != nil {
		return Ceremony{}, err
	}
	options, state, err := p.BeginAssertion(nil)
	if err != nil {
		return Ceremony{}, err
	}
	began, err := c.begun(ctx, member.NewDomainID(), ceremony{For: quickSignIn, Bound: c.bound(client), Device: device, State: state}, options)
	began.Device = ""
	return began, err
}

// keyed is a sign-in by a key of the member's, of a device or a passkey, on its way.
type keyed struct {
	*trial
	party  *quick.Party
	domain member.DomainID
	member member.ID
	epochs member.Epochs // under which it is proven
	may    bool          // the member is there and active, and the one who is to be confirmed
}

// findKeyed reads whose a key may be. print names the key among the sources' failures.
func (c *Core) findKeyed(ctx context.Context, client Client, again *Actor, d member.DomainID, id member.ID, print string) (*keyed, error) {
	ctx = c.anew(ctx)
	p, err := c.party()
	if err != nil {
		return nil, err
	}
	q := &keyed{trial: c.beginWeb(client, "", secret.New(print)), party: p, domain: d, member: id}
	q.print = c.print("key", print)
	if q.tenant, err = c.dir.TenantByID(ctx, d); err != nil {
		return nil, err
	}
	if q.person, q.epochs, err = c.webEpochs(ctx, d, id); err != nil {
		return nil, err
	}
	if q.sources, _, err = cache.Read[lockout.Sources](ctx, c.records, lockout.SourcesKey(d, id)); err != nil {
		return nil, err
	}
	q.known = q.sources.Knows(q.source, q.start)
	q.may = q.tenant != nil && q.person.Member != nil && q.person.Member.Status == member.Active &&
		(again == nil || again.Domain == d && again.Member == id)
	return q, nil
}

// owner is whose the key is; nil when he may not sign in.
func (q *keyed) owner() *member.Member {
	if !q.may {
		return nil
	}
	return q.person.Member
}

// from is the address of the client.
func (q *keyed) from() string { return q.a.Conn.Client.Addr().Unmap().String() }

// QuickPIN is what a device sends to sign in.
type QuickPIN struct {
	Ticket    secret.String
	PIN       secret.String
	Origin    string // that the app speaks to
	Signature string // over quick.Message(quick.SigningIn, …)
}

// SignInQuickPIN signs in with a device and its PIN.
func (c *Core) SignInQuickPIN(ctx context.Context, client Client, p QuickPIN) (SignInResult, error) {
	return c.quickPIN(ctx, client, nil, p)
}

// ReauthenticateQuickPIN confirms the actor's session with a device and its PIN.
func (c *Core) ReauthenticateQuickPIN(ctx context.Context, a Actor, p QuickPIN) (SignInResult, error) {
	if err := c.mayConfirm(a); err != nil {
		return SignInResult{}, err
	}
	return c.quickPIN(ctx, a.Client, &a, p)
}

func (c *Core) quickPIN(ctx context.Context, client Client, again *Actor, sent QuickPIN) (SignInResult, error) {
	k, err := c.takeCeremony(ctx, session.Hash(sent.Ticket), quickSignIn, c.bound(client))
	if err != nil {
		return SignInResult{}, err
	}
	q, dev, err := c.findDevice(ctx, client, again, k.Device)
	if err != nil {
		return SignInResult{}, err
	}
	if v, err := c.gate(ctx, q.trial); err != nil || v.Reason != "" {
		return SignInResult{}, c.refused(ctx, q, v, err)
	}
	key := q.party.NobodysKey()
	if dev != nil {
		key = dev.Key
	}
	signed := quick.Signed(key, quick.Message(quick.SigningIn, k.State.Challenge, k.Device, sent.Origin), sent.Signature)
	if !signed || dev == nil || !q.party.Serves(sent.Origin) {
		return SignInResult{}, c.refuseWeb(ctx, q.trial, Decision{Reason: BadCredentials})
	}
	v, err := c.verifyPIN(ctx, q, *dev, sent.PIN)
	if err != nil || v.Reason != Allowed {
		return SignInResult{}, c.refused(ctx, q, v, err)
	}
	return c.admit(ctx, client, q, policy.WayQuick, firstFactor{factor: signin.QuickPIN, credential: dev.ID, called: dev.Name, again: again})
}

func (c *Core) refused(ctx context.Context, q *keyed, d Decision, err error) error {
	if err != nil {
		return err
	}
	return c.refuseWeb(ctx, q.trial, d)
}

// findDevice reads a device; nil when there is none that its member could sign in with.
func (c *Core) findDevice(ctx context.Context, client Client, again *Actor, device string) (*keyed, *quick.Device, error) {
	d, id, _ := quick.ParseID(device)
	q, err := c.findKeyed(ctx, client, again, d, id, device)
	if err != nil {
		return nil, nil, err
	}
	r, _, err := readDirect[quick.Record](ctx, c, quick.Key(d, id))
	if err != nil || !q.may {
		return q, nil, err
	}
	return q, r.Find(device, q.epochs.Member), nil
}

// admit goes on after a proof: if the way is open to the member, the sign-in's next step.
func (c *Core) admit(ctx context.Context, client Client, q *keyed, way string, f firstFactor) (SignInResult, error) {
	ctx = c.anew(ctx)
	f.domain, f.member, f.epochs, f.trial = q.domain, q.member, q.epochs, q.trial
	tenant, err := c.dir.TenantByID(ctx, q.domain)
	if err != nil {
		return SignInResult{}, err
	}
	p, err := c.dir.PersonByID(ctx, q.domain, q.member)
	if err != nil {
		return SignInResult{}, err
	}
	if tenant == nil || p.Member == nil {
		return SignInResult{}, deny(TicketInvalid, "")
	}
	if p.Member.MayUse(way, tenant.Policy) {
		return c.proved(ctx, client, f)
	}
	entry := c.webEntry(p.Member, client, audit.SignIn)
	entry.Reason, entry.Kind, entry.Credential, entry.Name = string(WayDenied), way, f.credential, f.called
	if err := c.apply(ctx, q.domain, audit.Op(entry)); err != nil {
		return SignInResult{}, err
	}
	return SignInResult{}, deny(WayDenied, "")
}

// pinTry is a PIN under its lease.
type pinTry struct {
	*keyed
	dev      quick.Device // as it was when its key had signed
	lease    *lockout.Lease
	record   *quick.Record
	revision int64
}

// verifyPIN verifies one PIN and settles it: Allowed, BadCredentials, or Throttled when it was not looked at.
func (c *Core) verifyPIN(ctx context.Context, q *keyed, dev quick.Device, pin secret.String) (Decision, error) {
	lease, err := c.leases.Take(ctx, member.Partition(q.domain), c.print("lease", "device", dev.ID), true)
	if errors.Is(err, lockout.ErrHeld) {
		return Decision{Reason: Throttled, RetryAfter: retryBroken}, nil
	}
	if err != nil {
		return Decision{}, broken("verify PIN", err)
	}
	defer lease.Release(context.WithoutCancel(ctx))
	try := &pinTry{keyed: q, dev: dev, lease: lease}
	if there, err := c.loadDevice(ctx, try); err != nil || !there {
		return Decision{Reason: BadCredentials}, err
	}
	slot, err := c.hasher.Acquire(ctx)
	if errors.Is(err, password.ErrBusy) {
		return Decision{Reason: Throttled, RetryAfter: retryBroken}, nil
	}
	if err != nil {
		return Decision{}, broken("verify PIN", err)
	}
	defer slot.Release()
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor) // whoever hangs up gains nothing
	defer cancel()
	right, next, err := c.hashedPIN(slot, try.dev, pin)
	slot.Release()
	if err != nil {
		return Decision{}, err
	}
	q.detail = "pin"
	return c.settlePIN(wctx, try, right, next)
}

// loadDevice reads the record itself: it may have changed while the lease was waited for. False: the device is gone.
func (c *Core) loadDevice(ctx context.Context, try *pinTry) (bool, error) {
	r, rev, err := readDirect[quick.Record](ctx, c, quick.Key(try.domain, try.member))
	if err != nil {
		return false, err
	}
	try.record, try.revision = r, rev
	dev := r.Find(try.dev.ID, try.epochs.Member)
	if dev == nil {
		return false, nil
	}
	try.dev = *dev
	return true, nil
}

// hashedPIN compares a PIN, and answers how a right one is kept from now on: under the current server key.
func (c *Core) hashedPIN(slot *password.Slot, dev quick.Device, pin secret.String) (right bool, next quick.Device, err error) {
	print, ok := quick.PrintPINUnder(c.o.Keys, dev.KeyID, dev.ID, pin)
	if !ok {
		return false, dev, fmt.Errorf("PIN of device %s: there is no server key %q", dev.ID, dev.KeyID)
	}
	if right, err = slot.Verify(dev.PIN, print); err != nil {
		return false, dev, fmt.Errorf("PIN of device %s: %w", dev.ID, err)
	}
	if right && dev.KeyID != c.o.Keys.CurrentMAC() {
		dev.KeyID, print = quick.PrintPIN(c.o.Keys, dev.ID, pin)
		dev.PIN = slot.Hash(print)
	}
	return right, dev, nil
}

func (c *Core) settlePIN(ctx context.Context, try *pinTry, right bool, next quick.Device) (Decision, error) {
	for range settleTries {
		ops, reason := c.pinOutcome(try, right, next)
		err := c.apply(ctx, try.domain, append(ops, try.lease.Settle())...)
		if err == nil {
			try.lease.Settled()
			return Decision{Reason: reason}, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return Decision{}, broken("settle PIN", err)
		}
		if held, err := try.lease.Held(ctx); err != nil || !held {
			return Decision{}, errors.Join(errLeaseLost, err)
		}
		if there, err := c.loadDevice(ctx, try); err != nil || !there {
			return Decision{Reason: BadCredentials}, err // deleted meanwhile
		}
	}
	return Decision{}, fmt.Errorf("settle PIN: %w", store.ErrConflict)
}

// pinOutcome is the batch that makes a verdict true.
func (c *Core) pinOutcome(try *pinTry, right bool, next quick.Device) ([]store.Op, Reason) {
	key, from := quick.Key(try.domain, try.member), try.from()
	if right {
		used := try.record.Changed(try.dev.ID, func(d *quick.Device) {
			d.Wrong, d.KeyID, d.PIN, d.UsedAt, d.UsedFrom = 0, next.KeyID, next.PIN, c.now().UTC(), from
		})
		return []store.Op{member.PutOp(key, used, try.revision)}, Allowed
	}
	left, gone := try.record.CountWrong(try.dev.ID)
	ops := []store.Op{member.PutOp(key, left, try.revision)}
	if !gone {
		return ops, BadCredentials
	}
	m := try.person.Member
	entry := audit.Entry{Time: c.now(), Action: audit.QuickDelete, Target: m.Address(), MemberID: string(m.ID), Detail: "wrong_pins", Door: WebDoor,
		From: from, Agent: try.a.Conn.Agent, Kind: quickKind, Credential: try.dev.ID, Name: try.dev.Name}
	told := notify.Event{Kind: notify.QuickChanged, Name: try.dev.Name, At: c.now(), From: from}
	return append(append(ops, c.notice(m, told)...), audit.Op(entry)), BadCredentials
}

// SignInQuickBiometric signs in with a device whose user was verified by it. It spends no try of the PIN.
func (c *Core) SignInQuickBiometric(ctx context.Context, client Client, ticket secret.String, answer json.RawMessage) (SignInResult, error) {
	return c.quickBiometric(ctx, client, nil, ticket, answer)
}

// ReauthenticateQuickBiometric confirms the actor's session likewise.
func (c *Core) ReauthenticateQuickBiometric(ctx context.Context, a Actor, ticket secret.String, answer json.RawMessage) (SignInResult, error) {
	if err := c.mayConfirm(a); err != nil {
		return SignInResult{}, err
	}
	return c.quickBiometric(ctx, a.Client, &a, ticket, answer)
}

func (c *Core) quickBiometric(ctx context.Context, client Client, again *Actor, ticket secret.String, answer json.RawMessage) (SignInResult, error) {
	k, err := c.takeCeremony(ctx, session.Hash(ticket), quickSignIn, c.bound(client))
	if err != nil {
		return SignInResult{}, err
	}
	q, dev, err := c.findDevice(ctx, client, again, k.Device)
	if err != nil {
		return SignInResult{}, err
	}
	if v, err := c.gate(ctx, q.trial); err != nil || v.Reason != "" {
		return SignInResult{}, c.refused(ctx, q, v, err)
	}
	if dev == nil || dev.Biometric == nil {
		return SignInResult{}, c.refuseWeb(ctx, q.trial, Decision{Reason: BadCredentials})
	}
	err = c.assert(ctx, assertion{
		party: q.party, domain: q.domain, member: q.person.Member, from: client.From(), name: dev.Name, state: k.State, answer: answer,
		load: func() (quick.Whose, keeps, error) { return c.biometricNow(ctx, q, dev.ID) },
	})
	if err != nil {
		return SignInResult{}, c.refuseProof(ctx, q, err)
	}
	return c.admit(ctx, client, q, policy.WayQuick, firstFactor{factor: signin.QuickBiometric, credential: dev.ID, called: dev.Name, again: again})
}

// biometricNow is a device's credential as it is, and how it is kept after a use.
func (c *Core) biometricNow(ctx context.Context, q *keyed, device string) (quick.Whose, keeps, error) {
	key := quick.Key(q.domain, q.member)
	whose := quick.Whose{Handle: quick.BiometricHandle(device)}
	r, rev, err := readDirect[quick.Record](ctx, c, key)
	dev := r.Find(device, q.epochs.Member)
	if err != nil || dev == nil || dev.Biometric == nil {
		return whose, nil, err
	}
	whose.Credentials = []quick.Credential{*dev.Biometric}
	return whose, func(cred quick.Credential) ([]store.Op, error) {
		return []store.Op{member.PutOp(key, r.Changed(device, func(d *quick.Device) {
			d.Biometric, d.UsedAt, d.UsedFrom = &cred, c.now().UTC(), q.from()
		}), rev)}, nil
	}, nil
}

// keeps answers the steps that keep a credential after a use, with what that use makes true.
type keeps = func(quick.Credential) ([]store.Op, error)

// assertion is an authenticator's answer to be checked.
type assertion struct {
	party  *quick.Party
	domain member.DomainID
	member *member.Member // nil: nobody, and the answer does not hold
	from   string
	name   string // what the member is told that the credential is
	state  quick.State
	answer []byte
	load   func() (quick.Whose, keeps, error) // the credentials as they are; asked anew after a conflict
}

// assert checks an answer, and keeps the counter that it brings before anybody is let in by it. quick.ErrProof and
// quick.ErrCloned when it does not hold; of the second the member is told.
func (c *Core) assert(ctx context.Context, s assertion) error {
	a, err := quick.ReadAssertion(s.answer)
	if err != nil {
		return err
	}
	for range settleTries {
		whose, keep, err := s.load()
		if err != nil {
			return err
		}
		cred, err := s.party.FinishAssertion(whose, s.state, a)
		if errors.Is(err, quick.ErrCloned) {
			return errors.Join(err, c.tellCloned(ctx, s, cred))
		}
		if err != nil {
			return err
		}
		ops, err := keep(cred)
		if err != nil {
			return err
		}
		if err := c.apply(ctx, s.domain, ops...); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("keep the counter of an authenticator: %w", store.ErrConflict)
}

// refuseProof is the refusal of an answer that does not hold. Why is for the log.
func (c *Core) refuseProof(ctx context.Context, q *keyed, err error) error {
	if !errors.Is(err, quick.ErrProof) && !errors.Is(err, quick.ErrCloned) {
		return err
	}
	c.log.Info("an authenticator's answer was refused", "error", err)
	if errors.Is(err, quick.ErrCloned) {
		q.detail = "counter"
	}
	return c.refuseWeb(ctx, q.trial, Decision{Reason: BadCredentials})
}
