package console

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/quick"
	"latchkey/policy"
)

// One member as his administrators see him, and what of him a form of one field changes. What is asked for on a page of its
// own is in personacts.go.

func (s *server) personRoutes() {
	s.signedIn("GET /members/{address}", (*page).person)
	s.signedIn("GET /members/{address}/edit", (*page).personEdit)
	s.signedIn("POST /members/{address}/edit", (*page).personSaved)
	s.signedIn("POST /members/{address}/doors", (*page).personDoors)
	s.signedIn("POST /members/{address}/ways", (*page).personWays)
}

// personPage is a member with what he has and is signed in to.
type personPage struct {
	authcore.Profile
	Path, Domain, Role string
	Status             chip
	RestorableUntil    time.Time // of a deleted one, while he can be restored
	Mine, May, Spared  bool      // it is the reader himself; he may act on him; and take him away
	Doors              []doorOfMember
	Ways               []wayOfMember
	TwoStep            authcore.TwoStepView
	Methods            string
	Apps               []authcore.AppPassword
	Passkeys           []quick.Named
	Devices            []quick.Device
	Sessions           authcore.Sessions
}

// doorOfMember is a door, and whether it is open for him.
type doorOfMember struct {
	Name, Words string
	Open        bool
	Closed      bool // for his whole domain
}

// wayOfMember is a way to sign in beside the password, and what holds for him.
type wayOfMember struct {
	Name, Words, Value string
	Denied             bool // by his domain
}

func (p *page) person() error {
	v, err := p.personOf(p.r.PathValue("address"))
	if err != nil {
		return err
	}
	return p.show("member.html", v)
}

// personAgain is the page after a change of it was refused: what is there now, and why.
func (p *page) personAgain(err error) error {
	if p.mistakes(err) == nil {
		return err
	}
	v, broken := p.personOf(p.r.PathValue("address"))
	if broken != nil {
		return broken
	}
	return p.again("member.html", v, err)
}

func (p *page) personOf(address string) (v personPage, err error) {
	if v.Profile, err = p.core.MemberOf(p.ctx, p.actor, address); err != nil {
		return v, err
	}
	m := v.Member
	address = m.Address()
	v.Path, v.Domain, v.Role, v.Status = memberPath(address), v.Profile.Domain.Name, p.roleWords(v.Profile.Role), p.statusOf(m)
	v.Mine, v.May = m.ID == p.actor.Member, p.actor.MayChange(v.Profile)
	if m.Status == member.Deleted {
		v.RestorableUntil = m.DeletedAt.Add(member.RestorableFor)
		return v, nil
	}
	v.Doors, v.Ways = p.doorsOf(v.Profile), p.waysOf(v.Profile)
	if v.Spared, err = p.core.Spared(p.ctx, p.actor, v.Profile); err != nil {
		return v, err
	}
	if v.TwoStep, err = p.core.TwoStepOf(p.ctx, p.actor, address); err != nil {
		return v, err
	}
	v.Methods = p.methodWords(v.TwoStep)
	if v.Apps, err = p.core.AppPasswordsOf(p.ctx, p.actor, address); err != nil {
		return v, err
	}
	if v.Passkeys, err = p.core.PasskeysOf(p.ctx, p.actor, address); err != nil {
		return v, err
	}
	if v.Devices, err = p.core.QuickDevicesOf(p.ctx, p.actor, address); err != nil {
		return v, err
	}
	v.Sessions, err = p.core.SessionsOf(p.ctx, p.actor, address)
	return v, err
}

// Restorable says whether a deleted member can be brought back now.
func (v personPage) Restorable(now time.Time) bool { return now.Before(v.RestorableUntil) }

// Aliases are his further addresses.
func (v personPage) Aliases() string { return strings.Join(v.Member.Addresses[1:], ", ") }

func (p *page) doorsOf(m authcore.Profile) (l []doorOfMember) {
	for _, d := range policy.Doors() {
		l = append(l, doorOfMember{Name: d, Words: p.doorFor(d), Open: !slices.Contains(m.Member.ClosedDoors, d), Closed: !m.Domain.Open(d)})
	}
	return l
}

// waysOf are the ways of the house, and the configured providers.
func (p *page) waysOf(m authcore.Profile) (l []wayOfMember) {
	add := func(way, words string) {
		v := "allow"
		if slices.Contains(m.Member.DeniedWays, way) {
			v = "deny"
		}
		l = append(l, wayOfMember{Name: way, Words: words, Value: v, Denied: !m.Policy.SignIn.Allows(way)})
	}
	add(policy.WayLINE, p.t("Login with LINE"))
	add(policy.WayPhone, p.t("Login with phone number"))
	add(policy.WayQuick, p.t("Quick Login (Mobile app)"))
	add(policy.WayPasskey, p.t("Login with passkey"))
	for _, o := range p.core.Providers() {
		if o.Way != policy.WayLINE {
			add(o.Way, p.t("Login with %s", o.Name))
		}
	}
	return l
}

func (p *page) methodWords(v authcore.TwoStepView) string {
	words := map[string]string{"email": p.t("e-mail"), "mobile": p.t("text message"), "totp": p.t("authenticator app"),
		"recovery_code": p.t("recovery codes"), "passkey": p.t("passkey")}
	var l []string
	for _, m := range v.Methods {
		l = append(l, cmp.Or(words[string(m)], string(m)))
	}
	return strings.Join(l, ", ")
}

// personDoors saves which doors are open for the member.
func (p *page) personDoors() error {
	var closed = []string{}
	for _, d := range policy.Doors() {
		if p.form(d) == "" {
			closed = append(closed, d)
		}
	}
	_, err := p.core.UpdateMember(p.ctx, p.actor, p.r.PathValue("address"), authcore.MemberChange{ClosedDoors: &closed}, p.revision())
	if err != nil {
		return p.personAgain(err)
	}
	return p.redirect(memberPath(p.r.PathValue("address")), "saved")
}

