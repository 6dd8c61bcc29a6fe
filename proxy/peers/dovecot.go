package peers

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The sign-in data of every Dovecot that the tests start.
const (
	MasterUser   = "latchkey"
	MasterSecret = "master-secret-of-a-test"
	// UserPassword lets any user sign in directly; Dovecot of the examples knows no password of a member.
	UserPassword  = "user-password-of-a-test"
	TokenIssuer   = "https://latchkey.example.com"
	TokenAudience = "dovecot-1"
)

// DovecotOptions: the zero value is the example as it stands.
type DovecotOptions struct {
	TLS   bool   // a certificate; STARTTLS required, and the ports of IMAPS, POP3S, Submissions open
	Proxy bool   // the ports of the Proxied fields open; they demand a PROXY protocol header
	Relay string // where submission hands mail on; empty: to a Sink, the field Relayed
	Extra string // more configuration, at the end
	// AnyToken leaves out what makes it check issuer and audience of a token, as a minimal configuration does.
	AnyToken bool
}

// DovecotServer is a running Dovecot. Addresses are 127.0.0.1:port; those that the options do not open are empty.
type DovecotServer struct {
	IMAP, POP3, Submission, LMTP                string
	IMAPS, POP3S, Submissions                   string
	IMAPProxied, POP3Proxied, SubmissionProxied string

	CA         string // PEM file of the authority, with TLS
	KeyDir     string // public keys of token signers, as <azp or "default">/<ALG>/<kid>; read at each sign-in
	AuthSocket string // for Postfix
	LogFile    string
	Dir        string
	Relayed    *Sink // what submission handed on, unless Relay was set

	server *server
	args   []string
}

// Dovecot starts Dovecot 2.3 with configs/examples/dovecot.conf until the test ends. Any user name exists; master user
// (MasterUser, MasterSecret), tokens (TokenIssuer, TokenAudience, KeyDir) and UserPassword all let in.
func Dovecot(t testing.TB, o DovecotOptions) *DovecotServer {
	t.Helper()
	Need(t, "dovecot")
	s := newServer(t, "dovecot")
	d := &DovecotServer{
		server: s, IMAP: s.ports.addr(0), POP3: s.ports.addr(1), Submission: s.ports.addr(2), LMTP: s.ports.addr(3),
		KeyDir: filepath.Join(s.dir, "keys"), AuthSocket: filepath.Join(s.dir, "auth-postfix"), LogFile: filepath.Join(s.dir, "dovecot.log"), Dir: s.dir,
	}
	s.logs = []string{d.LogFile}
	if o.Relay == "" {
		d.Relayed = NewSink(t)
		o.Relay = d.Relayed.Addr
	}
	mail := mailUser(t)
	for _, dir := range []string{"mail", "keys"} {
		mkdirFor(t, filepath.Join(s.dir, dir), mail)
	}
	s.write(t, "master", fmt.Sprintf("%s:{PLAIN}%s\n", MasterUser, MasterSecret), 0o644)
	oauth2 := example(t, "dovecot-oauth2.conf.ext", "/etc/dovecot/latchkey-keys", d.KeyDir)
	if o.AnyToken {
		oauth2 = regexp.MustCompile(`(?m)^(issuers|client_id) *=.*$`).ReplaceAllString(oauth2, "")
	}
	s.write(t, "oauth2.conf", oauth2, 0o644)
	conf := dovecotExample(t, s, mail, o.Relay) + dovecotForTests(s)
	if o.TLS {
		conf += dovecotTLS(t, s, d)
	}
	if o.Proxy {
		conf += dovecotProxied(s, d)
	}
	file := s.write(t, "dovecot.conf", conf+o.Extra, 0o644)
	d.args = []string{"-F", "-c", file}
	s.start(t, programs["dovecot"], d.args...)
	d.ready(t)
	return d
}

func (d *DovecotServer) ready(t testing.TB) {
	t.Helper()
	for _, addr := range d.always() {
		d.server.ready(t, addr, true)
	}
}

// always are the addresses that are open whatever the options.
func (d *DovecotServer) always() []string { return []string{d.IMAP, d.POP3, d.Submission, d.LMTP} }

// Kill ends it and its sessions without a word, and returns when connections to it are refused.
func (d *DovecotServer) Kill(t testing.TB) {
	t.Helper()
	d.server.kill(t)
	for _, addr := range d.always() {
		d.server.refuses(t, addr)
	}
}

// Restart starts it after Kill, with the same mail and addresses.
func (d *DovecotServer) Restart(t testing.TB) {
	t.Helper()
	d.server.launch(t, programs["dovecot"], d.args...)
	d.ready(t)
}

