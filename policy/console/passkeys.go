package console

import (
	"encoding/json"

	"latchkey/authcore"
	"latchkey/authcore/quick"
	"latchkey/policy"
)

// passkeysPage lists the passkeys, and while one is made asks the browser for it: that alone needs a script.
type passkeysPage struct {
	Approved bool
	Passkeys []quick.Named
	Name     string // of the one that is made
	Ticket   string // of making it, once; empty: none is made
	Options  json.RawMessage
}

func (p *page) passkeys() error { return p.passkeysAfter(nil, passkeysPage{}) }

func (p *page) passkeysAfter(err error, shown passkeysPage) error {
	l, failed := p.core.Passkeys(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	approved, failed := p.approved(policy.WayPasskey)
	if failed != nil {
		return failed
	}
	shown.Approved, shown.Passkeys = approved, l
	return p.after(err, "passkeys.html", shown)
}

// passkeyBegin takes the name first: once the browser has made the passkey there is no way back.
func (p *page) passkeyBegin() error {
	shown := passkeysPage{Name: p.form("name")}
	if _, mistakes := quick.TakeName(shown.Name); len(mistakes) > 0 {
		return p.passkeysAfter(&authcore.Denial{Reason: authcore.Invalid, Mistakes: mistakes}, shown)
	}
	begun, err := p.core.BeginPasskey(p.ctx, p.actor)
	if err != nil {
		return p.passkeysAfter(err, shown)
	}
	shown.Ticket, shown.Options = begun.Ticket.Reveal(), begun.Options
	return p.passkeysAfter(nil, shown)
}

func (p *page) passkeyFinish() error {
	_, err := p.core.FinishPasskey(p.ctx, p.actor, p.secret("ticket"), p.form("name"), []byte(p.r.PostFormValue("credential")))
	if err != nil {
		return p.passkeysAfter(notMade(err), passkeysPage{Name: p.form("name")})
	}
	return p.redirect("/security/passkeys", "passkey_created")
}

// notMade says what to do about a passkey that came too late or cannot be believed.
func notMade(err error) error {
	if denied(err, authcore.TicketInvalid) || denied(err, authcore.Invalid) {
		return &authcore.Denial{Reason: authcore.TicketInvalid, Detail: en("No passkey was made, or it took longer than two minutes: try again.")}
	}
	return err
}

func (p *page) passkeyDelete() error {
	if err := p.core.DeletePasskey(p.ctx, p.actor, p.form("id")); err != nil {
		return p.passkeysAfter(err, passkeysPage{})
	}
	return p.redirect("/security/passkeys", "passkey_deleted")
}
