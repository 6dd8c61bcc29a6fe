package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/secret"
	"latchkey/authcore/store/redistest"
	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy/peers"
)

// The whole program before the real servers: what a client sees through the door is what it sees at the server. The
// members are real ones, in the store; one domain takes app passwords, the other account passwords.

// realHouse is a house with one member of each kind, before upstreams of a test.
type realHouse struct {
	h       *house
	socks   sockets
	ca      string
	app     authcore.AppPassword
	secrets map[string]string // by address
}

const (
	appMember     = "jane@new.example"
	accountMember = "jane@old.example"
)

func startHouse(t *testing.T, upstreams map[string]configs.Upstream, more ...func(*configs.Config)) *realHouse {
	t.Helper()
	dir := t.TempDir()
	if err := demoCertificate(dir); err != nil {
		t.Fatal(err)
	}
	cfg := demoConfig(dir, nil, demoOptions{ports: "auto", hold: 0})
	cfg.Tokens.Issuer = peers.TokenIssuer
	cfg.Upstreams = upstreams
	for _, change := range more {
		change(cfg)
	}
	r := &realHouse{ca: filepath.Join(dir, "ca.pem"), secrets: map[string]string{}}
	var err error
	if r.socks, err = listen(cfg); err != nil {
		t.Fatal(err)
	}
	if r.h, err = build(t.Context(), cfg, io.Discard); err != nil {
		t.Fatal(err)
	}
	r.people(t)
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := r.h.run(ctx, shift{socks: r.socks, ready: func() { close(ready) }})
		done <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the house ended with %v", err)
		}
	})
	<-ready
	return r
}

