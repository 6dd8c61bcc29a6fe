package wire

import (
	"context"
	"fmt"
	"net"
	"time"
)

// SetDialogueDeadline moves the end of the whole dialogue; zero: none. It holds from the next read or write.
func (c *Conn) SetDialogueDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
}

// CloseOn lets the end of ctx unblock reads and writes at once, and fail all later ones, with an error that wraps
// context.Cause(ctx). The descriptor stays open for Bye; the owner closes it. stop ends the tie, as that of
// context.AfterFunc does; Detach and Close end it too.
func (c *Conn) CloseOn(ctx context.Context) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { c.interrupt(context.Cause(ctx)) })
}

func (c *Conn) interrupt(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != speaking {
		return
	}
	if c.cause == nil {
		c.cause = cause
	}
	c.armed = armed{}
	_ = c.raw.SetDeadline(longAgo) // only fails on a dead descriptor, where nothing is blocked
}

// longAgo ends what is blocked.
var longAgo = time.Unix(1, 0)

// armed are the deadlines that the carrier has: most often the next read or write has the one before it, that of the
// dialogue, and the runtime's timers need not be touched. Zero: not known.
type armed struct{ read, write time.Time }

// armRead sets the deadline of the next read: the earlier of the dialogue's and timeout from now. It fails if the connection
// may not be used any more. The lock makes sure that an interrupt is not overwritten.
func (c *Conn) armRead(timeout time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.due(timeout)
	if err != nil || t.IsZero() || t.Equal(c.armed.read) {
		return err
	}
	c.armed.read = t
	return c.raw.SetReadDeadline(t)
}

// armWrite is the same for the next write. One that has seven eighths of its time by the deadline of the one before keeps that.
func (c *Conn) armWrite(timeout time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.due(timeout)
	have := c.armed.write
	if err != nil || t.IsZero() || t.Equal(have) || !have.After(t) && time.Until(have) > timeout-timeout/8 {
		return err
	}
	c.armed.write = t
	return c.raw.SetWriteDeadline(t)
}

// armBoth is the same for a handshake.
func (c *Conn) armBoth(timeout time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.due(timeout)
	if err != nil || t.IsZero() {
		return err
	}
	c.armed = armed{t, t}
	return c.raw.SetDeadline(t)
}

// due answers when what begins now must have ended; zero: Bye has set its own deadline. It needs mu.
func (c *Conn) due(timeout time.Duration) (time.Time, error) {
	if err := c.usable(); err != nil || c.phase == parting {
		return time.Time{}, err
	}
	t := time.Now().Add(timeout)
	if !c.deadline.IsZero() && c.deadline.Before(t) {
		t = c.deadline
	}
	return t, nil
}

// usable needs mu.
func (c *Conn) usable() error {
	switch {
	case c.phase == detached:
		return ErrDetached
	case c.phase == closed:
		return net.ErrClosed
	case c.phase == speaking && c.cause != nil:
		return c.cause
	}
	return nil
}

// explain says why an operation failed: an interrupt's cause stands in for the time-out that it provoked.
func (c *Conn) explain(doing string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == speaking && c.cause != nil {
		err = c.cause
	}
	return fmt.Errorf("%s: %w", doing, err)
}
