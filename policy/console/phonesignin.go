package console

import (
	"latchkey/authcore"
)

// Signing in with a phone number: a code to it is the whole first factor. The pages are the same whoever has the number.

func (s *server) phoneRoutes() {
	s.open("GET /sign-in/phone", (*page).phone)
	s.open("POST /sign-in/phone", (*page).phoneSent)
	s.open("GET /sign-in/phone/code", onWay(atPhone, (*page).phoneCode))
	s.open("POST /sign-in/phone/code", onWay(atPhone, (*page).phoneCodeSent))
	s.open("POST /sign-in/phone/message", onWay(atPhone, (*page).phoneMessage))
}

// numberPage asks for a number.
type numberPage struct{ Number, Next string }

func (p *page) phone() error {
	return p.show("phone.html", numberPage{Next: next(p.r.URL.Query().Get("next"))})
}

func (p *page) phoneSent() error {
	v := numberPage{Number: p.form("number"), Next: next(p.form("next"))}
	asked, err := p.core.SignInPhone(p.ctx, p.client, v.Number)
	if err != nil {
		return p.refused(way{Next: v.Next}, "phone.html", v, err)
	}
	return p.phoneAsked(way{At: atPhone, Next: v.Next}, asked)
}

// phoneAsked goes on to the code.
func (p *page) phoneAsked(w way, asked authcore.Asked) error {
	w.Ticket = asked.Ticket.Reveal()
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.redirect(atPhone.path(), "")
}

func (p *page) phoneCode(w way) error { return p.show("phonecode.html", w) }

// phoneMessage sends a new code into the inbox.
func (p *page) phoneMessage(w way) error {
	if err := p.core.SignInPhoneMessage(p.ctx, p.client, w.ticket()); err != nil {
		return p.refused(w, "phonecode.html", w, err)
	}
	return p.redirect(atPhone.path(), "code_in_inbox")
}

func (p *page) phoneCodeSent(w way) error {
	r, err := p.phoneProved(w)
	if err != nil {
		return p.refused(w, "phonecode.html", w, err)
	}
	return p.goOn(w, r)
}

func (p *page) phoneProved(w way) (authcore.SignInResult, error) {
	if !w.Again {
		return p.core.SignInPhoneCode(p.ctx, p.begins(), w.ticket(), p.secret("code"))
	}
	if err := p.identify(); err != nil {
		return authcore.SignInResult{}, err
	}
	return p.core.ReauthenticatePhoneCode(p.ctx, p.actor, w.ticket(), p.secret("code"))
}
