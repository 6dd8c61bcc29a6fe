package configs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"latchkey/policy"
)

// Programs is what people's programs are told of where the doors are.
type Programs struct {
	Pages       string        `yaml:"pages"` // origin of the web pages; empty: hostname, at the port of the first api listener
	Doors       []ProgramDoor `yaml:"doors"` // empty: hostname, at the ports of the listeners
	SigningCert string        `yaml:"signing_cert_file"`
	SigningKey  string        `yaml:"signing_key_file"`
}

// ProgramDoor is one door as programs reach it from outside.
type ProgramDoor struct {
	Door string `yaml:"door"`
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
	TLS  string `yaml:"tls"`  // implicit, starttls
	Path string `yaml:"path"` // caldav, carddav: where the tree begins
}

// ProgramDoors are those that programs are told. A socket that systemd passes has no port here: its door must be named.
func (c *Config) ProgramDoors() (l []ProgramDoor) {
	if len(c.Programs.Doors) > 0 {
		return c.Programs.Doors
	}
	for _, k := range c.Listeners {
		port, err := portOf(k.Address)
		if err != nil || port == 0 || k.Protocol == API {
			continue
		}
		doors := []string{k.Protocol}
		if k.Protocol == DAV {
			doors = k.Doors
		}
		for _, d := range doors {
			l = append(l, ProgramDoor{Door: d, Host: c.Hostname, Port: int(port), TLS: k.TLS, Path: k.ContextPath})
		}
	}
	return l
}

// Pages is the origin of the web pages.
func (c *Config) Pages() string {
	if c.Programs.Pages != "" {
		return c.Programs.Pages
	}
	for _, l := range c.Listeners {
		if port, err := portOf(l.Address); l.Protocol == API && err == nil && port != 0 && port != 443 {
			return fmt.Sprintf("https://%s:%d", c.Hostname, port)
		}
	}
	return "https://" + c.Hostname
}

// HostOf is the host name of an origin that was validated.
func HostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// PagesAt says whether a dav listener serves the web pages at a host name.
func (l Listener) PagesAt(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(l.PagesFor, func(pattern string) bool {
		ok, err := path.Match(pattern, host)
		return ok && err == nil
	})
}

// Signing reads the certificate that signs Apple's profiles; nil when there is none.
func (p Programs) Signing() ([]*x509.Certificate, crypto.PrivateKey, error) {
	if p.SigningCert == "" {
		return nil, nil, nil
	}
	pair, err := tls.LoadX509KeyPair(p.SigningCert, p.SigningKey)
	if err != nil {
		return nil, nil, fmt.Errorf("read the certificate that signs profiles: %w", err)
	}
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		k, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, fmt.Errorf("read the certificate that signs profiles: %w", err)
		}
		chain = append(chain, k)
	}
	return chain, pair.PrivateKey, nil
}

// maxProgramDoors bounds programs.doors: every door twice, with room.
const maxProgramDoors = 32

func (c *Config) validatePrograms(bad badFunc) {
	p := c.Programs
	if p.Pages != "" && !pagesOrigin(p.Pages) {
		bad("programs.pages", "must be https://HOST or https://HOST:PORT, is %q", p.Pages)
	}
	if (p.SigningCert == "") != (p.SigningKey == "") {
		bad("programs", "needs signing_cert_file and signing_key_file, or neither")
	}
	for key, file := range map[string]string{"programs.signing_cert_file": p.SigningCert, "programs.signing_key_file": p.SigningKey} {
		if file != "" {
			absolute(bad, key, file)
		}
	}
	if len(p.Doors) > maxProgramDoors {
		bad("programs.doors", "has more than %d", maxProgramDoors)
		return
	}
	for i, d := range p.Doors {
		d.validate(fmt.Sprintf("programs.doors[%d]", i), bad)
	}
}

func pagesOrigin(o string) bool {
	u, err := url.Parse(o)
	return err == nil && u.Scheme == "https" && o == "https://"+u.Host && hostName.MatchString(u.Hostname())
}

func (d ProgramDoor) validate(at string, bad badFunc) {
	oneOf(bad, at+".door", d.Door, policy.Doors()...)
	if !hostName.MatchString(d.Host) {
		bad(at+".host", "must be a host name in small letters, is %q", d.Host)
	}
	if d.Port < 1 || d.Port > 65535 {
		bad(at+".port", "must be 1 to 65535, is %d", d.Port)
	}
	http := d.Door == policy.CalDAV || d.Door == policy.CardDAV
	switch {
	case http && d.TLS != "" && d.TLS != Implicit:
		bad(at+".tls", "must be implicit, is %q: HTTP has no STARTTLS", d.TLS)
	case !http && d.TLS != Implicit && d.TLS != StartTLS:
		bad(at+".tls", "must be implicit or starttls, is %q", d.TLS)
	}
	if d.Path != "" && (!http || !strings.HasPrefix(d.Path, "/")) {
		bad(at+".path", "is for caldav and carddav, and must begin with /, is %q", d.Path)
	}
}

func validatePagesFor(at string, l Listener, bad badFunc) {
	if len(l.PagesFor) > 0 && l.Protocol != DAV {
		bad(at+".pages_for", "is for dav alone: api listeners serve the pages at every name")
	}
	for i, p := range l.PagesFor {
		if !hostName.MatchString(strings.TrimSuffix(p, ".*")) {
			bad(fmt.Sprintf("%s.pages_for[%d]", at, i), "must be a host name in small letters, or one that ends in .*, is %q", p)
		}
	}
}
