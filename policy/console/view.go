package console

import (
	"unicode/utf8"

	"latchkey/authcore/member"
)

// view is what a template sees.
type view struct {
	p       *page
	Name    string // of the template
	Data    any
	Failed  *failure // what is wrong with the form; nil: nothing
	Said    string   // what the change before came to
	Refused bool     // it came to nothing
}

// Lang is the language of the page.
func (v *view) Lang() string { return v.p.lang.Code }

// Path is that of the page.
func (v *view) Path() string { return v.p.r.URL.Path }

// Return is where a choice at the foot of the page leads back to: this page, or where its form was posted from.
func (v *view) Return() string { return v.p.here() }

// SignedIn says whether there is a member to show.
func (v *view) SignedIn() bool { return v.p.me != nil }

// Address and Initial are the member's.
func (v *view) Address() string { return v.p.me.Member.Address() }
func (v *view) Initial() string {
	_, n := utf8.DecodeRuneInString(v.Address())
	return v.Address()[:n]
}

// Domain is the member's own.
func (v *view) Domain() string { return v.p.me.Domain.Name }

// HasFleet says whether there are nodes to show.
func (v *view) HasFleet() bool { return v.p.core.HasFleet() }

// Administers says whether the pages of an administrator are for him, Operates those of an operator.
func (v *view) Administers() bool {
	return v.SignedIn() && v.p.me.Role.Rank() >= member.RoleAdministrator.Rank()
}
func (v *view) Operates() bool {
	return v.SignedIn() && v.p.me.Role.Rank() >= member.RoleOperator.Rank()
}

// Mistake is what is wrong with a field.
func (v *view) Mistake(field string) string {
	if v.Failed == nil {
		return ""
	}
	return v.Failed.Fields[field]
}
