package smtp

import (
	"context"
	"time"

	"latchkey/proxy"
)

// tlsTimeout bounds a handshake, on either side.
const tlsTimeout = 10 * time.Second

// startTLS obeys RFC 3207. What was said before the handshake is forgotten (section 4.2), and bytes that came with the
// command end the connection without a word: they may be another's (CVE-2011-0411).
func (d *dialogue) startTLS(ctx context.Context, args string) error {
	switch {
	case args != "":
		return d.reply(replyNoArguments)
	case d.secure():
		return d.reply(replyNoTLSNow)
	case d.p.o.TLS == nil:
		return d.reply(replyNotHere)
	case d.c.Buffered() > 0:
		return gone(errBytesInFront)
	}
	if err := d.reply(replyGoTLS); err != nil {
		return err
	}
	if err := d.c.ServerTLS(ctx, d.p.o.TLS, tlsTimeout); err != nil {
		return gone(err)
	}
	d.info = proxy.WithTLS(d.info, d.c.TLS())
	d.info.Helo, d.extended, d.offered = "", false, nil
	return nil
}
