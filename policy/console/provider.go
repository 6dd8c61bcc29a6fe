package console

import (
	"net/url"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

// LINE and other OpenID providers. A form begins here, its answer is a page that goes to the provider, and the provider
// sends the browser back to /sign-in/NAME/callback, which is what its configuration has as redirect_url, whatever it was
// for: to sign in, to prove oneself anew, or to link the account. The ticket waits in the cookie meanwhile.

func (s *server) providerRoutes() {
	s.open("POST /sign-in/{provider}/begin", (*page).providerBegun)
	s.open("GET /sign-in/{provider}/callback", (*page).providerAnswered)
}

// providerUse is what a browser was sent to a provider for.
type providerUse string

const (
	toSignIn  providerUse = "sign_in"
	toConfirm providerUse = "reauthenticate"
	toLink    providerUse = "link"
)

// callback is the path that takes a provider's answers; answersProvider recognizes one.
func callback(name string) string      { return "/sign-in/" + name + "/callback" }
func answersProvider(path string) bool { return strings.HasSuffix(path, "/callback") }

// providerFor finds the provider of a way, if its answers come to these pages.
func (p *page) providerFor(way string) (providerShown, bool) {
	for _, i := range p.core.Providers() {
		if u, err := url.Parse(i.ReturnsTo); i.Way == way && err == nil && u.Path == callback(i.Name) {
			return providerShown{Name: i.Name, LINE: i.Way == policy.WayLINE}, true
		}
	}
	return providerShown{}, false
}

func (p *page) providerBegun() error {
	name := p.r.PathValue("provider")
	st, err := p.core.SignInProvider(p.ctx, p.client, name)
	if err != nil {
		return err
	}
	return p.toProvider(way{Next: next(p.form("next"))}, toSignIn, name, st)
}

// toProvider sends the browser there. w says where to go in the end.
func (p *page) toProvider(w way, use providerUse, name string, st authcore.ProviderStep) error {
	w.At, w.Use, w.Provider, w.Ticket = atProvider, use, name, st.Ticket.Reveal()
	if err := p.keepWay(w); err != nil {
		return err
	}
	return p.depart(st.AuthorizeURL)
}

// providerAnswered goes on with what the provider sent the browser back with.
func (p *page) providerAnswered() error {
	w, ok := p.underway()
	if !ok || w.At != atProvider || w.Provider != p.r.PathValue("provider") {
		return p.beginAgain(way{Next: w.Next, Again: w.Again})
	}
	if _, signedIn := p.session(); !signedIn && w.Use != toSignIn && !p.r.URL.Query().Has("here") {
		return p.comeHere()
	}
	q := p.r.URL.Query()
	if problem := q.Get("error"); problem != "" {
		return p.providerRefused(w, problem)
	}
	answer := authcore.ProviderAnswer{State: secret.New(q.Get("state")), Code: secret.New(q.Get("code")), Issuer: q.Get("iss")}
	if w.Use == toLink {
		return p.linked(w, answer)
	}
	r, err := p.providerProved(w, answer)
	if err != nil {
		return p.providerDenied(w, err)
	}
	return p.goOn(w, r)
}

// comeHere asks for the same address once more, from this site: the cookie of the session is not sent to a request that
// another site began (SameSite=Strict). The address has nothing in it that it had not before.
func (p *page) comeHere() error {
	u := *p.r.URL
	q := u.Query()
	q.Set("here", "1")
	u.RawQuery = q.Encode()
	return p.depart(u.RequestURI())
}

func (p *page) providerProved(w way, answer authcore.ProviderAnswer) (authcore.SignInResult, error) {
	if w.Use == toSignIn {
		return p.core.SignInProviderCallback(p.ctx, p.begins(), w.Provider, w.ticket(), answer)
	}
	if err := p.identify(); err != nil {
		return authcore.SignInResult{}, err
	}
	return p.core.ReauthenticateProviderCallback(p.ctx, p.actor, w.Provider, w.ticket(), answer)
}

// linked ends the linking of an account, and leads to the page that began it, with words.
func (p *page) linked(w way, answer authcore.ProviderAnswer) error {
	if err := p.identify(); err != nil {
		return err
	}
	p.forget(signInCookie)
	_, err := p.core.LinkProviderCallback(p.ctx, p.actor, w.Provider, w.ticket(), answer)
	if err != nil {
		return p.providerDenied(w, err)
	}
	return p.lead(next(w.Next), "account_linked")
}

// providerRefused tells of an error that the provider itself answers (RFC 6749 section 4.1.2.1). Nothing of its own words
// is shown: whoever makes a link can write them.
func (p *page) providerRefused(w way, problem string) error {
	p.forget(signInCookie)
	if problem == "access_denied" {
		return p.lead(w.start(), "provider_cancelled")
	}
	return p.lead(w.start(), "provider_failed")
}

// providerDenied leads to where it began with the words of the reason.
func (p *page) providerDenied(w way, err error) error {
	for reason, said := range map[authcore.DenialReason]string{
		authcore.TicketInvalid: "begin_again", authcore.ProviderRefused: "provider_failed", authcore.NotLinked: "not_linked",
		authcore.WayDenied: "way_denied", authcore.AlreadyLinked: "already_linked",
		authcore.DenialReason(authcore.BadCredentials): "not_let_in", authcore.Forbidden: "somebody_else",
	} {
		if denied(err, reason) {
			p.forget(signInCookie)
			return p.lead(w.start(), said)
		}
	}
	return err
}

// start is where a way at a provider began.
func (w way) start() string {
	switch w.Use {
	case toConfirm:
		return "/reauthenticate?" + goal(w.Next)
	case toLink:
		return next(w.Next)
	}
	return "/sign-in?" + goal(w.Next)
}
