package wire

import (
	"net"
	"time"
)

// Detach hands the connection over: what was gathered is sent, ahead holds the octets that were read and not used, the
// deadlines are cleared, the buffers given back. conn is the *tls.Conn if there is one. From now on this Conn answers
// ErrDetached, Close does nothing, and an end of CloseOn's context has no effect.
//
// A connection that may not go on (refused, interrupted, or with a reply half written) is closed before it is handed over, so
// that its new owner's first use fails. Of a connection that was closed or detached before there is nothing to hand
// over: conn is nil.
func (c *Conn) Detach() (conn net.Conn, ahead []byte) {
	flushErr := c.Flush()
	conn, cause := c.leave(detached)
	if conn == nil {
		return nil, nil
	}
	if c.r < c.w {
		ahead = append(ahead, c.buf[c.r:c.w]...)
	}
	if c.buf != nil {
		giveBack(c.buf)
	}
	c.buf, c.r, c.w = nil, 0, 0
	if flushErr != nil || cause != nil || c.ended != nil {
		_ = c.raw.Close() // the new owner meets it
		return conn, nil
	}
	_ = c.raw.SetDeadline(time.Time{}) // only fails on a dead descriptor
	return conn, ahead
}
