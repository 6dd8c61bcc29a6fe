package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// ErrGone: the peer hung up while its command was being worked on.
var ErrGone = errors.New("peer hung up")

// WatchAfter is how long Watch waits before it looks: most commands are done by then, and need no goroutine.
const WatchAfter = 20 * time.Millisecond

// Watch answers a context that ends when the peer hangs up, with a cause that wraps ErrGone, for the time in which its
// command is being worked on and nobody reads. It begins to look after WatchAfter. What the peer sends meanwhile is kept for
// the next read; once it has sent anything, its end is noticed by that read only. Replies may be written. stop ends the watch
// and must come before the next read, handshake, Bye or Detach.
func (c *Conn) Watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	if c.Buffered() > 0 || c.ended != nil || c.readErr != nil {
		return watched, func() { cancel(nil) }
	}
	w := &watch{c: c, cancel: cancel}
	w.reading.Add(1)
	w.timer = time.AfterFunc(WatchAfter, w.read)
	return watched, w.stop
}

// watch is one read that nobody has asked for, in the goroutine of its timer.
type watch struct {
	c       *Conn
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	reading sync.WaitGroup // until read has returned, or will not be called
	stopped bool           // guarded by c.mu
}

// read reads once. A passed deadline is the watch's end, or that of the dialogue, which the next read will meet.
func (w *watch) read() {
	defer w.reading.Done()
	c := w.c
	if !w.begin() {
		return
	}
	c.makeRoom()
	n, err := c.carrier().Read(c.buf[c.w:])
	c.w += n
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	c.readErr = err
	if n == 0 {
		w.cancel(fmt.Errorf("%w: %w", ErrGone, err))
	}
}

// begin lets the read last as long as the dialogue; false: it is not wanted any more, or the connection may not be used.
func (w *watch) begin() bool {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.stopped || c.usable() != nil || c.phase != speaking {
		return false
	}
	c.armed.read = time.Time{}
	_ = c.raw.SetReadDeadline(c.deadline) // only fails on a dead descriptor, as the read will
	return true
}

func (w *watch) stop() {
	if w.timer.Stop() {
		w.reading.Done()
	} else {
		w.breakOff()
		w.reading.Wait()
	}
	w.cancel(nil)
}

func (w *watch) breakOff() {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w.stopped = true
	if c.phase == speaking {
		c.armed.read = time.Time{}
		_ = c.raw.SetReadDeadline(longAgo) // the next read sets its own
	}
}
