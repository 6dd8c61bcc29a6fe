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
	_ = c.raw.SetDeadline(longAgo) // only fails on a dead descriptor, where nothing is blocked
}

// longAgo ends what is blocked.
var longAgo = time.Unix(1, 0)

// arm sets the deadline of the next read or write through set: the earlier of the dialogue's and timeout from now.
// It fails if the connection may not be used any more. The lock makes sure that an interrupt is not overwritten.
func (c *Conn) arm(set func(time.Time) error, timeout time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	if c.phase == parting {
		return nil // Bye has set the deadline
	}
	t := time.Now().Add(timeout)
	if !c.deadline.IsZero() && c.deadline.Before(t) {
		t = c.deadline
	}
	return set(t)
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
