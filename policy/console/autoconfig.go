package console

import (
	"net/http"
	"net/url"
	"strings"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/policy/autoconfig"
)

// autoconfigRoutes are what programs ask for before they know anything: nobody signs in, and nothing is told that the DNS
// would not tell.
func (s *server) autoconfigRoutes() {
	s.open("GET /mail/config-v1.1.xml", (*page).thunderbird)
	s.open("GET /.well-known/autoconfig/mail/config-v1.1.xml", (*page).thunderbird)
	for _, at := range []string{"/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"} {
		s.open("POST "+at, (*page).outlook)
	}
	s.open("/.well-known/caldav", func(p *page) error { return p.wellKnown(policy.CalDAV) })
	s.open("/.well-known/carddav", func(p *page) error { return p.wellKnown(policy.CardDAV) })
}

// servicesOf are those of a domain that programs ask about; none when it is not one of ours.
func (p *page) servicesOf(domain string) (autoconfig.Services, error) {
	if p.o.Programs == nil {
		return nil, nil
	}
	open, err := p.core.OpenDoors(p.ctx, domain)
	return p.o.Programs().Services.Open(open), err
}

// thunderbird answers for the domain of ?emailaddress=, else for that of the host name autoconfig.DOMAIN.
func (p *page) thunderbird() error {
	domain := domainOf(p.r.URL.Query().Get("emailaddress"))
	if domain == "" {
		domain = strings.TrimPrefix(hostOf("https://"+p.r.Host), "autoconfig.")
	}
	l, err := p.servicesOf(domain)
	if err != nil {
		return err
	}
	if len(l) == 0 {
		return &authcore.Denial{Reason: authcore.NotFound}
	}
	b, err := l.Thunderbird(domain)
	return p.xml(http.StatusOK, b, err)
}

// outlook answers a request of autodiscover; what is wrong with it is told in its own form, with 200.
func (p *page) outlook() error {
	address, known, err := autoconfig.OutlookRequest(p.r.Body)
	if err != nil {
		b, err := autoconfig.OutlookRefusal(600, "Invalid Request")
		return p.xml(http.StatusOK, b, err)
	}
	l, err := p.servicesOf(domainOf(address))
	if err != nil {
		return err
	}
	if !known || len(l) == 0 {
		b, err := autoconfig.OutlookRefusal(601, "Provider is not available")
		return p.xml(http.StatusOK, b, err)
	}
	b, err := l.Outlook(address)
	return p.xml(http.StatusOK, b, err)
}

func (p *page) xml(status int, b []byte, err error) error {
	if err != nil {
		return err
	}
	p.w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	p.w.WriteHeader(status)
	_, _ = p.w.Write(b) // whether it arrives is the client's
	return nil
}

// wellKnown leads programs that begin at the pages' host name to the door (RFC 6764 section 5).
func (p *page) wellKnown(door string) error {
	if p.o.Programs != nil {
		if s, ok := p.o.Programs().Services.For(door); ok {
			p.w.Header().Set("Location", s.URL())
			p.w.WriteHeader(http.StatusMovedPermanently)
			return nil
		}
	}
	return &authcore.Denial{Reason: authcore.NotFound}
}

// domainOf is what stands behind the last @.
func domainOf(address string) string {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return ""
	}
	return strings.ToLower(address[i+1:])
}

// hostOf is the host name of an origin.
func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