// people makes both members, who may send as themselves.
func (r *realHouse) people(t *testing.T) {
	t.Helper()
	a := authcore.CommandActor("test")
	for name, born := range map[string]time.Time{"new.example": time.Date(2023, 5, 1, 0, 0, 0, 0, time.UTC), "old.example": time.Date(2020, 1, 15, 0, 0, 0, 0, time.UTC)} {
		if _, err := r.h.core.CreateDomain(t.Context(), a, authcore.NewDomain{Name: name, CreatedAt: born}); err != nil {
			t.Fatal(err)
		}
		account := rand.Text() + "a1"
		n := authcore.NewMember{Address: "jane@" + name, Password: secret.New(account)}
		if _, _, err := r.h.core.CreateMember(t.Context(), a, name, n); err != nil {
			t.Fatal(err)
		}
		r.secrets["jane@"+name] = account
	}
	made, plain, err := r.h.core.CreateAppPasswordFor(t.Context(), a, appMember, apppass.Wish{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	r.app, r.secrets[appMember] = made, plain.Reveal()
}

// at is a listener as a client of the member sees it.
func (r *realHouse) at(listener, member string) peers.Endpoint {
	e := peers.Endpoint{Addr: r.socks[listener].Addr().String(), Security: peers.TLS, CA: r.ca, User: member, Password: r.secrets[member]}
	if listener == "imap" || listener == "submission" || listener == "pop3" {
		e.Security = peers.StartTLS
	}
	return e
}

func master(t *testing.T, protocol, address, facts string) configs.Upstream {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(peers.MasterSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return configs.Upstream{Protocol: protocol, Addresses: []string{address}, TLS: configs.TLS{Mode: "none"}, SignIn: "master",
		Master: peers.MasterUser, SecretFile: file, Facts: facts, ProbeUser: appMember}
}

func TestPeersDovecotByMaster(t *testing.T) {
	t.Parallel()
	d := peers.Dovecot(t, peers.DovecotOptions{})
	r := startHouse(t, map[string]configs.Upstream{
		"imap": master(t, policy.IMAP, d.IMAP, "id"), "pop3": master(t, policy.POP3, d.POP3, "xclient"), "smtp": master(t, policy.SMTP, d.Submission, "xclient"),
	})
	for listener, member := range map[string]string{"imaps": appMember, "imap": accountMember} {
		direct := peers.Endpoint{Addr: d.IMAP, User: member, Password: peers.UserPassword}
		t.Run(listener, func(t *testing.T) { peers.Same(t, peers.IMAPScenarios(), direct, r.at(listener, member)) })
		t.Run(listener+" programs", func(t *testing.T) { peers.Same(t, peers.IMAPClients(), direct, r.at(listener, member)) })
	}
	for listener, member := range map[string]string{"pop3s": appMember, "pop3": accountMember} {
		direct := peers.Endpoint{Addr: d.POP3, User: member, Password: peers.UserPassword}
		t.Run(listener, func(t *testing.T) { peers.Same(t, peers.POP3Scenarios(d), direct, r.at(listener, member)) })
		t.Run(listener+" programs", func(t *testing.T) { peers.Same(t, peers.POP3Clients(d), direct, r.at(listener, member)) })
	}
	for listener, member := range map[string]string{"submissions": appMember, "submission": accountMember} {
		direct := peers.Endpoint{Addr: d.Submission, User: member, Password: peers.UserPassword}
		t.Run(listener, func(t *testing.T) { peers.Same(t, peers.SMTPScenarios(d.Relayed), direct, r.at(listener, member)) })
		t.Run(listener+" programs", func(t *testing.T) { peers.Same(t, peers.SMTPClients(d.Relayed), direct, r.at(listener, member)) })
	}
}

func TestPeersDovecotByToken(t *testing.T) {
	t.Parallel()
	d := peers.Dovecot(t, peers.DovecotOptions{})
	up := func(protocol, address string) configs.Upstream {
		return configs.Upstream{Protocol: protocol, Addresses: []string{address}, TLS: configs.TLS{Mode: "none"}, SignIn: "token", Audience: peers.TokenAudience}
	}
	r := startHouse(t, map[string]configs.Upstream{"imap": up(policy.IMAP, d.IMAP)})
	if err := exportKeys(r.h.snapshot().cfg, d.KeyDir, io.Discard); err != nil {
		t.Fatal(err)
	}
	direct := peers.Endpoint{Addr: d.IMAP, User: appMember, Password: peers.UserPassword}
	peers.Same(t, peers.IMAPScenarios(), direct, r.at("imaps", appMember))
}

func TestPeersPostfixByXCLIENT(t *testing.T) {
	t.Parallel()
	p := peers.Postfix(t, peers.PostfixOptions{})
	r := startHouse(t, map[string]configs.Upstream{
		"smtp": {Protocol: policy.SMTP, Addresses: []string{p.Submission}, TLS: configs.TLS{Mode: "none"}, SignIn: "xclient"},
	})
	for listener, member := range map[string]string{"submissions": appMember, "submission": accountMember} {
		direct := peers.Endpoint{Addr: p.Submission, User: member, Password: peers.UserPassword}
		t.Run(listener, func(t *testing.T) { peers.Same(t, peers.PostfixScenarios(p.Arrived), direct, r.at(listener, member)) })
		t.Run(listener+" programs", func(t *testing.T) { peers.Same(t, peers.SMTPClients(p.Arrived), direct, r.at(listener, member)) })
	}
}

func TestPeersRadicaleByHeader(t *testing.T) {
	t.Parallel()
	server := peers.Radicale(t)
	r := startHouse(t, map[string]configs.Upstream{
		"dav": {Protocol: "http", Addresses: []string{server.Addr}, TLS: configs.TLS{Mode: "none"}, SignIn: "header", Header: "X-Remote-User"},
	})
	for _, member := range []string{appMember, accountMember} {
		direct := peers.Endpoint{Addr: server.Addr, User: member, Header: "X-Remote-User: " + member}
		t.Run(member, func(t *testing.T) { peers.Same(t, peers.DAVScenarios(), direct, r.at("dav", member)) })
		programs := peers.Endpoint{Addr: server.Direct, User: member, Password: "any"}
		t.Run(member+" programs", func(t *testing.T) { peers.Same(t, peers.DAVClients(), programs, r.at("dav", member)) })
	}
}

// Deleting the app password cuts a session at Dovecot within a second, and the next sign-in is refused.
func TestPeersCutAtDovecot(t *testing.T) {
	t.Parallel()
	d := peers.Dovecot(t, peers.DovecotOptions{})
	r := startHouse(t, map[string]configs.Upstream{"imap": master(t, policy.IMAP, d.IMAP, "none")})
	c, said := idling(t, r)
	stood := redistest.Standstill(t)
	began := time.Now()
	if err := r.h.core.DeleteAppPasswordOf(t.Context(), authcore.CommandActor("test"), appMember, r.app.ID); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(began.Add(patience))
	if _, err := io.ReadAll(c); err != nil {
		t.Fatalf("after %q: %v", said, err)
	}
	if took, stood := time.Since(began), stood(); took-stood > 3*time.Second { // a second, where the machine has time
		t.Errorf("the session was cut after %v, though the machine stood still for %v", took, stood)
	}
	if _, said := tryLogin(t, r); said[:4] != "a NO" {
		t.Errorf("a deleted app password: %q", said)
	}
}

func idling(t *testing.T, r *realHouse) (net.Conn, string) {
	t.Helper()
	c, said := tryLogin(t, r)
	if said[:4] != "a OK" {
		t.Fatalf("sign in: %q", said)
	}
	if _, err := fmt.Fprintf(c, "b IDLE\r\n"); err != nil {
		t.Fatal(err)
	}
	return c, said
}

// tryLogin signs the member in at IMAP and answers the last line.
func tryLogin(t *testing.T, r *realHouse) (net.Conn, string) {
	t.Helper()
	return tryLoginAs(t, r, appMember)
}

func tryLoginAs(t *testing.T, r *realHouse, member string) (net.Conn, string) {
	t.Helper()
	e := r.at("imaps", member)
	pem, err := os.ReadFile(e.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	c, err := tls.Dial("tcp", e.Addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(c, "a LOGIN %s %s\r\n", e.User, e.Password); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "a ") {
			return c, lines.Text()
		}
	}
	return c, "nothing said"
}
