package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/configs"
	"latchkey/proxy/demo"
)

// stage is what a server of a test runs on: a configuration, a store with the demo's people in it, the servers behind the
// doors in the test's own process, and sockets that outlive each process of the server.
type stage struct {
	t       testing.TB
	dir     string
	file    string // the configuration
	ca      string
	tls     *tls.Config
	people  map[string]sample.Person // by state
	behind  map[string]string        // addresses of the servers behind, by upstream
	sockets []namedSocket
	addr    map[string]string // of the listeners, by name
}

// stageDoors are the listeners, by the protocol of their clients; dav's upstream is http.
var stageDoors = []string{"imap", "smtp", "pop3", "dav"}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := bareStage(t)
	s.seed()
	return s
}

// bareStage has no store yet.
func bareStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), people: map[string]sample.Person{}, behind: map[string]string{}, addr: map[string]string{}}
	s.file, s.ca = filepath.Join(s.dir, "latchkey.yaml"), filepath.Join(s.dir, "ca.pem")
	if err := demoCertificate(s.dir); err != nil {
		t.Fatal(err)
	}
	s.tls = trust(t, s.ca)
	s.write("master", "a master secret\n", 0o600)
	for _, name := range append([]string{"api", "ops"}, stageDoors...) {
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		s.sockets = append(s.sockets, namedSocket{name, ln})
		s.addr[name] = ln.Addr().String()
	}
	s.startBehind()
	s.configure(nil)
	return s
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) write(name, text string, mode os.FileMode) string {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
	return s.path(name)
}

// startBehind starts the servers behind the doors; they end with the test.
func (s *stage) startBehind() {
	s.t.Helper()
	people := []demo.Person{
		{Address: "app-only@new.example"}, {Address: "account@old.example"}, {Address: "opted-in@old.example"}, {Address: "two-step@old.example"},
		{Address: "admin@old.example"},
	}
	for _, address := range drillPeople {
		people = append(people, demo.Person{Address: address})
	}
	b, err := demo.New(demo.Options{
		Domains: []string{sample.New, sample.Old}, Master: demoMaster, MasterSecret: secret.New("a master secret"),
		People: people,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	d := &demoHouse{behind: b}
	at, err := d.listenBehind()
	if err != nil {
		s.t.Fatal(err)
	}
	s.behind = at
	s.t.Cleanup(d.closeBehind)
}

// configure writes the configuration; edit changes its text.
func (s *stage) configure(edit func(string) string) {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s\nkeys: %s\nhostname: localhost\nlog: {level: debug}\n", s.path("data"), s.path("keys.json"))
	fmt.Fprintf(&b, "certificates:\n  - {cert_file: %s, key_file: %s}\n", s.path("server.pem"), s.path("server.key"))
	fmt.Fprintf(&b, "listeners:\n")
	for _, p := range stageDoors {
		if p == "dav" {
			fmt.Fprintf(&b, "  - {name: dav, protocol: dav, address: 'systemd:dav', doors: [caldav, carddav]}\n")
			continue
		}
		fmt.Fprintf(&b, "  - {name: %s, protocol: %s, address: 'systemd:%s', tls: implicit}\n", p, p, p)
	}
	fmt.Fprintf(&b, "  - {name: api, protocol: api, address: 'systemd:api'}\nops: {address: 'systemd:ops'}\nupstreams:\n")
	for _, p := range []string{"imap", "smtp", "pop3"} {
		fmt.Fprintf(&b, "  demo-%s:\n    {protocol: %s, addresses: ['%s'], tls: {mode: none}, sign_in: master, master: %s, secret_file: %s}\n",
			p, p, s.behind[p], demoMaster, s.path("master"))
	}
	fmt.Fprintf(&b, "  demo-http:\n    {protocol: http, addresses: ['%s'], tls: {mode: none}, sign_in: header, header: X-Remote-User}\n", s.behind["http"])
	fmt.Fprintf(&b, "limits: {hold: 0s, hash_memory_kib: 1024, hash_time: 1, drain_timeout: 15s}\n")
	text := b.String()
	if edit != nil {
		text = edit(text)
	}
	s.write("latchkey.yaml", text, 0o600)
}

// seed makes the store with people in every state.
func (s *stage) seed() {
	s.t.Helper()
	cfg, err := configs.Load(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	work := storeWork{"seed", func(ctx context.Context, w works, _ []string, _ io.Reader, _ io.Writer) error {
		people, err := sample.Make(ctx, w.core, nil)
		for _, p := range people {
			s.people[p.State] = p
		}
		return err
	}}
	if err := inStore(s.t.Context(), cfg, program{err: io.Discard}, work, nil, nil, io.Discard); err != nil {
		s.t.Fatal(err)
	}
}

// serve starts the server and waits until it serves.
func (s *stage) serve() *process {
	s.t.Helper()
	p := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets}.begin(s.t)
	p.says("latchkey serves")
	return p
}

func (s *stage) door(protocol string) door { return door{protocol, s.addr[protocol], s.ca} }

// enters says whether the person in the state is let in at a door with his app password or, without one, the account's.
func (s *stage) signIn(protocol, state string) string {
	s.t.Helper()
	p := s.people[state]
	pass := p.Account
	if len(p.AppPasswords) > 0 {
		pass = p.AppPasswords[0].Secret
	}
	got, err := s.door(protocol).signIn(s.tls, p.Address, pass.Reveal())
	if err != nil {
		s.t.Errorf("%s as %s: %v", protocol, state, err)
	}
	return got
}

// wantAll expects an answer of a kind at every door.
func (s *stage) wantAll(when, state string, want map[string]string) {
	s.t.Helper()
	for _, p := range stageDoors {
		if got := s.signIn(p, state); !strings.HasPrefix(got, want[p]) {
			s.t.Errorf("%s: %s as %s: %q, want %q", when, p, state, got, want[p])
		}
	}
}
