package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Session tickets: a client that was at one TLS door, or at that of another node with the same keys, comes back to any of
// them with a shorter handshake. A ticket resumes TLS and nothing above it; who comes with one signs in like everybody
// else. The settings of all listeners, and every clone that net/http makes of them, seal and open them here.
//
// A resumed handshake shows no certificate. So a ticket is good only for the name that it was given under (RFC 6066
// section 3) and only as long as that name has the certificate that the client has seen: what replaces a lost key is
// noticed by everybody at the next connection.

// tickets is the keys, and who counts what becomes of them.
type tickets struct {
	keys  tls.Config // nothing but its ticket keys is used
	count *prometheus.CounterVec
}

// mark precedes what a ticket is bound to.
const mark = "latchkey:"

// SetTicketKeys changes the keys of session tickets: the first seals, every one opens. Until it is called they are
// crypto/tls's own.
func (c *Certificates) SetTicketKeys(keys [][32]byte) { c.tickets.keys.SetSessionTicketKeys(keys) }

// CountTickets lets m count tickets. Call it before Config.
func (c *Certificates) CountTickets(m *Metrics) { c.tickets.count = m.tickets }

func (c *Certificates) wrapTicket(state tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
	c.tickets.noted("issued")
	s.Extra = append(s.Extra, c.bound(state.ServerName))
	return c.tickets.keys.EncryptTicket(state, s)
}

// unwrapTicket answers nil for a ticket that is not good here: then the handshake is a full one.
func (c *Certificates) unwrapTicket(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
	if len(ticket) == 0 { // TLS 1.2: it can take one
		return nil, nil
	}
	s, err := c.tickets.keys.DecryptTicket(ticket, state)
	if err != nil || s == nil || !bytes.Equal(boundTo(s), c.bound(state.ServerName)) {
		c.tickets.noted("refused")
		return nil, err
	}
	c.tickets.noted("accepted")
	return s, nil
}

// bound is what a ticket is bound to that is given to a client who asks for name.
func (c *Certificates) bound(name string) []byte {
	print := sha256.Sum256(c.current.Load().find(name).Certificate[0])
	return append(append([]byte(mark), print[:]...), hostOf(name)...)
}

func boundTo(s *tls.SessionState) []byte {
	for _, e := range s.Extra {
		if bytes.HasPrefix(e, []byte(mark)) {
			return e
		}
	}
	return nil
}

func (t *tickets) noted(what string) {
	if t.count != nil {
		t.count.WithLabelValues(what).Inc()
	}
}

// hostOf is how a name that a client asks for is compared.
func hostOf(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
