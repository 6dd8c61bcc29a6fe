package dav

import (
	"net/http"
	"net/netip"
	"strings"

	"latchkey/authcore"
)

// claims says whether a header, as a client sends it, would tell an upstream who somebody is or how he came. Names with
// "_" are all dropped: to a CGI-like server X_Remote_User and X-Remote-User are one variable, and Radicale merged them. So
// would Proxy be HTTP_PROXY there, through which its own requests go out.
func claims(name, userHeader string) bool {
	name = strings.ToLower(name)
	if strings.Contains(name, "_") {
		return true
	}
	switch name {
	case "authorization", "proxy-authorization", "forwarded", "x-script-name", "x-real-ip", "proxy", strings.ToLower(userHeader):
		return true
	}
	return strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "x-remote-")
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