// personWays saves which ways to sign in are denied to the member. One that the form does not show stays as it is.
func (p *page) personWays() error {
	was, err := p.core.MemberOf(p.ctx, p.actor, p.r.PathValue("address"))
	if err != nil {
		return err
	}
	ways := slices.Clone(was.Member.DeniedWays)
	for _, w := range p.waysOf(was) {
		ways = slices.DeleteFunc(ways, func(name string) bool { return name == w.Name })
		if p.form(w.Name) == "deny" {
			ways = append(ways, w.Name)
		}
	}
	if _, err := p.core.DenyWays(p.ctx, p.actor, p.r.PathValue("address"), ways, p.revision()); err != nil {
		return p.personAgain(err)
	}
	return p.redirect(memberPath(p.r.PathValue("address")), "saved")
}

// revision is the one that the form was read over. None at all matches nothing.
func (p *page) revision() int64 {
	n, err := strconv.ParseInt(p.form("revision"), 10, 64)
	if err != nil || n < 1 {
		return -1
	}
	return n
}

// profileForm is what an administrator changes of a profile, as it was typed.
type profileForm struct {
	Revision                                       int64
	Name, Aliases, Role, Emails, Mobiles, Language string
}

type personEditPage struct {
	Address, Path   string
	Form            profileForm
	Was             string       // what stood in the form when it was shown, as JSON
	Saved           *profileForm // what somebody else saved meanwhile; nil: nobody did
	Roles, Operator bool         // the role may be chosen; he is an operator
}

func profileOf(m authcore.Profile) profileForm {
	f := profileForm{Revision: m.Revision, Name: m.Member.Name, Aliases: strings.Join(m.Member.Addresses[1:], "\n"), Role: string(m.Member.Role),
		Language: cmp.Or(m.Member.Language, notify.Languages()[0])}
	var emails, mobiles []string
	for _, k := range m.Member.Contacts {
		if k.Kind == member.Mobile {
			mobiles = append(mobiles, k.Value)
		} else {
			emails = append(emails, k.Value)
		}
	}
	f.Emails, f.Mobiles = strings.Join(emails, "\n"), strings.Join(mobiles, "\n")
	return f
}

func (p *page) editing() (v personEditPage, err error) {
	m, err := p.core.MemberOf(p.ctx, p.actor, p.r.PathValue("address"))
	if err != nil {
		return v, err
	}
	if !p.actor.MayChange(m) {
		return v, &authcore.Denial{Reason: authcore.Forbidden}
	}
	if m.Member.Status == member.Deleted {
		return v, &authcore.Denial{Reason: authcore.NotFound}
	}
	is := profileOf(m)
	was, err := json.Marshal(is)
	if err != nil {
		return v, err
	}
	v = personEditPage{Was: string(was), Address: m.Member.Address(), Path: memberPath(m.Member.Address()), Form: is, Operator: m.Role == member.RoleOperator}
	v.Roles, err = p.core.Spared(p.ctx, p.actor, m)
	return v, err
}

func (p *page) personEdit() error {
	v, err := p.editing()
	if err != nil {
		return err
	}
	return p.show("memberedit.html", v)
}

func (p *page) personSaved() error {
	v, err := p.editing()
	if err != nil {
		return err
	}
	was := v.Form
	v.Form = profileForm{Revision: p.revision(), Name: p.form("name"), Aliases: p.form("aliases"), Role: cmp.Or(p.form("role"), was.Role),
		Emails: p.form("emails"), Mobiles: p.form("mobiles"), Language: p.form("language")}
	if _, err = p.core.UpdateMember(p.ctx, p.actor, v.Address, v.Form.change(was), v.Form.Revision); err == nil {
		return p.redirect(v.Path, "saved")
	}
	if deniedFor(err, authcore.RevisionMismatch) {
		v.Form, v.Saved = v.Form.over(p.r.PostFormValue("was"), was), &was // seen now: saving again means it
	}
	return p.again("memberedit.html", v, err)
}

// over is f after somebody else saved what is now: what was left alone since the form was shown takes that, so that saving
// again undoes nothing that nobody meant to.
func (f profileForm) over(shown string, now profileForm) profileForm {
	f.Revision = now.Revision
	var was profileForm
	if json.Unmarshal([]byte(shown), &was) != nil {
		return f
	}
	mine := f.change(was)
	if mine.Name == nil {
		f.Name = now.Name
	}
	if mine.Aliases == nil {
		f.Aliases = now.Aliases
	}
	if mine.Role == nil {
		f.Role = now.Role
	}
	if mine.Contacts == nil {
		f.Emails, f.Mobiles = now.Emails, now.Mobiles
	}
	if mine.Language == nil {
		f.Language = now.Language
	}
	return f
}

// change is what f alters of was.
func (f profileForm) change(was profileForm) (ch authcore.MemberChange) {
	if f.Name != was.Name {
		ch.Name = &f.Name
	}
	if aliases := append([]string{}, several(f.Aliases)...); !slices.Equal(aliases, several(was.Aliases)) {
		ch.Aliases = &aliases
	}
	if f.Role != was.Role {
		r := member.Role(f.Role)
		ch.Role = &r
	}
	if contacts := contactsOf(f.Emails, f.Mobiles); !slices.Equal(contacts, contactsOf(was.Emails, was.Mobiles)) {
		ch.Contacts = &contacts
	}
	if f.Language != was.Language {
		ch.Language = &f.Language
	}
	return ch
}
