// Package autoconfig says where the doors are, in the forms that programs ask for: Thunderbird's autoconfig, Outlook's
// autodiscover (POX), an Apple configuration profile, the QR codes of Thunderbird for Android and of DAVx5, and DNS
// records. It is the same for every member and needs no secret but for what a member takes home: a profile and a code
// may hold one app password. It refuses to name a door without TLS.
package autoconfig

import (
	"net"
	"net/url"
	"slices"
	"strconv"

	"latchkey/policy"
)

// A Service is one door as programs reach it from outside.
type Service struct {
	Door     string // policy.IMAP …
	Host     string
	Port     int
	StartTLS bool   // TLS begins by a command; else with the first byte
	Path     string // of CalDAV and CardDAV: where the upstream's tree begins
}

// Services are all there are.
type Services []Service

// ranked puts TLS from the first byte before STARTTLS (RFC 8314 section 3): programs take the first that they can use.
func (l Services) ranked() Services {
	rank := map[bool]int{true: 1}
	return slices.SortedStableFunc(slices.Values(l), func(a, b Service) int { return rank[a.StartTLS] - rank[b.StartTLS] })
}

// Open are those of the doors that a domain has open.
func (l Services) Open(doors []string) Services {
	return slices.DeleteFunc(slices.Clone(l), func(s Service) bool { return !slices.Contains(doors, s.Door) })
}

// For is the best service of a door: TLS from the first byte comes first (RFC 8314 section 3).
func (l Services) For(door string) (Service, bool) {
	for _, implicit := range []bool{true, false} {
		for _, s := range l {
			if s.Door == door && s.StartTLS != implicit {
				return s, true
			}
		}
	}
	return Service{}, false
}

// best are the best services of some doors.
func (l Services) best(doors ...string) (found Services) {
	for _, d := range doors {
		if s, ok := l.For(d); ok {
			found = append(found, s)
		}
	}
	return found
}

// URL is where CalDAV and CardDAV begin.
func (s Service) URL() string {
	host := s.Host
	if s.Port != httpsPort {
		host = net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	}
	path := s.Path
	if path == "" {
		path = "/"
	}
	return (&url.URL{Scheme: "https", Host: host, Path: path}).String()
}

const httpsPort = 443

// Mail says whether the door is one of mail's.
func (s Service) Mail() bool {
	return s.Door == policy.IMAP || s.Door == policy.POP3 || s.Door == policy.SMTP
}
