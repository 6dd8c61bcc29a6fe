package authcore

import (
	"context"
	"errors"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// One-time codes, for every step that asks for one. askCode sends a code for a ticket, tryCode spends it; guess is what
// stands around every comparison of something short, so that a member has otp.WrongADay wrong ones a day however he, or
// somebody else, tries. A name or number that nobody has goes the same way under a shadow (codeShadow): the same limits,
// reads and writes, and the same answers.

// codeAsk is who asks for a code and where it goes.
type codeAsk struct {
	ticket   otp.Ticket      // what the code is for and belongs to: ID is session.Hash of the ticket's token, or as unguessable
	domain   member.DomainID // of the member; of a shadow any that exists, or noDomain
	member   member.ID       // or codeShadow of what was typed
	address  string          // of the member, for the audit; empty: a shadow
	client   Client
	channel  notify.Channel
	to       string // e-mail address or number (E.164); empty: nobody gets it
	language string
	note     string // handed to the last step of tryCodeThen
	// deliver writes the code elsewhere than out of the house, to the member's inbox say; nil: to the outbox.
	deliver func(code secret.String) []store.Op
}

// codesFor is how long a step that compares may take once it was counted: it runs without the client's cancellation, so
// that hanging up gains nothing.
const codesFor = settleFor

// askCode makes a code for the ticket, which voids the ticket's old one, and puts it into the outbox in one batch with the
// day's count and the audit. It answers until when the code is good. Over a limit (a resend within a minute, too many a
// day for the member, too many an hour for the source, the address, the country or the installation) it is denied as
// Throttled with RetryAfter, and the old code stays good.
func (c *Core) askCode(ctx context.Context, a codeAsk) (until time.Time, err error) {
	taken, wait, err := c.codeThrottle.Go(ctx, c.going(a))
	if err != nil {
		return time.Time{}, broken("throttle codes", err)
	}
	if wait > 0 {
		return time.Time{}, denyReason(Throttled, wait)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), codesFor)
	defer cancel()
	until, err = c.sendOne(ctx, a)
	var denied *Denial
	if errors.As(err, &denied) { // nothing left the house
		if err := taken.Back(ctx); err != nil {
			return time.Time{}, broken("throttle codes", err)
		}
	}
	return until, err
}

func (c *Core) going(a codeAsk) otp.Going {
	g := otp.Going{Ticket: a.ticket, Source: lockout.Source(a.client.Addr), Channel: string(a.channel), Country: otp.NoCountry}
	if a.to == "" {
		g.To = c.print("code to nobody", string(a.channel), string(a.domain), string(a.member))
	} else {
		g.To = c.print("code to", string(a.channel), a.to)
	}
	if a.channel == notify.BySMS {
		if g.Country = member.Country(a.to); g.Country == "" {
			g.Country = g.To
		}
	}
	return g
}

// sendOne counts a code on the member's day and writes what sends it.
func (c *Core) sendOne(ctx context.Context, a codeAsk) (time.Time, error) {
	var code secret.String
	for range changeTries {
		day, rev, err := readDirect[otp.Day](ctx, c, otp.DayKey(a.domain, a.member))
		if err != nil {
			return time.Time{}, broken("read the day's codes", err)
		}
		now := c.now()
		next, wait := day.Send(now)
		if wait > 0 {
			return time.Time{}, c.unsent(ctx, a, code, denyReason(Throttled, wait))
		}
		if code.Empty() {
			if code, err = c.codes.Issue(ctx, a.ticket, a.note); err != nil {
				return time.Time{}, err
			}
		}
		ops := append(c.delivery(a, code), next.Op(a.domain, a.member, rev, now), c.recordCode(a))
		err = c.apply(ctx, a.domain, ops...)
		if err == nil {
			return now.Add(otp.For), nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return time.Time{}, c.unsent(ctx, a, code, broken("send code", err))
		}
	}
	return time.Time{}, c.unsent(ctx, a, code, denyReason(Throttled, retryBroken))
}

// unsent voids a code that did not leave, and answers why. One that could not be voided is known to nobody.
func (c *Core) unsent(ctx context.Context, a codeAsk, code secret.String, why error) error {
	if code.Empty() {
		return why
	}
	if err := c.codes.Drop(ctx, a.ticket); err != nil {
		c.log.Warn("void a code that was not sent", "error", err)
	}
	return why
}

func (c *Core) delivery(a codeAsk, code secret.String) []store.Op {
	if a.deliver != nil {
		return a.deliver(code)
	}
	return []store.Op{c.sendCode(a.domain, a.channel, a.to, a.language, code)}
}

