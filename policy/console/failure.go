package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"latchkey/authcore"
	"latchkey/policy/api"
)

// failure is what a page tells of a Denial.
type failure struct {
	status   int
	Sentence string
	Fields   map[string]string // by the field's name
}

// mistakes is what a form shows of err; nil when it is not the form's to show.
func (p *page) mistakes(err error) *failure {
	var d *authcore.Denial
	if !errors.As(err, &d) || elsewhere(d.Reason) {
		return nil
	}
	problem := api.Explain(p.ctx, err)
	p.retryAfter(problem)
	f := &failure{status: problem.Status, Sentence: p.lang.sentence(problem), Fields: map[string]string{}}
	for _, m := range d.Mistakes {
		f.Fields[m.Field] = strings.TrimSpace(f.Fields[m.Field] + " " + p.lang.mistake(m))
	}
	return f
}

// elsewhere says that a reason leads to another page.
func elsewhere(r authcore.DenialReason) bool {
	return r == authcore.NotSignedIn || r == authcore.ReauthenticationRequired
}

// fail answers what no form shows: it leads to the sign-in or the re-authentication and back, or tells what is wrong.
func (p *page) fail(err error) {
	problem := api.Explain(p.ctx, err)
	back := url.Values{"next": {p.here()}}.Encode()
	switch authcore.DenialReason(problem.Reason) {
	case authcore.NotSignedIn:
		said := ""
		if _, shown := p.session(); shown {
			said = "session_over"
			p.forget(sessionCookie)
		}
		_ = p.redirect("/sign-in?"+back, said)
		return
	case authcore.ReauthenticationRequired:
		_ = p.redirect("/reauthenticate?"+back, "")
		return
	}
	p.retryAfter(problem)
	if p.answer(problem.Status, "failure.html", p.lang.sentence(problem), nil) != nil {
		http.Error(p.w, http.StatusText(problem.Status), problem.Status)
	}
}

// retryAfter tells programs, too, when it may be tried again (RFC 6585 section 4).
func (p *page) retryAfter(problem *api.Problem) {
	if v := problem.GetHeaders().Get("Retry-After"); v != "" {
		p.w.Header().Set("Retry-After", v)
	}
}

// here is where to come back to: the page itself, or the one whose form was posted. Nobody comes back to a provider's
// answer: it is good once, and its address has the answer in it.
func (p *page) here() string {
	at := p.r.URL
	if !p.reads() {
		u, err := url.Parse(p.r.Referer())
		if err != nil || u.Path == "" || u.Host != p.r.Host {
			return "/security"
		}
		at = u
	}
	if answersProvider(at.Path) {
		return "/security"
	}
	return next(at.RequestURI())
}
