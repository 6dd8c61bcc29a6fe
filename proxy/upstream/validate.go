package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"latchkey/proxy"
)

// validate names every mistake of every server at once, each with the key that it is about.
func validate(o Options) error {
	m := &mistakes{}
	names, audiences := map[string]bool{}, map[string]string{}
	for _, s := range o.Servers {
		s.setDefaults()
		m.server = s.Name
		m.names(s, names)
		m.addresses(s)
		m.sources(s)
		m.warm(s)
		m.tls(s)
		m.way(s)
		m.token(s, o, audiences)
		m.facts(s)
		m.user(s)
	}
	return errors.Join(m.found...)
}

type mistakes struct {
	server string
	found  []error
}

// say notes a mistake if there is one.
func (m *mistakes) say(wrong bool, key, format string, a ...any) {
	if wrong {
		m.found = append(m.found, fmt.Errorf("upstream %q: %s: %s", m.server, key, fmt.Sprintf(format, a...)))
	}
}

func (m *mistakes) names(s Server, seen map[string]bool) {
	m.say(s.Name == "", "name", "is missing")
	m.say(seen[s.Name], "name", "is used twice")
	seen[s.Name] = true
	m.say(!slices.Contains([]string{IMAP, SMTP, POP3, HTTPProtocol}, s.Protocol), "protocol",
		"is %q: use imap, smtp, pop3 or http", s.Protocol)
}

func (m *mistakes) addresses(s Server) {
	m.say(len(s.Addresses) == 0, "addresses", "are missing: use host:port or unix:/path")
	for _, a := range s.Addresses {
		if path, ok := strings.CutPrefix(a, unixPrefix); ok {
			m.say(!filepath.IsAbs(path), "addresses", "%q is no absolute path", a)
			continue
		}
		host, port, err := net.SplitHostPort(a)
		n, portErr := strconv.ParseUint(port, 10, 16)
		m.say(err != nil || host == "" || portErr != nil || n == 0, "addresses", "%q is not host:port", a)
	}
}

func (m *mistakes) sources(s Server) {
	seen := map[netip.Addr]bool{}
	for i, w := range s.SourceAddresses {
		key := fmt.Sprintf("source_addresses[%d]", i)
		a, err := netip.ParseAddr(w)
		if err != nil {
			m.say(true, key, "%q is no IP address of this host, like 10.20.0.5", w)
			continue
		}
		m.say(a.IsUnspecified() || a.IsMulticast(), key, "%s is no address to dial from: name those of this host, or leave it out", a)
		m.say(seen[a.Unmap()], key, "%s stands twice", a)
		m.say(!slices.ContainsFunc(s.Addresses, func(to string) bool { return reaches(a, to) }), key,
			"%s is of another family than every address of the upstream: name one of the same", a)
		seen[a.Unmap()] = true
	}
	for _, a := range s.Addresses {
		m.say(len(s.SourceAddresses) > 0 && strings.HasPrefix(a, unixPrefix), "source_addresses", "go with host:port, not with %s: leave them out", a)
		m.say(len(seen) > 0 && !strings.HasPrefix(a, unixPrefix) && !reached(a, seen), "source_addresses",
			"hold none from which %s can be reached: name one of its family", a)
	}
}

func (m *mistakes) warm(s Server) {
	m.say(s.Warm < 0 || s.Warm > maxWarm, "warm", "must be 0 to %d, is %d", maxWarm, s.Warm)
	m.say(s.Warm > 0 && s.Protocol == HTTPProtocol, "warm", "is for imap, smtp and pop3: connections to http are kept anyway")
	m.say(s.Warm > 0 && s.Facts == FactsProxy, "warm",
		"cannot be with facts proxy_protocol, by which a connection is one client's from its first byte: use other facts, or 0")
}

// reached says whether any of the sources can reach an address.
func reached(to string, from map[netip.Addr]bool) bool {
	for a := range from {
		if reaches(a, to) {
			return true
		}
	}
	return false
}

// reaches says whether the families fit. A host's name may stand for both.
func reaches(from netip.Addr, to string) bool {
	if strings.HasPrefix(to, unixPrefix) {
		return true // said elsewhere
	}
	ip, err := netip.ParseAddr(hostOf(to))
	return err != nil || ip.Unmap().Is4() == from.Unmap().Is4()
}

func (m *mistakes) tls(s Server) {
	t := s.TLS
	switch t.Mode {
	case TLSNone:
		m.say(t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.Insecure, "tls",
			"has settings, but its mode is none: use tls or starttls")
		return
	case StartTLS:
		m.say(s.Protocol == HTTPProtocol, "tls.mode", "is starttls, which HTTP does not know: use tls")
	case TLSOn:
	default:
		m.say(true, "tls.mode", "is %q: use tls, starttls or none", t.Mode)
	}
	m.say(t.Insecure && t.CAFile != "", "tls", "names a ca_file and is insecure: with insecure nothing is verified, leave one out")
	m.say((t.CertFile == "") != (t.KeyFile == ""), "tls", "needs cert_file and key_file together")
	if t.Insecure {
		return
	}
	m.say(t.ServerName == "", "tls.server_name", "is missing: an address without a host name says nothing about the certificate")
	for _, a := range s.Addresses {
		// setDefaults took the host of the first address
		other := t.ServerName == hostOf(s.Addresses[0]) && hostOf(a) != t.ServerName
		m.say(other, "tls.server_name", "is missing: the addresses have several hosts")
	}
}

