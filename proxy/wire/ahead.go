package wire

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Await reads until whole says that what has arrived is all that was expected, and makes sure that TLS holds no more than
// that: what comes from now on can be seen at the socket. The octets stay to be read. Any error is final; more than a small
// reader holds is one.
func (c *Conn) Await(whole func(ahead []byte) bool) error {
	if err := c.beginReading("await"); err != nil {
		return err
	}
	for c.r == c.w || !whole(c.buf[c.r:c.w]) {
		if c.w-c.r >= residentSize {
			return c.endReading("await", ErrLineTooLong)
		}
		if err := c.fill(); err != nil {
			return c.endReading("await", unexpected(err))
		}
	}
	if err := c.nothingHeld(); err != nil {
		return c.endReading("await", err)
	}
	c.heard = false
	return nil
}

// Heard says whether anything has come since Await, or ever.
func (c *Conn) Heard() bool { return c.heard }

// errMore: the peer goes on though it was not asked.
var errMore = errors.New("more came than was expected")

// nothingHeld reads once more, past its deadline: the socket is not asked, but TLS gives what it has. The end of a deadline is
// not final, neither for a socket nor for TLS.
func (c *Conn) nothingHeld() error {
	if err := c.armRead(-time.Second); err != nil {
		return err
	}
	var more [1]byte
	switch n, err := c.carrier().Read(more[:]); {
	case n > 0:
		return errMore
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	default:
		return unexpected(err)
	}
}

// SyscallConn leads to the socket, for its options and to see whether anything has come. What it does must not read, write
// or close. errors.ErrUnsupported: there is no socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.raw.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return s.SyscallConn()
}
