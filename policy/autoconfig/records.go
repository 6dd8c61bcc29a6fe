package autoconfig

import (
	"fmt"

	"latchkey/policy"
)

// A Record is one DNS record to set.
type Record struct {
	Name  string // ends with the domain, without the last dot
	Type  string // SRV, TXT, CNAME
	Value string
	Why   string // which RFC asks for it
}

// String is the record as a zone file has it (RFC 1035 section 5.1).
func (r Record) String() string { return fmt.Sprintf("%s.\t3600\tIN\t%s\t%s", r.Name, r.Type, r.Value) }

// labels are what the service of a door is called (RFC 6186 section 3, RFC 8314 section 5.1, RFC 6764 section 3).
var labels = []struct {
	door     string
	startTLS bool
	name     string
	why      string
}{
	{policy.IMAP, false, "_imaps", "RFC 6186"},
	{policy.IMAP, true, "_imap", "RFC 6186"},
	{policy.POP3, false, "_pop3s", "RFC 6186"},
	{policy.POP3, true, "_pop3", "RFC 6186"},
	{policy.SMTP, false, "_submissions", "RFC 8314"},
	{policy.SMTP, true, "_submission", "RFC 6186"},
	{policy.CalDAV, false, "_caldavs", "RFC 6764"},
	{policy.CardDAV, false, "_carddavs", "RFC 6764"},
}

// Records are those of a domain. A service that there is not is said so with a dot (RFC 6186 section 3.4), and pages are the
// host that serves the autoconfiguration.
func (l Services) Records(domain, pages string) (found []Record) {
	for _, k := range labels {
		name, value := k.name+"._tcp."+domain, "0 0 0 ."
		for _, s := range l {
			if s.Door == k.door && s.StartTLS == k.startTLS {
				value = fmt.Sprintf("%d 1 %d %s.", preference(k.door), s.Port, s.Host)
				found = append(found, Record{name, "SRV", value, k.why})
				if path := s.Path; !s.Mail() {
					if path == "" {
						path = "/"
					}
					found = append(found, Record{name, "TXT", fmt.Sprintf("%q", "path="+path), k.why})
				}
			}
		}
		if value == "0 0 0 ." {
			found = append(found, Record{name, "SRV", value, k.why})
		}
	}
	return append(found,
		Record{"autoconfig." + domain, "CNAME", pages + ".", "Thunderbird"},
		Record{"autodiscover." + domain, "CNAME", pages + ".", "Outlook"})
}

// preference puts IMAP before POP3 (RFC 6186 section 3.3).
func preference(door string) int {
	if door == policy.POP3 {
		return 10
	}
	return 0
}
