package console

import (
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
)

// activityShown is how many entries stand on a page.
const activityShown = 30

// activityPage is what happened to the account.
type activityPage struct {
	Items  []activityRow
	Paging paging
}

// activityRow is one thing that happened, in words.
type activityRow struct {
	At      time.Time
	What    string
	Result  string // of an attempt
	Good    bool
	Times   int // above one: how often
	Door    string
	Program string
	From    string
	By      string // who did it, if it was not the member
	Name    string // of what it was done with or to
}

func (p *page) activity() error {
	l, next, err := p.core.MyActivity(p.ctx, p.actor, p.startOf(p.r.URL.Query().Get("after")), activityShown)
	if err != nil {
		return err
	}
	v := activityPage{Paging: p.paging("after", next)}
	for _, e := range l {
		v.Items = append(v.Items, p.activityRow(e))
	}
	return p.show("activity.html", v)
}

func (p *page) activityRow(e audit.Entry) activityRow {
	r := activityRow{At: e.Time, What: p.did(e.Action), Times: e.Count, Program: program(e.Agent), From: e.From, Name: e.Name}
	if !e.Last.IsZero() {
		r.At = e.Last
	}
	if e.Kind == "account_password" {
		r.Name = p.t("account password")
	}
	if e.Actor != "" && e.Actor != p.actor.Address {
		r.By = p.by(e.Actor)
	}
	if e.Action == audit.SignIn || e.Action == audit.Reauthenticate {
		r.Result, r.Good = p.resultOf(e.Reason)
		r.Door = door(e.Door)
	}
	return r
}

// by names who did something: an administrator by his address, and not the words of a command at the server.
func (p *page) by(actor string) string {
	if strings.HasPrefix(actor, "command:") {
		return p.t("the operator of the server")
	}
	return actor
}

// resultOf says how an attempt ended, and whether it let somebody in.
func (p *page) resultOf(reason string) (words string, good bool) {
	switch authcore.Reason(reason) {
	case authcore.Allowed, "":
		return p.t("Signed in"), true
	case authcore.BadCredentials:
		return p.t("Refused: wrong password or code"), false
	case authcore.AppPasswordRequired:
		return p.t("Refused: not a valid app password"), false
	case authcore.PasswordExpired, authcore.PasswordChangeRequired:
		return p.t("Refused: the password has expired or must be changed"), false
	case authcore.Suspended:
		return p.t("Refused: the account is suspended"), false
	case authcore.DoorClosed:
		return p.t("Refused: this way in is closed"), false
	case authcore.Throttled, authcore.TooManyConnections:
		return p.t("Refused: too many attempts or connections"), false
	case authcore.Unavailable:
		return p.t("Failed: temporarily unavailable"), false
	}
	return p.t("Refused"), false
}

// did says in plain words what an action is. One that is not about an account is none of these.
func (p *page) did(a audit.Action) string {
	switch a {
	case audit.SignIn:
		return p.t("Sign-in")
	case audit.SignOut:
		return p.t("Signed out")
	case audit.SignOutEverywhere:
		return p.t("Signed out everywhere")
	case audit.Reauthenticate:
		return p.t("Identity confirmed again")
	case audit.PasswordChange:
		return p.t("Account password changed")
	case audit.PasswordReset:
		return p.t("Account password reset")
	case audit.PasswordForgotten:
		return p.t("Forgotten account password replaced")
	case audit.AddressForgotten:
		return p.t("Forgotten address asked for")
	case audit.AppPasswordCreate:
		return p.t("App password created")
	case audit.AppPasswordDelete:
		return p.t("App password deleted")
	case audit.AppPasswordOption:
		return p.t("“Use a third-party app password” changed")
	case audit.SessionEnd:
		return p.t("A session was signed out")
	case audit.MemberSuspend:
		return p.t("Account suspended")
	case audit.MemberLift:
		return p.t("Suspension lifted")
	}
	return p.didToMethods(a)
}

// didToMethods is did for the ways to sign in and the second steps.
func (p *page) didToMethods(a audit.Action) string {
	switch a {
	case audit.TwoStepOn:
		return p.t("2-step verification turned on")
	case audit.TwoStepOff:
		return p.t("2-step verification turned off")
	case audit.TwoStepMethod:
		return p.t("2-step verification methods changed")
	case audit.CodeSend:
		return p.t("Verification number sent")
	case audit.ContactChange:
		return p.t("Personal contact changed")
	case audit.LinkCreate:
		return p.t("Account or number linked for login")
	case audit.LinkDelete:
		return p.t("Account or number unlinked")
	case audit.QuickRegister:
		return p.t("Quick login device registered")
	case audit.QuickDelete:
		return p.t("Quick login device deleted")
	case audit.WaysDeny:
		return p.t("Ways to sign in changed by an administrator")
	case audit.BrowserTrust:
		return p.t("Trusted browsers changed")
	case audit.TokenCreate:
		return p.t("API token created")
	case audit.TokenDelete:
		return p.t("API token deleted")
	case audit.MemberCreate:
		return p.t("Account created")
	case audit.MemberDelete, audit.MemberRestore, audit.MemberUpdate:
		return p.t("Account changed")
	}
	return p.t("Something else")
}
