package authcore

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// What members are told goes into the batch of what it tells of: it is never lost, and never told of what did not happen.
// Who gets what stands in package notify.

// maxMailed bounds the personal addresses that one message goes to: a batch has a bound.
const maxMailed = 2

// notice tells a member, in his language.
func (c *Core) notice(m *member.Member, e notify.Event) []store.Op {
	if e.Address == "" {
		e.Address = m.Address()
	}
	if e.Kind == notify.SignInCode {
		return []store.Op{notify.CodeOp(c.o.Keys, m.ID, e.Message(m.Language))}
	}
	ops := c.quietly(m, e)
	if e.Kind.ToAdministrators() {
		return ops // toAdministrators tells the webhooks once
	}
	_, domain, _ := strings.Cut(m.Address(), "@")
	return append(ops, c.hook(domain, m.ID, e)...)
}

// quietly tells a member and no webhook.
func (c *Core) quietly(m *member.Member, e notify.Event) []store.Op {
	if e.Address == "" {
		e.Address = m.Address()
	}
	ops := []store.Op{notify.Op(m.ID, e.Message(m.Language))}
	for _, to := range mailedTo(m, e.Kind) {
		ops = append(ops, c.noticeTo(notify.ByEmail, to, m.Language, e)...)
	}
	return ops
}

// mailedTo answers where a message of the kind goes by e-mail.
func mailedTo(m *member.Member, k notify.Kind) []string {
	l := []string{m.Address()}
	if !k.Security() {
		return l
	}
	for _, to := range m.Contacts {
		if to.Kind == member.Email && to.Verified && !slices.Contains(m.Addresses, to.Value) && len(l) <= maxMailed {
			l = append(l, to.Value)
		}
	}
	return l
}

// noticeTo tells an address outside, like the contact that was replaced. Where there is no way out it tells nobody.
func (c *Core) noticeTo(by notify.Channel, to, language string, e notify.Event) []store.Op {
	if to == "" || !c.canSend(by) {
		return nil
	}
	m := e.Message(language)
	if by == notify.BySMS {
		m.Text, _, _ = strings.Cut(m.Text, "\n\n") // a text message says what happened; there is no room for more
	}
	o := notify.Outgoing{Time: e.At, Kind: m.Kind, Channel: by, To: to, Subject: m.Subject, Text: m.Text}
	return []store.Op{notify.SendOp(c.o.Keys, o, e.At.Add(notify.SendFor))}
}

// hooked is what a webhook gets. Its form is that of the Standard Webhooks specification.
type hooked struct {
	Type      string     `json:"type"`
	Timestamp time.Time  `json:"timestamp"`
	Data      hookedData `json:"data"`
}

type hookedData struct {
	Domain   string `json:"domain"`
	Member   string `json:"member,omitempty"` // address
	MemberID string `json:"member_id,omitempty"`
	From     string `json:"from,omitempty"`
	Name     string `json:"name,omitempty"`
	Door     string `json:"door,omitempty"`
}

// hook tells the webhooks that want it of what happened in a domain; id is empty where it concerns no single member.
func (c *Core) hook(domain string, id member.ID, e notify.Event) (ops []store.Op) {
	for _, h := range c.o.Webhooks {
		if e.Kind.Secret() || !h.Wants(domain, e.Kind) {
			continue
		}
		p, err := json.Marshal(hooked{Type: string(e.Kind), Timestamp: e.At.UTC(),
			Data: hookedData{Domain: domain, Member: e.Address, MemberID: string(id), From: e.From, Name: e.Name, Door: e.Door}})
		if err != nil {
			panic("authcore: an event cannot be JSON: " + err.Error()) // strings and times only
		}
		o := notify.Outgoing{Time: e.At, Kind: e.Kind, Channel: notify.ByWebhook(h.Name), To: h.Name, Text: string(p)}
		ops = append(ops, notify.SendOp(c.o.Keys, o, e.At.Add(notify.SendFor)))
	}
	return ops
}

// codeFor is how long a one-time code is good, and so worth sending.
const codeFor = notify.CodeFor

// sendCode puts a one-time code into the outbox. to empty: nobody gets it, and it costs the same.
func (c *Core) sendCode(_ member.DomainID, by notify.Channel, to, language string, code secret.String) store.Op {
	now := c.now()
	m := notify.Event{Kind: notify.CodeSent, At: now, Code: code.Reveal()}.Message(language)
	return notify.SendOp(c.o.Keys, notify.Outgoing{Time: now, Kind: m.Kind, Channel: by, To: to, Subject: m.Subject, Text: m.Text}, now.Add(codeFor))
}

// canSend says whether the installation has a way out through a channel.
func (c *Core) canSend(by notify.Channel) bool { return c.o.Senders[by] != nil }
