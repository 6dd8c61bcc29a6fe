package configs

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"latchkey/policy"
)

// The kinds of providers.
const (
	LINE   = "line"
	OpenID = "openid"
)

// maxProviders is as many as a policy may name, and LINE.
const maxProviders = 17

func (c *Config) validateProviders(bad badFunc) {
	l := c.SignIn.Providers
	if len(l) > maxProviders {
		bad("sign_in.providers", "has %d: at most %d, which is a page of buttons", len(l), maxProviders)
		return
	}
	for i, p := range l {
		at := fmt.Sprintf("sign_in.providers[%d]", i)
		validateProvider(bad, at, p)
		if slices.ContainsFunc(l[:i], func(o Provider) bool { return o.Name == p.Name }) {
			bad(at+".name", "stands twice")
		}
		if slices.ContainsFunc(l[:i], func(o Provider) bool { return o.issuer() == p.issuer() && p.issuer() != "" }) {
			bad(at+".issuer", "is another provider's too: an account there would be the same member's at both")
		}
	}
}

// lineIssuer is what LINE names itself by where issuer is left out.
const lineIssuer = "https://access.line.me"

// issuer is what the provider's tokens name it by, whatever its kind: what accounts there are linked by.
func (p Provider) issuer() string {
	if p.Issuer == "" && p.Kind == LINE {
		return lineIssuer
	}
	return p.Issuer
}

func validateProvider(bad badFunc, at string, p Provider) {
	oneOf(bad, at+".kind", p.Kind, LINE, OpenID)
	switch {
	case p.Kind == LINE && p.Name != policy.WayLINE:
		bad(at+".name", "must be line for kind line, is %q", p.Name)
	case p.Kind != LINE && !policy.ProviderName(p.Name):
		bad(at+".name", "must be a name of small letters, digits and -, at most 32, not line, is %q", p.Name)
	}
	if p.Kind != LINE && p.Issuer == "" {
		bad(at+".issuer", "is missing: the https URL that the provider names itself by")
	}
	if u, err := url.Parse(p.Issuer); p.Issuer != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(p.Issuer, "?#")) {
		bad(at+".issuer", "must be an https URL without ? and #, is %q", p.Issuer) // OpenID Connect Discovery 1.0 section 3
	}
	if p.ClientID == "" {
		bad(at+".client_id", "is missing: the name that the provider knows this server by (LINE: the channel ID)")
	}
	if !returns(p.RedirectURL) {
		bad(at+".redirect_url", "must be the https URL of the page that takes the answer, or a private scheme like com.example.app:/back, is %q", p.RedirectURL)
	}
	for i, s := range p.Scopes {
		if !scope.MatchString(s) || s == "openid" {
			bad(fmt.Sprintf("%s.scopes[%d]", at, i), "must be a scope beside openid, which is always asked for, is %q", s)
		}
	}
	validateProviderFiles(bad, at, p)
}

func validateProviderFiles(bad badFunc, at string, p Provider) {
	if p.CAFile != "" {
		absolute(bad, at+".ca_file", p.CAFile)
	}
	if p.SecretFile == "" {
		bad(at+".secret_file", "is missing: a file whose first line is the client's secret (LINE: the channel secret)")
		return
	}
	absolute(bad, at+".secret_file", p.SecretFile)
	if _, err := p.Secret(); filepath.IsAbs(p.SecretFile) && err != nil {
		bad(at+".secret_file", "%v", err)
	}
}

// scope is a scope-token of RFC 6749 section 3.3.
var scope = regexp.MustCompile(`^[!#-\[\]-~]{1,100}$`)

// returns says whether a browser may be sent back there: over https, or into an app by its own scheme (RFC 8252 section
// 7.1), which has a dot in it.
func returns(address string) bool {
	u, err := url.Parse(address)
	if err != nil || strings.Contains(address, "#") || u.User != nil { // RFC 6749 section 3.1.2: no fragment
		return false
	}
	return u.Scheme == "https" && u.Host != "" || strings.Contains(u.Scheme, ".")
}