// recordCode is the entry of a code. That of a code to nobody is written for its cost alone and gone with the day: whoever
// asks for codes fills no store.
func (c *Core) recordCode(a codeAsk) store.Op {
	op := audit.Op(c.codeEntry(a))
	if a.address == "" {
		op.ExpiresAt = c.now().Add(otp.ADay)
	}
	return op
}

func (c *Core) codeEntry(a codeAsk) audit.Entry {
	e := audit.Entry{Time: c.now(), Action: audit.CodeSend, Actor: a.address, Target: a.address, Door: WebDoor, From: a.client.From(),
		Agent: a.client.Agent, Detail: string(a.ticket.Purpose)}
	if a.address != "" {
		e.MemberID = string(a.member)
	}
	return e
}

// tryCode spends the ticket's code: nil when it was right, and then it is right this once. It is denied as BadCode when it
// is wrong, used, too old or was tried too often, and as Throttled when the member has no wrong one left today. What the
// member does by it, and the audit of a refusal, are the caller's.
func (c *Core) tryCode(ctx context.Context, t otp.Ticket, d member.DomainID, id member.ID, typed secret.String) error {
	return c.tryCodeThen(ctx, t, d, id, typed, nil)
}

// tryCodeThen is tryCode with steps that are written in the batch of a right code; then is called anew when they conflict.
func (c *Core) tryCodeThen(ctx context.Context, t otp.Ticket, d member.DomainID, id member.ID, typed secret.String, then afterwards) error {
	return c.guess(ctx, d, id, c.spending(t, typed, then))
}

// afterwards gives the steps that a right code leads to; note is what its codeAsk said.
type afterwards func(ctx context.Context, note string) ([]store.Op, error)

// comparison says whether something short that somebody typed is right, and gives the steps that spend it. It is called
// anew when their batch conflicts.
type comparison func(ctx context.Context) (right bool, ops []store.Op, err error)

// spending compares with the code that was sent. It is spent at once, outside the records: the second call answers the same.
func (c *Core) spending(t otp.Ticket, typed secret.String, then afterwards) comparison {
	var done, right bool
	var note string
	return func(ctx context.Context) (_ bool, ops []store.Op, err error) {
		if !done {
			note, right, err = c.codes.Spend(ctx, t, typed)
			done = err == nil
		}
		if right && then != nil {
			ops, err = then(ctx, note)
		}
		return right, ops, err
	}
}

// guess counts a wrong try on the member's day, compares, and takes the count back in the batch that spends what was
// right. A crash in between costs one count. nil: right; else denied as BadCode or Throttled.
func (c *Core) guess(ctx context.Context, d member.DomainID, id member.ID, compare comparison) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), codesFor)
	defer cancel()
	mark, err := c.countGuess(ctx, d, id)
	if err != nil {
		return err
	}
	for range changeTries {
		right, ops, err := compare(ctx)
		var denied *Denial
		if errors.As(err, &denied) {
			return err
		}
		if err != nil {
			return broken("compare code", err)
		}
		if !right {
			return deny(BadCode, "")
		}
		day, rev, err := readDirect[otp.Day](ctx, c, otp.DayKey(d, id))
		if err != nil {
			return broken("read the day's codes", err)
		}
		now := c.now()
		err = c.apply(ctx, d, append(ops, day.Right(mark, now).Op(d, id, rev, now))...)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return denyReason(Throttled, retryBroken)
}

// countGuess counts a try as wrong before it is compared.
func (c *Core) countGuess(ctx context.Context, d member.DomainID, id member.ID) (mark string, err error) {
	for range changeTries {
		day, rev, err := readDirect[otp.Day](ctx, c, otp.DayKey(d, id))
		if err != nil {
			return "", broken("read the day's codes", err)
		}
		now := c.now()
		next, mark, wait := day.Try(now)
		if wait > 0 {
			return "", denyReason(Throttled, wait)
		}
		err = c.apply(ctx, d, next.Op(d, id, rev, now))
		if err == nil {
			return mark, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return "", broken("count a try", err)
		}
	}
	return "", denyReason(Throttled, retryBroken)
}

// noDomain is where the codes of a name or number are counted that belongs to no domain.
const noDomain member.DomainID = "none"

// codeShadow stands in for a name or number that nobody has, in askCode and tryCode. Each has one of its own, for its limit
// must be reached by asking for it alone; its record is gone a day after the last code, and the limits on codes of an hour
// bound how many there are.
func (c *Core) codeShadow(typed string) member.ID {
	return member.ID("shadow-" + c.print("code shadow", typed))
}
