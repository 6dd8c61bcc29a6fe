package upstream

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/authcore/secret"
	"latchkey/proxy"
)

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNewNamesMistakes(t *testing.T) {
	imap := func(change func(*Server)) []Server {
		s := Server{Name: "mail", Protocol: IMAP, Addresses: []string{"192.0.2.1:143"}}
		fill(&s)
		change(&s)
		return []Server{s}
	}
	dav := func(change func(*Server)) []Server {
		s := Server{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{"192.0.2.1:80"}, Way: Header, Header: "X-Remote-User"}
		fill(&s)
		change(&s)
		return []Server{s}
	}
	tokens := func(a, b string) []Server {
		return append(imap(func(s *Server) { s.Way = proxy.Token; s.Token = TokenSettings{Audience: a, Issuer: "i"} }),
			imap(func(s *Server) {
				s.Name = "two"
				s.Way = proxy.Token
				s.Token = TokenSettings{Audience: b, Issuer: "i"}
			})...)
	}
	for _, tt := range []struct {
		name    string
		servers []Server
		want    []string // each must be said; none: it is well
	}{
		{"well", imap(func(*Server) {}), nil},
		{"well: DAV", dav(func(*Server) {}), nil},
		{"well: socket", imap(func(s *Server) { s.Addresses = []string{"unix:/run/imap"} }), nil},
		{"well: two audiences", tokens("a", "b"), nil},
		{"no name", imap(func(s *Server) { s.Name = "" }), []string{"name: is missing"}},
		{"name twice", append(imap(func(*Server) {}), imap(func(*Server) {})...), []string{"name: is used twice"}},
		{"protocol", imap(func(s *Server) { s.Protocol = "ldap" }), []string{"protocol: "}},
		{"no address", imap(func(s *Server) { s.Addresses = nil }), []string{"addresses: are missing"}},
		{"no port", imap(func(s *Server) { s.Addresses = []string{"192.0.2.1"} }), []string{"addresses: "}},
		{"port zero", imap(func(s *Server) { s.Addresses = []string{"192.0.2.1:0"} }), []string{"addresses: "}},
		{"relative socket", imap(func(s *Server) { s.Addresses = []string{"unix:run/imap"} }), []string{"absolute"}},
		{"TLS not said", imap(func(s *Server) { s.TLS.Mode = "" }), []string{"tls.mode: "}},
		{"insecure without TLS", imap(func(s *Server) { s.TLS.Insecure = true }), []string{"tls: has settings"}},
		{"insecure with CA", imap(func(s *Server) { s.TLS = TLS{Mode: TLSOn, Insecure: true, CAFile: "x"} }), []string{"tls: names a ca_file"}},
		{"certificate without key", imap(func(s *Server) { s.TLS = TLS{Mode: TLSOn, CertFile: "x"} }), []string{"together"}},
		{"TLS to a socket", imap(func(s *Server) { s.TLS.Mode = TLSOn; s.Addresses = []string{"unix:/run/imap"} }), []string{"tls.server_name"}},
		{"TLS to two hosts", imap(func(s *Server) { s.TLS.Mode = TLSOn; s.Addresses = []string{"a.example:993", "b.example:993"} }), []string{"several hosts"}},
		{"STARTTLS of HTTP", dav(func(s *Server) { s.TLS.Mode = StartTLS }), []string{"tls.mode: "}},
		{"way of another protocol", imap(func(s *Server) { s.Way = Header }), []string{"way: "}},
		{"XCLIENT for IMAP", imap(func(s *Server) { s.Way = proxy.XCLIENT }), []string{"way: "}},
		{"no way", imap(func(s *Server) { s.Way = "" }), []string{"way: "}},
		{"no master", imap(func(s *Server) { s.Master = ""; s.Secret = secret.String{} }), []string{"master: is missing", "secret: is missing"}},
		{"NUL in the secret", imap(func(s *Server) { s.Secret = secret.New("a\x00b") }), []string{"control characters"}},
		{"no audience", imap(func(s *Server) { s.Way = proxy.Token }), []string{"token.audience: is missing", "token.issuer: is missing"}},
		{"one audience for two", tokens("a", "a"), []string{`token.audience: is that of "mail" too`}},
		{"algorithm", imap(func(s *Server) { s.Way = proxy.Token; s.Token = TokenSettings{"a", "i", "none"} }), []string{"token.algorithm"}},
		{"PROXY and XCLIENT", imap(func(s *Server) { s.Protocol = SMTP; s.Way = proxy.XCLIENT; s.Facts = FactsProxy }), []string{"facts: is proxy_protocol and the way is xclient"}},
		{"facts of another protocol", imap(func(s *Server) { s.Facts = FactsXCLIENT }), []string{"facts: "}},
		{"PROXY over shared connections", dav(func(s *Server) { s.Facts = FactsProxy }), []string{"facts: "}},
		{"no header", dav(func(s *Server) { s.Header = "" }), []string{"header: is missing"}},
		{"header with underscore", dav(func(s *Server) { s.Header = "X_Remote_User" }), []string{"cannot carry"}},
		{"header that means something", dav(func(s *Server) { s.Header = "Host" }), []string{"cannot carry"}},
		{"bearer secret for all", dav(func(s *Server) { s.Way = Bearer; s.Header = ""; s.Secret = secret.New("x") }), []string{"header: is missing"}},
		{"basic for all as one", dav(func(s *Server) { s.Way = Basic; s.Header = ""; s.BasicUser = "root"; s.Secret = secret.New("x") }), []string{"basic_user: "}},
		{"colon in basic_user", dav(func(s *Server) { s.Way = Basic; s.BasicUser = "{user}:x"; s.Secret = secret.New("x") }), []string{"basic_user: "}},
		{"user", imap(func(s *Server) { s.User = "local" }), []string{"user: "}},
		{"only door", dav(func(s *Server) { s.AuthenticatesOnlyDoor = true }), []string{"authenticates_only_door"}},
		{"probe user without a password", imap(func(s *Server) { s.Way = proxy.Passthrough; s.ProbeUser = "a" }), []string{"probe_user: "}},
		{"all at once", imap(func(s *Server) { s.Way = "x"; s.User = "y"; s.Addresses = nil }), []string{"way: ", "user: ", "addresses: "}},
		{"sources", imap(func(s *Server) { s.SourceAddresses = []string{"10.20.0.5", "::ffff:10.20.0.6"} }), nil},
		{"sources toward a name", imap(func(s *Server) {
			s.Addresses = []string{"mail.example:143"}
			s.SourceAddresses = []string{"10.20.0.5", "2001:db8::5"}
		}), nil},
		{"source no address", imap(func(s *Server) { s.SourceAddresses = []string{"10.20.0.5", "eth0"} }),
			[]string{`source_addresses[1]: "eth0" is no IP address`}},
		{"source twice", imap(func(s *Server) { s.SourceAddresses = []string{"10.20.0.5", "::ffff:10.20.0.5"} }), []string{"source_addresses[1]: ", "stands twice"}},
		{"source unspecified", imap(func(s *Server) { s.SourceAddresses = []string{"0.0.0.0"} }), []string{"0.0.0.0 is no address to dial from"}},
		{"source of another family", imap(func(s *Server) { s.SourceAddresses = []string{"2001:db8::5"} }),
			[]string{"source_addresses[0]: 2001:db8::5 is of another family than every address"}},
		{"address without a source", imap(func(s *Server) {
			s.Addresses = append(s.Addresses, "[2001:db8::1]:143")
			s.SourceAddresses = []string{"10.20.0.5"}
		}), []string{"source_addresses: hold none from which [2001:db8::1]:143 can be reached"}},
		{"warm", imap(func(s *Server) { s.Warm = 64; s.Facts = FactsID }), nil},
		{"too many warm", imap(func(s *Server) { s.Warm = 65 }), []string{"warm: must be 0 to 64, is 65"}},
		{"less than none warm", imap(func(s *Server) { s.Warm = -1 }), []string{"warm: must be 0 to 64"}},
		{"warm with PROXY", imap(func(s *Server) { s.Warm = 1; s.Facts = FactsProxy }), []string{"warm: cannot be with facts proxy_protocol"}},
		{"warm HTTP", dav(func(s *Server) { s.Warm = 1 }), []string{"warm: is for imap, smtp and pop3"}},
		{"source toward a socket", imap(func(s *Server) {
			s.Addresses = []string{"unix:/run/imap"}
			s.SourceAddresses = []string{"10.20.0.5"}
		}), []string{"source_addresses: go with host:port, not with unix:/run/imap"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(Options{Servers: tt.servers, Token: signer})
			if len(tt.want) == 0 && err != nil {
				t.Fatalf("New: %v, want no mistake", err)
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("New: %v, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestNewNeedsSigner(t *testing.T) {
	s := Server{Name: "mail", Protocol: IMAP, Addresses: []string{"192.0.2.1:143"}, Way: proxy.Token}
	fill(&s)
	if _, err := New(Options{Servers: []Server{s}}); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("New without a signer: %v, want a mistake", err)
	}
}

func TestNewReadsCertificates(t *testing.T) {
	s := Server{Name: "mail", Protocol: IMAP, Addresses: []string{"192.0.2.1:993"}}
	fill(&s)
	for name, settings := range map[string]TLS{
		"no CA file":          {Mode: TLSOn, CAFile: "/nowhere"},
		"CA file without any": {Mode: TLSOn, CAFile: write(t, "empty.pem", []byte("nothing"))},
		"no certificate":      {Mode: TLSOn, CertFile: "/nowhere", KeyFile: "/nowhere"},
	} {
		s.TLS = settings
		if _, err := New(Options{Servers: []Server{s}}); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
}

func TestWhatTheCoreAsks(t *testing.T) {
	at := []string{"192.0.2.1:1"}
	p := pool(t, Server{Name: "a", Protocol: IMAP, Addresses: at}, Server{Name: "id", Protocol: IMAP, Addresses: at, User: ByID},
		Server{Name: "pass", Protocol: IMAP, Addresses: at, Way: proxy.Passthrough})
	for _, name := range []string{"a", "id", "pass", "none"} {
		if got := p.UserByID(name); got != (name == "id") {
			t.Errorf("UserByID(%s) = %v", name, got)
		}
		if got := p.Passthrough(name); got != (name == "pass") {
			t.Errorf("Passthrough(%s) = %v", name, got)
		}
	}
}
