package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Codes for somebody who proved nothing yet: who signs in by phone, or forgot his password. Whether what he typed is
// somebody's shows nowhere. Who may not have a code, or is nobody, is a shadow, which takes the same steps and makes the
// same writes; the limits that the answer tells of look at the source and at what was typed alone (lockout.Asks), and the
// others (the member's day, the number, the country, the installation) end in a code that is not sent.

// Asked is what somebody gets who asked for a code, whether one was sent or not.
type Asked struct {
	Ticket    secret.String
	ExpiresAt time.Time // of the ticket, to the second: the same bytes for everybody

	Rules policy.Password // of a right code: what the new password is checked against
}

// asked is what the ticket stands for. It is good until it is taken, for as many tries as the code has.
type asked struct {
	Purpose otp.Purpose     `json:"purpose"`
	Domain  member.DomainID `json:"domain"` // noDomain: a shadow
	Member  member.ID       `json:"member"`
	Address string          `json:"address,omitempty"` // of the member: the later steps read no record to refuse
	Lang    string          `json:"language,omitempty"`
	Bound   string          `json:"bound"`             // to the browser or device that began
	Session session.ID      `json:"session,omitempty"` // of who is signed in: linking, re-authentication
	Number  string          `json:"number,omitempty"`  // that is being linked
	Print   string          `json:"print,omitempty"`   // of the number that was linked when a sign-in began
	Contact member.Contact  `json:"contact,omitzero"`  // where the code of a forgotten password went
	Epochs  member.Epochs   `json:"epochs,omitzero"`   // once the code was right: what ends sessions ends this too
}

// forPassword is the purpose of a ticket whose code was right: a new password may be set. No code is sent for it.
const forPassword otp.Purpose = "password_set"

func askedKey(tk secret.String) store.Key {
	return store.Key{Partition: "asked", Name: session.Hash(tk)}
}

// keepAsked makes a ticket. Its token names no domain: that would tell where the member is.
func (c *Core) keepAsked(ctx context.Context, t asked) (Asked, error) {
	tk := session.NewToken(member.NewDomainID())
	p, err := json.Marshal(t)
	if err == nil {
		err = c.o.Ephemeral.Put(ctx, askedKey(tk), p, TicketFor)
	}
	if err != nil {
		return Asked{}, broken("keep ticket", err)
	}
	return Asked{Ticket: tk, ExpiresAt: c.now().UTC().Add(TicketFor).Truncate(time.Second)}, nil
}

// askedBy answers what the ticket of this client stands for; TicketInvalid when it is for something else.
func (c *Core) askedBy(ctx context.Context, client Client, tk secret.String, p otp.Purpose, s session.ID) (asked, error) {
	over := deny(TicketInvalid, "")
	b, err := c.o.Ephemeral.Get(ctx, askedKey(tk))
	if errors.Is(err, store.ErrNotFound) {
		return asked{}, over
	}
	if err != nil {
		return asked{}, broken("read ticket", err)
	}
	var t asked
	if json.Unmarshal(b, &t) != nil || t.Purpose != p || t.Session != s || t.Bound != c.bound(client) {
		return asked{}, over
	}
	return t, nil
}

// takeAsked ends a ticket: of many who come with it one goes on.
func (c *Core) takeAsked(ctx context.Context, tk secret.String) error {
	_, err := c.o.Ephemeral.Take(ctx, askedKey(tk))
	if errors.Is(err, store.ErrNotFound) {
		return deny(TicketInvalid, "")
	}
	if err != nil {
		return broken("take ticket", err)
	}
	return nil
}

// mayAsk refuses who asks too often; print is of what was typed.
func (c *Core) mayAsk(ctx context.Context, client Client, p otp.Purpose, print string) error {
	wait, err := c.asks.May(ctx, lockout.Source(client.Addr), string(p), print)
	if err != nil {
		return err
	}
	if wait > 0 {
		return denyReason(Throttled, wait)
	}
	return nil
}

// sendable refuses a channel that the installation does not have.
func (c *Core) sendable(by notify.Channel, field string) error {
	if c.canSend(by) {
		return nil
	}
	return invalid(policy.Mistake{Field: field, Reason: "cannot be used: nothing is sent this way from here"})
}

// askQuietly sends a code for a ticket, and tells nobody when it was not sent for a limit.
func (c *Core) askQuietly(ctx context.Context, a codeAsk) error {
	_, err := c.askCode(ctx, a)
	var d *Denial
	if errors.As(err, &d) {
		c.log.Info("a code was not sent for a limit", "purpose", a.ticket.Purpose)
		return nil
	}
	return err
}

// tryQuietly spends a code: every refusal is BadCode, for the day of wrong ones is the member's, over all that he does.
func (c *Core) tryQuietly(ctx context.Context, t asked, tk, typed secret.String, then afterwards) error {
	err := c.tryCodeThen(ctx, ticketFor(t.Purpose, tk), t.Domain, t.Member, typed, then)
	var d *Denial
	if errors.As(err, &d) || err == nil && t.Domain == noDomain { // a shadow's code is guessed once in a million
		return deny(BadCode, "")
	}
	return err
}

func ticketFor(p otp.Purpose, tk secret.String) otp.Ticket {
	return otp.Ticket{Purpose: p, ID: session.Hash(tk)}
}

// refusedCode records that a code was refused, and answers why. Repeats are merged: those of a member in an hour, those of
// shadows by source and minute.
func (c *Core) refusedCode(ctx context.Context, client Client, t asked, why error) error {
	var d *Denial
	if !errors.As(why, &d) {
		return why
	}
	e := audit.Entry{Time: c.now(), Action: audit.SignIn, Reason: string(d.Reason), Detail: string(t.Purpose), Door: WebDoor, From: client.From(),
		Agent: client.Agent}
	partition, key, every := member.Root, []string{lockout.Source(client.Addr), e.Detail, e.Reason}, time.Minute
	if t.Address != "" {
		e.Target, e.MemberID = t.Address, string(t.Member)
		partition, key, every = member.Partition(t.Domain), append(key, string(t.Member)), time.Hour
	}
	if err := c.merge(ctx, partition, e, c.print("audit", key...), every); err != nil {
		return broken("record a refusal", err)
	}
	return why
}

// stub is somebody who seems to be a member: it takes the steps that cost.
func stub(id member.ID) *member.Member { return &member.Member{ID: id} }
