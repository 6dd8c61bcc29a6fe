package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// latchkeyServices are its listeners. Those of a load balancer believe a PROXY header: in the clear because no password is
// taken without TLS, and for the flood because guessers come from everywhere.
var latchkeyServices = []struct{ name, yaml string }{
	{"imaps", "protocol: imap, tls: implicit"},
	{"imap", "protocol: imap, tls: starttls, proxy_protocol_from: [127.0.0.0/8]"},
	{"imaps-balancer", "protocol: imap, tls: implicit, proxy_protocol_from: [127.0.0.0/8]"},
	{"pop3s", "protocol: pop3, tls: implicit"},
	{"submissions", "protocol: smtp, tls: implicit"},
	{"dav", "protocol: dav, doors: [caldav, carddav]"},
	{"api", "protocol: api"},
	{"ops", ""},
}

// masterSecret is what the servers behind are told; they let everybody in.
const masterSecret = "nobody-checks-this"

// latchkeyConfig is the default in all but the limits that one client on one machine would meet.
func latchkeyConfig(dir string, at map[string]string, b behind, c certificate) string {
	var s strings.Builder
	put := func(format string, a ...any) { fmt.Fprintf(&s, format+"\n", a...) }
	put("data: %s\nkeys: %s\nhostname: localhost\nlog: {level: warn}", filepath.Join(dir, "data"), filepath.Join(dir, "keys.json"))
	put("certificates:\n  - {cert_file: %s, key_file: %s}\nlisteners:", c.file, c.key)
	for _, l := range latchkeyServices {
		if l.yaml != "" {
			put("  - {name: %s, address: '%s', %s}", l.name, at[l.name], l.yaml)
		}
	}
	put("ops: {address: '%s'}\nupstreams:", at["ops"])
	for _, u := range [][2]string{{"imap", b.IMAP}, {"pop3", b.POP3}, {"smtp", b.SMTP}} {
		put("  %s: {protocol: %s, addresses: ['%s'], tls: {mode: none}, sign_in: master, master: bench, secret_file: %s}", u[0], u[0], u[1], filepath.Join(dir, "master"))
	}
	put("  dav: {protocol: http, addresses: ['%s'], tls: {mode: none}, sign_in: header, header: X-Remote-User}", b.HTTP)
	put("limits: {per_member_and_door: 10000, per_source: 100000, api_per_member: 1000000, api_per_source: 1000000, drain_timeout: 1s}")
	return s.String()
}

// newLatchkey writes its files and answers the server, which is not started yet.
func (b *bench) newLatchkey() (*server, error) {
	dir, err := b.folder(latchkeyName)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	var services []string
	for _, l := range latchkeyServices {
		services = append(services, l.name)
	}
	at, err := addresses(services)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "master"), []byte(masterSecret+"\n"), 0o600),
		os.WriteFile(b.latchkeyFile(), []byte(latchkeyConfig(dir, at, b.behind, b.certificate)), 0o600),
	)
	s := &server{name: latchkeyName, at: at, start: b.startLatchkey}
	s.ready = func(ctx context.Context) error { return b.readyz(ctx, at["ops"]) }
	return s, err
}

func (b *bench) latchkeyFile() string { return filepath.Join(b.dir, latchkeyName, "latchkey.yaml") }

func (b *bench) startLatchkey(*server) (*child, error) {
	return b.nursery.start(program{name: latchkeyName, path: b.tools.latchkey, args: []string{"serve", "-config", b.latchkeyFile()}, log: b.log(latchkeyName)})
}

// readyz waits until it says that it serves.
func (b *bench) readyz(ctx context.Context, ops string) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ops+"/readyz", nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !pause(ctx, 30*time.Millisecond) {
			return errors.Join(errors.New("it is not ready"), err)
		}
	}
}
