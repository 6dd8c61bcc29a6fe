package upstream

import (
	"net"
	"net/netip"
	"strings"

	"latchkey/authcore/secret"
	"latchkey/proxy"
)

// What an upstream speaks.
const (
	IMAP         = "imap"
	SMTP         = "smtp"
	POP3         = "pop3"
	HTTPProtocol = "http"
)

// Server describes one upstream, as the configuration does.
type Server struct {
	Name     string
	Protocol string
	// Addresses are "host:port" or "unix:/path", of servers that are alike. Each member has one of his own, and another while that is down.
	Addresses []string
	// SourceAddresses are IP addresses of this host to dial from, in turn. Empty: the kernel chooses one.
	SourceAddresses []string
	// Warm is how many connections to each address wait for members, dialled ahead. Text protocols, not with FactsProxy.
	Warm int
	TLS  TLS
	Way  proxy.Way
	// Master: who signs in for others, with Secret. Text protocols only.
	Master string
	// Secret of Master; for Basic and Bearer a master credential, empty: a token of ours.
	Secret secret.String
	// Token is what Way Token says, and Basic and Bearer without Secret.
	Token TokenSettings
	// Header carries the member's name to an HTTP server: needed for Way Header, possible beside Basic and Bearer.
	Header string
	// BasicUser is the name that Basic signs in with; "{user}" in it becomes the member's. Empty: "{user}".
	BasicUser string
	// Facts is how the upstream hears of the client. Empty: FactsForwarded for HTTP, FactsXCLIENT for Way XCLIENT,
	// FactsNone else.
	Facts Facts
	// User is by what name the upstream knows a member. Empty: ByAddress.
	User User
	// AuthenticatesOnlyDoor: the IMAP server may offer UNAUTHENTICATE, for it authenticates none but the door.
	AuthenticatesOnlyDoor bool
	// ProbeUser is a member, as the upstream knows him, whom the prober signs in. Empty: it looks only at what can be
	// seen before. Not for Passthrough.
	ProbeUser string
}

// The ways of HTTP servers, beside proxy.Passthrough.
const (
	Header proxy.Way = "header" // a user header that the server trusts
	Basic  proxy.Way = "basic"  // RFC 7617 with a master credential, or a token as password
	Bearer proxy.Way = "bearer" // RFC 6750 with a master credential, or a token
)

// TLS says how the way to an upstream is protected.
type TLS struct {
	Mode       TLSMode
	CAFile     string // PEM; empty: the system's roots
	ServerName string // to be found in the certificate; empty: the host of the addresses
	CertFile   string // our own certificate, if the upstream asks for one
	KeyFile    string
	Insecure   bool // verify nothing: for tests alone
}

// TLSMode is when TLS begins.
type TLSMode string

// The modes. There is no mode that tries TLS and goes on without it.
const (
	TLSNone  TLSMode = "none"
	StartTLS TLSMode = "starttls"
	TLSOn    TLSMode = "tls"
)

// TokenSettings are what a token for an upstream says.
type TokenSettings struct {
	Audience  string // unique among the upstreams, so that one cannot use a token at another
	Issuer    string
	Algorithm string // ES256 (also if empty) or EdDSA
}

// The signature algorithms of tokens.
const (
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

// Facts is how the client's address, name and TLS travel upstream: one way or none.
type Facts string

// The ways of facts. PROXY and XCLIENT exclude each other: with both, Postfix grants XCLIENT by the address in the PROXY
// header.
const (
	FactsNone      Facts = "none"
	FactsProxy     Facts = "proxy_protocol"
	FactsXCLIENT   Facts = "xclient"   // SMTP and POP3
	FactsID        Facts = "id"        // IMAP
	FactsForwarded Facts = "forwarded" // HTTP: RFC 7239
)

// User is by what name an upstream knows members.
type User string

// The templates of names.
const (
	ByAddress User = "address"
	ByID      User = "id"
)

func (s *Server) setDefaults() {
	if s.Facts == "" {
		s.Facts = s.defaultFacts()
	}
	if s.User == "" {
		s.User = ByAddress
	}
	if s.BasicUser == "" {
		s.BasicUser = userMark
	}
	if s.Token.Algorithm == "" {
		s.Token.Algorithm = ES256
	}
	if s.TLS.ServerName == "" && len(s.Addresses) > 0 {
		s.TLS.ServerName = hostOf(s.Addresses[0])
	}
}

func (s *Server) defaultFacts() Facts {
	switch {
	case s.Protocol == HTTPProtocol:
		return FactsForwarded
	case s.Way == proxy.XCLIENT:
		return FactsXCLIENT
	}
	return FactsNone
}

func (s *Server) userFor(address, id string) string {
	if s.User == ByID {
		return id
	}
	return address
}

// usesToken says whether the way needs a signer.
func (s *Server) usesToken() bool {
	return s.Way == proxy.Token || (s.Way == Basic || s.Way == Bearer) && s.Secret.Empty()
}

// exposed says whether what is sent leaves this host in the clear.
func (s *Server) exposed() bool {
	if s.TLS.Mode != TLSNone {
		return false
	}
	for _, a := range s.Addresses {
		if !local(a) {
			return true
		}
	}
	return false
}

func local(address string) bool {
	if strings.HasPrefix(address, unixPrefix) {
		return true
	}
	host := hostOf(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

const unixPrefix = "unix:"

// hostOf answers the host of "host:port"; empty for a socket's path.
func hostOf(address string) string {
	if strings.HasPrefix(address, unixPrefix) {
		return ""
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}
