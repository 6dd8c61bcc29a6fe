package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// KeyPair names the PEM files of a certificate, its intermediates behind it, and of its key.
type KeyPair struct{ CertFile, KeyFile string }

// Certificates answers each TLS client with the certificate for the name that it asks for. Reload swaps them while
// connections go on.
type Certificates struct {
	pairs   []KeyPair
	current atomic.Pointer[certificates]
	tickets tickets
}

// certificates is one state of the files.
type certificates struct {
	byName map[string]*tls.Certificate // lower case; "*.example.org" as it stands in the certificate
	first  *tls.Certificate            // for clients that ask for no name, or for one that is not ours
}

// Warning is something about a certificate that works today.
type Warning struct {
	File string
	Text string
}

// expirySoon leaves a week for who renews after three of four weeks, as ACME clients do with 90 days.
const expirySoon = 14 * 24 * time.Hour

// LoadCertificates reads the files. The first pair answers clients that name no host, or an unknown one.
func LoadCertificates(pairs []KeyPair) (*Certificates, []Warning, error) {
	c := &Certificates{pairs: slices.Clone(pairs)}
	warnings, err := c.Reload()
	if err != nil {
		return nil, nil, err
	}
	return c, warnings, nil
}

// Reload reads the files again and, if every one of them is sound, answers new connections with them. An error names
// every file that is not; then the old ones stay in use.
func (c *Certificates) Reload() ([]Warning, error) {
	if len(c.pairs) == 0 {
		return nil, errors.New("load certificates: none is configured")
	}
	next := &certificates{byName: make(map[string]*tls.Certificate)}
	var warnings []Warning
	var broken []error
	for _, p := range c.pairs {
		cert, err := load(p)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		next.add(cert)
		if w := warning(p.CertFile, cert.Leaf, time.Now()); w != nil {
			warnings = append(warnings, *w)
		}
	}
	if err := errors.Join(broken...); err != nil {
		return nil, err
	}
	c.current.Store(next)
	return warnings, nil
}

// load reads a pair; the standard library makes sure that key and certificate belong together.
func load(p KeyPair) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load certificate %s with key %s: %w", p.CertFile, p.KeyFile, err)
	}
	if len(namesOf(cert.Leaf)) == 0 {
		return nil, fmt.Errorf("load certificate %s: it names no host", p.CertFile)
	}
	return &cert, nil
}

// warning says what is soon wrong, or wrong already: an expired certificate is still better than no door, for clients
// can say so.
func warning(file string, leaf *x509.Certificate, now time.Time) *Warning {
	end := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case now.After(leaf.NotAfter):
		return &Warning{file, "the certificate expired on " + end}
	case now.Before(leaf.NotBefore):
		return &Warning{file, "the certificate is not valid yet: look at the clock"}
	case leaf.NotAfter.Sub(now) < expirySoon:
		return &Warning{file, "the certificate expires on " + end}
	}
	return nil
}

// namesOf lists what a certificate is for. IP addresses count as names, but nobody sends them in SNI (RFC 6066 section 3).
func namesOf(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// add keeps the earlier certificate of two for the same name.
func (s *certificates) add(cert *tls.Certificate) {
	if s.first == nil {
		s.first = cert
	}
	for _, name := range cert.Leaf.DNSNames {
		name = strings.ToLower(name)
		if s.byName[name] == nil {
			s.byName[name] = cert
		}
	}
}

func (s *certificates) find(name string) *tls.Certificate {
	name = hostOf(name)
	if cert := s.byName[name]; cert != nil {
		return cert
	}
	if _, parent, ok := strings.Cut(name, "."); ok { // RFC 6125 section 6.4.3: the whole leftmost label
		if cert := s.byName["*."+parent]; cert != nil {
			return cert
		}
	}
	return s.first
}

// GetCertificate is for tls.Config. A name that is not ours gets the first certificate: the client then says what it
// got, which tells more than an alert.
func (c *Certificates) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load().find(hello.ServerName), nil
}

// Names lists the hosts that the certificates are for, sorted.
func (c *Certificates) Names() []string {
	var names []string
	for name := range c.current.Load().byName {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Config is a server's: TLS 1.2 at least, cipher suites as the standard library keeps them, tickets in common. alpn lists
// application protocols, "h2" and "http/1.1" for DAV; the text protocols have names too (RFC 7301 registry: "imap",
// "pop3"), but a client that offers another would be refused, so they are given none. Records are full from the first one
// on: small ones let a browser paint a little earlier, and every one costs its own sealing.
func (c *Certificates) Config(alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: c.GetCertificate, NextProtos: alpn, DynamicRecordSizingDisabled: true,
		WrapSession: c.wrapTicket, UnwrapSession: c.unwrapTicket,
	}
}
