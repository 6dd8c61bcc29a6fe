package authcore

import (
	"cmp"
	"context"

	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Signing in with a phone number: a code to the number that the member linked is the whole first factor. Numbers are unique
// over the installation, so nobody says which domain he belongs to. What was asked of a number tells nothing of it (see
// asked.go); whether the way is open is asked when the code is sent, and once more when it was right.

// SignInPhone begins a sign-in with a number. The answer is the same whoever has it, or nobody.
func (c *Core) SignInPhone(ctx context.Context, client Client, typed string) (Asked, error) {
	if err := c.sendable(notify.BySMS, "number"); err != nil {
		return Asked{}, err
	}
	number, err := c.number(typed)
	if err != nil {
		return Asked{}, err
	}
	if err := c.mayAsk(ctx, client, otp.ForPhone, c.print("asked for", number)); err != nil {
		return Asked{}, err
	}
	who, err := c.callee(ctx, number)
	if err != nil {
		return Asked{}, err
	}
	return c.callPhone(ctx, client, who, asked{Purpose: otp.ForPhone, Print: c.print("linked number", number)})
}

func (c *Core) number(typed string) (string, error) {
	n, err := member.ParseMobile(typed, c.o.Region)
	if err != nil {
		return "", invalid(policy.Mistake{Field: "number", Reason: "is no mobile number with its country, like +81 90 1234 5678"})
	}
	return n, nil
}

// callee is who gets a code: a member with the number it goes to, or a shadow and nowhere.
type callee struct {
	domain member.DomainID
	member *member.Member
	number string
}

func (w callee) address() string { return w.member.Address() }

// callee finds who may sign in with a number. It reads the same records whoever has it.
func (c *Core) callee(ctx context.Context, number string) (callee, error) {
	nobody := callee{domain: noDomain, member: stub(c.codeShadow(number))}
	held, err := c.claims.Look(ctx, member.ClaimPhone, number)
	if err != nil {
		return nobody, err
	}
	d, id := nobody.domain, nobody.member.ID
	if held != nil {
		d, id = held.Domain, held.Member
	}
	names, err := c.names(ctx, d, id, member.ClaimPhone, number)
	if err != nil {
		return nobody, err
	}
	m, err := c.comer(ctx, d, id, policy.WayPhone)
	if err != nil || m == nil || !names {
		return nobody, err
	}
	return callee{domain: d, member: m, number: number}, nil
}

// comer answers the member if he may come in now by a way (empty: by his password); nil when he may not, or there is none.
// It reads the same records for everybody, and all of them past the cache: members who are about their day are in memory,
// strangers are not.
func (c *Core) comer(ctx context.Context, d member.DomainID, id member.ID, way string) (*member.Member, error) {
	rules, _, err := c.dir.PolicyDirect(ctx, d)
	if err != nil {
		return nil, err
	}
	domain, _, err := readDirect[member.Domain](ctx, c, member.DomainKey(d))
	if err != nil {
		return nil, err
	}
	m, _, err := readDirect[member.Member](ctx, c, member.Key(d, id))
	if err != nil {
		return nil, err
	}
	operator, _, err := readDirect[member.Operator](ctx, c, member.OperatorKey(id))
	if err != nil || domain == nil || m == nil || m.Status != member.Active || domain.Closed && operator == nil {
		return nil, err
	}
	if way != "" && !m.MayUse(way, rules) {
		return nil, nil
	}
	return m, nil
}

// callPhone makes the ticket and sends its first code by SMS.
func (c *Core) callPhone(ctx context.Context, client Client, who callee, t asked) (Asked, error) {
	t.Domain, t.Member, t.Address, t.Lang, t.Bound = who.domain, who.member.ID, who.address(), who.member.Language, c.bound(client)
	a, err := c.keepAsked(ctx, t)
	if err != nil {
		return Asked{}, err
	}
	if _, err := c.asks.Again(ctx, askedKey(a.Ticket).Name); err != nil {
		return Asked{}, err
	}
	return a, c.askQuietly(ctx, codeAsk{
		ticket: ticketFor(t.Purpose, a.Ticket), domain: who.domain, member: who.member.ID, address: who.address(), client: client,
		channel: notify.BySMS, to: who.number, language: who.member.Language,
	})
}

// SignInPhoneMessage sends a new code as a message to the member's inbox, where only sessions that began before can read
// it: for who cannot receive a text message and is signed in on another device.
func (c *Core) SignInPhoneMessage(ctx context.Context, client Client, tk secret.String) error {
	t, err := c.askedBy(ctx, client, tk, otp.ForPhone, "")
	if err != nil {
		return err
	}
	wait, err := c.asks.Again(ctx, askedKey(tk).Name)
	if err != nil {
		return err
	}
	if wait > 0 {
		return denyReason(Throttled, wait)
	}
	m := &member.Member{ID: t.Member, Addresses: []string{t.Address}, Language: t.Lang}
	return c.askQuietly(ctx, codeAsk{
		ticket: ticketFor(t.Purpose, tk), domain: t.Domain, member: t.Member, address: t.Address, client: client,
		channel: byInbox, to: string(t.Member), // for the limits: it goes nowhere outside
		note: string(byInbox),
		deliver: func(code secret.String) []store.Op {
			return c.notice(m, notify.Event{Kind: notify.SignInCode, At: c.now(), From: client.From(), Code: code.Reveal()})
		},
	})
}

// byInbox is the channel that codes in the product are counted by.
const byInbox notify.Channel = "inbox"

// SignInPhoneCode ends the first factor of a sign-in with a number. A wrong code leaves the ticket good.
func (c *Core) SignInPhoneCode(ctx context.Context, client Client, tk, code secret.String) (SignInResult, error) {
	t, err := c.askedBy(ctx, client, tk, otp.ForPhone, "")
	if err != nil {
		return SignInResult{}, err
	}
	f, err := c.phoneProved(ctx, client, t, tk, code)
	if err != nil {
		return SignInResult{}, err
	}
	return c.proved(ctx, client, f)
}

// phoneProved spends the code and asks whether the number is still linked and the way still open.
func (c *Core) phoneProved(ctx context.Context, client Client, t asked, tk, code secret.String) (firstFactor, error) {
	var sent string
	read := func(_ context.Context, note string) ([]store.Op, error) { sent = note; return nil, nil }
	if err := c.tryQuietly(ctx, t, tk, code, read); err != nil {
		return firstFactor{}, c.refusedCode(ctx, client, t, err)
	}
	if err := c.takeAsked(ctx, tk); err != nil {
		return firstFactor{}, err
	}
	p, epochs, err := c.webEpochs(c.anew(ctx), t.Domain, t.Member)
	if err != nil {
		return firstFactor{}, err
	}
	link, err := c.phoneLink(ctx, t.Domain, t.Member)
	if err != nil {
		return firstFactor{}, err
	}
	if p.Member == nil || p.Member.Status != member.Active || link == nil || c.print("linked number", link.Number) != t.Print {
		return firstFactor{}, c.refusedCode(ctx, client, t, deny(TicketInvalid, ""))
	}
	if m, err := c.comer(ctx, t.Domain, t.Member, policy.WayPhone); err != nil || m == nil {
		return firstFactor{}, c.refusedCode(ctx, client, t, cmp.Or(err, deny(WayDenied, "")))
	}
	return firstFactor{factor: signin.Phone, credential: policy.WayPhone, domain: t.Domain, member: t.Member, epochs: epochs, state: password.Good,
		borrowed: sent == string(byInbox)}, nil
}

// phoneLink answers a member's link if the number is his: the claim decides.
func (c *Core) phoneLink(ctx context.Context, d member.DomainID, id member.ID) (*member.PhoneLink, error) {
	l, _, err := readDirect[member.PhoneLink](ctx, c, member.PhoneLinkKey(d, id))
	if err != nil || l == nil {
		return nil, err
	}
	held, err := c.claims.Look(ctx, member.ClaimPhone, l.Number)
	if err != nil || held == nil || held.Domain != d || held.Member != id {
		return nil, err
	}
	return l, nil
}
