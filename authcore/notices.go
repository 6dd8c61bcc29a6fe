package authcore

import (
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// What members are told goes into the batch of what it tells of: it is never lost, and never told of what did not happen.

// notice tells a member, in his language.
func (c *Core) notice(m *member.Member, e notify.Event) []store.Op {
	return []store.Op{notify.Op(m.ID, e.Message(m.Language))}
}

// codeFor is how long a one-time code is good, and so worth sending.
const codeFor = 5 * time.Minute

// sendCode puts a one-time code into the outbox. to empty: nobody gets it, and it costs the same.
func (c *Core) sendCode(d member.DomainID, by notify.Channel, to, language string, code secret.String) store.Op {
	now := c.now()
	m := notify.Event{Kind: notify.CodeSent, At: now, Code: code.Reveal()}.Message(language)
	return notify.SendOp(c.o.Keys, d, notify.Outgoing{Time: now, Kind: m.Kind, Channel: by, To: to, Subject: m.Subject, Text: m.Text}, now.Add(codeFor))
}

// canSend says whether the installation has a way out through a channel.
func (c *Core) canSend(by notify.Channel) bool { return c.o.Senders[by] != nil }
