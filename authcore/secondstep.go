package authcore

import (
	"context"
	"errors"
	"slices"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// SecondStep is one way to pass the second step, as the member is shown it.
type SecondStep struct {
	Method  signin.Method
	Contact string // of ByEmail and ByMobile: the id that a code is asked for by
	Masked  string // of them: as much as its owner knows it by
}

// secondSteps lists what a member has and the installation can use, his contacts in their order first; those that came
// from an administrator or an import too, for the first right code verifies them. Which of them
// is a second thing beside the first factor is package signin's to say.
func (c *Core) secondSteps(ctx context.Context, d member.DomainID, m *member.Member) ([]SecondStep, error) {
	var l []SecondStep
	for _, k := range m.Contacts {
		if channel, method := wayOf(k); c.canSend(channel) {
			l = append(l, SecondStep{Method: method, Contact: k.ContactID(), Masked: k.Masked()})
		}
	}
	methods, _, err := cache.Read[otp.Methods](ctx, c.records, otp.Key(d, m.ID))
	if err != nil {
		return nil, err
	}
	if methods.HasApp() {
		l = append(l, SecondStep{Method: signin.ByApp})
	}
	if methods.Left() > 0 {
		l = append(l, SecondStep{Method: signin.ByRecovery})
	}
	passkey, err := c.hasPasskey(ctx, d, m)
	if passkey {
		l = append(l, SecondStep{Method: signin.ByPasskey})
	}
	return l, err
}

func wayOf(k member.Contact) (notify.Channel, signin.Method) {
	if k.Kind == member.Mobile {
		return notify.BySMS, signin.ByMobile
	}
	return notify.ByEmail, signin.ByEmail
}

// findContact answers the member's contact with this id.
func findContact(m *member.Member, id string) (member.Contact, bool) {
	i := slices.IndexFunc(m.Contacts, func(k member.Contact) bool { return k.ContactID() == id })
	if i < 0 {
		return member.Contact{}, false
	}
	return m.Contacts[i], true
}

// sendSecondStep sends a code for the second step of a sign-in to one of the member's contacts. ticket is session.Hash of
// the ticket's token; allowed are the methods that the machine offers at this step. Denied as NotFound when the contact is
// none of his or its method is not offered, and as askCode denies.
func (c *Core) sendSecondStep(ctx context.Context, client Client, ticket string, d member.DomainID, m *member.Member, contact string, allowed []signin.Method) (until time.Time, err error) {
	k, ok := findContact(m, contact)
	channel, method := wayOf(k)
	if !ok || !c.canSend(channel) || !slices.Contains(allowed, method) {
		return time.Time{}, deny(NotFound, "")
	}
	return c.askCode(ctx, codeAsk{
		ticket: otp.Ticket{Purpose: otp.ForTwoStep, ID: ticket}, domain: d, member: m.ID, address: m.Address(), client: client,
		channel: channel, to: k.Value, language: m.Language, note: contact,
	})
}

// secondTry is what a member typed at the second step.
type secondTry struct {
	client Client
	ticket string // session.Hash of the ticket's token: a code that was sent belongs to it
	domain member.DomainID
	member member.ID
	method signin.Method // ByEmail and ByMobile are one: the code says where it went
	typed  secret.String
	answer []byte // of ByPasskey: the authenticator's
}

// trySecondStep passes the second step: nil when what was typed is right, and spent by it. It verifies the contact that the
// code went to, and remembers that the policy asked where the member did not choose. Denied as BadCode or Throttled.
// Whether the method is one that the machine offers is asked before; the sign-in's audit is the caller's.
func (c *Core) trySecondStep(ctx context.Context, t secondTry) error {
	switch t.method {
	case signin.ByEmail, signin.ByMobile:
		k := otp.Ticket{Purpose: otp.ForTwoStep, ID: t.ticket}
		return c.tryCodeThen(ctx, k, t.domain, t.member, t.typed, func(ctx context.Context, note string) ([]store.Op, error) {
			return c.passedOps(ctx, t, func(m *member.Member) error { return verifyContact(m, note) })
		})
	case signin.ByApp:
		return c.guess(ctx, t.domain, t.member, func(ctx context.Context) (bool, []store.Op, error) { return c.spendApp(ctx, t) })
	case signin.ByRecovery:
		return c.guess(ctx, t.domain, t.member, func(ctx context.Context) (bool, []store.Op, error) { return c.spendRecovery(ctx, t) })
	case signin.ByPasskey:
		return c.tryPasskeyStep(ctx, t)
	default:
		return deny(BadCode, "")
	}
}

func verifyContact(m *member.Member, id string) error {
	i := slices.IndexFunc(m.Contacts, func(k member.Contact) bool { return k.ContactID() == id })
	if i < 0 {
		return deny(BadCode, "") // it was removed meanwhile: what went there proves nothing any more
	}
	if !m.Contacts[i].Verified {
		m.Contacts = slices.Clone(m.Contacts)
		m.Contacts[i].Verified = true
	}
	return nil
}

// passedOps are the steps on the member's record once he passed: none when nothing changed on it.
func (c *Core) passedOps(ctx context.Context, t secondTry, change func(*member.Member) error) ([]store.Op, error) {
	tenant, err := c.dir.TenantByID(ctx, t.domain)
	if err != nil {
		return nil, err
	}
	m, rev, err := readDirect[member.Member](ctx, c, member.Key(t.domain, t.member))
	if err != nil {
		return nil, err
	}
	if tenant == nil || m == nil {
		return nil, deny(BadCode, "")
	}
	next := *m
	if change != nil {
		if err := change(&next); err != nil {
			return nil, err
		}
	}
	if tenant.Policy.SignIn.TwoStep == policy.TwoStepRequired && next.TwoStep == "" {
		next.TwoStep = member.ByPolicy
	}
	if next.TwoStep == m.TwoStep && slices.Equal(next.Contacts, m.Contacts) {
		return []store.Op{unchanged(member.Key(t.domain, t.member), rev)}, nil
	}
	if _, err := c.hintContacts(ctx, t.domain, t.member, m.Contacts, next.Contacts); err != nil {
		return nil, err
	}
	return []store.Op{member.PutOp(member.Key(t.domain, t.member), next, rev)}, nil
}

// spendApp compares with the member's authenticator app; the step is spent in the batch.
func (c *Core) spendApp(ctx context.Context, t secondTry) (bool, []store.Op, error) {
	key := otp.Key(t.domain, t.member)
	methods, rev, err := readDirect[otp.Methods](ctx, c, key)
	if err != nil {
		return false, nil, err
	}
	next := methods.Copy()
	app, err := next.App.Spend(c.o.Keys, t.domain, t.member, t.typed, c.now())
	if errors.Is(err, otp.ErrWrong) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	next.App = &app
	ops, err := c.passedOps(ctx, t, nil)
	return true, append(ops, member.PutOp(key, next, rev)), err
}

// spendRecovery compares with the member's recovery codes; the one that was used is gone with the batch, and the member is
// told.
func (c *Core) spendRecovery(ctx context.Context, t secondTry) (bool, []store.Op, error) {
	key := otp.Key(t.domain, t.member)
	methods, rev, err := readDirect[otp.Methods](ctx, c, key)
	if err != nil {
		return false, nil, err
	}
	next, err := methods.SpendRecovery(c.o.Keys, t.domain, t.member, t.typed)
	if errors.Is(err, otp.ErrWrong) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	p, err := c.dir.PersonByID(ctx, t.domain, t.member)
	if err != nil || p.Member == nil {
		return false, nil, err
	}
	entry := c.webEntry(p.Member, t.client, audit.TwoStepMethod)
	entry.Detail = "recovery_code_used"
	word := entry.Detail
	if next.Left() <= otp.Few {
		word = "recovery_codes_few"
	}
	ops, err := c.passedOps(ctx, t, nil)
	ops = append(ops, member.PutOp(key, next, rev), audit.Op(entry))
	return true, append(ops, c.notice(p.Member, notify.Event{Kind: notify.MethodChanged, Name: word, At: c.now(), From: t.client.From()})...), err
}
