package console

import (
	"cmp"

	"latchkey/authcore/session"
)

// everywhere is where the member signs out everywhere.
const everywhere = "/security/sessions/end-all"

func (s *server) sessionRoutes() {
	s.signedIn("GET /security/sessions", (*page).sessions)
	s.signedIn("POST /security/sessions/{id}/end", (*page).sessionEnded)
	s.signedIn("POST /security/sessions/end-others", (*page).othersEnded)
	s.signedIn("GET "+everywhere, (*page).allDoomed)
	s.signedIn("POST "+everywhere, (*page).allEnded)
}

// sessionsPage is what the member is signed in to.
type sessionsPage struct {
	Web    []webRow
	Doors  []doorRow
	Tokens int
}

type webRow struct {
	session.Web
	Program string
	Current bool
}

type doorRow struct {
	session.Door
	At    string // the door
	Named string // the program, or the app password that it has
}

func (p *page) sessions() error {
	all, err := p.core.MySessions(p.ctx, p.actor)
	if err != nil {
		return err
	}
	var v sessionsPage
	for _, w := range browsers(all.Web) {
		row := webRow{Web: w, Program: program(w.Agent), Current: w.ID == all.Current}
		if row.Current {
			v.Web = append([]webRow{row}, v.Web...) // first: whoever looks for a stranger knows it at once
		} else {
			v.Web = append(v.Web, row)
		}
	}
	v.Doors = p.doorRows(all.Doors)
	v.Tokens = len(all.Web) - len(v.Web)
	return p.show("sessions.html", v)
}

func (p *page) doorRows(l []session.Door) (rows []doorRow) {
	for _, d := range l {
		rows = append(rows, doorRow{Door: d, At: door(d.Door), Named: cmp.Or(program(d.Agent), d.CredentialName, p.t("Unknown program"))})
	}
	return rows
}

func (p *page) sessionEnded() error {
	if err := p.core.EndMySession(p.ctx, p.actor, session.ID(p.r.PathValue("id"))); err != nil {
		return err
	}
	return p.redirect("/security/sessions", "session_ended")
}

func (p *page) othersEnded() error {
	if err := p.core.EndMyOtherSessions(p.ctx, p.actor); err != nil {
		return err
	}
	return p.redirect("/security/sessions", "others_ended")
}

func (p *page) allDoomed() error {
	return p.confirm(confirmation{
		Title: p.t("Sign out everywhere?"),
		Sentences: []string{
			p.t("You are signed out of every browser and app, this one too, and of every third-party app."),
			p.t("Quick login devices and trusted browsers have to be set up again. App passwords stay: delete those that you do not trust first."),
		},
		Action: everywhere, Button: p.t("Sign out everywhere"), Back: "/security/sessions",
	})
}

func (p *page) allEnded() error {
	if err := p.core.EndMySessions(p.ctx, p.actor); err != nil {
		return err
	}
	return p.signedOut("signed_out_everywhere")
}
