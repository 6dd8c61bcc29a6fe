package console

import (
	"slices"

	"latchkey/authcore"
	"latchkey/authcore/signin"
)

// The first method for the second step, which the domain asks for: a contact that a code goes to, or an authenticator app.

func (s *server) enrolmentRoutes() {
	s.open("GET /sign-in/enrolment", onWay(atEnrolment, (*page).enrolment))
	s.open("POST /sign-in/enrolment", onWay(atEnrolment, (*page).enrolmentSent))
	s.open("POST /sign-in/enrolment/contact", onWay(atEnrolment, (*page).enrolContact))
	s.open("POST /sign-in/enrolment/app", onWay(atEnrolment, (*page).enrolApp))
	s.open("POST /sign-in/enrolment/again", onWay(atEnrolment, (*page).enrolAgain))
}

// enrolmentPage offers the kinds, or asks for the code of the one that was begun.
type enrolmentPage struct {
	way
	Typed  string // the contact, when it is not right
	Code   *qrCode
	Secret string // in groups, to type
}

// Offers says whether a kind may be enrolled.
func (v enrolmentPage) Offers(kind string) bool { return slices.Contains(v.Enrol, signin.Method(kind)) }

func (p *page) enrolment(w way) error { return p.show("enrolment.html", enrolmentPage{way: w}) }

// enrolContact sends a code to what was typed; pressing it again sends another one.
func (p *page) enrolContact(w way) error {
	kind := signin.Method(p.form("kind"))
	to := p.form("contact_" + string(kind))
	if _, err := p.core.SignInEnrolSend(p.ctx, p.client, w.ticket(), kind, to); err != nil {
		return p.contactRefused(w, kind, to, err)
	}
	w.Chosen = wayMethod{Kind: kind, To: to}
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.redirect(atEnrolment.path(), "code_sent")
}

// contactRefused tells what is wrong beside the field of its kind.
func (p *page) contactRefused(w way, kind signin.Method, typed string, err error) error {
	if denied(err, authcore.TicketInvalid) {
		return p.beginAgain(w)
	}
	f := p.mistakes(err)
	if f == nil {
		return err
	}
	if denied(err, authcore.DenialReason(authcore.Throttled)) {
		f.Sentence = p.later(err)
	}
	f.Fields["contact_"+string(kind)] = f.Fields["contact"]
	return p.answer(f.status, "enrolment.html", enrolmentPage{way: w, Typed: typed}, f)
}

// enrolApp shows the secret of an authenticator app, in this answer alone. Another one voids it.
func (p *page) enrolApp(w way) error {
	app, err := p.core.SignInEnrolApp(p.ctx, p.client, w.ticket())
	if err != nil {
		return p.refused(w, "enrolment.html", enrolmentPage{way: w}, err)
	}
	code, err := newQR(app.URL, p.t("QR code for the authenticator app"))
	if err != nil {
		return err
	}
	w.Chosen = wayMethod{Kind: signin.ByApp}
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.show("enrolment.html", enrolmentPage{way: w, Code: &code, Secret: grouped(app.Secret.Reveal())})
}

// enrolAgain goes back to the choice.
func (p *page) enrolAgain(w way) error {
	w.Chosen = wayMethod{}
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.redirect(atEnrolment.path(), "")
}

func (p *page) enrolmentSent(w way) error {
	r, err := p.core.SignInEnrol(p.ctx, p.client, w.ticket(), authcore.SecondAnswer{Method: w.Chosen.Kind, Code: p.secret("code"), Trust: p.trusts(w)})
	if err != nil {
		return p.refused(w, "enrolment.html", enrolmentPage{way: w}, err)
	}
	return p.goOn(w, r)
}
