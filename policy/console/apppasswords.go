package console

import (
	"cmp"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/policy"
)

func (s *server) appPasswordRoutes() {
	s.signedIn("GET /security/app-passwords", (*page).appPasswords)
	s.signedIn("GET /security/app-passwords/new", (*page).appPasswordWanted)
	s.signedIn("POST /security/app-passwords/new", (*page).appPasswordCreated)
	s.signedIn("GET /security/app-passwords/{id}/delete", (*page).appPasswordDoomed)
	s.signedIn("POST /security/app-passwords/{id}/delete", (*page).appPasswordDeleted)
}

// appPasswordsPage is the list.
type appPasswordsPage struct {
	Items   []appPasswordRow
	Limit   int
	Refused bool // the option is off: they do not count yet
}

// Full says that there is no room for another one.
func (v appPasswordsPage) Full() bool { return len(v.Items) >= v.Limit }

// appPasswordRow is one of them.
type appPasswordRow struct {
	authcore.AppPassword
	Doors string
	Used  string // by what it was used last: door, address, program
}

func (p *page) appPasswords() error {
	v, err := p.appPasswordList()
	if err != nil {
		return err
	}
	return p.show("apppasswords.html", v)
}

func (p *page) appPasswordList() (appPasswordsPage, error) {
	l, err := p.core.AppPasswords(p.ctx, p.actor)
	v := appPasswordsPage{Limit: p.me.Policy.ThirdParty.MaxAppPasswords, Refused: !p.me.AcceptsApps}
	for _, a := range l {
		row := appPasswordRow{AppPassword: a, Doors: p.doors(a.Doors)}
		if a.Use != nil {
			row.Used = joined(door(a.Use.Door), a.Use.From, program(a.Use.Agent))
		}
		v.Items = append(v.Items, row)
	}
	return v, err
}

// wishForm is the form of a new app password, as it was typed.
type wishForm struct {
	Once     string
	Name     string
	Expires  string
	Networks string
	Doors    []doorBox
	From     string // where the member is now
	More     bool   // something stands under the options
}

// doorBox is a door to tick.
type doorBox struct {
	Door, Words string
	On          bool
}

// appPasswordWanted shows the form. Links may fill it in: what programs need differs. Whoever must prove himself anew does
// it now, before he types.
func (p *page) appPasswordWanted() error {
	if err := p.core.Confirmed(p.actor); err != nil {
		return err
	}
	if p.me.AppPasswords >= p.me.Policy.ThirdParty.MaxAppPasswords {
		return p.noRoom(&authcore.Denial{Reason: authcore.AppPasswordLimit})
	}
	q := p.r.URL.Query()
	if !q.Has("doors") {
		q["doors"] = policy.Doors()
	}
	return p.show("apppasswordnew.html", p.wishForm(q, rand.Text()))
}

// wishForm is the form with these values in it.
func (p *page) wishForm(v url.Values, once string) wishForm {
	f := wishForm{Once: once, Name: v.Get("name"), Expires: v.Get("expires_at"), Networks: v.Get("networks"), From: p.client.From()}
	for _, d := range policy.Doors() {
		f.Doors = append(f.Doors, doorBox{Door: d, Words: p.doorFor(d), On: slices.Contains(v["doors"], d)})
	}
	f.More = f.Expires != "" || f.Networks != "" || slices.ContainsFunc(f.Doors, func(d doorBox) bool { return !d.On })
	return f
}

// wish reads the form; what no operation could tell is a mistake here.
func (f wishForm) wish() (apppass.Wish, []policy.Mistake) {
	w := apppass.Wish{Name: strings.TrimSpace(f.Name), Networks: strings.FieldsFunc(f.Networks, func(r rune) bool { return r <= ' ' || r == ',' })}
	var wrong []policy.Mistake
	for _, d := range f.Doors {
		if d.On {
			w.Doors = append(w.Doors, d.Door)
		}
	}
	switch len(w.Doors) {
	case 0:
		wrong = append(wrong, policy.Mistake{Field: "doors", Reason: "Choose at least one."})
	case len(f.Doors):
		w.Doors = nil // all, also those that come
	}
	if f.Expires != "" {
		day, err := time.Parse(time.DateOnly, f.Expires)
		if err != nil {
			wrong = append(wrong, policy.Mistake{Field: "expires_at", Reason: "must be a day like 2027-12-31"})
		}
		w.ExpiresAt = day.Add(24*time.Hour - time.Second) // good to the end of the day
	}
	return w, wrong
}

// madePage shows a new app password, once.
type madePage struct {
	Name, Password string
	Refused        bool
}

