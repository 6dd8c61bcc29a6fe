package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// SIGHUP: what is good takes hold for new connections, what is not leaves everything as it is, and the log says which.

func TestReload(t *testing.T) {
	t.Parallel()
	s, elsewhere := newStage(t), bareStage(t)
	p := s.serve()
	person := s.people["app-only"]
	pass := person.AppPasswords[0].Secret.Reveal()
	old, answer, err := s.door("imap").enter(s.tls, person.Address, pass)
	if err != nil || !strings.HasPrefix(answer, good["imap"]) {
		t.Fatalf("%q (%v)", answer, err)
	}
	defer old.Close()

	t.Run("a mistake", func(t *testing.T) {
		s.configure(func(c string) string { return strings.Replace(c, "hold: 0s", "hold: soon", 1) })
		p.signal(syscall.SIGHUP)
		p.says("the old configuration stays")
		p.says("limits.hold: must be a duration")
		s.wantAll("after a reload with a mistake", "app-only", good)
	})
	t.Run("an upstream that cannot be", func(t *testing.T) {
		s.configure(func(c string) string {
			return strings.Replace(c, "sign_in: header, header: X-Remote-User", "sign_in: header", 1)
		})
		p.signal(syscall.SIGHUP)
		p.saysAgain("the old configuration stays", 2)
		s.wantAll("after a reload with a mistake", "app-only", good)
	})
	t.Run("a certificate whose key is another's", func(t *testing.T) {
		s.configure(nil)
		other := bareStage(t)
		s.copyFrom(other, "server.key", "server.key")
		p.signal(syscall.SIGHUP)
		p.says("the old certificates stay")
		s.wantAll("after a reload with a broken certificate", "app-only", good)
	})
	t.Run("a new certificate", func(t *testing.T) {
		other := bareStage(t)
		for _, name := range []string{"server.pem", "server.key"} {
			s.copyFrom(other, name, name)
		}
		p.signal(syscall.SIGHUP)
		p.saysAgain("msg=reloaded", 2) // the one with the broken certificate was the first
		for _, name := range []string{"imap", "smtp", "pop3", "dav", "api"} {
			if err := handshake(s.addr[name], other.tls); err != nil {
				t.Errorf("%s does not show the new certificate: %v", name, err)
			}
		}
		s.tls = other.tls
		s.wantAll("with the new certificate", "app-only", good)
	})
	t.Run("another upstream", func(t *testing.T) {
		s.behind = elsewhere.behind // other servers, with the same people and master secret
		s.configure(nil)
		p.signal(syscall.SIGHUP)
		p.saysAgain("msg=reloaded", 3)
		submitTo(t, s, person.Address, pass)
		if n := mailbox(t, s.behind["imap"]); n != 2 {
			t.Errorf("%d messages at the new server, want 2: the welcome and the one sent", n)
		}
	})
	t.Run("what needs a restart", func(t *testing.T) {
		s.configure(func(c string) string {
			c = strings.Replace(c, "hold: 0s", "hold: 1s", 1)
			c = strings.Replace(c, "hostname: localhost", "hostname: other.example", 1)
			c += "\nsign_in:\n  default_country: JP\n  codes:\n    per_source: 31\n"
			return strings.Replace(c, "protocol: smtp, address: 'systemd:smtp', tls: implicit", "protocol: smtp, address: 'systemd:smtp', tls: implicit, any_sender: true", 1)
		})
		p.signal(syscall.SIGHUP)
		p.saysAgain("msg=reloaded", 4)
		for _, key := range []string{"hostname", "limits", "listeners", "sign_in.codes", "sign_in.default_country"} {
			if !strings.Contains(p.err.String(), `changes only with a restart" key=`+key+"\n") {
				t.Errorf("the log does not name %s:\n%s", key, p.err)
			}
		}
	})
	t.Run("other doors of the DAV listener", func(t *testing.T) {
		s.configure(func(c string) string {
			return strings.Replace(c, "doors: [caldav, carddav]", "doors: [carddav], context_path: /dav/", 1)
		})
		p.signal(syscall.SIGHUP)
		p.saysAgain("msg=reloaded", 5)
		for path, want := range map[string]string{"/.well-known/carddav": "301 /dav/", "/.well-known/caldav": "404 "} {
			if got, err := discover(s.addr["dav"], path, s.tls); got != want || err != nil {
				t.Errorf("%s: %q, %v; want %q", path, got, err, want)
			}
		}
	})
	t.Run("a listener that is gone from the file", func(t *testing.T) {
		s.configure(func(c string) string {
			return strings.Replace(c, "  - {name: dav, protocol: dav, address: 'systemd:dav', doors: [caldav, carddav]}\n", "", 1)
		})
		p.signal(syscall.SIGHUP)
		p.saysAgain("msg=reloaded", 6)
		s.wantAll("a listener that closes only with a restart", "app-only", good)
	})
	if _, err := old.ask("z NOOP", "z OK"); err != nil {
		t.Errorf("the session from before all that: %v", err)
	}
}

func (s *stage) copyFrom(o *stage, from, to string) {
	s.t.Helper()
	p, err := os.ReadFile(o.path(from))
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(to, string(p), 0o600)
}

func handshake(addr string, conf *tls.Config) error {
	c, err := tls.Dial("tcp", addr, conf)
	if err != nil {
		return err
	}
	return c.Close()
}

// discover answers the status and where a path leads.
func discover(addr, path string, conf *tls.Config) (string, error) {
	c, err := tls.Dial("tcp", addr, conf)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	return fmt.Sprint(res.StatusCode, " ", res.Header.Get("Location")), nil
}

// submitTo sends a message to oneself.
func submitTo(t *testing.T, s *stage, name, pass string) {
	t.Helper()
	w := &letters{t: t, s: s, name: name, pass: pass}
	if err := w.change(); err != nil {
		t.Fatal(err)
	}
}

// mailbox counts the messages of app-only@new.example at a server behind the doors.
func mailbox(t *testing.T, addr string) int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := newTalk(c)
	plain := "YXBwLW9ubHlAbmV3LmV4YW1wbGUAbGF0Y2hrZXkAYSBtYXN0ZXIgc2VjcmV0" // app-only@new.example, latchkey, a master secret
	for _, x := range [][2]string{{"", "* OK"}, {"a AUTHENTICATE PLAIN " + plain, "a OK"}, {"b STATUS INBOX (MESSAGES)", "* STATUS"}} {
		var got string
		if x[0] == "" {
			got, err = k.hearTo(x[1])
		} else {
			got, err = k.ask(x[0], x[1])
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(got, "* STATUS") {
			return int(got[strings.LastIndex(got, " ")+1] - '0')
		}
	}
	return 0
}
