package imap

import (
	"crypto/tls"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// door is the name of this door in policies and records (policy.IMAP).
const door = "imap"

// Options of a Door.
type Options struct {
	// Auth decides. It must be set.
	Auth proxy.Authenticator
	// StartTLS are the settings for STARTTLS; they choose the certificate by SNI. Nil: the command is not offered.
	StartTLS *tls.Config
	// Offer says what may be offered before sign-in beyond the basics. Nil: nothing.
	Offer proxy.Offer
	// Hostname stands in the greeting. Empty: none does.
	Hostname string
}

// Door speaks IMAP with clients and upstreams. It keeps nothing between connections.
type Door struct{ o Options }

var _ proxy.Protocol = (*Door)(nil)

// New makes the door.
func New(o Options) *Door { return &Door{o: o} }

// Name is how policies and records call this door.
func (p *Door) Name() string { return door }

// Refuse says BYE instead of a greeting: RFC 9051 section 7.1.5.
func (p *Door) Refuse(c *wire.Conn, why authcore.Reason, text string) error {
	return c.Bye("* BYE [%s] %s\r\n", code(why), text)
}

// Relay passes every octet. A cut may say BYE.
func (p *Door) Relay(*proxy.Login, proxy.Welcome) proxy.Passage {
	return proxy.Passage{Farewell: farewell}
}

func farewell(error) []byte { return []byte("* BYE Session ended by the server\r\n") }
