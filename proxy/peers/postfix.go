package peers

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// PostfixOptions: the zero value is the example as it stands, delivering to a Sink and asking a dummy for passwords.
type PostfixOptions struct {
	Dovecot *DovecotServer // delivers to its LMTP and asks it for passwords
	TLS     bool           // a certificate; STARTTLS required
	Proxy   bool           // the submission service demands a PROXY protocol header
	Extra   string         // more of main.cf, at the end
}

// PostfixServer is a running Postfix. Addresses are 127.0.0.1:port.
type PostfixServer struct {
	Submission string // the door's: believes XCLIENT from 127.0.0.1, and lets in who signs in with UserPassword
	Relay      string // Dovecot's submission server hands mail on to it
	CA         string // PEM file of the authority, with TLS
	LogFile    string
	Arrived    *Sink // mail for anybody; with Dovecot, for other domains than new.example and old.example
}

// Postfix starts Postfix with configs/examples/postfix-*.cf until the test ends, by its master, as only root can.
func Postfix(t testing.TB, o PostfixOptions) *PostfixServer {
	t.Helper()
	Need(t, "postfix", "root")
	return startPostfix(t, newServer(t, "postfix"), o)
}

// Mail starts both as the examples show them: Dovecot's submission server hands on to Postfix, Postfix delivers to Dovecot.
func Mail(t testing.TB, d DovecotOptions, p PostfixOptions) (*DovecotServer, *PostfixServer) {
	t.Helper()
	Need(t, "dovecot", "postfix", "root")
	s := newServer(t, "postfix")
	d.Relay = s.ports.addr(1)
	p.Dovecot = Dovecot(t, d)
	return p.Dovecot, startPostfix(t, s, p)
}

func startPostfix(t testing.TB, s *server, o PostfixOptions) *PostfixServer {
	t.Helper()
	p := &PostfixServer{
		Submission: s.ports.addr(0), Relay: s.ports.addr(1),
		LogFile: filepath.Join(s.dir, "postfix.log"), Arrived: NewSink(t),
	}
	s.logs = []string{p.LogFile}
	postfixFolders(t, s.dir)
	authSocket := "private/auth"
	delivery := "smtp:" + bracketed(p.Arrived.Addr)
	if o.Dovecot != nil {
		authSocket, delivery = o.Dovecot.AuthSocket, "lmtp:inet:"+o.Dovecot.LMTP
	} else {
		startSASL(t, filepath.Join(s.dir, "queue/private/auth"))
	}
	main := example(t, "postfix-main.cf",
		"smtpd_sasl_path = private/auth", "smtpd_sasl_path = "+authSocket,
		"lmtp:inet:127.0.0.1:10024", delivery)
	main += postfixForTests(s.dir, p.Arrived.Addr)
	if o.TLS {
		main += postfixTLS(t, s, p)
	}
	door := "syslog_name=postfix/door"
	forDoor := door
	if o.Proxy {
		forDoor += "\n  -o smtpd_upstream_proxy_protocol=haproxy"
	}
	s.write(t, "conf/main.cf", main+o.Extra, 0o644)
	s.write(t, "conf/master.cf", example(t, "postfix-master.cf",
		"127.0.0.1:10587", p.Submission, "127.0.0.1:10025", p.Relay, door, forDoor), 0o644)
	s.start(t, programs["postfix"], "-c", filepath.Join(s.dir, "conf"), "-d")
	s.ready(t, p.Relay, true)
	s.ready(t, p.Submission, !o.Proxy)
	return p
}

// bracketed is host:port as Postfix wants it when it shall not look for MX records.
func bracketed(addr string) string {
	host, port, _ := strings.Cut(addr, ":")
	return "[" + host + "]:" + port
}

// postfixForTests is what only tests need: folders of its own, a log, and the way out to the sink.
func postfixForTests(dir, sink string) string {
	return fmt.Sprintf(`
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/postfix.log
maillog_file_prefixes = %[1]s
mail_owner = postfix
setgid_group = postdrop
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
alias_maps =
relayhost = %[2]s
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_recipient_restrictions = check_recipient_access inline:{refused.example=REJECT}
smtpd_reject_footer = \c. First line of help.\nSecond line of help.
`, dir, bracketed(sink))
}

func postfixTLS(t testing.TB, s *server, p *PostfixServer) string {
	cert := newCertificate(t)
	p.CA = s.write(t, "ca.pem", cert.ca, 0o644)
	return fmt.Sprintf("smtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = yes\nsmtpd_tls_cert_file = %s\nsmtpd_tls_key_file = %s\n",
		s.write(t, "cert.pem", cert.chain, 0o644), s.write(t, "key.pem", cert.key, 0o600))
}

// postfixFolders makes what the package's scripts make for the system's own Postfix.
func postfixFolders(t testing.TB, dir string) {
	t.Helper()
	owner := lookupAccount(t, "postfix")
	drop, err := user.LookupGroup("postdrop")
	if err != nil {
		t.Fatal(err)
	}
	dropGroup, err := strconv.Atoi(drop.Gid)
	if err != nil {
		t.Fatal(err)
	}
	folder := func(name string, a account, mode os.FileMode) {
		path := filepath.Join(dir, name)
		mkdirFor(t, path, a)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	folder("queue", account{0, 0}, 0o755)
	folder("queue/pid", account{0, 0}, 0o755)
	folder("data", owner, 0o700)
	for _, name := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		folder("queue/"+name, account{owner.uid, 0}, 0o700)
	}
	folder("queue/public", account{owner.uid, dropGroup}, 0o710)
	folder("queue/maildrop", account{owner.uid, dropGroup}, 0o730)
}

// startSASL stands for the socket that Postfix wants to ask: it speaks Dovecot's authentication protocol, version 1.1,
// and knows UserPassword alone.
func startSASL(t testing.TB, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	listenUntilEnd(t, l, answerSASL)
}
