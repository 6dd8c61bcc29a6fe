package proxy

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"latchkey/proxy/wire"
)

// Listener says what is served at one listening socket. It is a snapshot, read once per connection.
type Listener struct {
	Name     string // in the configuration
	Protocol Protocol
	// TLS, if set, comes before the first octet of the protocol. STARTTLS is the Protocol's own.
	TLS *tls.Config
	// ProxyFrom are the networks whose connections must begin with a PROXY header, v1 or v2; from all others one is
	// refused. Neither is guessed: a listed source without a header is refused too, for a load balancer that stopped
	// sending it would put its own address in place of everybody's (the specification, section 5, forbids guessing).
	ProxyFrom     []netip.Prefix
	DefaultDomain string        // for bare local parts; empty: they are refused
	Idle          time.Duration // of a relayed session; zero: the relay's own
	Trace         wire.Tracer   // told what the client's dialogue says, without secrets; nil: nobody
}

// Bounds of a connection before its sign-in.
const (
	headerTime = 5 * time.Second  // the PROXY header: the load balancer writes it before anything else
	helloTime  = 10 * time.Second // the TLS handshake, two round trips on the slowest link
	signInTime = time.Minute      // all of it, from accept to the client's last command
)

// A dead peer is noticed by the kernel after thirteen minutes. Shorter intervals would wake the radio of a phone that
// sits in IDLE; RFC 9051 section 5.4 lets it be silent for thirty.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Minute, Interval: 30 * time.Second, Count: 6}

// tune sets what the kernel does for us; Go has switched TCP_NODELAY on already. What is no TCP connection needs none.
func tune(c net.Conn) {
	if tcp, ok := c.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive) // only fails on a dead descriptor, which the first read finds
	}
}