// ways lists what each protocol can be signed in by.
func ways(protocol string) []proxy.Way {
	switch protocol {
	case HTTPProtocol:
		return []proxy.Way{Header, Basic, Bearer, proxy.Passthrough}
	case SMTP:
		return []proxy.Way{proxy.Master, proxy.Token, proxy.XCLIENT, proxy.Passthrough}
	}
	return []proxy.Way{proxy.Master, proxy.Token, proxy.Passthrough}
}

func (m *mistakes) way(s Server) {
	m.say(!slices.Contains(ways(s.Protocol), s.Way), "way", "is %q: use one of %v", s.Way, ways(s.Protocol))
	if s.Way == proxy.Master {
		m.say(s.Master == "", "master", "is missing")
		m.say(s.Secret.Empty(), "secret", "is missing")
		m.say(strings.ContainsFunc(s.Master+s.Secret.Reveal(), control), "master", "or its secret holds control characters")
	}
	if s.Way == Header {
		m.say(s.Header == "", "header", "is missing: name the header that the server trusts, such as X-Remote-User")
	}
	m.say(s.Header != "" && s.Protocol != HTTPProtocol, "header", "is for http alone")
	m.say(s.Header != "" && !userHeader(s.Header), "header", "%q cannot carry a name", s.Header)
	oneForAll := !s.Secret.Empty() && s.Header == ""
	m.say(s.Way == Bearer && oneForAll, "header", "is missing: a bearer secret alone does not say who the member is")
	m.say(s.Way == Basic && oneForAll && !strings.Contains(s.BasicUser, userMark), "basic_user",
		"holds no {user}, and there is no header: the server would not know who the member is")
	m.say(strings.ContainsFunc(s.BasicUser, func(r rune) bool { return r == ':' || control(r) }), "basic_user",
		"holds a colon or control characters")
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// userHeader says whether h may be a trusted user header: a header name that means nothing else to HTTP, and without "_",
// for many servers take that for "-".
func userHeader(h string) bool {
	taken := []string{
		"authorization", "host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer",
		"upgrade", "expect", "destination", "if", "depth", "forwarded", "cookie", "keep-alive",
	}
	return httpguts.ValidHeaderFieldName(h) && !strings.Contains(h, "_") && !slices.Contains(taken, strings.ToLower(h))
}

func (m *mistakes) token(s Server, o Options, audiences map[string]string) {
	if !s.usesToken() {
		return
	}
	m.say(o.Token == nil, "way", "needs a token, and there is no key to sign it")
	m.say(s.Token.Issuer == "", "token.issuer", "is missing")
	m.say(s.Token.Audience == "", "token.audience", "is missing")
	m.say(s.Token.Algorithm != ES256 && s.Token.Algorithm != EdDSA, "token.algorithm", "is %q: use ES256 or EdDSA", s.Token.Algorithm)
	other, taken := audiences[s.Token.Audience]
	m.say(taken && s.Token.Audience != "", "token.audience", "is that of %q too: either could use the other's tokens", other)
	audiences[s.Token.Audience] = s.Name
}

func (m *mistakes) facts(s Server) {
	if s.Facts == FactsProxy && s.Way == proxy.XCLIENT {
		m.say(true, "facts", "is proxy_protocol and the way is xclient: Postfix would grant XCLIENT by the address in the PROXY header")
		return
	}
	allowed := []Facts{FactsNone, FactsProxy}
	switch s.Protocol {
	case IMAP:
		allowed = append(allowed, FactsID)
	case SMTP, POP3:
		allowed = append(allowed, FactsXCLIENT)
	case HTTPProtocol:
		allowed = []Facts{FactsNone, FactsForwarded} // connections are shared by clients, so a PROXY header would lie
	}
	m.say(!slices.Contains(allowed, s.Facts), "facts", "is %q: use one of %v", s.Facts, allowed)
}

func (m *mistakes) user(s Server) {
	m.say(s.User != ByAddress && s.User != ByID, "user", "is %q: use address or id", s.User)
	m.say(s.AuthenticatesOnlyDoor && s.Protocol != IMAP, "authenticates_only_door", "is for imap alone")
	m.say(s.ProbeUser != "" && s.Way == proxy.Passthrough, "probe_user", "cannot be signed in by passthrough: his password is not known")
	m.say(strings.ContainsFunc(s.ProbeUser, control), "probe_user", "holds control characters")
}
