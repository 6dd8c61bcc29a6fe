package configs

import (
	"fmt"
	"net/mail"
	"net/url"
	"strings"
	"unicode"
)

// Console is how the web pages show themselves to strangers and browsers.
type Console struct {
	SecurityContacts []string `yaml:"security_contacts"` // URIs; empty: there is no security.txt
	SecurityPolicy   string   `yaml:"security_policy"`   // URL; empty: none
	HSTSDays         int      `yaml:"hsts_days"`         // 0: browsers are not told to refuse plain HTTP
}

// Bounds of console. Browsers' lists of HSTS hosts ask for a year; two are as good as for ever.
const (
	maxSecurityContacts = 8
	maxURI              = 200
	maxHSTSDays         = 730
)

func (c *Config) validateConsole(bad badFunc) {
	if len(c.Console.SecurityContacts) > maxSecurityContacts {
		bad("console.security_contacts", "has more than %d", maxSecurityContacts)
		return
	}
	for i, s := range c.Console.SecurityContacts {
		if !contactURI(s) {
			bad(fmt.Sprintf("console.security_contacts[%d]", i), "must be mailto:ADDRESS, tel:+NUMBER or https://…, is %q", s)
		}
	}
	if p := c.Console.SecurityPolicy; p != "" && !webPage(p) {
		bad("console.security_policy", "must be https://…, is %q", p)
	}
	if d := c.Console.HSTSDays; d < 0 || d > maxHSTSDays {
		bad("console.hsts_days", "must be 0 to %d, is %d", maxHSTSDays, d)
	}
}

// contactURI says whether s may stand behind Contact: a URI, and one of the web by HTTPS (RFC 9116 section 2.5.3).
func contactURI(s string) bool {
	if address, ok := strings.CutPrefix(s, "mailto:"); ok {
		a, err := mail.ParseAddress(address)
		return err == nil && a.Address == address && plainURI(s)
	}
	if number, ok := strings.CutPrefix(s, "tel:+"); ok {
		return plainURI(s) && number != "" && strings.Trim(number, "0123456789-.") == ""
	}
	return webPage(s)
}

func webPage(s string) bool {
	u, err := url.Parse(s)
	return err == nil && plainURI(s) && u.Scheme == "https" && u.Host != "" && u.User == nil
}

// plainURI keeps what would begin a new line, or is no URI, out of the file.
func plainURI(s string) bool {
	return len(s) <= maxURI && !strings.ContainsFunc(s, func(r rune) bool { return r >= unicode.MaxASCII || r <= ' ' })
}
