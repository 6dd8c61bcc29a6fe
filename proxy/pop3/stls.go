package pop3

import (
	"context"
	"fmt"
	"time"

	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// handshakeTime is what a handshake may take, on either side.
const handshakeTime = 10 * time.Second

// startTLS is STLS, RFC 2595 section 4. What the client said before is forgotten, but for what it has used up.
func (d *dialogue) startTLS(ctx context.Context) error {
	switch {
	case d.secure():
		return &complaint{"TLS is on already"}
	case d.o.StartTLS == nil:
		return &complaint{"STLS is not offered"}
	case d.c.Buffered() > 0: // before any +OK: CVE-2011-0411
		return fmt.Errorf("STLS: %w", wire.ErrBytesBeforeTLS)
	}
	if err := d.c.Reply("+OK Begin TLS now\r\n"); err != nil {
		return err
	}
	if err := d.c.ServerTLS(ctx, d.o.StartTLS, handshakeTime); err != nil {
		return err
	}
	d.info = proxy.WithTLS(d.info, d.c.TLS())
	d.told = nil // USER cannot have been taken in the clear
	return nil
}
