package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"latchkey/configs"
)

// zone is a resolver that knows some names.
type zone struct {
	srv   map[string][]*net.SRV
	txt   map[string][]string
	hosts map[string][]string
	down  error
}

func (z zone) none(name string) error {
	if z.down != nil {
		return z.down
	}
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (z zone) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	if l, ok := z.srv[name]; ok {
		return name, l, nil
	}
	return "", nil, z.none(name)
}

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	if l, ok := z.txt[name]; ok {
		return l, nil
	}
	return nil, z.none(name)
}

func (z zone) LookupHost(_ context.Context, name string) ([]string, error) {
	if l, ok := z.hosts[name]; ok {
		return l, nil
	}
	return nil, z.none(name)
}

func dnsConfig() *configs.Config {
	c := new(configs.Default())
	c.Hostname = "mail.example.com"
	c.Listeners = []configs.Listener{
		{Name: "imaps", Protocol: configs.IMAP, Address: ":993", TLS: configs.Implicit},
		{Name: "dav", Protocol: configs.DAV, Address: ":443", Doors: []string{"caldav"}, ContextPath: "/dav/"},
	}
	return c
}

func TestDoctorDNS(t *testing.T) {
	z := zone{
		srv: map[string][]*net.SRV{
			"_imaps._tcp.example.org":   {{Target: "Mail.example.com.", Port: 993}},
			"_imap._tcp.example.org":    {{Target: ".", Port: 0}},
			"_caldavs._tcp.example.org": {{Target: "old.example.com.", Port: 443}},
		},
		txt:   map[string][]string{"_caldavs._tcp.example.org": {"path=/dav/"}},
		hosts: map[string][]string{"autoconfig.example.org": {"192.0.2.1"}},
	}
	var out bytes.Buffer
	if n := doctorDNS(t.Context(), &out, z, dnsConfig(), "Example.org, "); n != 1 {
		t.Errorf("%d failures, want 1", n)
	}
	for _, want := range []string{
		"ok       dns SRV _imaps._tcp.example.org: 993 mail.example.com.", "ok       dns SRV _imap._tcp.example.org: 0 .",
		"error    dns SRV _caldavs._tcp.example.org: leads elsewhere: 443 old.example.com.", "ok       dns TXT _caldavs._tcp.example.org: \"path=/dav/\"",
		"ok       dns SRV _pop3s._tcp.example.org: there is no such service", "ok       dns CNAME autoconfig.example.org: 192.0.2.1",
		"warning  dns CNAME autodiscover.example.org: is missing\n         mend: autodiscover.example.org.\t3600\tIN\tCNAME\tmail.example.com.",
		"mend: _caldavs._tcp.example.org.\t3600\tIN\tSRV\t0 1 443 mail.example.com.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	if n := doctorDNS(t.Context(), &out, zone{down: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}, dnsConfig(), "example.org"); n != 0 || !strings.Contains(out.String(), "does not answer") {
		t.Errorf("%d failures of a DNS that is down:\n%s", n, out.String())
	}
}
