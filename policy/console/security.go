package console

import (
	"slices"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/policy"
)

// The member's "Security" page, behind the profile picture, and the switch on it. What the rows lead to stands in files of
// their own.

func (s *server) securityRoutes() {
	s.signedIn("GET /security", (*page).security)
	s.signedIn("GET /security/app-passwords/option", (*page).optionAsked)
	s.signedIn("POST /security/app-passwords/option", (*page).optionChosen)
	s.appPasswordRoutes()
	s.passwordRoutes()
	s.sessionRoutes()
	s.signedIn("GET /security/activity", (*page).activity)
	s.messageRoutes()
}

// securityPage is the overview: what holds, row by row.
type securityPage struct {
	Option   option
	Limit    int
	Count    int
	Password authcore.AccountPassword
	Required bool // 2-step verification, by the policy
	TwoStep  bool
	Ways     []wayRow
	Web      int
	Doors    int
}

// option is the member's "Use a third-party app password".
type option struct {
	On, Fixed bool
	Why       string // it is fixed, or what holds besides
}

// wayRow is one of the ways to sign in beside the password.
type wayRow struct{ Label, Value, At string }

func (p *page) security() error {
	v := securityPage{Option: p.option(), Limit: p.me.Policy.ThirdParty.MaxAppPasswords, Count: p.me.AppPasswords,
		TwoStep: p.me.TwoStepOn, Required: p.me.Policy.SignIn.TwoStep == policy.TwoStepRequired}
	var err error
	if v.Password, err = p.core.MyAccountPassword(p.ctx, p.actor); err != nil {
		return err
	}
	if v.Ways, err = p.wayRows(); err != nil {
		return err
	}
	all, err := p.core.MySessions(p.ctx, p.actor)
	if err != nil {
		return err
	}
	v.Web, v.Doors = len(browsers(all.Web)), len(all.Doors)
	return p.show("security.html", v)
}

// browsers are the sessions of people: API tokens have a page of their own.
func browsers(l []session.Web) []session.Web {
	return slices.DeleteFunc(slices.Clone(l), func(w session.Web) bool { return w.IsToken() })
}

func (p *page) option() option {
	o := option{On: p.me.Member.AppPasswords || p.me.OptionFixed, Fixed: p.me.OptionFixed}
	third := p.me.Policy.ThirdParty
	switch {
	case p.me.BornRequired:
		o.Why = p.t("Your domain was created on %s. To prevent account hijacking, members of such a domain can log in to a third-party app only with a third-party app password.",
			p.lang.date(p.me.Domain.CreatedAt))
	case o.Fixed:
		o.Why = p.t("Your administrator requires a third-party app password for third-party apps.")
	case third.AppPasswords == policy.Required && third.RequiredFrom != nil:
		o.Why = p.t("From %s on, your administrator requires a third-party app password.", p.lang.time(*third.RequiredFrom))
	case !o.On && p.me.AcceptsApps:
		o.Why = p.t("2-step verification is on: until it is off, you can log in to third-party apps only with an app password, whatever you choose here.")
	}
	return o
}

// wayRows are those that the member may use, and those that he has set up before he might not any more.
func (p *page) wayRows() ([]wayRow, error) {
	open, err := p.core.WaysOf(p.ctx, p.me.Domain.Name)
	if err != nil {
		return nil, err
	}
	var rows []wayRow
	add := func(way, label, at, value string, has bool) {
		may := slices.Contains(open.Ways, way) && p.me.Member.MayUse(way, p.me.Policy)
		switch {
		case !may && !has:
			return
		case !may:
			value = p.t("%s (your administrator does not allow it now)", value)
		}
		rows = append(rows, wayRow{Label: label, Value: value, At: at})
	}
	if err := p.linkRows(add); err != nil {
		return nil, err
	}
	devices, err := p.core.QuickDevices(p.ctx, p.actor)
	if err != nil {
		return nil, err
	}
	add(policy.WayQuick, p.t("Quick login devices"), "/security/quick", p.t("Devices: %d", len(devices)), len(devices) > 0)
	passkeys, err := p.core.Passkeys(p.ctx, p.actor)
	if err != nil {
		return nil, err
	}
	add(policy.WayPasskey, p.t("Passkeys"), "/security/passkeys", p.t("Passkeys: %d", len(passkeys)), len(passkeys) > 0)
	return rows, nil
}

func (p *page) linkRows(add func(way, label, at, value string, has bool)) error {
	links, err := p.core.Links(p.ctx, p.actor)
	if err != nil {
		return err
	}
	line := slices.IndexFunc(links, func(l authcore.Link) bool { return l.Provider == policy.WayLINE })
	value := p.t("Not linked")
	if line >= 0 {
		value = p.t("Linked since %s", p.lang.date(links[line].Since))
	}
	add(policy.WayLINE, p.t("Login with LINE"), "/security/links", value, line >= 0)
	phone, err := p.core.MyPhoneLink(p.ctx, p.actor)
	if err != nil {
		return err
	}
	value = p.t("Not linked")
	if phone.Masked != "" {
		value = phone.Masked
	}
	add(policy.WayPhone, p.t("Login with phone number"), "/security/phone", value, phone.Masked != "")
	return nil
}

// optionPage warns of what a change of the option signs out.
type optionPage struct {
	On   bool // as it is now
	Any  bool // there is an app password
	Live []doorRow
}

// optionAsked is where the switch leads: nothing is changed yet.
func (p *page) optionAsked() error {
	if p.me.OptionFixed {
		return &authcore.Denial{Reason: authcore.OptionFixed}
	}
	v := optionPage{On: p.me.Member.AppPasswords, Any: p.me.AppPasswords > 0}
	if v.On { // turning it off asks for more
		if err := p.core.Confirmed(p.actor); err != nil {
			return err
		}
	}
	all, err := p.core.MySessions(p.ctx, p.actor)
	if err != nil {
		return err
	}
	v.Live = p.doorRows(all.Doors)
	return p.show("option.html", v)
}

func (p *page) optionChosen() error {
	on := p.form("use") == "on"
	if _, err := p.core.SetAppPasswordOption(p.ctx, p.actor, on); err != nil {
		return err
	}
	if on {
		return p.redirect("/security", "option_on")
	}
	return p.redirect("/security", "option_off")
}
