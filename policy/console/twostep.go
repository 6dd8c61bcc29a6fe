package console

import (
	"latchkey/authcore"
	"latchkey/authcore/member"
)

// twoStepPage is what the page of 2-step verification shows.
type twoStepPage struct {
	authcore.TwoStepView
	Emails, Mobiles []contactRow
	Unverified      bool // some contact is not: it has to be before this can be switched on
	ProgramsStop    bool // the account password counts at the doors, and would no more
	Browsers        int
}

// Proven says whether codes can go somewhere although a contact is not verified.
func (t twoStepPage) Proven() bool {
	if !t.AppSince.IsZero() || t.Passkeys > 0 {
		return true
	}
	for _, k := range t.Contacts {
		if k.Verified {
			return true
		}
	}
	return false
}

// contactRow is a contact as its owner sees it.
type contactRow struct {
	ID, Value string
	Verified  bool
}

// contactList is the contacts of a kind, for the part of a page that lists them.
type contactList struct {
	Label, Kind string
	Managed     bool // they cannot be changed here
	Rows        []contactRow
}

func contactRows(label, kind string, managed bool, rows []contactRow) contactList {
	return contactList{Label: label, Kind: kind, Managed: managed, Rows: rows}
}

func rowsOf(l []member.Contact, kind string) (rows []contactRow) {
	for _, k := range l {
		if k.Kind == kind {
			rows = append(rows, contactRow{ID: k.ContactID(), Value: k.Value, Verified: k.Verified})
		}
	}
	return rows
}

func (p *page) twoStep() error { return p.twoStepAfter(nil) }

func (p *page) twoStepAfter(err error) error {
	v, failed := p.core.MyTwoStep(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	trusted, failed := p.core.TrustedBrowsers(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	t := twoStepPage{TwoStepView: v, Emails: rowsOf(v.Contacts, member.Email), Mobiles: rowsOf(v.Contacts, member.Mobile), Browsers: len(trusted), ProgramsStop: !p.me.AcceptsApps}
	for _, k := range v.Contacts {
		t.Unverified = t.Unverified || !k.Verified
	}
	return p.after(err, "two-step.html", t)
}

func (p *page) twoStepOn() error {
	if _, err := p.core.SwitchTwoStep(p.ctx, p.actor, true, p.form("leave") != ""); err != nil {
		return p.twoStepAfter(unverified(err))
	}
	return p.redirect("/security/two-step", "two_step_on")
}

func (p *page) twoStepOff() error {
	if _, err := p.core.SwitchTwoStep(p.ctx, p.actor, false, false); err != nil {
		return p.twoStepAfter(err)
	}
	return p.redirect("/security/two-step", "two_step_off")
}

// unverified says what to do about contacts that are not verified: each is shown with what can be done.
func unverified(err error) error {
	if !denied(err, authcore.Invalid) {
		return err
	}
	return &authcore.Denial{Reason: authcore.Invalid, Detail: en("First verify each personal e-mail address and mobile phone number below, or remove it.")}
}
