package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"
)

// A PROXY header is read octet for octet and never beyond its end, so that no buffer stands between the bare connection
// and TLS. Parsing it is the library's work.

var (
	errNoHeader     = errors.New("no PROXY header from a listed network")
	errForgedHeader = errors.New("PROXY header from a network that is not listed")
)

const (
	prefixV1 = "PROXY "
	// maxHeaderV1 is the longest line with its CRLF (the specification, section 2.1).
	maxHeaderV1 = 107
	fixedV2     = 16 // signature, command, family and length
	// maxHeaderV2 leaves room for the TLVs of every load balancer; certificates of clients, which are none of ours, may
	// not fit.
	maxHeaderV2 = 4 << 10
)

var signatureV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")

// ends are both addresses of a connection.
type ends struct {
	client, local netip.AddrPort
	tls           endedTLS
}

// endsOf answers the addresses that the socket knows.
func endsOf(c net.Conn) ends {
	return ends{client: addrPort(c.RemoteAddr()), local: addrPort(c.LocalAddr())}
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := tcp.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// listed says whether a connection from a must begin with a PROXY header.
func listed(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a.Unmap().WithZone("")) })
}

// readHeader reads the PROXY header that must stand at the front of c and answers what it vouches for: the addresses, and
// TLS that ended at the load balancer. A header that names no addresses (LOCAL, UNKNOWN: a health check) leaves those of the
// socket, and says nothing of TLS.
func readHeader(c net.Conn, deadline time.Time) (ends, error) {
	socket := endsOf(c)
	if err := c.SetReadDeadline(deadline); err != nil {
		return socket, fmt.Errorf("read PROXY header: %w", err)
	}
	raw, err := headerOctets(c)
	if err != nil {
		return socket, fmt.Errorf("read PROXY header: %w", err)
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(raw), len(raw)))
	if err != nil {
		return socket, fmt.Errorf("parse PROXY header: %w", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return socket, fmt.Errorf("read PROXY header: %w", err)
	}
	from, to, ok := h.TCPAddrs()
	if h.Command.IsLocal() || !ok {
		return socket, nil
	}
	ended, err := tlsBefore(h)
	if err != nil {
		return socket, err
	}
	return ends{client: addrPort(from), local: addrPort(to), tls: ended}, nil
}

// headerOctets takes exactly the header off r.
func headerOctets(r io.Reader) ([]byte, error) {
	head := make([]byte, len(signatureV2), maxHeaderV1)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	switch {
	case bytes.Equal(head, signatureV2):
		return restOfV2(r, head)
	case bytes.HasPrefix(head, []byte(prefixV1)):
		return restOfV1(r, head)
	}
	return nil, errNoHeader
}

func restOfV1(r io.Reader, head []byte) ([]byte, error) {
	for !bytes.HasSuffix(head, []byte("\n")) {
		if len(head) == maxHeaderV1 {
			return nil, errors.New("line too long")
		}
		head = head[:len(head)+1]
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			return nil, err
		}
	}
	return head, nil
}

func restOfV2(r io.Reader, head []byte) ([]byte, error) {
	head = head[:fixedV2]
	if _, err := io.ReadFull(r, head[len(signatureV2):]); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(head[fixedV2-2:]))
	if fixedV2+length > maxHeaderV2 {
		return nil, errors.New("header too long")
	}
	whole := make([]byte, fixedV2+length)
	copy(whole, head)
	_, err := io.ReadFull(r, whole[fixedV2:])
	return whole, err
}

// unheralded is a connection in the clear from a network that is not listed. Its first octets must not be a PROXY header:
// the server greets first, so they cannot be awaited, only looked at as they come. A header cut into small packets passes
// here, and is then a wrong command; it is believed in no case.
type unheralded struct {
	net.Conn
	looked bool // owned by the reader
}

func (c *unheralded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.looked || n == 0 {
		return n, err
	}
	c.looked = true
	if isHeader(p[:n]) {
		return 0, errForgedHeader
	}
	return n, err
}

// isHeader says whether a PROXY header begins here.
func isHeader(head []byte) bool {
	return bytes.HasPrefix(head, []byte(prefixV1)) || bytes.HasPrefix(head, signatureV2)
}

// Raw answers what is beneath: wire looks for it to half-close and reset.
func (c *unheralded) Raw() net.Conn { return c.Conn }

// HeaderListener is the same for HTTP, where the client speaks first: connections of listed networks must begin with a
// PROXY header, all others must not. A header is read at the connection's first use, within headerTime.
func HeaderListener(ln net.Listener, networks func() []netip.Prefix) net.Listener {
	return &headerListener{proxyproto.Listener{
		Listener:          ln,
		ReadHeaderTimeout: headerTime,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if listed(networks(), addrPort(o.Upstream).Addr()) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.SKIP, nil
		},
	}}
}

type headerListener struct{ proxyproto.Listener }

// Accept has those from networks that are not listed looked at by unheaded, which costs their later reads and deadlines
// nothing.
func (l *headerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if _, headed := c.(*proxyproto.Conn); headed || err != nil {
		return c, err
	}
	return &unheaded{Conn: c}, nil
}

// unheaded is a connection of HTTP from a network that is not listed. As the client speaks first, as much is awaited as says
// whether a PROXY header begins.
type unheaded struct {
	net.Conn
	looked bool   // this and what follows are owned by the reader
	head   []byte // was read by look, and is not handed on yet
}

func (c *unheaded) Read(p []byte) (int, error) {
	if !c.looked {
		if err := c.look(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// look reads until what came begins no PROXY header. What it read is kept for the next look when the connection fails, which
// may be for a deadline.
func (c *unheaded) look() error {
	for {
		switch {
		case isHeader(c.head):
			return errForgedHeader
		case !strings.HasPrefix(prefixV1, string(c.head)) && !bytes.HasPrefix(signatureV2, c.head):
			c.looked = true
			return nil
		}
		next := make([]byte, len(signatureV2)-len(c.head))
		n, err := c.Conn.Read(next)
		c.head = append(c.head, next[:n]...)
		if n == 0 && err != nil {
			return err
		}
	}
}
