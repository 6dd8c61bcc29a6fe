package console

import (
	"errors"
	"net/url"
	"slices"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
)

// The member's ways to sign in. Each page has one path: GET shows it, and its forms post to it with the word of what is to
// be done ("do"), so that going back, loading again and coming back from a re-authentication all find the page.

func (s *server) methodRoutes() {
	s.ownForms("/security/two-step", (*page).twoStep, deeds{"on": (*page).twoStepOn, "off": (*page).twoStepOff})
	s.ownForms("/security/two-step/app", (*page).app, deeds{"begin": (*page).appBegin, "confirm": (*page).appConfirm, "remove": (*page).appRemove})
	s.ownForms("/security/two-step/recovery-codes", (*page).recovery, deeds{"make": (*page).recoveryMake})
	s.ownForms("/security/two-step/browsers", (*page).browsers, deeds{"forget": (*page).browsersForget})
	s.ownForms("/contacts", (*page).contacts, deeds{"remove": (*page).contactRemove})
	s.ownForms("/contacts/add", (*page).contactNew, deeds{"add": (*page).contactAdd})
	s.ownForms("/contacts/{id}", (*page).contact, deeds{"send": (*page).contactSend, "verify": (*page).contactVerify})
	s.ownForms("/security/links", (*page).providerLinks, deeds{"connect": (*page).linkConnect, "disconnect": (*page).linkDisconnect})
	s.ownForms("/security/phone", (*page).phoneLink, deeds{"send": (*page).phoneLinkSend, "disconnect": (*page).phoneLinkDisconnect})
	s.ownForms("/security/phone/number", (*page).phoneLinkCode, deeds{"send": (*page).phoneLinkSend, "connect": (*page).phoneLinkConnect})
	s.ownForms("/security/passkeys", (*page).passkeys, deeds{"begin": (*page).passkeyBegin, "finish": (*page).passkeyFinish, "delete": (*page).passkeyDelete})
	s.ownForms("/security/quick", (*page).devices, deeds{"delete": (*page).deviceDelete})
}

// deeds are what the forms of a page do, by their word.
type deeds map[string]func(*page) error

func (s *server) ownForms(path string, show func(*page) error, do deeds) {
	s.signedIn("GET "+path, show)
	s.signedIn("POST "+path, func(p *page) error {
		deed, ok := do[p.form("do")]
		if !ok {
			return &authcore.Denial{Reason: authcore.NotFound}
		}
		err := deed(p)
		if denied(err, authcore.ReauthenticationRequired) {
			return p.redirect("/reauthenticate?"+url.Values{"next": {p.Here()}}.Encode(), "")
		}
		return err
	})
}

// Here is the page itself, where its forms post to.
func (p *page) Here() string { return p.r.URL.RequestURI() }

// backTo is where to go when all is done: the page that led here, or another one.
func (p *page) backTo(otherwise string) string {
	if to := p.r.URL.Query().Get("next"); to != "" {
		return next(to)
	}
	return otherwise
}

// after shows a page after what was asked for was denied; nil: nothing was.
func (p *page) after(err error, name string, data any) error {
	if err != nil {
		return p.again(name, data, err)
	}
	return p.show(name, data)
}

// ofCodes says in the words of these pages what Core denies of verification numbers.
func ofCodes(err error) error {
	var d *authcore.Denial
	if !errors.As(err, &d) {
		return err
	}
	c := *d
	switch string(d.Reason) {
	case string(authcore.Throttled):
		c.Detail = waitFor(d.RetryAfter)
	case string(authcore.BadCode):
		c.Mistakes = []policy.Mistake{{Field: "code", Reason: "The number is wrong, used or too old."}}
	}
	return &c
}

// waitFor tells the limits apart by how long they last: a minute between two numbers, so many an hour for a source or an
// address, ten a day for a member.
func waitFor(d time.Duration) string {
	switch {
	case d <= time.Minute:
		return en("A number was sent just now: wait a minute before you ask for another one.")
	case d <= time.Hour:
		return en("Too many numbers were asked for: try again in an hour.")
	}
	return en("Ten verification numbers and ten wrong ones a day are the most: try again tomorrow.")
}

// ways are those that the member may sign in by today.
func (p *page) approvedWays() ([]string, error) { return p.core.ReauthenticationWays(p.ctx, p.actor) }

// approved says whether the member's organization approves a way.
func (p *page) approved(way string) (bool, error) {
	l, err := p.approvedWays()
	return slices.Contains(l, way), err
}
