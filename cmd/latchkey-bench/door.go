package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// A door is where clients of a job knock, and how.
type door struct {
	Address     string `json:"address"`
	TLS         bool   `json:"tls,omitempty"`
	Certificate []byte `json:"certificate,omitempty"` // that the server must show
	// Header: a PROXY header comes first. In the clear it says that TLS ended at the load balancer, without which
	// Latchkey takes no password.
	Header bool `json:"header,omitempty"`
	// Spread: clients come from a hundred addresses of loopback, for Latchkey bounds the HTTP connections of one.
	Spread bool `json:"spread,omitempty"`
}

// A line is a client's connection, spoken line by line.
type line struct {
	net.Conn
	r *bufio.Reader
}

// readers are used again from connection to connection.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2<<10) }}

// named is whom a PROXY header names as the i-th client: an address that RFC 2544 keeps for benchmarks.
func named(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, byte(18 + i>>16&1), byte(i >> 8), byte(i)}), 40000)
}

// knock connects as the i-th client. The whole exchange has exchangeTime until extended. No context is watched, which would
// take a goroutine for each step: a load that is not wanted any more is ended with its process.
func (d door) knock(i int) (*line, error) {
	dialer := net.Dialer{KeepAlive: -1}
	if d.Spread {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 1, 0, byte(1+i%100))}
	}
	c, err := dialer.Dial("tcp", d.Address)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(exchangeTime)) // a dead connection tells with the next step
	if d.Header {
		if err := d.announce(c, named(i)); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if d.TLS {
		t := tls.Client(c, d.config())
		if err := t.Handshake(); err != nil {
			return nil, errors.Join(fmt.Errorf("TLS: %w", err), c.Close())
		}
		c = t
	}
	r := readers.Get().(*bufio.Reader)
	r.Reset(c)
	return &line{Conn: c, r: r}, nil
}

var errCertificate = errors.New("another certificate than that of the bench")

// config: the certificate is compared octet for octet, which costs the client less than a chain would; no session is
// resumed, and the key exchange is one that all three servers have.
func (d door) config() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, ServerName: "localhost", MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		CurvePreferences: []tls.CurveID{tls.X25519},
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, d.Certificate) {
				return errCertificate
			}
			return nil
		},
	}
}

// announce is what a load balancer says of its client.
func (d door) announce(w io.Writer, client netip.AddrPort) error {
	here, err := netip.ParseAddrPort(d.Address)
	if err != nil {
		return err
	}
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(client), net.TCPAddrFromAddrPort(here))
	if !d.TLS {
		ssl, err := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1, TLV: []proxyproto.TLV{
			{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte("TLSv1.3")},
			{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte("TLS_AES_128_GCM_SHA256")},
		}}.Marshal()
		if err == nil {
			err = h.SetTLVs([]proxyproto.TLV{ssl})
		}
		if err != nil {
			return err
		}
	}
	_, err = h.WriteTo(w)
	return err
}

// leave closes it; its reader is the next one's.
func (l *line) leave() {
	_ = l.Conn.Close()
	l.r.Reset(nil)
	readers.Put(l.r)
}

// extend gives the next exchange its time.
func (l *line) extend() { _ = l.SetDeadline(time.Now().Add(exchangeTime)) }

// say writes one command, or more.
func (l *line) say(text string) error {
	_, err := io.WriteString(l.Conn, text)
	return err
}

var errAnswer = errors.New("not the answer that was wanted")

// expect reads lines until one begins with last, and then it must begin with want.
func (l *line) expect(last, want string) error {
	for {
		got, err := l.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.HasPrefix(got, []byte(last)) {
			if !bytes.HasPrefix(got, []byte(want)) {
				return fmt.Errorf("%w: %.80q, not %q", errAnswer, got, want)
			}
			return nil
		}
	}
}

// ask says a command and expects its answer.
func (l *line) ask(text, last, want string) error {
	if err := l.say(text); err != nil {
		return err
	}
	return l.expect(last, want)
}
