package console

import (
	"net/http"
	"slices"
	"time"

	"latchkey/authcore/secret"
)

// The cookies of a browser. __Host- ties them to this host over TLS and keeps other hosts of the domain from setting
// them (RFC 6265bis section 4.1.3.2); script reads none of them.
const (
	sessionCookie = "__Host-latchkey"         // the token of a session; SameSite=Strict
	signInCookie  = "__Host-latchkey-sign-in" // tickets and state on the way in; SameSite=Lax, ten minutes
	trustCookie   = "__Host-latchkey-trust"   // spares this browser the second step
	saidCookie    = "__Host-latchkey-said"    // a closed word for the next page
	langCookie    = "__Host-latchkey-lang"    // a language chosen before signing in
)

// maxToken is more than a token has.
const maxToken = 256

// session is the token that the browser shows.
func (p *page) session() (secret.String, bool) {
	c, err := p.r.Cookie(sessionCookie)
	if err != nil || c.Value == "" || len(c.Value) > maxToken {
		return secret.String{}, false
	}
	return secret.New(c.Value), true
}

// keep gives the browser a cookie; a life of 0 ends with the browser, a negative one now.
func (p *page) keep(name, value string, life time.Duration, same http.SameSite) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: same}
	switch {
	case life > 0:
		c.MaxAge = int(life.Seconds())
	case life < 0:
		c.MaxAge = -1
	}
	http.SetCookie(p.w, c)
}

// keepSession keeps the token of a session that began or was renewed, until the browser is closed: Core knows how long it
// lasts at most.
func (p *page) keepSession(token secret.String) {
	p.keep(sessionCookie, token.Reveal(), 0, http.SameSiteStrictMode)
}

func (p *page) forget(name string) { p.keep(name, "", -1, http.SameSiteStrictMode) }

// say keeps a word of sayings for the next page.
func (p *page) say(word string) { p.keep(saidCookie, word, 30*time.Second, http.SameSiteStrictMode) }

// said is what the change before came to, and whether it came to nothing.
func (p *page) said() (sentence string, refused bool) {
	c, err := p.r.Cookie(saidCookie)
	if err != nil {
		return "", false
	}
	p.forget(saidCookie)
	s, ok := sayings()[c.Value]
	if !ok {
		return "", false
	}
	return p.t(s), slices.Contains(refusals(), c.Value)
}
