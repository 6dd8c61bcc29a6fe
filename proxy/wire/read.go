package wire

import (
	"errors"
	"io"
)

// ReadLine reads one line and answers it without its CRLF; it is valid until the next read. max bounds the line with
// its CRLF, as the RFCs count; MaxLine bounds it anyway. io.EOF: the peer left between two lines;
// io.ErrUnexpectedEOF: inside one. Any error is final.
func (c *Conn) ReadLine(max int) ([]byte, error) { return c.readLine(max, false) }

// ReadSecretLine is ReadLine for a line that holds a secret: the trace does not see it.
func (c *Conn) ReadSecretLine(max int) ([]byte, error) { return c.readLine(max, true) }

// ReadFull fills p, with a literal for example. A secret one is hidden from the trace.
func (c *Conn) ReadFull(p []byte, secret bool) error {
	if err := c.beginReading("read literal"); err != nil {
		return err
	}
	for have := 0; have < len(p); {
		if c.r == c.w && len(p)-have >= residentSize {
			n, err := c.read(p[have:])
			if have += n; err != nil {
				return c.endReading("read literal", unexpected(err))
			}
			continue
		}
		if err := c.need(); err != nil {
			return c.endReading("read literal", unexpected(err))
		}
		n := copy(p[have:], c.buf[c.r:c.w])
		have += n
		c.r += n
	}
	c.trace(In, p, secret)
	return nil
}

// Discard reads n octets and drops them.
func (c *Conn) Discard(n int64) error {
	if err := c.beginReading("discard"); err != nil {
		return err
	}
	for n > 0 {
		if err := c.need(); err != nil {
			return c.endReading("discard", unexpected(err))
		}
		k := min(n, int64(c.w-c.r))
		c.r += int(k)
		n -= k
	}
	return nil
}

// Buffered answers how many octets have arrived and wait to be read. It does not see what TLS or the system still
// holds.
func (c *Conn) Buffered() int { return c.w - c.r }

func (c *Conn) readLine(max int, secret bool) ([]byte, error) {
	if err := c.beginReading("read line"); err != nil {
		return nil, err
	}
	n, err := c.scanLine(min(max, MaxLine))
	if err != nil {
		return nil, c.endReading("read line", err)
	}
	line := c.buf[c.r : c.r+n-len(crlf)]
	c.r += n
	c.trace(In, line, secret)
	return line, nil
}

// scanLine answers the length of the line at the reader's front, its CRLF included. Octets are judged one by one in
// the order they came, so the verdict does not depend on how they were cut into packets.
func (c *Conn) scanLine(max int) (int, error) {
	afterCR := false
	for i := 0; ; i++ {
		if c.r+i == c.w {
			if err := c.fill(); err != nil {
				if i > 0 {
					err = unexpected(err)
				}
				return 0, err
			}
		}
		b := c.buf[c.r+i]
		switch {
		case b == 0:
			return 0, ErrNUL
		case b == '\n' && !afterCR:
			return 0, ErrBareLF
		case b == '\n':
			return i + 1, nil
		case afterCR:
			return 0, ErrBareCR
		case i+1 >= max:
			return 0, ErrLineTooLong
		}
		afterCR = b == '\r'
	}
}

// beginReading refuses to go on after an error, and gives a long reader back that is no longer needed.
func (c *Conn) beginReading(doing string) error {
	if c.ended != nil {
		return c.explain(doing, c.ended)
	}
	c.shrink()
	return nil
}

// endReading makes err final: whatever is still buffered is not looked at again.
func (c *Conn) endReading(doing string, err error) error {
	c.ended = err
	return c.explain(doing, err)
}

// need makes sure that at least one octet is buffered.
func (c *Conn) need() error {
	if c.r < c.w {
		return nil
	}
	return c.fill()
}

// fill makes room and reads once; at least one octet has come if it does not fail.
func (c *Conn) fill() error {
	c.makeRoom()
	n, err := c.read(c.buf[c.w:])
	c.w += n
	return err
}

// read reads once under its deadline: octets or an error, never both and never neither.
func (c *Conn) read(p []byte) (int, error) {
	if c.readErr != nil {
		return 0, c.readErr
	}
	if err := c.armRead(c.o.ReadTimeout); err != nil {
		return 0, err
	}
	for range 100 { // as bufio: a reader that answers nothing so often is broken
		n, err := c.carrier().Read(p)
		if err != nil {
			c.readErr = err
		}
		if n > 0 {
			c.heard = true
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	c.readErr = io.ErrNoProgress
	return 0, c.readErr
}

// makeRoom leaves at least one free octet behind the unread ones. Only scanLine comes here with a full reader, and it
// stops before the long one is full.
func (c *Conn) makeRoom() {
	switch {
	case c.buf == nil:
		c.buf, c.r, c.w = borrowResident(), 0, 0
	case c.r == c.w:
		c.r, c.w = 0, 0
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	default:
		c.move(borrowLong())
	}
}

// shrink gives a long reader back as soon as what is unread fits the resident one.
func (c *Conn) shrink() {
	if len(c.buf) > residentSize && c.w-c.r <= residentSize {
		c.move(borrowResident())
	}
}

func (c *Conn) move(to []byte) {
	n := copy(to, c.buf[c.r:c.w])
	giveBack(c.buf)
	c.buf, c.r, c.w = to, 0, n
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
