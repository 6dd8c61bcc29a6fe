package imap

import (
	"context"
	"fmt"
	"time"

	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// handshakeTime is what a handshake may take, on either side.
const handshakeTime = 10 * time.Second

// startTLS is RFC 9051 section 6.2.1. What the client said before is forgotten, but for what it has used up.
func (d *dialogue) startTLS(ctx context.Context, cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	switch {
	case d.secure():
		return &complaint{"BAD TLS is on already"}
	case d.o.StartTLS == nil:
		return &complaint{"BAD STARTTLS is not offered"}
	case d.c.Buffered() > 0: // before any OK: RFC 9051 section 11.1, CVE-2011-0411
		return fmt.Errorf("STARTTLS: %w", wire.ErrBytesBeforeTLS)
	}
	if err := d.c.Reply("%s OK Begin TLS now\r\n", cmd.tag); err != nil {
		return err
	}
	if err := d.c.ServerTLS(ctx, d.o.StartTLS, handshakeTime); err != nil {
		return err
	}
	d.info = proxy.WithTLS(d.info, d.c.TLS())
	d.info.Agent, d.told = "", nil
	return nil
}
