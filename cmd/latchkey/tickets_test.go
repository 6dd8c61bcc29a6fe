package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// resumes connects to a door and answers whether the TLS session was resumed. Nobody is signed in by that.
func (s *stage) resumes(protocol string, conf *tls.Config) bool {
	s.t.Helper()
	if protocol == "dav" || protocol == "api" {
		return s.resumesHTTP(protocol, conf)
	}
	c, err := (&net.Dialer{Timeout: patience}).Dial("tcp", s.addr[protocol])
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	secured := tls.Client(c, conf)
	if protocol == "imap" { // STARTTLS
		k := newTalk(c)
		if _, err := k.hearTo("* OK"); err != nil {
			s.t.Fatal(err)
		}
		if answer, err := k.ask("s STARTTLS", "s "); err != nil || !strings.HasPrefix(answer, "s OK") {
			s.t.Fatalf("STARTTLS: %q, %v", answer, err)
		}
	}
	k := newTalk(secured)
	asks := map[string]struct{ greeting, command, answer, refusal string }{
		"imap": {"", "a SELECT INBOX", "a ", "a BAD"},
		"pop3": {"+OK", "STAT", "-ERR", "-ERR"},
		"smtp": {"220 ", "MAIL FROM:<a@example.org>", "5", "5"},
	}[protocol]
	if asks.greeting != "" {
		if _, err := k.hearTo(asks.greeting); err != nil {
			s.t.Fatal(err)
		}
	}
	answer, err := k.ask(asks.command, asks.answer, "+OK", "2")
	if err != nil || !strings.HasPrefix(answer, asks.refusal) && !strings.HasPrefix(answer, "a NO") {
		s.t.Errorf("%s: who has not signed in is told %q, %v", protocol, answer, err)
	}
	return secured.ConnectionState().DidResume
}

func (s *stage) resumesHTTP(protocol string, conf *tls.Config) bool {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}, Timeout: patience}
	path := map[string]string{"dav": "/a@example.org/", "api": "/api/v1/me"}[protocol]
	_, port, _ := net.SplitHostPort(s.addr[protocol])
	answer, err := client.Get("https://localhost:" + port + path)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		s.t.Errorf("%s: who has not signed in is told %s", protocol, answer.Status)
	}
	return answer.TLS.DidResume
}

// returning is a client that keeps tickets.
func (s *stage) returning(version uint16) *tls.Config {
	conf := s.tls.Clone()
	conf.ClientSessionCache, conf.MaxVersion = tls.NewLRUClientSessionCache(1), version
	return conf
}

// A ticket of one door is good at all, whether TLS comes first or by STARTTLS, and signs nobody in.
func TestTicketsAtEveryDoor(t *testing.T) {
	t.Parallel()
	s := startTLSStage(t)
	s.serve()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := s.returning(version)
		for i, protocol := range []string{"imap", "imap", "smtp", "pop3", "dav", "api", "imap"} {
			if got, want := s.resumes(protocol, conf), i > 0; got != want {
				t.Errorf("%s, connection %d to %s: resumed %v, want %v", tls.VersionName(version), i+1, protocol, got, want)
			}
		}
	}
}

// startTLSStage speaks STARTTLS at its IMAP door.
func startTLSStage(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	s.configure(func(text string) string {
		return strings.Replace(text, "address: 'systemd:imap', tls: implicit", "address: 'systemd:imap', tls: starttls", 1)
	})
	return s
}

// What another program makes of it.
func TestPeersTicketsOfOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is missing")
	}
	t.Parallel()
	s := startTLSStage(t)
	s.serve()
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		kept := s.path("session" + version)
		connect := func(addr, starttls, session string) string {
			args := []string{"s_client", "-connect", addr, "-servername", "localhost", "-CAfile", s.ca, "-crlf", "-ign_eof", version, session, kept}
			if starttls != "" {
				args = append(args, "-starttls", starttls)
			}
			cmd := exec.CommandContext(t.Context(), openssl, args...)
			cmd.Stdin = strings.NewReader("a LOGOUT\nQUIT\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("openssl %s: %v\n%s", args, err, out)
			}
			return string(out)
		}
		if out := connect(s.addr["imap"], "imap", "-sess_out"); !strings.Contains(out, "\nNew, ") {
			t.Errorf("%s: the first connection is not a new one\n%s", version, out)
		}
		if out := connect(s.addr["imap"], "imap", "-sess_in"); !strings.Contains(out, "\nReused, ") {
			t.Errorf("%s: the second one is not resumed\n%s", version, out)
		}
		if out := connect(s.addr["pop3"], "", "-sess_in"); !strings.Contains(out, "\nReused, ") {
			t.Errorf("%s: that to another door is not resumed\n%s", version, out)
		}
	}
}

// likeFirst gives every node the certificate of the first.
func likeFirst(t *testing.T, nodes []*stage) {
	t.Helper()
	for _, s := range nodes[1:] {
		for _, name := range []string{"ca.pem", "server.pem", "server.key"} {
			p, err := os.ReadFile(nodes[0].path(name))
			if err != nil {
				t.Fatal(err)
			}
			s.write(name, string(p), 0o600)
		}
		s.tls = nodes[0].tls
	}
}

// resumedAcross: what one node gave, the others take.
func resumedAcross(t *testing.T, nodes []*stage) {
	t.Helper()
	conf := nodes[0].returning(tls.VersionTLS13)
	var did []string
	for i := range 2 * len(nodes) {
		did = append(did, fmt.Sprint(nodes[i%len(nodes)].resumes("pop3", conf)))
	}
	if got := strings.Join(did, " "); got != "false"+strings.Repeat(" true", len(did)-1) {
		t.Errorf("from node to node, TLS sessions were resumed: %s", got)
	}
}
