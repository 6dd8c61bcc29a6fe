package configs

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/policy"
)

// What is checked here is what the file alone can tell. Rules between an upstream's keys (which sign_in goes with which
// protocol) are proxy/upstream's, those of notify's are authcore/notify's, and certificates are read by proxy; `latchkey
// check` asks all of them.

type badFunc = func(key, format string, a ...any)

func (c *Config) validate() (m Mistakes) {
	bad := func(key, format string, a ...any) { m = append(m, c.At(key, format, a...)) }
	absolute(bad, "data", c.Data)
	absolute(bad, "keys", c.Keys)
	c.validateHostname(bad)
	c.validateStore(bad)
	oneOf(bad, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(bad, "log.format", c.Log.Format, "text", "json")
	c.validateCertificates(bad)
	c.validateListeners(bad)
	c.validateCodes(bad)
	c.validateProviders(bad)
	c.validateWebAuthn(bad)
	c.validateUpstreams(bad)
	c.validatePrograms(bad)
	c.validateConsole(bad)
	c.validateNotify(bad)
	c.validateLimits(bad)
	if days := c.Audit.KeepDays; days < 1 || days > 3650 {
		bad("audit.keep_days", "must be 1 to 3650, is %d", days)
	}
	return m
}

func oneOf(bad badFunc, key, value string, of ...string) {
	if !slices.Contains(of, value) {
		bad(key, "must be %s, is %q", words(of), value)
	}
}

// words puts "or" before the last.
func words(l []string) string {
	last := len(l) - 1
	if last == 0 {
		return l[0]
	}
	return strings.Join(l[:last], ", ") + " or " + l[last]
}

// absolute refuses paths that would depend on the folder the program was started in.
func absolute(bad badFunc, key, path string) {
	if !filepath.IsAbs(path) {
		bad(key, "must be an absolute path, is %q", path)
	}
}

// hostName matches names as DNS has them. Small letters, because domains are compared with what members type, made small.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

func (c *Config) validateHostname(bad badFunc) {
	switch {
	case c.Hostname == "":
		bad("hostname", "is missing: the name that this server has in the Internet, like mail.example.org")
	case !hostName.MatchString(c.Hostname):
		bad("hostname", "must be a host name in small letters, like mail.example.org, is %q", c.Hostname)
	}
}

func (c *Config) validateCertificates(bad badFunc) {
	if len(c.Certificates) == 0 {
		bad("certificates", "is empty: every door speaks TLS; name a cert_file and a key_file")
	}
	for i, k := range c.Certificates {
		at := fmt.Sprintf("certificates[%d]", i)
		if k.CertFile == "" || k.KeyFile == "" {
			bad(at, "needs cert_file and key_file")
			continue
		}
		absolute(bad, at+".cert_file", k.CertFile)
		absolute(bad, at+".key_file", k.KeyFile)
	}
}

// opsListener is the name that the private listener has among the others.
const opsListener = "ops"

func (c *Config) validateListeners(bad badFunc) {
	if len(c.Listeners) == 0 {
		bad("listeners", "is empty: nobody could come in")
	}
	addresses := map[string]string{}
	validateAddress(bad, "ops.address", c.Ops.Address, opsListener, addresses)
	named := map[string]bool{opsListener: true}
	for i, l := range c.Listeners {
		at := fmt.Sprintf("listeners[%d]", i)
		if l.Name == "" || named[l.Name] {
			bad(at+".name", "must be a name of its own (ops is taken), is %q", l.Name)
		}
		named[l.Name] = true
		validateAddress(bad, at+".address", l.Address, l.Name, addresses)
		c.validateListener(at, l, bad)
	}
}

// socketPrefix stands before the name of a socket that systemd passes.
const socketPrefix = "systemd:"

func validateAddress(bad badFunc, key, address, name string, taken map[string]string) {
	socket, passed := strings.CutPrefix(address, socketPrefix)
	port, err := portOf(address)
	switch other, ok := taken[address]; {
	case passed && socket == "", !passed && err != nil:
		bad(key, "must be host:port, :port or systemd:NAME, is %q", address)
	case ok && (passed || port != 0):
		bad(key, "is that of listener %q too: give each its own", other)
	}
	taken[address] = name
}

func portOf(address string) (uint64, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(port, 10, 16)
}

func (c *Config) validateListener(at string, l Listener, bad badFunc) {
	oneOf(bad, at+".protocol", l.Protocol, IMAP, SMTP, POP3, DAV, API)
	switch l.Protocol {
	case IMAP, SMTP, POP3:
		if l.TLS != Implicit && l.TLS != StartTLS {
			bad(at+".tls", "must be implicit or starttls, is %q: no password is taken without TLS", l.TLS)
		}
	case DAV, API:
		if l.TLS != "" && l.TLS != Implicit {
			bad(at+".tls", "must be implicit, is %q: HTTP has no STARTTLS", l.TLS)
		}
	}
	c.validateReach(at, l, bad)
	validateDAV(at, l, bad)
	validatePagesFor(at, l, bad)
	if l.AnySender && l.Protocol != SMTP {
		bad(at+".any_sender", "is for smtp alone")
	}
}

// validateReach looks at whom a listener leads where.
func (c *Config) validateReach(at string, l Listener, bad badFunc) {
	if l.DefaultDomain != "" && !hostName.MatchString(l.DefaultDomain) {
		bad(at+".default_domain", "must be a domain in small letters, is %q", l.DefaultDomain)
	}
	if l.Protocol == API && (l.DefaultDomain != "" || len(l.Upstreams) > 0) {
		bad(at, "has default_domain or upstreams: the API leads nobody on")
	}
	for i, name := range l.Upstreams {
		key := fmt.Sprintf("%s.upstreams[%d]", at, i)
		u, ok := c.Upstreams[name]
		switch speaks := upstreamProtocol(l.Protocol); {
		case !ok:
			bad(key, "is %q, which does not stand below upstreams", name)
		case speaks != "" && u.Protocol != "" && u.Protocol != speaks:
			bad(key, "is %q, which speaks %s: a listener of protocol %s needs %s", name, u.Protocol, l.Protocol, speaks)
		}
	}
}

// upstreamProtocol is what the servers behind a listener speak; empty for the API.
func upstreamProtocol(listener string) string {
	switch listener {
	case DAV:
		return "http"
	case IMAP, SMTP, POP3:
		return listener
	default:
		return ""
	}
}

func validateDAV(at string, l Listener, bad badFunc) {
	if l.Protocol != DAV {
		if len(l.Doors) > 0 {
			bad(at+".doors", "is for dav alone")
		}
		if l.ContextPath != "" {
			bad(at+".context_path", "is for dav alone")
		}
		return
	}
	if len(l.Doors) == 0 {
		bad(at+".doors", "is missing: name caldav, carddav or both")
	}
	for i, d := range l.Doors {
		key := fmt.Sprintf("%s.doors[%d]", at, i)
		if slices.Contains(l.Doors[:i], d) {
			bad(key, "stands twice")
			continue
		}
		oneOf(bad, key, d, policy.CalDAV, policy.CardDAV)
	}
	if l.ContextPath != "" && !strings.HasPrefix(l.ContextPath, "/") {
		bad(at+".context_path", "must begin with /, is %q", l.ContextPath)
	}
}

func (c *Config) validateUpstreams(bad badFunc) {
	for name, u := range c.Upstreams {
		at := "upstreams." + name
		if !upstreamName.MatchString(name) {
			bad(at, "must be a name of small letters, digits, - and _, which domains refer to")
		}
		if u.SignIn == "" {
			bad(at+".sign_in", "is missing: use master, token, xclient, header, basic, bearer or passthrough")
		}
		if u.TLS.Mode == "" {
			bad(at+".tls.mode", "is missing: use tls, starttls or none")
		}
		for key, file := range map[string]string{
			"secret_file": u.SecretFile, "tls.ca_file": u.TLS.CAFile, "tls.cert_file": u.TLS.CertFile, "tls.key_file": u.TLS.KeyFile,
		} {
			if file != "" {
				absolute(bad, at+"."+key, file)
			}
		}
		for i, d := range u.Domains {
			if !hostName.MatchString(d) {
				bad(fmt.Sprintf("%s.domains[%d]", at, i), "must be a domain in small letters, is %q", d)
			}
		}
		if _, err := u.Secret(); filepath.IsAbs(u.SecretFile) && err != nil {
			bad(at+".secret_file", "%v", err)
		}
	}
}

var upstreamName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

func (c *Config) validateLimits(bad badFunc) {
	l := c.Limits
	for key, k := range map[string]struct{ value, low, high int }{
		"hash_slots":          {l.HashSlots, 0, 1024},
		"hash_memory_kib":     {l.HashMemoryKiB, 8, 1 << 20},
		"hash_time":           {l.HashTime, 1, 64},
		"per_member_and_door": {l.PerMemberAndDoor, 1, 10_000},
		"per_source":          {l.PerSource, 1, 1_000_000},
		"connections":         {l.Connections, 0, 10_000_000},
		"cache_entries":       {l.CacheEntries, 0, 100_000_000},
		"api_per_member":      {l.APIPerMember, 60, 1_000_000},
		"api_per_source":      {l.APIPerSource, 60, 10_000_000},
	} {
		if k.value < k.low || k.value > k.high {
			bad("limits."+key, "must be %d to %d, is %d", k.low, k.high, k.value)
		}
	}
	for key, k := range map[string]struct{ value, low, high time.Duration }{
		"hold":          {l.Hold, 0, 30 * time.Second}, // programs give up after that
		"idle_timeout":  {l.IdleTimeout, time.Minute, 24 * time.Hour},
		"drain_timeout": {l.DrainTimeout, time.Second, time.Hour},
		"drain_notice":  {l.DrainNotice, 0, 5 * time.Minute},
	} {
		if k.value < k.low || k.value > k.high {
			bad("limits."+key, "must be %v to %v, is %v", k.low, k.high, k.value)
		}
	}
}
