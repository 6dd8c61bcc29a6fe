package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// dovecotServices are the listeners of Dovecot's login processes.
var dovecotServices = []struct {
	name, protocol string
	tls            bool
}{
	{"imap", "imap", false},
	{"imaps", "imap", true},
	{"pop3s", "pop3", true},
	{"submissions", "submission", true},
}

// dovecotConfig is Dovecot as a proxy that lets everybody in: a static passdb, login processes that serve many clients
// each (the high-performance mode of its handbook), no cache and no delay of refusals.
func dovecotConfig(dir string, at map[string]string, b behind, c certificate, processes int) string {
	var s strings.Builder
	put := func(format string, a ...any) { fmt.Fprintf(&s, format+"\n", a...) }
	clients := descriptors()/2 - 500
	put("base_dir = %s\nstate_dir = %s\ninstance_name = latchkey-bench\nlog_path = /dev/stderr", filepath.Join(dir, "run"), filepath.Join(dir, "state"))
	put("protocols = imap pop3 submission\nlisten = %s\nssl = yes\nssl_cert = <%s\nssl_key = <%s\nssl_min_protocol = TLSv1.2\nssl_options = no_ticket", loopback, c.file, c.key)
	put("disable_plaintext_auth = no\nauth_mechanisms = plain login\nauth_cache_size = 0\nauth_failure_delay = 0\nmail_max_userip_connections = 0")
	put("default_client_limit = %d", clients)
	put("passdb {\n  driver = static\n  args = nopassword=y proxy=y host=%s port=%%{if;%%s;eq;imap;%s;%%{if;%%s;eq;pop3;%s;%s}}\n}", loopback, port(b.IMAP), port(b.POP3), port(b.SMTP))
	put("userdb {\n  driver = static\n  args = uid=nobody gid=nogroup home=/nonexistent\n}")
	put("service anvil {\n  client_limit = %d\n}\nservice auth {\n  client_limit = %d\n}", 2*clients, 2*clients)
	for _, protocol := range []string{"imap", "pop3", "submission"} {
		put("service %s-login {", protocol)
		for _, usual := range []string{protocol, protocol + "s"} { // closed, unless named below
			put("  inet_listener %s {\n    port = 0\n  }", usual)
		}
		for _, d := range dovecotServices {
			if d.protocol == protocol {
				put("  inet_listener bench-%s {\n    port = %s\n    ssl = %s\n  }", d.name, port(at[d.name]), yes(d.tls))
			}
		}
		put("  service_count = 0\n  process_min_avail = %d\n  process_limit = %d\n  client_limit = %d\n  vsz_limit = 4G\n}", processes, processes, clients)
	}
	if os.Geteuid() != 0 {
		put("%s", dovecotAsOurselves())
	}
	return s.String()
}

// dovecotAsOurselves lets it run as the user who started it: no other user, no chroot.
func dovecotAsOurselves() string {
	me := strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	text := fmt.Sprintf("default_internal_user = %[1]s\ndefault_login_user = %[1]s\n", me)
	if g, err := user.LookupGroupId(strconv.Itoa(os.Getegid())); err == nil {
		text += "default_internal_group = " + g.Name + "\n"
	}
	for _, service := range []string{"anvil", "imap-login", "pop3-login", "submission-login", "imap-urlauth-login", "stats", "ipc"} {
		text += fmt.Sprintf("service %s {\n  chroot =\n}\n", service)
	}
	return text
}

func yes(on bool) string {
	if on {
		return "yes"
	}
	return "no"
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// startDovecot writes its file and starts it.
func (b *bench) startDovecot(s *server) (*child, error) {
	dir, err := b.folder(dovecotName)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"run", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(file, []byte(dovecotConfig(dir, s.at, b.behind, b.certificate, b.machine.Cores)), 0o644); err != nil {
		return nil, err
	}
	return b.nursery.start(program{name: dovecotName, path: b.tools.dovecot, args: []string{"-F", "-c", file}, log: b.log(dovecotName)})
}
