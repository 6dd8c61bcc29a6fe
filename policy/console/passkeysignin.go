package console

import (
	"encoding/json"

	"latchkey/authcore"
	"latchkey/authcore/signin"
)

// Passkeys: the page has the challenge in it, the script hands it to the browser and sends the answer as a form. Without
// script there is no passkey, and the page says so.

func (s *server) passkeyRoutes() {
	s.open("GET /sign-in/passkey", (*page).passkey)
	s.open("POST /sign-in/passkey", onWay(atPasskey, (*page).passkeySent))
}

// passkeyPage asks for a passkey.
type passkeyPage struct {
	Options  json.RawMessage
	Action   string // where the answer goes
	Back     string // to another way
	MayTrust bool
	Again    bool
}

func (p *page) passkey() error {
	return p.passkeyBegun(way{Next: next(p.r.URL.Query().Get("next"))}, "/sign-in")
}

// passkeyBegun shows a challenge for the first factor. Its ticket is good for one answer.
func (p *page) passkeyBegun(w way, back string) error {
	c, err := p.core.BeginPasskeySignIn(p.ctx, p.client)
	if err != nil {
		return err
	}
	w.At, w.Ticket = atPasskey, c.Ticket.Reveal()
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.show("passkey.html", passkeyPage{Options: c.Options, Action: "/sign-in/passkey", Back: back + "?" + goal(w.Next), Again: w.Again})
}

func (p *page) passkeySent(w way) error {
	r, err := p.passkeyProved(w)
	if err == nil {
		return p.goOn(w, r)
	}
	if denied(err, authcore.TicketInvalid) {
		return p.beginAgain(w)
	}
	if p.mistakes(err) == nil {
		return err
	}
	if w.Again {
		return p.redirect("/reauthenticate?"+goal(w.Next), "passkey_refused")
	}
	return p.redirect("/sign-in?"+goal(w.Next), "passkey_refused")
}

func (p *page) passkeyProved(w way) (authcore.SignInResult, error) {
	answer := json.RawMessage(p.r.PostFormValue("credential"))
	if !w.Again {
		return p.core.SignInPasskey(p.ctx, p.begins(), w.ticket(), answer)
	}
	if err := p.identify(); err != nil {
		return authcore.SignInResult{}, err
	}
	return p.core.ReauthenticatePasskey(p.ctx, p.actor, w.ticket(), answer)
}

// passkeyStep shows a challenge for the second step. It belongs to the step's own ticket.
func (p *page) passkeyStep(w way) error {
	c, err := p.core.SignInPasskeyStep(p.ctx, p.client, w.ticket())
	if err != nil {
		return p.refused(w, "secondstep.html", p.secondStepPage(w), err)
	}
	return p.show("passkey.html", passkeyPage{Options: c.Options, Action: "/sign-in/two-step/passkey", Back: atTwoStep.path(), MayTrust: w.MayTrust, Again: w.Again})
}

func (p *page) passkeyStepSent(w way) error {
	r, err := p.core.SignInTwoStep(p.ctx, p.client, w.ticket(), authcore.SecondAnswer{
		Method: signin.ByPasskey, Assertion: json.RawMessage(p.r.PostFormValue("credential")), Trust: p.trusts(w),
	})
	if denied(err, authcore.BadCode) {
		return p.redirect(atTwoStep.path(), "passkey_refused")
	}
	if err != nil {
		return p.refused(w, "secondstep.html", p.secondStepPage(w), err)
	}
	return p.goOn(w, r)
}
