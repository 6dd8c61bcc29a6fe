package console

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What browsers, password managers, finders of holes and robots look for at fixed paths.

// Site is how the pages show themselves.
type Site struct {
	Contacts []string // URIs of security.txt; none: there is no such file
	Policy   string   // URL of what is done with reports; empty: none
	Pages    string   // the origin of the pages
	HSTS     time.Duration
}

func (s *server) site() Site {
	if s.o.Site == nil {
		return Site{}
	}
	return s.o.Site()
}

// secure has the browser speak to this host over TLS alone, whatever a link says (RFC 6797 section 6.1). Hosts below it are
// not ours to speak for.
func (s Site) secure(h http.Header) {
	if s.HSTS > 0 {
		h.Set("Strict-Transport-Security", fmt.Sprintf("max-age=%d", int64(s.HSTS.Seconds())))
	}
}

func (s *server) wellKnownRoutes() {
	s.open("GET /.well-known/security.txt", (*page).securityText)
	// A Well-Known URL for Changing Passwords, W3C: any redirect, to the page itself.
	s.open("GET /.well-known/change-password", func(p *page) error { return p.redirect("/security/password", "") })
	s.open("GET /robots.txt", func(p *page) error { return p.plain("User-agent: *\nDisallow: /\n") })
	s.open("GET /favicon.ico", func(p *page) error { return p.redirect(p.assets.paths["latchkey.svg"], "") })
}

// securityFor is how long a copy of security.txt is to be believed: less than a year is recommended (RFC 9116 section
// 2.5.5), and it is written anew for whoever asks.
const securityFor = 180 * 24 * time.Hour

// securityText says whom to tell of a hole (RFC 9116 section 2.5).
func (p *page) securityText() error {
	s := p.site()
	if len(s.Contacts) == 0 {
		return p.nowhere()
	}
	var b strings.Builder
	for _, c := range s.Contacts {
		fmt.Fprintf(&b, "Contact: %s\n", c)
	}
	fmt.Fprintf(&b, "Expires: %s\n", time.Now().UTC().Truncate(24*time.Hour).Add(securityFor).Format(time.RFC3339))
	if s.Pages != "" {
		fmt.Fprintf(&b, "Canonical: %s/.well-known/security.txt\n", s.Pages)
	}
	if s.Policy != "" {
		fmt.Fprintf(&b, "Policy: %s\n", s.Policy)
	}
	return p.plain(b.String())
}

// plain answers a text for programs.
func (p *page) plain(text string) error {
	p.w.Header().Set("Content-Type", "text/plain; charset=utf-8") // RFC 9116 section 3
	_, _ = p.w.Write([]byte(text))                                // whether it arrives is the client's
	return nil
}
