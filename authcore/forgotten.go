package authcore

import (
	"context"
	"fmt"
	"slices"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// A forgotten password: a code to a contact of the profile, never to the number that is linked for signing in, then a new
// password under the policy. It signs nobody in and lifts no suspension. Whether a login is somebody's shows nowhere (see
// asked.go): a code goes to active members alone.

// ForgotPassword sends a code to the contact of a kind, member.Email or member.Mobile, of whoever has the login.
func (c *Core) ForgotPassword(ctx context.Context, client Client, login, kind string) (Asked, error) {
	by, err := c.channelTo(kind)
	if err != nil {
		return Asked{}, err
	}
	name, err := member.ParseName(login, "")
	typed := name.String()
	if err != nil {
		typed = login // a text that is no name is nobody's
	}
	if err := c.mayAsk(ctx, client, otp.ForPassword, c.print("asked for", typed)); err != nil {
		return Asked{}, err
	}
	who, to, err := c.forgetter(ctx, name, typed, kind)
	if err != nil {
		return Asked{}, err
	}
	a, err := c.keepAsked(ctx, asked{
		Purpose: otp.ForPassword, Domain: who.domain, Member: who.member.ID, Address: who.member.Address(), Bound: c.bound(client), Contact: to,
	})
	if err != nil {
		return Asked{}, err
	}
	return a, c.askQuietly(ctx, codeAsk{
		ticket: ticketFor(otp.ForPassword, a.Ticket), domain: who.domain, member: who.member.ID, address: who.member.Address(), client: client,
		channel: by, to: to.Value, language: who.member.Language,
	})
}

func (c *Core) channelTo(kind string) (notify.Channel, error) {
	switch kind {
	case member.Email:
		return notify.ByEmail, c.sendable(notify.ByEmail, "channel")
	case member.Mobile:
		return notify.BySMS, c.sendable(notify.BySMS, "channel")
	}
	return "", invalid(policy.Mistake{Field: "channel", Reason: "is none of those there are"})
}

// forgetter finds who gets a code for a login, and where: a member who may come in and has such a contact, or a shadow and
// nowhere. It reads the same records for every login of a domain.
func (c *Core) forgetter(ctx context.Context, name member.Name, typed, kind string) (found, member.Contact, error) {
	nobody := found{noDomain, stub(c.codeShadow(typed))}
	t, err := c.dir.Tenant(ctx, name.Domain)
	if err != nil || t == nil {
		return nobody, member.Contact{}, err
	}
	held, _, err := readDirect[member.Address](ctx, c, member.AddressKey(t.Domain.ID, name)) // as comer reads
	if err != nil {
		return nobody, member.Contact{}, err
	}
	id := c.dir.Shadow(t.Domain.ID, name)
	if held != nil {
		id = held.Member
	}
	m, err := c.comer(ctx, t.Domain.ID, id, "")
	if err != nil || m == nil {
		return nobody, member.Contact{}, err
	}
	to := contactOf(m, kind)
	if to.Value == "" {
		return nobody, to, nil
	}
	return found{t.Domain.ID, m}, to, nil
}

// contactOf answers the member's contact of a kind, a verified one before others. One that an administrator entered
// counts: the first right code verifies it.
func contactOf(m *member.Member, kind string) (to member.Contact) {
	for _, k := range m.Contacts {
		if k.Kind == kind && (to.Value == "" || k.Verified && !to.Verified) {
			to = k
		}
	}
	return to
}

// ForgotPasswordCode answers a ticket for the new password when the code is right, and verifies the contact by it.
func (c *Core) ForgotPasswordCode(ctx context.Context, client Client, tk, code secret.String) (Asked, error) {
	t, err := c.askedBy(ctx, client, tk, otp.ForPassword, "")
	if err != nil {
		return Asked{}, err
	}
	if err := c.tryQuietly(ctx, t, tk, code, c.proves(t)); err != nil {
		return Asked{}, c.refusedCode(ctx, client, t, err)
	}
	if err := c.takeAsked(ctx, tk); err != nil {
		return Asked{}, err
	}
	_, epochs, err := c.resetter(ctx, t)
	if err != nil {
		return Asked{}, err
	}
	rules, _, err := c.dir.PolicyDirect(ctx, t.Domain)
	if err != nil {
		return Asked{}, err
	}
	t.Purpose, t.Epochs = forPassword, epochs
	a, err := c.keepAsked(ctx, t)
	a.Rules = rules.Password
	return a, err
}

// proves marks the contact that a right code came back from as verified.
func (c *Core) proves(t asked) afterwards {
	return func(ctx context.Context, _ string) ([]store.Op, error) {
		key := member.Key(t.Domain, t.Member)
		m, rev, err := readDirect[member.Member](ctx, c, key)
		if err != nil || m == nil {
			return nil, err
		}
		next := *m
		if err := verifyContact(&next, t.Contact.ContactID()); err != nil {
			return nil, err
		}
		if slices.Equal(next.Contacts, m.Contacts) {
			return []store.Op{unchanged(key, rev)}, nil
		}
		return []store.Op{member.PutOp(key, next, rev)}, nil
	}
}

// resetter answers the member whose code was right while he may still come in and his profile still names the contact.
func (c *Core) resetter(ctx context.Context, t asked) (member.Person, member.Epochs, error) {
	p, epochs, err := c.webEpochs(c.anew(ctx), t.Domain, t.Member)
	if err != nil {
		return member.Person{}, epochs, err
	}
	if p.Member == nil || p.Member.Status != member.Active || len(without([]member.Contact{t.Contact}, p.Member.Contacts)) > 0 {
		return member.Person{}, epochs, deny(TicketInvalid, "")
	}
	return p, epochs, nil
}

// SetForgottenPassword sets the new password. One that breaks rules leaves the ticket good. All web sessions end, and
// those at the doors that the old account password opened; the second step that follows does not come by the channel
// whose code stood in for the password, where there is another.
func (c *Core) SetForgottenPassword(ctx context.Context, client Client, tk, newPassword secret.String, deleteApps bool) error {
	t, err := c.askedBy(ctx, client, tk, forPassword, "")
	if err != nil {
		return err
	}
	r := &reset{asked: t, typed: newPassword, deleteApps: deleteApps}
	if err := c.judgeReset(ctx, r); err != nil {
		return err
	}
	if err := c.takeAsked(ctx, tk); err != nil {
		return err
	}
	return c.retry(func() error { return c.writeReset(ctx, client, r) }, func() error { return c.judgeReset(ctx, r) })
}

// reset is a forgotten password on its way.
type reset struct {
	asked
	typed      secret.String
	deleteApps bool
	person     member.Person
	set        setting
}

// judgeReset asks whether the new password may be set, now: nothing ended what the code proved, and no rule is broken.
func (c *Core) judgeReset(ctx context.Context, r *reset) error {
	p, epochs, err := c.resetter(ctx, r.asked)
	if err != nil {
		return err
	}
	if epochs != r.Epochs {
		return deny(TicketInvalid, "")
	}
	r.person = p
	if r.set, err = c.newPassword(ctx, r.Domain, p, r.typed, wishes{resetBy: r.Contact.Kind}); err != nil {
		return err
	}
	if !r.set.follows(epochs.Credential) {
		return deny(TicketInvalid, "")
	}
	return nil
}

// writeReset writes it over the member's record as it was judged.
func (c *Core) writeReset(ctx context.Context, client Client, r *reset) error {
	entry := c.webEntry(r.person.Member, client, audit.PasswordForgotten)
	entry.Detail = r.Contact.Kind
	ops := append(r.set.ops, unchanged(member.Key(r.Domain, r.Member), r.person.Revision), audit.Op(entry))
	ops = append(ops, c.notice(r.person.Member, notify.Event{Kind: notify.PasswordChanged, At: c.now(), From: client.From()})...)
	tokens, err := c.withoutTokens(ctx, r.Domain, r.Member)
	if err != nil {
		return err
	}
	ops = append(ops, tokens...)
	if r.deleteApps {
		apps, err := c.withoutApps(ctx, r.Domain, r.Member)
		if err != nil {
			return err
		}
		ops = append(ops, apps...)
	}
	if err := c.revoke(ctx, Revocation{Domain: r.Domain, Member: r.Member}, ops...); err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	return nil
}

// ForgotAddress sends the addresses whose profile names a contact to that contact, in one message. The answer is the same
// whether there are any.
func (c *Core) ForgotAddress(ctx context.Context, client Client, typed string) error {
	k, err := member.ParseContact(typed, c.o.Region)
	if err != nil {
		return invalid(policy.Mistake{Field: "contact", Reason: "is neither an e-mail address nor a mobile number with its country"})
	}
	by := notify.ByEmail
	if k.Kind == member.Mobile {
		by = notify.BySMS
	}
	if err := c.sendable(by, "contact"); err != nil {
		return err
	}
	if err := c.mayAsk(ctx, client, otp.ForAddress, c.print("asked for", k.Kind, k.Value)); err != nil {
		return err
	}
	l, err := c.membersOf(ctx, k)
	if err != nil {
		return err
	}
	return c.sendAddresses(ctx, client, by, k, l)
}

// sendAddresses puts the message into the outbox of the first one's domain; for nobody one to nowhere, which costs the
// same.
func (c *Core) sendAddresses(ctx context.Context, client Client, by notify.Channel, k member.Contact, l []found) error {
	first, to := found{noDomain, stub(c.codeShadow(k.Value))}, ""
	if len(l) > 0 {
		first, to = l[0], k.Value
	}
	ask := codeAsk{ticket: otp.Ticket{Purpose: otp.ForAddress, ID: c.print("asked for", k.Kind, k.Value)}, domain: first.domain,
		member: first.member.ID, address: first.member.Address(), client: client, channel: by, to: to}
	_, wait, err := c.codeThrottle.Go(ctx, c.going(ask))
	if err != nil || wait > 0 { // too many messages: the answer is the same
		return err
	}
	var addresses []string
	for _, f := range l {
		addresses = append(addresses, f.member.Address())
	}
	now := c.now()
	m := notify.Event{Kind: notify.AddressesFound, At: now, From: client.From(), Lines: addresses}.Message(first.member.Language)
	o := notify.Outgoing{Time: now, Kind: m.Kind, Channel: by, To: to, Subject: m.Subject, Text: m.Text}
	entry := c.codeEntry(ask)
	entry.Action = audit.AddressForgotten
	return c.apply(ctx, first.domain, notify.SendOp(c.o.Keys, o, now.Add(TicketFor)), audit.Op(entry))
}
