package console

import (
	"net/http"

	"latchkey/authcore"
)

func (s *server) passwordRoutes() {
	s.signedIn("GET /security/password", (*page).password)
	s.signedIn("POST /security/password", (*page).passwordChanged)
}

// passwordPage is the form of a new account password.
type passwordPage struct {
	Address  string // for password managers
	Standing authcore.AccountPassword
	Rules    []shownRule
	Apps     int
	Delete   bool // all app passwords too, as it was ticked
}

func (p *page) passwordForm() (passwordPage, error) {
	standing, err := p.core.MyAccountPassword(p.ctx, p.actor)
	return passwordPage{Address: p.actor.Address, Standing: standing, Rules: p.rulesOf(p.me.Policy.Password), Apps: p.me.AppPasswords, Delete: p.form("delete_apps") == "on"}, err
}

func (p *page) password() error {
	v, err := p.passwordForm()
	if err != nil {
		return err
	}
	return p.show("password.html", v)
}

func (p *page) passwordChanged() error {
	typed, err := p.typedTwice(way{Address: p.actor.Address, Rules: &p.me.Policy.Password})
	if err != nil {
		return p.passwordAgain(err)
	}
	r, err := p.core.ChangePassword(p.ctx, p.actor, p.secret("current"), typed, p.form("delete_apps") == "on")
	if err != nil {
		return p.passwordAgain(err)
	}
	p.keepSession(r.Token)
	return p.redirect("/security", "password_changed")
}

// passwordAgain shows the form and every rule that the new password broke. A wrong current one is told beside its field.
func (p *page) passwordAgain(err error) error {
	f := p.mistakes(err)
	if f == nil {
		return err
	}
	v, broken := p.passwordForm()
	if broken != nil {
		return broken
	}
	if reasonOf(err) == authcore.DenialReason(authcore.BadCredentials) {
		f.status, f.Sentence = http.StatusUnprocessableEntity, p.t("Your password was not changed.")
		f.Fields["current"] = p.t("This is not your current password.")
	}
	return p.answer(f.status, "password.html", v, f)
}
