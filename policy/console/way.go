package console

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/policy"
)

// way is what a browser remembers between two steps of a sign-in, in a cookie that no script reads: the ticket that Core
// gave for the next one, and what its page shows. Nothing of it is believed: Core judges the ticket anew at each step, and
// whoever writes a way of his own shows himself another page. The cookie is Lax, for a provider sends browsers back from
// its own site, and as old as a ticket at most.
//
// There is one for all tabs. A step that is not the one of the way, or too old, leads to the beginning with words.
type way struct {
	At       step             `json:"at"`
	Ticket   string           `json:"ticket,omitempty"`
	Next     string           `json:"next,omitempty"`    // where to go in the end
	Again    bool             `json:"again,omitempty"`   // it proves anew who is signed in
	Address  string           `json:"address,omitempty"` // as it was typed
	Methods  []wayMethod      `json:"methods,omitempty"` // of the second step
	Enrol    []signin.Method  `json:"enrol,omitempty"`
	MayTrust bool             `json:"trust,omitempty"`
	Rules    *policy.Password `json:"rules,omitempty"` // of the new password
	Chosen   wayMethod        `json:"chosen,omitzero"` // the method whose code is asked for
	Provider string           `json:"provider,omitempty"`
	Use      providerUse      `json:"use,omitempty"`
}

// wayMethod is a method of the second step, or one that is being enrolled.
type wayMethod struct {
	Kind signin.Method `json:"kind,omitempty"`
	ID   string        `json:"id,omitempty"`
	To   string        `json:"to,omitempty"` // masked, but for what was just typed
}

// step is where a way is at. The steps of the machine have the names of its states.
type step string

const (
	atTwoStep      = step(authcore.TwoStepRequired)
	atPassword     = step(authcore.PasswordChangeRequires)
	atEnrolment    = step(authcore.EnrolmentRequired)
	atPhone        = step("phone")
	atProvider     = step("provider")
	atPasskey      = step("passkey")
	atForgotten    = step("forgotten")     // its code
	atForgottenNew = step("forgotten_new") // the new password
)

// path is where the page of a step is.
func (s step) path() string {
	switch s {
	case atTwoStep:
		return "/sign-in/two-step"
	case atPassword:
		return "/sign-in/password"
	case atEnrolment:
		return "/sign-in/enrolment"
	case atPhone:
		return "/sign-in/phone/code"
	case atForgotten:
		return "/forgotten-password/code"
	case atForgottenNew:
		return "/forgotten-password/new"
	}
	return "/sign-in"
}

// maxWay bounds the cookie: browsers keep 4096 bytes with its name (RFC 6265 section 6.1).
const maxWay = 3800

