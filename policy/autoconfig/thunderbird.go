package autoconfig

import (
	"encoding/xml"

	"latchkey/policy"
)

// The form of Thunderbird's autoconfiguration, version 1.1, that Evolution, K-9 and others read too
// (draft-ietf-mailmaint-autoconfig).
type clientConfig struct {
	XMLName  xml.Name      `xml:"clientConfig"`
	Version  string        `xml:"version,attr"`
	Provider emailProvider `xml:"emailProvider"`
}

type emailProvider struct {
	ID        string       `xml:"id,attr"`
	Domain    string       `xml:"domain"`
	Name      string       `xml:"displayName"`
	Short     string       `xml:"displayShortName"`
	Incoming  []mailServer `xml:"incomingServer"`
	Outgoing  []mailServer `xml:"outgoingServer"`
	Contacts  []davServer  `xml:"addressBook"`
	Calendars []davServer  `xml:"calendar"`
}

type mailServer struct {
	Type           string `xml:"type,attr"`
	Host           string `xml:"hostname"`
	Port           int    `xml:"port"`
	Socket         string `xml:"socketType"`
	Authentication string `xml:"authentication"`
	User           string `xml:"username"`
}

type davServer struct {
	Type           string `xml:"type,attr"`
	User           string `xml:"username"`
	Authentication string `xml:"authentication"`
	URL            string `xml:"serverURL"`
}

// wholeAddress is what the program puts the member's address for.
const wholeAddress = "%EMAILADDRESS%"

// Thunderbird is the document for a domain.
func (l Services) Thunderbird(domain string) ([]byte, error) {
	p := emailProvider{ID: domain, Domain: domain, Name: domain, Short: domain}
	for _, s := range l.ranked() {
		switch s.Door {
		case policy.IMAP, policy.POP3:
			p.Incoming = append(p.Incoming, s.thunderbird())
		case policy.SMTP:
			p.Outgoing = append(p.Outgoing, s.thunderbird())
		case policy.CardDAV:
			p.Contacts = append(p.Contacts, davServer{"carddav", wholeAddress, "http-basic", s.URL()})
		case policy.CalDAV:
			p.Calendars = append(p.Calendars, davServer{"caldav", wholeAddress, "http-basic", s.URL()})
		}
	}
	return document(clientConfig{Version: "1.1", Provider: p})
}

func (s Service) thunderbird() mailServer {
	socket := "SSL"
	if s.StartTLS {
		socket = "STARTTLS"
	}
	return mailServer{s.Door, s.Host, s.Port, socket, "password-cleartext", wholeAddress} // within TLS
}

func document(v any) ([]byte, error) {
	b, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append([]byte(xml.Header), append(b, '\n')...), nil
}
