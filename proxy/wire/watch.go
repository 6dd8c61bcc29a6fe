package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ErrGone: the peer hung up while its command was being worked on.
var ErrGone = errors.New("peer hung up")

// Watch answers a context that ends when the peer hangs up, with a cause that wraps ErrGone, for the time in which its
// command is being worked on and nobody reads. What the peer sends meanwhile is kept for the next read; once it has
// sent anything, its end is noticed by that read only. Replies may be written. stop ends the watch and must come
// before the next read, handshake, Bye or Detach.
func (c *Conn) Watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	if c.Buffered() > 0 || c.ended != nil || c.readErr != nil || !c.startWatch() {
		return watched, func() { cancel(nil) }
	}
	c.makeRoom()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.awaitGone(cancel)
	}()
	return watched, func() {
		c.endWatch()
		<-done
		cancel(nil)
	}
}

// awaitGone reads once. A passed deadline is the watch's end, or that of the dialogue, which the next read will meet.
func (c *Conn) awaitGone(cancel context.CancelCauseFunc) {
	n, err := c.carrier().Read(c.buf[c.w:])
	c.w += n
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	c.readErr = err
	if n == 0 {
		cancel(fmt.Errorf("%w: %w", ErrGone, err))
	}
}

// startWatch lets the read of the watch last as long as the dialogue; false: the connection may not be used.
func (c *Conn) startWatch() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usable() == nil && c.phase == speaking && c.raw.SetReadDeadline(c.deadline) == nil
}

func (c *Conn) endWatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == speaking {
		_ = c.raw.SetReadDeadline(longAgo) // the next read sets its own
	}
}
