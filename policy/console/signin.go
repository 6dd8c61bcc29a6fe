package console

import (
	"html/template"
	"net/http"
	"strings"
	"time"

	"latchkey/authcore/signin"
	"latchkey/policy"
)

// Signing in: an address and a password, or another way that the domain has, then the steps that Core names (steps.go,
// newpassword.go, enrolment.go). No page tells whether an address, a number or a contact is somebody's.

func (s *server) signInRoutes() {
	s.open("GET /sign-in", (*page).signIn)
	s.open("POST /sign-in", (*page).signInSent)
	s.open("POST /sign-in/ways", (*page).otherWays)
	s.open("POST /password/rules", (*page).checkRules)
	s.stepRoutes()
	s.enrolmentRoutes()
	s.newPasswordRoutes()
	s.phoneRoutes()
	s.passkeyRoutes()
	s.providerRoutes()
}

// domainCookie keeps the domain of the last sign-in, so that the ways of it are offered at once.
const domainCookie = "__Host-latchkey-domain"

// domainFor is how long it is kept.
const domainFor = 180 * 24 * time.Hour

// signInPage is where a sign-in begins.
type signInPage struct {
	Address string
	Next    string
	Ways    waysShown
	Known   bool // the ways are those of a domain, or of all
	Asked   bool // for which domain: another one may be named
}

// waysShown are the ways beside the password that this browser can use.
type waysShown struct {
	Providers []providerShown
	Phone     bool
	Passkey   bool
}

// waysAt are the ways as buttons of a page.
type waysAt struct {
	waysShown
	At, Next string
}

// waysOf is for the part "ways": at is /sign-in or /reauthenticate.
func waysOf(w waysShown, at, to string) waysAt { return waysAt{w, at, to} }

// Again says that they prove who is signed in; Goal is the query of a link.
func (w waysAt) Again() bool        { return w.At == "/reauthenticate" }
func (w waysAt) Goal() template.URL { return template.URL(goal(w.Next)) }

// None says that there is the password alone.
func (w waysShown) None() bool { return len(w.Providers) == 0 && !w.Phone && !w.Passkey }

// providerShown is a button. LINE has its own name; others are called as they are configured.
type providerShown struct {
	Name string
	LINE bool
}

func (p *page) signIn() error {
	if p.fromElsewhere() {
		return p.onward()
	}
	if p.identify() == nil {
		return p.redirect(next(p.r.URL.Query().Get("next")), "")
	}
	v, err := p.signInPage(p.r.URL.Query().Get("next"))
	if err != nil {
		return err
	}
	return p.show("signin.html", v)
}

func (p *page) signInPage(to string) (v signInPage, err error) {
	v.Next = next(to)
	domain, named := p.domain()
	v.Asked = named
	if named {
		v.Known = true
		w, err := p.core.WaysOf(p.ctx, domain)
		v.Ways = p.usable(w.Ways)
		return v, err
	}
	w, alike, err := p.core.WaysOfAll(p.ctx)
	if alike {
		v.Known, v.Ways = true, p.usable(w.Ways)
	}
	return v, err
}

// domain is the one that a link names, or the last one here.
func (p *page) domain() (name string, named bool) {
	if typed := p.r.URL.Query().Get("domain"); typed != "" {
		return typed, true
	}
	c, err := p.r.Cookie(domainCookie)
	if err != nil || c.Value == "" {
		return "", false
	}
	return c.Value, true
}

// keepDomain remembers a domain; what no domain could be is not kept.
func (p *page) keepDomain(name string) {
	if name == "" || len(name) > 253 || strings.ContainsAny(name, " \",;\\") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return
	}
	p.keep(domainCookie, name, domainFor, http.SameSiteLaxMode)
}

// usable are the ways that a page can begin. Quick login is the app's, and an answer of a provider that goes elsewhere is
// for a page of the operator's own.
func (p *page) usable(names []string) (w waysShown) {
	for _, name := range names {
		switch name {
		case policy.WayPhone:
			w.Phone = true
		case policy.WayPasskey:
			w.Passkey = true
		default:
			if at, ok := p.providerFor(name); ok {
				w.Providers = append(w.Providers, at)
			}
		}
	}
	return w
}

// otherWays takes the domain of an address, or one by itself, and shows its ways.
func (p *page) otherWays() error {
	typed := p.form("domain")
	if _, domain, ok := strings.Cut(typed, "@"); ok {
		typed = domain
	}
	p.keepDomain(strings.ToLower(typed))
	return p.redirect("/sign-in?"+goal(p.form("next")), "")
}

func (p *page) signInSent() error {
	w := way{Address: p.form("address"), Next: next(p.form("next"))}
	r, err := p.core.SignIn(p.ctx, p.begins(), w.Address, p.secret("password"))
	if err == nil {
		return p.goOn(w, r)
	}
	v, broken := p.signInPage(w.Next)
	if broken != nil {
		return broken
	}
	v.Address = w.Address
	return p.refused(w, "signin.html", v, err)
}

// methodName is what a kind of second step is called.
func (p *page) methodName(m signin.Method) string {
	switch m {
	case signin.ByEmail:
		return p.t("Personal email address")
	case signin.ByMobile:
		return p.t("Mobile phone number")
	case signin.ByApp:
		return p.t("Authenticator app")
	case signin.ByRecovery:
		return p.t("Recovery code")
	case signin.ByPasskey:
		return p.t("Passkey")
	}
	return string(m)
}
