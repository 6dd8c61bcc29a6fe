package wire

import (
	"crypto/tls"
	"errors"
	"net"
)

// These act on a bare connection, as Detach hands it over. They look through TLS and through what reads a PROXY header.

// Reset closes c with a TCP RST and without close_notify. What has no such thing (a pipe) is closed.
func Reset(c net.Conn) error {
	if v, ok := beneath[interface{ SetLinger(int) error }](c); ok {
		_ = v.SetLinger(0) // only fails on a dead descriptor
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return ignoreClosed(c.Close())
}

// CloseWrite tells the peer that nothing more will come: close_notify under TLS, then a TCP FIN.
// errors.ErrUnsupported: the connection has no such thing.
func CloseWrite(c net.Conn) error {
	half, ok := beneath[interface {
		net.Conn
		CloseWrite() error
	}](c)
	if !ok {
		return errors.ErrUnsupported
	}
	if t, ok := c.(*tls.Conn); ok {
		_ = t.CloseWrite() // the FIN says it again
	}
	return ignoreClosed(half.CloseWrite())
}

// beneath finds the first connection under the TLS of c that can do T.
func beneath[T any](c net.Conn) (T, bool) {
	for {
		switch v := c.(type) {
		case *tls.Conn:
			c = v.NetConn()
			continue
		case T:
			return v, true
		case interface{ Raw() net.Conn }: // PROXY protocol
			c = v.Raw()
		default:
			var none T
			return none, false
		}
	}
}