// underway reads what the browser remembers.
func (p *page) underway() (w way, ok bool) {
	c, err := p.r.Cookie(signInCookie)
	if err != nil || len(c.Value) > maxWay {
		return way{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || json.Unmarshal(b, &w) != nil {
		return way{}, false
	}
	return w, w.At != ""
}

// keepWay has the browser remember. What makes it too large is where to go in the end: then it goes to the start; or an
// address that is nobody's.
func (p *page) keepWay(w way) error {
	for _, leave := range []func(){func() {}, func() { w.Next = "" }, func() { w.Address = "" }} {
		leave()
		b, err := json.Marshal(w)
		if err != nil {
			return err
		}
		if v := base64.RawURLEncoding.EncodeToString(b); len(v) <= maxWay {
			p.keep(signInCookie, v, authcore.TicketFor, http.SameSiteLaxMode)
			return nil
		}
	}
	return errors.New("what a sign-in remembers is too large for a cookie")
}

// ticket is that of the step.
func (w way) ticket() secret.String { return secret.New(w.Ticket) }

// onWay lets those pass whose way is at this step; others begin again.
func onWay(at step, do func(*page, way) error) func(*page) error {
	return func(p *page) error {
		w, ok := p.underway()
		if !ok || w.At != at {
			return p.beginAgain(way{At: at, Again: w.Again, Next: w.Next})
		}
		return do(p, w)
	}
}

// beginAgain leads to the beginning, with words. Who has come in meanwhile, perhaps in another tab, is led on.
func (p *page) beginAgain(w way) error {
	switch {
	case w.Again:
		return p.lead("/reauthenticate?"+goal(w.Next), "begin_again")
	case w.At == atForgotten || w.At == atForgottenNew:
		return p.lead("/forgotten-password", "begin_again")
	case p.identify() == nil:
		return p.lead(next(w.Next), "")
	}
	return p.lead("/sign-in?"+goal(w.Next), "begin_again")
}

// goal is the query that says where to go in the end.
func goal(to string) string { return url.Values{"next": {next(to)}}.Encode() }

// begins is the client of a first factor: with what the browser shows to be spared the second step.
func (p *page) begins() authcore.Client {
	c := p.client
	if trust, err := p.r.Cookie(trustCookie); err == nil {
		c.TrustedBrowser = secret.New(trust.Value)
	}
	return c
}

// goOn does what a step came to: the next one, or in.
func (p *page) goOn(w way, r authcore.SignInResult) error {
	if r.State == authcore.SignedIn {
		return p.arrive(w, r)
	}
	n := way{At: step(r.State), Ticket: r.Ticket.Reveal(), Next: w.Next, Again: w.Again, Address: w.Address, Enrol: r.Enrollable, MayTrust: r.MayTrust}
	for _, m := range r.Methods {
		n.Methods = append(n.Methods, wayMethod{m.Kind, m.ID, m.To})
	}
	if r.State == authcore.PasswordChangeRequires {
		n.Rules = &r.Rules
	}
	if err := p.keepWay(n); err != nil {
		return err
	}
	return p.lead(n.At.path(), "")
}

// arrive gives the browser its session, in the place of the one that it had.
func (p *page) arrive(w way, r authcore.SignInResult) error {
	said := "confirmed"
	if !w.Again {
		said = ""
		p.leave()
	}
	p.keepSession(r.Token)
	if !r.Trust.Empty() {
		p.keep(trustCookie, r.Trust.Reveal(), session.TrustFor, http.SameSiteLaxMode) // also on the way back from a provider
	}
	if _, domain, ok := strings.Cut(r.Actor.Address, "@"); ok {
		p.keepDomain(domain)
	}
	p.forget(signInCookie)
	return p.lead(next(w.Next), said)
}

// leave ends the session that the browser shows, if there is one. That it could not be ended keeps nobody out.
func (p *page) leave() {
	token, ok := p.session()
	if !ok {
		return
	}
	if a, err := p.core.Session(p.ctx, token, p.client); err == nil {
		_ = p.core.SignOut(p.ctx, a)
	}
}

// refused shows the form once more with what is wrong, or leads to the beginning when its ticket is over.
func (p *page) refused(w way, name string, data any, err error) error {
	if denied(err, authcore.TicketInvalid) {
		return p.beginAgain(w)
	}
	f := p.mistakes(err)
	if f == nil {
		return err
	}
	switch {
	case denied(err, authcore.DenialReason(authcore.Throttled)):
		f.Sentence = p.later(err)
	case denied(err, authcore.BadCode):
		f.Fields["code"] = f.Sentence
	}
	return p.answer(f.status, name, data, f)
}

func denied(err error, r authcore.DenialReason) bool {
	var d *authcore.Denial
	return errors.As(err, &d) && d.Reason == r
}

// later says when to try again.
func (p *page) later(err error) string {
	var d *authcore.Denial
	if !errors.As(err, &d) || d.RetryAfter <= 0 {
		return p.t("Too many attempts: try again later.")
	}
	if s := int(d.RetryAfter.Seconds() + 1); s <= 90 {
		return p.t("Too many attempts: try again in %d seconds.", s)
	}
	return p.t("Too many attempts: try again in %d minutes.", int(d.RetryAfter.Minutes()+1))
}

// lead goes on: by a redirect, but from the answer of another site by a page of our own. Browsers would not send the
// cookie of a session after a redirect that began there (SameSite=Strict).
func (p *page) lead(to, said string) error {
	if !answersProvider(p.r.URL.Path) {
		return p.redirect(to, said)
	}
	if said != "" {
		p.say(said)
	}
	return p.depart(to)
}

// departure is the page between two sites.
type departure struct {
	To   string
	Host string // of another site; empty: it is this one
}

// depart answers a page that goes to an address at once, and has a link to it: a form may lead to this host alone
// (Content-Security-Policy, form-action), whatever its answer redirects to.
func (p *page) depart(to string) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	p.w.Header().Set("Refresh", "0; url="+to) // HTML section 7.4.6.5
	return p.show("departure.html", departure{To: to, Host: u.Host})
}
