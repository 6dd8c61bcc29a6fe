package console

import (
	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

// A new account password that a sign-in asks for: the one that was typed is temporary or has expired, or an administrator
// asks for another one.

func (s *server) newPasswordRoutes() {
	s.open("GET /sign-in/password", onWay(atPassword, (*page).newPassword))
	s.open("POST /sign-in/password", onWay(atPassword, (*page).newPasswordSent))
}

// newPasswordPage is the form of a new password, in a sign-in or after it was forgotten.
type newPasswordPage struct {
	Address string // for password managers
	Rules   []shownRule
}

func (p *page) newPasswordPage(w way) newPasswordPage {
	rules := policy.Default().Password
	if w.Rules != nil {
		rules = *w.Rules
	}
	return newPasswordPage{Address: w.Address, Rules: p.rulesOf(rules)}
}

func (p *page) newPassword(w way) error { return p.show("newpassword.html", p.newPasswordPage(w)) }

func (p *page) newPasswordSent(w way) error {
	typed, err := p.typedTwice(w)
	if err != nil {
		return p.refused(w, "newpassword.html", p.newPasswordPage(w), err)
	}
	r, err := p.core.SignInPassword(p.ctx, p.client, w.ticket(), typed)
	if err != nil {
		return p.refused(w, "newpassword.html", p.newPasswordPage(w), err)
	}
	return p.goOn(w, r)
}

// typedTwice is the new password. Where the two fields differ it is not set, and the rules are told all the same.
func (p *page) typedTwice(w way) (secret.String, error) {
	typed := p.secret("new_password")
	if typed.Equal(p.secret("again")) {
		return typed, nil
	}
	d := &authcore.Denial{Reason: authcore.Invalid, Mistakes: []policy.Mistake{{Field: "again", Reason: en("The two passwords differ.")}}}
	if w.Rules != nil {
		for _, r := range w.Rules.Check(typed.Reveal(), w.Address) {
			d.Mistakes = append(d.Mistakes, policy.Mistake{Field: "new_password", Reason: string(r)})
		}
	}
	return secret.String{}, d
}
