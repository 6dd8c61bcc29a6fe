package wire

import (
	"fmt"
	"io"
	"net"
	"time"
)

// WriteString gathers s. Errors are sticky: who writes several parts may look at the last error, or at Flush's.
func (c *Conn) WriteString(s string) error { return c.gather(append(c.room(len(s)), s...), false) }

// WriteSecret is WriteString for what the trace may not see, such as a password toward the upstream.
func (c *Conn) WriteSecret(s string) error { return c.gather(append(c.room(len(s)), s...), true) }

// Printf gathers a formatted string. It adds no CRLF, and keeps none out of the arguments.
func (c *Conn) Printf(format string, a ...any) error {
	return c.gather(fmt.Appendf(c.room(0), format, a...), false)
}

// Reply is Printf and Flush: the whole of what was gathered leaves with one write.
func (c *Conn) Reply(format string, a ...any) error {
	_ = c.Printf(format, a...) // sticky: Flush tells
	return c.Flush()
}

// Flush sends what was gathered, and gives the buffer back.
func (c *Conn) Flush() error {
	if c.writeErr != nil {
		return c.explain("write", c.writeErr)
	}
	if len(c.out) == 0 {
		return c.unwritten()
	}
	if err := c.armWrite(c.o.WriteTimeout); err != nil {
		return c.explain("write", err)
	}
	_, err := c.carrier().Write(c.out)
	giveBack(c.out)
	c.out = nil
	if err != nil {
		c.writeErr = err
		return c.explain("write", err)
	}
	return nil
}

// unwritten is the end of a Flush with nothing to send.
func (c *Conn) unwritten() error {
	c.mu.Lock()
	err := c.usable()
	c.mu.Unlock()
	if err != nil {
		return c.explain("write", err)
	}
	return nil
}

// byeTimeout bounds the last reply and the wait for the peer to take it; byeDrain what is swallowed meanwhile. A
// connection closed over unread octets is reset by the system, and the reply may be lost with it.
const (
	byeTimeout = time.Second
	byeDrain   = 64 << 10
)

// Bye says a last word and closes, within two seconds in all. It works where nothing else does any more: after a refused
// line, a passed deadline, an ended context. After an error of a write it only closes.
func (c *Conn) Bye(format string, a ...any) error {
	defer func() { _ = c.Close() }()
	if err := c.part(); err != nil {
		return c.explain("write", err)
	}
	if err := c.Reply(format, a...); err != nil {
		return err
	}
	c.awaitTaken()
	return nil
}

// awaitTaken half-closes and swallows what the peer still sends. All its errors mean that the peer is gone.
func (c *Conn) awaitTaken() {
	if CloseWrite(c.carrier()) != nil {
		return // gone already, or a pipe, which loses nothing at its end
	}
	_ = c.raw.SetDeadline(time.Now().Add(byeTimeout)) // crypto/tls has moved it
	_, _ = io.CopyN(io.Discard, c.raw, byeDrain)
}

// part begins the last reply: from now on only its own deadline counts.
func (c *Conn) part() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == closed || c.phase == detached {
		return c.usable()
	}
	c.phase = parting
	return c.raw.SetDeadline(time.Now().Add(byeTimeout))
}

// room answers the buffer to append n octets to. When it would pass its bound, what is there leaves first.
func (c *Conn) room(n int) []byte {
	if len(c.out) > 0 && len(c.out)+n > maxGathered {
		_ = c.Flush() // sticky
	}
	if c.out == nil {
		return borrowResident()[:0]
	}
	return c.out
}

// gather takes the appended buffer over.
func (c *Conn) gather(out []byte, secret bool) error {
	added := out[len(c.out):]
	c.out = out
	if c.writeErr != nil {
		giveBack(c.out)
		c.out = nil
		return c.explain("write", c.writeErr)
	}
	c.trace(Out, added, secret)
	if len(c.out) <= maxGathered {
		return nil
	}
	err := c.Flush()
	if err != nil { // a part may not be left out
		giveBack(c.out)
		c.out, c.writeErr = nil, err
	}
	return err
}

// carrier is what carries the dialogue now.
func (c *Conn) carrier() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c
}
