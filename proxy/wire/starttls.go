package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// ServerTLS puts TLS under the dialogue, as the server: at once on a TLS port, or after the reply to STARTTLS. It fails
// with ErrBytesBeforeTLS if the client has sent on in the clear: RFC 3207 section 6, RFC 9051 section 11.1 and
// CVE-2011-0411. Ask Buffered before the reply too, for such a client gets none. On success the reader starts afresh;
// after any error the connection must be closed. The handshake ends with ctx, the dialogue's deadline or timeout.
func (c *Conn) ServerTLS(ctx context.Context, cfg *tls.Config, timeout time.Duration) error {
	return c.handshake(ctx, tls.Server, cfg, timeout)
}

// ClientTLS puts TLS under the dialogue, as the client of an upstream. The same bytes are refused: an upstream's reply
// that was in the clear must not pass for one under TLS.
func (c *Conn) ClientTLS(ctx context.Context, cfg *tls.Config, timeout time.Duration) error {
	return c.handshake(ctx, tls.Client, cfg, timeout)
}

func (c *Conn) handshake(ctx context.Context, side side, cfg *tls.Config, timeout time.Duration) error {
	if err := c.readyForTLS(timeout); err != nil {
		return err
	}
	defer c.CloseOn(ctx)() // not HandshakeContext: that is for connections which nothing else interrupts, and costs more
	t := side(&Footing{Conn: c.raw}, cfg)
	if err := t.Handshake(); err != nil {
		c.writeErr = err
		return c.endReading("TLS handshake", err)
	}
	return c.carryOn(t)
}

// side is tls.Server or tls.Client.
type side = func(c net.Conn, cfg *tls.Config) *tls.Conn

// readyForTLS refuses what came too early, sends what is gathered, and sets the handshake's deadline.
func (c *Conn) readyForTLS(timeout time.Duration) error {
	if c.tlsState != nil {
		return errors.New("TLS handshake: there is TLS already")
	}
	if c.Buffered() > 0 {
		return c.endReading("TLS handshake", ErrBytesBeforeTLS)
	}
	if err := c.Flush(); err != nil {
		return err
	}
	return c.armBoth(timeout)
}

// carryOn makes t the carrier. Nothing that was read before may be read after.
func (c *Conn) carryOn(t *tls.Conn) error {
	if c.buf != nil {
		giveBack(c.buf)
	}
	c.buf, c.r, c.w = nil, 0, 0
	c.tlsState = t
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.c = t
	return nil
}
