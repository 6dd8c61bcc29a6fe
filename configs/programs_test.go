package configs

import (
	"fmt"
	"testing"
)

func TestProgramDoorsOfListeners(t *testing.T) {
	c := &Config{Hostname: "mail.example.com", Listeners: []Listener{
		{Protocol: IMAP, Address: ":993", TLS: Implicit},
		{Protocol: SMTP, Address: "systemd:submission", TLS: StartTLS},
		{Protocol: DAV, Address: "192.0.2.1:443", Doors: []string{"caldav", "carddav"}, ContextPath: "/dav/"},
		{Protocol: API, Address: ":8443"},
	}}
	want := "[{imap mail.example.com 993 implicit } {caldav mail.example.com 443  /dav/} {carddav mail.example.com 443  /dav/}]"
	if got := fmt.Sprint(c.ProgramDoors()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c.Pages() != "https://mail.example.com:8443" || HostOf(c.Pages()) != "mail.example.com" {
		t.Errorf("pages %s", c.Pages())
	}
	c.Programs.Doors = []ProgramDoor{{Door: "imap", Host: "imap.example.com", Port: 993, TLS: Implicit}}
	if got := c.ProgramDoors(); len(got) != 1 || got[0].Host != "imap.example.com" {
		t.Errorf("got %v", got)
	}
}

func TestPagesAt(t *testing.T) {
	l := Listener{PagesFor: []string{"mail.example.com", "autoconfig.*"}}
	for host, want := range map[string]bool{
		"mail.example.com": true, "MAIL.example.com.": true, "autoconfig.example.org": true, "dav.example.com": false, "xautoconfig.example.org": false,
		"autoconfig": false, "": false, "mail.example.com.evil.org": false,
	} {
		if l.PagesAt(host) != want {
			t.Errorf("%q: %v, want %v", host, !want, want)
		}
	}
}
