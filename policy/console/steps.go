package console

import (
	"slices"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/signin"
)

func (s *server) stepRoutes() {
	s.open("GET /sign-in/two-step", onWay(atTwoStep, (*page).secondStep))
	s.open("POST /sign-in/two-step", onWay(atTwoStep, (*page).secondStepSent))
	s.open("POST /sign-in/two-step/method", onWay(atTwoStep, (*page).methodChosen))
	s.open("GET /sign-in/two-step/passkey", onWay(atTwoStep, (*page).passkeyStep))
	s.open("POST /sign-in/two-step/passkey", onWay(atTwoStep, (*page).passkeyStepSent))
}

// secondStepPage is the second step: the methods to choose from, or the code of the one that was chosen.
type secondStepPage struct {
	way
	Options []methodShown
}

// methodShown is a method as a button.
type methodShown struct {
	wayMethod
	Name  string
	Value string // of the form
}

// Sends says that a code is sent.
func (m wayMethod) Sends() bool { return m.Kind == signin.ByEmail || m.Kind == signin.ByMobile }

// App and Recovery say which other code is typed.
func (m wayMethod) App() bool      { return m.Kind == signin.ByApp }
func (m wayMethod) Recovery() bool { return m.Kind == signin.ByRecovery }

func (p *page) secondStepPage(w way) secondStepPage {
	v := secondStepPage{way: w}
	for _, m := range w.Methods {
		v.Options = append(v.Options, methodShown{m, p.methodName(m.Kind), string(m.Kind) + ":" + m.ID})
	}
	if len(w.Methods) == 1 && (w.Methods[0].App() || w.Methods[0].Recovery()) {
		v.Chosen = w.Methods[0]
	}
	return v
}

func (p *page) secondStep(w way) error { return p.show("secondstep.html", p.secondStepPage(w)) }

// methodChosen sends a code where the method is a contact; pressing it again sends another one. No method shows them all.
func (p *page) methodChosen(w way) error {
	kind, id, _ := strings.Cut(p.form("method"), ":")
	i := slices.IndexFunc(w.Methods, func(m wayMethod) bool { return string(m.Kind) == kind && m.ID == id })
	switch {
	case i < 0:
		w.Chosen = wayMethod{}
	case w.Methods[i].Kind == signin.ByPasskey:
		return p.redirect("/sign-in/two-step/passkey", "")
	case w.Methods[i].Sends():
		return p.sendCode(w, w.Methods[i])
	default:
		w.Chosen = w.Methods[i]
	}
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.redirect(atTwoStep.path(), "")
}

func (p *page) sendCode(w way, m wayMethod) error {
	if _, err := p.core.SignInSend(p.ctx, p.client, w.ticket(), m.Kind, m.ID); err != nil {
		return p.refused(w, "secondstep.html", p.secondStepPage(w), err)
	}
	w.Chosen = m
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.redirect(atTwoStep.path(), "code_sent")
}

func (p *page) secondStepSent(w way) error {
	v := p.secondStepPage(w)
	r, err := p.core.SignInTwoStep(p.ctx, p.client, w.ticket(), authcore.SecondAnswer{
		Method: v.Chosen.Kind, Code: p.secret("code"), Trust: p.trusts(w),
	})
	if err != nil {
		return p.refused(w, "secondstep.html", v, err)
	}
	return p.goOn(w, r)
}

// trusts says whether the browser is to be spared the next time.
func (p *page) trusts(w way) bool { return w.MayTrust && p.form("trust") != "" }
