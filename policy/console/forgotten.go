package console

import (
	"latchkey/authcore/member"
)

// A forgotten password, and a forgotten address. The pages answer the same whether what is typed is somebody's.

func (s *server) forgottenRoutes() {
	s.open("GET /forgotten-password", (*page).forgotten)
	s.open("POST /forgotten-password", (*page).forgottenSent)
	s.open("GET /forgotten-password/code", onWay(atForgotten, (*page).forgottenCode))
	s.open("POST /forgotten-password/code", onWay(atForgotten, (*page).forgottenCodeSent))
	s.open("GET /forgotten-password/new", onWay(atForgottenNew, (*page).forgottenNew))
	s.open("POST /forgotten-password/new", onWay(atForgottenNew, (*page).forgottenNewSent))
	s.open("GET /forgotten-address", (*page).forgottenAddress)
	s.open("POST /forgotten-address", (*page).forgottenAddressSent)
}

// forgottenPage asks who it is and where the code goes.
type forgottenPage struct{ Address, Channel string }

func (p *page) forgotten() error {
	return p.show("forgotten.html", forgottenPage{Channel: member.Email})
}

func (p *page) forgottenSent() error {
	v := forgottenPage{Address: p.form("address"), Channel: p.form("channel")}
	asked, err := p.core.ForgotPassword(p.ctx, p.client, v.Address, v.Channel)
	if err != nil {
		return p.refused(way{At: atForgotten}, "forgotten.html", v, err)
	}
	w := way{At: atForgotten, Ticket: asked.Ticket.Reveal(), Address: v.Address}
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.redirect(atForgotten.path(), "")
}

func (p *page) forgottenCode(w way) error { return p.show("forgottencode.html", w) }

func (p *page) forgottenCodeSent(w way) error {
	asked, err := p.core.ForgotPasswordCode(p.ctx, p.client, w.ticket(), p.secret("code"))
	if err != nil {
		return p.refused(w, "forgottencode.html", w, err)
	}
	n := way{At: atForgottenNew, Ticket: asked.Ticket.Reveal(), Address: w.Address, Rules: &asked.Rules}
	if err := p.keepWay(n); err != nil {
		return err
	}
	return p.redirect(atForgottenNew.path(), "")
}

func (p *page) forgottenNew(w way) error {
	return p.show("forgottennew.html", p.newPasswordPage(w))
}

func (p *page) forgottenNewSent(w way) error {
	typed, err := p.typedTwice(w)
	if err == nil {
		err = p.core.SetForgottenPassword(p.ctx, p.client, w.ticket(), typed, p.form("delete_apps") != "")
	}
	if err != nil {
		return p.refused(w, "forgottennew.html", p.newPasswordPage(w), err)
	}
	p.forget(signInCookie)
	return p.redirect("/sign-in", "password_set")
}

// forgottenAddressPage asks for a contact.
type forgottenAddressPage struct{ Contact string }

func (p *page) forgottenAddress() error {
	return p.show("forgottenaddress.html", forgottenAddressPage{})
}

func (p *page) forgottenAddressSent() error {
	v := forgottenAddressPage{Contact: p.form("contact")}
	if err := p.core.ForgotAddress(p.ctx, p.client, v.Contact); err != nil {
		return p.refused(way{}, "forgottenaddress.html", v, err)
	}
	return p.redirect("/sign-in", "addresses_sent")
}
