package console

import (
	"net/http"
	"net/url"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

// "Login with phone number": a member connects a number by the verification number that is sent to it. In between the
// browser keeps the ticket, with the number as it was typed, where no script reads it.

const phoneLinkCookie = "__Host-latchkey-number"

// phonePage shows the connected number to its owner, masked.
type phonePage struct {
	authcore.PhoneLink
	Approved bool
	Number   string // as it was typed
}

func (p *page) phoneLink() error { return p.phoneLinkAfter(nil) }

func (p *page) phoneLinkAfter(err error) error {
	l, failed := p.core.MyPhoneLink(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	approved, failed := p.approved(policy.WayPhone)
	if failed != nil {
		return failed
	}
	return p.after(err, "phone-link.html", phonePage{PhoneLink: l, Approved: approved, Number: p.form("number")})
}

// phoneLinkSend sends a verification number: to the number that was typed, or once more to the one before.
func (p *page) phoneLinkSend() error {
	number := p.form("number")
	shown := p.phoneLinkAfter
	if _, before, ok := p.phoneLinkBegun(); ok && number == "" {
		number, shown = before, p.phoneLinkCodeAfter
	}
	asked, err := p.core.LinkPhone(p.ctx, p.actor, number)
	if err != nil {
		return shown(ofCodes(err))
	}
	p.keep(phoneLinkCookie, url.QueryEscape(number)+"~"+asked.Ticket.Reveal(), authcore.TicketFor, http.SameSiteStrictMode)
	return p.redirect("/security/phone/number", "number_sent")
}

// phoneLinkBegun answers what the browser keeps of a number that is being connected.
func (p *page) phoneLinkBegun() (ticket secret.String, number string, ok bool) {
	c, err := p.r.Cookie(phoneLinkCookie)
	if err != nil {
		return ticket, "", false
	}
	typed, tk, ok := strings.Cut(c.Value, "~")
	number, err = url.QueryUnescape(typed)
	return secret.New(tk), number, ok && err == nil
}

func (p *page) phoneLinkCode() error { return p.phoneLinkCodeAfter(nil) }

func (p *page) phoneLinkCodeAfter(err error) error {
	_, number, ok := p.phoneLinkBegun()
	if !ok {
		return p.redirect("/security/phone", "phone_again")
	}
	return p.after(err, "phone-link-code.html", lastTwo(number))
}

// lastTwo are the digits by which people know which number is meant.
func lastTwo(number string) string {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, number)
	return digits[max(0, len(digits)-2):]
}

func (p *page) phoneLinkConnect() error {
	ticket, _, ok := p.phoneLinkBegun()
	if !ok {
		return p.redirect("/security/phone", "phone_again")
	}
	_, err := p.core.ConfirmPhoneLink(p.ctx, p.actor, ticket, p.secret("code"))
	if denied(err, authcore.ReauthenticationRequired) || denied(err, authcore.BadCode) || denied(err, authcore.DenialReason(authcore.Throttled)) {
		return p.phoneLinkCodeAfter(ofCodes(err)) // the ticket is still good
	}
	p.forget(phoneLinkCookie)
	switch {
	case denied(err, authcore.TicketInvalid):
		return p.redirect("/security/phone", "phone_again")
	case denied(err, authcore.AlreadyLinked):
		return p.phoneLinkAfter(&authcore.Denial{Reason: authcore.AlreadyLinked, Detail: en("This phone number is connected to another account.")})
	case err != nil:
		return p.phoneLinkAfter(err)
	}
	return p.redirect("/security/phone", "phone_connected")
}

func (p *page) phoneLinkDisconnect() error {
	if err := p.core.UnlinkPhone(p.ctx, p.actor); err != nil {
		return p.phoneLinkAfter(err)
	}
	return p.redirect("/security/phone", "phone_disconnected")
}
