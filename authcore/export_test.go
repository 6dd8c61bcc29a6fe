package authcore

import (
	"context"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
)

// What the tests of this package reach and nobody else may.

// CodeAsk is codeAsk by e-mail.
type CodeAsk struct {
	Ticket  otp.Ticket
	Domain  member.DomainID
	Member  member.ID
	Address string
	Client  Client
	Channel notify.Channel // empty: e-mail
	To      string
}

// AskCode is askCode.
func (c *Core) AskCode(ctx context.Context, a CodeAsk) (time.Time, error) {
	if a.Channel == "" {
		a.Channel = notify.ByEmail
	}
	return c.askCode(ctx, codeAsk{ticket: a.Ticket, domain: a.Domain, member: a.Member, address: a.Address, client: a.Client, channel: a.Channel, to: a.To})
}

// TryCode is tryCode.
func (c *Core) TryCode(ctx context.Context, t otp.Ticket, d member.DomainID, id member.ID, typed secret.String) error {
	return c.tryCode(ctx, t, d, id, typed)
}

// CodeShadow is codeShadow.
func (c *Core) CodeShadow(typed string) member.ID { return c.codeShadow(typed) }

// ProvedBy is what follows a first factor that proved the member just now.
func (c *Core) ProvedBy(ctx context.Context, client Client, f signin.Factor, d member.DomainID, id member.ID) (SignInResult, error) {
	_, epochs, err := c.webEpochs(ctx, d, id)
	if err != nil {
		return SignInResult{}, err
	}
	return c.proved(ctx, client, firstFactor{factor: f, domain: d, member: id, epochs: epochs})
}

// SendSecondStep is sendSecondStep with every method offered.
func (c *Core) SendSecondStep(ctx context.Context, client Client, ticket string, d member.DomainID, m *member.Member, contact string) error {
	_, err := c.sendSecondStep(ctx, client, ticket, d, m, contact, []signin.Method{signin.ByEmail, signin.ByMobile})
	return err
}

// TrySecondStep is trySecondStep.
func (c *Core) TrySecondStep(ctx context.Context, client Client, ticket string, d member.DomainID, id member.ID, method signin.Method, typed secret.String) error {
	return c.trySecondStep(ctx, secondTry{client: client, ticket: ticket, domain: d, member: id, method: method, typed: typed})
}

// MembersOf answers the addresses of membersOf.
func (c *Core) MembersOf(ctx context.Context, k member.Contact) (l []string, err error) {
	found, err := c.membersOf(ctx, k)
	for _, f := range found {
		l = append(l, f.member.Address())
	}
	return l, err
}

// HoldSlot takes a hash slot until free is called.
func (c *Core) HoldSlot(ctx context.Context) (free func()) {
	slot, err := c.hasher.Acquire(ctx)
	if err != nil {
		panic(err)
	}
	return slot.Release
}

// OnTheirWay is how many sessions are between their decision and their client's OK.
func (c *Core) OnTheirWay() int {
	c.allows.mu.Lock()
	defer c.allows.mu.Unlock()
	return len(c.allows.of)
}
