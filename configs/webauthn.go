package configs

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// WebAuthn is this installation as the relying party of quick login and passkeys.
type WebAuthn struct {
	RPID       string   `yaml:"rp_id"`       // empty: hostname
	Name       string   `yaml:"name"`        // shown by authenticators
	Origins    []string `yaml:"origins"`     // empty: of rp_id, at the ports of the api listeners
	AppOrigins []string `yaml:"app_origins"` // of mobile apps
}

// Party is what holds of webauthn, with what is left out filled in.
func (c *Config) Party() WebAuthn {
	w := c.WebAuthn
	if w.RPID == "" {
		w.RPID = c.Hostname
	}
	if len(w.Origins) > 0 {
		return w
	}
	for _, l := range c.Listeners {
		if l.Protocol != API {
			continue
		}
		if port, err := portOf(l.Address); err == nil && port != 0 && port != 443 {
			w.Origins = append(w.Origins, "https://"+net.JoinHostPort(w.RPID, fmt.Sprint(port)))
		}
	}
	w.Origins = append(w.Origins, "https://"+w.RPID)
	return w
}

// Bounds of webauthn: what a page of settings can need.
const (
	maxOrigins   = 16
	maxPartyName = 64
)

// appOrigin is what Android says that an app's origin is: the hash of its signing certificate.
var appOrigin = regexp.MustCompile(`^android:apk-key-hash(-sha256)?:[A-Za-z0-9_-]{20,64}$`)

func (c *Config) validateWebAuthn(bad badFunc) {
	w := c.WebAuthn
	id := c.Party().RPID
	if w.RPID != "" && (!hostName.MatchString(w.RPID) || net.ParseIP(w.RPID) != nil) {
		bad("webauthn.rp_id", "must be a domain in small letters, like example.org, is %q", w.RPID)
	}
	if w.Name == "" || len(w.Name) > maxPartyName {
		bad("webauthn.name", "must have 1 to %d bytes", maxPartyName)
	}
	if len(w.Origins) > maxOrigins || len(w.AppOrigins) > maxOrigins {
		bad("webauthn", "has more than %d origins", maxOrigins)
		return
	}
	for i, o := range w.Origins {
		if !originOf(o, id) {
			bad(fmt.Sprintf("webauthn.origins[%d]", i), "must be https://HOST or https://HOST:PORT, where HOST is %s or below it, is %q", id, o)
		}
	}
	for i, o := range w.AppOrigins {
		if !appOrigin.MatchString(o) {
			bad(fmt.Sprintf("webauthn.app_origins[%d]", i), "must be android:apk-key-hash: and the hash of the app's signing certificate in base64url, is %q", o)
		}
	}
}

// originOf says whether o is an origin as browsers write it (RFC 6454 section 6.2) of a host at or below id.
func originOf(o, id string) bool {
	u, err := url.Parse(o)
	return err == nil && u.Scheme == "https" && u.Port() != "443" && o == "https://"+u.Host && hostName.MatchString(u.Hostname()) &&
		(u.Hostname() == id || strings.HasSuffix(u.Hostname(), "."+id))
}