// appPasswordCreated makes one and shows it in the answer itself. The form's own value makes a second sending, by a reload
// or an impatient finger, answer the same one.
func (p *page) appPasswordCreated() error {
	once, err := p.once()
	if err != nil {
		return err
	}
	f := p.wishForm(p.r.PostForm, once)
	w, wrong := f.wish()
	if len(wrong) > 0 {
		return p.wishAgain(f, &authcore.Denial{Reason: authcore.Invalid, Mistakes: append(wrong, apppass.NameMistakes(w.Name)...)})
	}
	request := strings.Join([]string{"app password", f.Name, f.Expires, f.Networks, strings.Join(w.Doors, " ")}, "\n")
	made, plain, err := p.core.CreateAppPassword(authcore.WithIdempotencyKey(p.ctx, secret.New(f.Once), request), p.actor, w)
	switch {
	case reasonOf(err) == authcore.ReauthenticationRequired:
		return p.redirect("/security/app-passwords/new?"+f.query().Encode(), "")
	case reasonOf(err) == authcore.AppPasswordLimit:
		return p.noRoom(err)
	case err != nil:
		return p.wishAgain(f, err)
	}
	return p.show("apppasswordmade.html", madePage{Name: made.Name, Password: plain.Reveal(), Refused: !p.me.AcceptsApps})
}

// query is the form as a link that fills it in: nothing that was typed is lost on the way over a re-authentication. What
// makes the link too long is.
func (f wishForm) query() url.Values {
	q := url.Values{"name": {cut(f.Name, 120)}, "expires_at": {cut(f.Expires, 10)}, "networks": {cut(f.Networks, 200)}}
	for _, d := range f.Doors {
		if d.On {
			q.Add("doors", d.Door)
		}
	}
	return q
}

// wishAgain shows the form with what is wrong; the options are open where that stands among them.
func (p *page) wishAgain(f wishForm, err error) error {
	var d *authcore.Denial
	if errors.As(err, &d) {
		f.More = f.More || slices.ContainsFunc(d.Mistakes, func(m policy.Mistake) bool { return m.Field != "name" })
	}
	return p.again("apppasswordnew.html", f, err)
}

// noRoom shows the list, which is full, and says so.
func (p *page) noRoom(err error) error {
	v, broken := p.appPasswordList()
	if broken != nil {
		return broken
	}
	f := p.mistakes(err)
	f.Sentence = p.t("You can create up to %d third-party app passwords. Delete one that you are no longer using, then create the new one.", v.Limit)
	return p.answer(f.status, "apppasswords.html", v, f)
}

// doomedPage says what deleting an app password stops.
type doomedPage struct {
	appPasswordRow
	Live []doorRow
}

func (p *page) appPasswordDoomed() error {
	list, err := p.appPasswordList()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list.Items, func(r appPasswordRow) bool { return r.ID == p.r.PathValue("id") })
	if i < 0 {
		return &authcore.Denial{Reason: authcore.NotFound}
	}
	all, err := p.core.MySessions(p.ctx, p.actor)
	if err != nil {
		return err
	}
	v := doomedPage{appPasswordRow: list.Items[i]}
	others := func(s session.Door) bool { return s.Credential != v.ID }
	v.Live = p.doorRows(slices.DeleteFunc(slices.Clone(all.Doors), others))
	return p.show("apppassworddelete.html", v)
}

func (p *page) appPasswordDeleted() error {
	if err := p.core.DeleteAppPassword(p.ctx, p.actor, p.r.PathValue("id")); err != nil {
		return err
	}
	return p.redirect("/security/app-passwords", "app_password_deleted")
}

// reasonOf is the word of a Denial; empty for none.
func reasonOf(err error) authcore.DenialReason {
	var d *authcore.Denial
	if errors.As(err, &d) {
		return d.Reason
	}
	return ""
}

// cut shortens a text to so many bytes, between characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// joined puts together what is known.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · ")
}

// doors names those that something is good for; none are all.
func (p *page) doors(l []string) string {
	if len(l) == 0 {
		return p.t("All")
	}
	names := make([]string, len(l))
	for i, d := range l {
		names[i] = door(d)
	}
	return strings.Join(names, ", ")
}

// door is a protocol's own name, the same in every language.
func door(d string) string {
	names := map[string]string{policy.IMAP: "IMAP", policy.SMTP: "SMTP", policy.POP3: "POP3", policy.CalDAV: "CalDAV", policy.CardDAV: "CardDAV", authcore.WebDoor: "Web"}
	return cmp.Or(names[d], d)
}

// doorFor says what a door is for.
func (p *page) doorFor(d string) string {
	switch d {
	case policy.IMAP:
		return p.t("IMAP: read mail")
	case policy.SMTP:
		return p.t("SMTP: send mail")
	case policy.POP3:
		return p.t("POP3: fetch mail")
	case policy.CalDAV:
		return p.t("CalDAV: calendars")
	case policy.CardDAV:
		return p.t("CardDAV: contacts")
	}
	return door(d)
}
