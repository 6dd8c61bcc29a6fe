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
	for name, values := range problem.GetHeaders() {
		if name == "Retry-After" {
			p.w.Header()[name] = values
		}
	}
	if p.answer(problem.Status, "failure.html", p.lang.sentence(problem), nil) != nil {
		http.Error(p.w, http.StatusText(problem.Status), problem.Status)
	}
}

// here is where to come back to: the page itself, or the one whose form was posted.
func (p *page) here() string {
	if p.reads() {
		return p.r.URL.RequestURI()
	}
	if u, err := url.Parse(p.r.Referer()); err == nil && u.Path != "" && u.Host == p.r.Host {
		return u.RequestURI()
	}
	return "/security"
}
