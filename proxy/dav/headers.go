package dav

import (
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"

	"latchkey/authcore"
)

// claims says whether a header, as a client sends it, would tell an upstream who somebody is or how he came. Names with
// "_" are all dropped: to a CGI-like server X_Remote_User and X-Remote-User are one variable, and Radicale merged them. So
// are those with any other sign but "-": there are servers, lighttpd for one, that make "_" of each. And Proxy would be
// HTTP_PROXY there, through which its own requests go out.
func claims(name, userHeader string) bool {
	if strings.ContainsFunc(name, oddInName) || strings.EqualFold(name, userHeader) {
		return true
	}
	switch http.CanonicalHeaderKey(name) {
	case "Authorization", "Proxy-Authorization", "Forwarded", "X-Script-Name", "X-Real-Ip", "Proxy":
		return true
	}
	return beginsWith(name, "x-forwarded-") || beginsWith(name, "x-remote-")
}

// oddInName: neither letter nor digit nor "-".
func oddInName(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

func beginsWith(name, prefix string) bool {
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// hop says whether a header is for the next hop alone: RFC 9110 section 7.6.1. Offers of an upgrade are among them, which
// may be ignored: section 7.8.
func hop(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

// named are the headers that Connection names, which are for the next hop too.
func named(h http.Header) []string {
	var names []string
	for _, value := range h["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			if name = textproto.TrimString(name); name != "" {
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	return names
}

// dropClaims takes them out of headers or trailers.
func dropClaims(h http.Header, userHeader string) {
	for name := range h {
		if claims(name, userHeader) {
			delete(h, name)
		}
	}
}

// forwarded tells of the client: RFC 7239. An address that nobody vouches for is not told.
func forwarded(c authcore.ConnInfo, host string) string {
	who := "unknown" // section 6.2
	if c.ClientVouched {
		who = node(c.Client.Addr())
	}
	return "for=" + who + ";host=" + quoted(host) + ";proto=https"
}

func node(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return `"[` + a.WithZone("").String() + `]"` // section 6
}

// quoted puts a host into a quoted-string: it may hold a colon. It was a valid Host, so it holds no quote.
func quoted(host string) string {
	host = strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || control(r) {
			return -1
		}
		return r
	}, host)
	return `"` + host + `"`
}
