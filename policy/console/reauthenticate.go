package console

import "slices"

// Whoever is signed in proves himself anew, by any first factor that he may sign in with and the second step where it is
// on, and goes back to the page that asked for it.

func (s *server) reauthenticationRoutes() {
	s.signedIn("GET /reauthenticate", (*page).reauthenticate)
	s.signedIn("POST /reauthenticate", (*page).reauthenticated)
	s.signedIn("POST /reauthenticate/phone", (*page).reauthenticatePhone)
	s.signedIn("GET /reauthenticate/passkey", (*page).reauthenticatePasskey)
	s.signedIn("POST /reauthenticate/{provider}/begin", (*page).reauthenticateProvider)
}

// reauthenticatePage offers the ways of the member.
type reauthenticatePage struct {
	Password bool
	Ways     waysShown
	Next     string
}

func (p *page) reauthenticatePage(to string) (reauthenticatePage, error) {
	names, err := p.core.ReauthenticationWays(p.ctx, p.actor)
	return reauthenticatePage{Password: slices.Contains(names, "password"), Ways: p.usable(names), Next: next(to)}, err
}

// againTo is a way that proves who is signed in.
func (p *page) againTo(to string) way {
	return way{Again: true, Next: next(to), Address: p.actor.Address}
}

func (p *page) reauthenticate() error {
	v, err := p.reauthenticatePage(p.r.URL.Query().Get("next"))
	if err != nil {
		return err
	}
	return p.show("reauthenticate.html", v)
}

func (p *page) reauthenticated() error {
	w := p.againTo(p.form("next"))
	r, err := p.core.Reauthenticate(p.ctx, p.actor, p.secret("password"))
	if err != nil {
		return p.notProved(w, err)
	}
	return p.goOn(w, r)
}

// notProved shows the ways once more, with what is wrong.
func (p *page) notProved(w way, err error) error {
	v, broken := p.reauthenticatePage(w.Next)
	if broken != nil {
		return broken
	}
	return p.refused(w, "reauthenticate.html", v, err)
}

func (p *page) reauthenticatePhone() error {
	w := p.againTo(p.form("next"))
	asked, err := p.core.ReauthenticatePhone(p.ctx, p.actor)
	if err != nil {
		return p.notProved(w, err)
	}
	w.At = atPhone
	return p.phoneAsked(w, asked)
}

func (p *page) reauthenticatePasskey() error {
	return p.passkeyBegun(p.againTo(p.r.URL.Query().Get("next")), "/reauthenticate")
}

func (p *page) reauthenticateProvider() error {
	name := p.r.PathValue("provider")
	st, err := p.core.ReauthenticateProvider(p.ctx, p.actor, name)
	if err != nil {
		return err
	}
	return p.toProvider(p.againTo(p.form("next")), toConfirm, name, st)
}