func dovecotExample(t testing.TB, s *server, mail account, relay string) string {
	relayPort := relay[strings.LastIndexByte(relay, ':')+1:]
	postfix := "user = postfix\n    group = postfix"
	forPostfix := postfix
	if _, err := user.Lookup("postfix"); err != nil || os.Geteuid() != 0 {
		forPostfix = ""
	}
	return example(t, "dovecot.conf",
		"port = 10143", fmt.Sprintf("port = %d", s.ports.port(0)),
		"port = 10110", fmt.Sprintf("port = %d", s.ports.port(1)),
		"port = 10588", fmt.Sprintf("port = %d", s.ports.port(2)),
		"port = 10024", fmt.Sprintf("port = %d", s.ports.port(3)),
		"submission_relay_port = 10025", "submission_relay_port = "+relayPort,
		"/etc/dovecot/latchkey-master", filepath.Join(s.dir, "master"),
		"/etc/dovecot/dovecot-oauth2.conf.ext", filepath.Join(s.dir, "oauth2.conf"),
		"uid=vmail gid=vmail home=/var/vmail/", fmt.Sprintf("uid=%d gid=%d home=%s/mail/", mail.uid, mail.gid, s.dir),
		"/var/spool/postfix/private/auth", filepath.Join(s.dir, "auth-postfix"),
		postfix, forPostfix,
	)
}

// dovecotForTests is what only tests need: a folder of its own, a log, and passwords for direct sign-in.
func dovecotForTests(s *server) string {
	conf := fmt.Sprintf(`
base_dir = %[1]s/run
state_dir = %[1]s/state
instance_name = peer
log_path = %[1]s/dovecot.log
auth_failure_delay = 0
auth_verbose = yes
shutdown_clients = yes
auth_mechanisms = plain login oauthbearer
passdb {
  driver = static
  mechanisms = plain login
  args = password=%[2]s
}
`, s.dir, UserPassword)
	if os.Geteuid() != 0 {
		conf += dovecotUnprivileged()
	}
	return conf
}

// dovecotUnprivileged lets Dovecot run as the user who started it: no other user, no chroot.
func dovecotUnprivileged() string {
	me := strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	conf := fmt.Sprintf("default_internal_user = %[1]s\ndefault_login_user = %[1]s\n", me)
	if g, err := user.LookupGroupId(strconv.Itoa(os.Getegid())); err == nil {
		conf += "default_internal_group = " + g.Name + "\n"
	}
	for _, service := range []string{"anvil", "imap-login", "pop3-login", "submission-login", "imap-urlauth-login", "stats", "ipc"} {
		conf += fmt.Sprintf("service %s {\n  chroot =\n}\n", service)
	}
	return conf
}

func dovecotTLS(t testing.TB, s *server, d *DovecotServer) string {
	cert := newCertificate(t)
	d.CA = s.write(t, "ca.pem", cert.ca, 0o644)
	chain, key := s.write(t, "cert.pem", cert.chain, 0o644), s.write(t, "key.pem", cert.key, 0o600)
	d.IMAPS, d.POP3S, d.Submissions = s.ports.addr(4), s.ports.addr(5), s.ports.addr(6)
	conf := fmt.Sprintf("ssl = required\nssl_cert = <%s\nssl_key = <%s\ndisable_plaintext_auth = yes\n", chain, key)
	for i, name := range []string{"imap", "pop3", "submission"} {
		conf += listener(name+"-login", name+"s", s.ports.port(4+i), "ssl = yes")
	}
	return conf
}

func dovecotProxied(s *server, d *DovecotServer) string {
	d.IMAPProxied, d.POP3Proxied, d.SubmissionProxied = s.ports.addr(7), s.ports.addr(8), s.ports.addr(9)
	conf := "haproxy_trusted_networks = 127.0.0.1/32\n"
	for i, name := range []string{"imap", "pop3", "submission"} {
		conf += listener(name+"-login", name+"-proxied", s.ports.port(7+i), "haproxy = yes")
	}
	return conf
}

func listener(service, name string, port int, more string) string {
	return fmt.Sprintf("service %s {\n  inet_listener %s {\n    port = %d\n    %s\n  }\n}\n", service, name, port, more)
}

// An account of the system, under which mail is stored.
type account struct{ uid, gid int }

// mailUser is Debian's own mail user for root, else whoever runs the test.
func mailUser(t testing.TB) account {
	t.Helper()
	if os.Geteuid() != 0 {
		return account{os.Geteuid(), os.Getegid()}
	}
	return lookupAccount(t, "mail")
}

func lookupAccount(t testing.TB, name string) account {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, errUID := strconv.Atoi(u.Uid)
	gid, errGID := strconv.Atoi(u.Gid)
	if errUID != nil || errGID != nil {
		t.Fatalf("user %s has ids %q and %q", name, u.Uid, u.Gid)
	}
	return account{uid, gid}
}

func mkdirFor(t testing.TB, dir string, a account) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, a.uid, a.gid); err != nil {
		t.Fatal(err)
	}
}

// security is how to connect to the ports of the Dovecot that are always open.
func (d *DovecotServer) security() Security {
	if d.CA != "" {
		return StartTLS
	}
	return Plain
}
