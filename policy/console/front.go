package console

import (
	"errors"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/notify"
)

func (s *server) frontRoutes() {
	s.open("GET /{$}", (*page).front)
	s.open("POST /sign-out", (*page).signOut)
	s.kit.Otherwise(s.handler((*page).nowhere))
}

// front leads to what most people come for.
func (p *page) front() error { return p.redirect("/security", "") }

// nowhere answers what no pattern has.
func (p *page) nowhere() error { return &authcore.Denial{Reason: authcore.NotFound} }

// signOut ends the session, if it is one still. The browser forgets its token only when it is over: a broken server would
// leave it alive and out of reach.
func (p *page) signOut() error {
	var d *authcore.Denial
	err := p.identify()
	if err == nil {
		err = p.core.SignOut(p.ctx, p.actor)
	}
	if err != nil && (!errors.As(err, &d) || d.Reason != authcore.NotSignedIn) {
		return err
	}
	return p.signedOut("signed_out")
}

// signedOut ends what the browser keeps of whoever was signed in, a step that had begun too. That it is spared a second
// step, its language and its domain stay.
func (p *page) signedOut(said string) error {
	for _, name := range []string{sessionCookie, signInCookie, phoneLinkCookie} {
		p.forget(name)
	}
	return p.redirect("/sign-in", said)
}

func (s *server) languageRoutes() {
	s.open("GET /language", (*page).language)
	s.open("POST /language", (*page).chooseLanguage)
}

// tongue is a language that may be chosen, in its own words.
type tongue struct {
	Code, Name string
	Chosen     bool
}

// Tongues are the languages, for the foot of each page.
func (v *view) Tongues() []tongue {
	names := map[string]string{"en": "English", "ja": "日本語", "ko": "한국어"}
	var l []tongue
	for _, code := range notify.Languages() {
		l = append(l, tongue{Code: code, Name: names[code], Chosen: code == v.Lang()})
	}
	return l
}

// language is for everybody: who has a session still chooses for his messages too.
func (p *page) language() error {
	if p.fromElsewhere() {
		return p.onward()
	}
	if _, err := p.anybody(); err != nil {
		return err
	}
	return p.show("language.html", p.r.URL.Query().Get("next"))
}

// languageKept is how long a browser keeps a choice that was made without signing in; browsers keep none longer than 400
// days (RFC 6265bis section 5.5).
const languageKept = 365 * 24 * time.Hour

func (p *page) chooseLanguage() error {
	known, err := p.anybody()
	if err != nil {
		return err
	}
	code := p.form("language")
	if p.languages[code] == nil {
		return &authcore.Denial{Reason: authcore.Invalid}
	}
	if known {
		if _, err := p.core.SetLanguage(p.ctx, p.actor, code); err != nil {
			return err
		}
	}
	p.keep(langCookie, code, languageKept, http.SameSiteLaxMode)
	return p.redirect(next(p.form("next")), "")
}

// anybody identifies who is signed in, and lets those pass who are not.
func (p *page) anybody() (known bool, err error) {
	var d *authcore.Denial
	err = p.identify()
	if errors.As(err, &d) && d.Reason == authcore.NotSignedIn {
		return false, nil
	}
	return err == nil, err
}
