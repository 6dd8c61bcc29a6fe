package smtp

import (
	"crypto/tls"
	"slices"
	"strings"

	"latchkey/authcore"
	"latchkey/proxy"
)

// Options of the door.
type Options struct {
	// Hostname is the name that the door greets with and gives upstream.
	Hostname string
	// TLS is for STARTTLS; nil: it is not offered.
	TLS *tls.Config
	// Authenticator decides.
	Authenticator proxy.Authenticator
	// Offer says what the upstreams have in common; nil: nothing.
	Offer proxy.Offer
	// AllowAnySender lets MAIL name any sender; the upstream alone judges then.
	AllowAnySender bool
}

// Protocol is the door; it keeps proxy.Protocol. It has no state of its own and serves any number of connections.
type Protocol struct{ o Options }

var _ proxy.Protocol = (*Protocol)(nil)

// New makes the door.
func New(o Options) *Protocol { return &Protocol{o: o} }

// Name is "smtp", also as the door in policies and attempts.
func (p *Protocol) Name() string { return "smtp" }

// Relay reads along: commands are judged, messages pass.
func (p *Protocol) Relay(l *proxy.Login, w proxy.Welcome) proxy.Passage {
	s := &splitter{own: l.Decision.Addresses, any: p.o.AllowAnySender}
	if w.AddReceived {
		s.trace = p.traceOf(l)
	}
	for _, c := range w.Capabilities {
		s.ext.note(keywordOf(c))
	}
	return proxy.Passage{Splitter: s}
}

func (p *Protocol) traceOf(l *proxy.Login) *trace {
	t := &trace{host: p.o.Hostname, helo: l.Attempt.Conn.Helo, id: string(l.Decision.Session)}
	if l.Attempt.Conn.ClientVouched {
		t.client = l.Attempt.Conn.Client
	}
	return t
}

// offer answers what is true for every upstream, without what is the door's own to offer.
func (p *Protocol) offer(info authcore.ConnInfo) []string {
	if p.o.Offer == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.o.Offer(info)), func(c string) bool {
		return c == "" || notOffered(keywordOf(c)) || strings.ContainsFunc(c, isControl)
	})
}
