package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// nginxModule is where Debian and others put the mail module; where it is built in, none is loaded.
var nginxModule = []string{"/usr/lib/nginx/modules/ngx_mail_module.so", "/usr/lib64/nginx/modules/ngx_mail_module.so"}

// nginxServices are the listeners of nginx. Those with large buffers are for bulk: by default it has a page.
var nginxServices = []struct {
	name, protocol, more string
	tls                  bool
}{
	{"imap", "imap", "", false},
	{"imaps", "imap", "", true},
	{"imap64", "imap", "proxy_buffer 64k;", false},
	{"imaps64", "imap", "proxy_buffer 64k;", true},
	{"pop3s", "pop3", "", true},
	{"submissions", "smtp", "xclient off; proxy_smtp_auth on;", true},
	{"dav", "http", "", true},
}

// nginxConfig is what an operator would write who wants speed: no session log, keep-alive to what is behind, a worker for each
// processor. No session is resumed, nowhere in the bench.
func nginxConfig(dir string, at map[string]string, b behind, auth string, c certificate, workers int) string {
	var s strings.Builder
	put := func(format string, a ...any) { fmt.Fprintf(&s, format+"\n", a...) }
	for _, module := range nginxModule {
		if _, err := os.Stat(module); err == nil {
			put("load_module %s;", module)
		}
	}
	if os.Geteuid() == 0 {
		put("user root;") // its folder is ours alone
	}
	put("daemon off; worker_processes %d; worker_rlimit_nofile %d; pid %s; error_log stderr warn;", workers, descriptors(), filepath.Join(dir, "nginx.pid"))
	put("events { worker_connections %d; }", descriptors()-100)
	tls := fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off;", c.file, c.key)
	put("mail {\nserver_name localhost; auth_http http://%s/mail; %s", auth, tls)
	put("auth_http_header X-Behind-imap %s; auth_http_header X-Behind-pop3 %s; auth_http_header X-Behind-smtp %s;", b.IMAP, b.POP3, b.SMTP)
	put("imap_capabilities IMAP4rev1 LITERAL+ SASL-IR IDLE ID; imap_auth plain login; pop3_auth plain; smtp_auth plain login; timeout 1h; proxy_timeout 24h;")
	for _, n := range nginxServices {
		if n.protocol != "http" {
			put("server { listen %s %s backlog=8192; protocol %s; %s }", at[n.name], word(n.tls, "ssl"), n.protocol, n.more)
		}
	}
	put("}\nhttp {\naccess_log off; keepalive_requests 100000000; keepalive_timeout 1h; %s", tls)
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		put("%s_temp_path %s;", kind, filepath.Join(dir, kind))
	}
	put("upstream dav { server %s; keepalive 128; }\nupstream auth { server %s; keepalive 128; }", b.HTTP, auth)
	put("server {\nlisten %s ssl reuseport backlog=8192; proxy_http_version 1.1; proxy_set_header Connection \"\";", at["dav"])
	put("location /basic/ { auth_basic bench; auth_basic_user_file %s; proxy_pass http://dav; }", filepath.Join(dir, "htpasswd"))
	put("location /request/ { auth_request /_auth; proxy_pass http://dav; }")
	put("location = /_auth { internal; proxy_pass http://auth/basic; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }\n}\n}")
	return s.String()
}

func word(on bool, w string) string {
	if on {
		return w
	}
	return ""
}

// startNginx writes its files and starts it.
func (b *bench) startNginx(s *server) (*child, error) {
	dir, err := b.folder(nginxName)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(nginxConfig(dir, s.at, b.behind, b.auth, b.certificate, b.machine.Cores)), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "htpasswd"), []byte(shaPasswords(b.everybody())), 0o600); err != nil {
		return nil, err
	}
	return b.nursery.start(program{name: nginxName, path: b.tools.nginx, args: []string{"-c", file, "-e", "stderr"}, log: b.log(nginxName)})
}
