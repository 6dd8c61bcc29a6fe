package relay

import (
	"time"

	"latchkey/proxy/wire"
)

// How a session with a splitter is left: cut, drained, or broken off by the splitter itself.

const (
	// maxReplyWait bounds the wait for a reply in flight while a session is cut (a revocation is done in a second).
	maxReplyWait = 900 * time.Millisecond
	// swallowTime and swallowMost bound what is read of a client after its last word: a connection that is closed over
	// unread octets is reset, and the word may be lost with them.
	swallowTime = time.Second
	swallowMost = 1 << 20
)

// part asks the splitter how to leave, and does so or waits.
func (e *split) part() {
	cut, drained := e.s.asked()
	if !cut && drained == nil {
		return
	}
	if cut && !e.cut { // what was granted to a drain is void
		e.cut, e.by = true, time.Time{}
	}
	e.leaving = true
	how, wait := e.sp.Part(!cut)
	if how.Cause == nil {
		how.Cause = drained
	}
	if cut {
		wait = min(wait, maxReplyWait)
	}
	if wait <= 0 {
		e.leave(how)
		return
	}
	e.how = how
	if by := time.Now().Add(wait); e.by.IsZero() || by.Before(e.by) {
		e.by = by
		e.timer.Reset(wait)
	}
}

// asked is what Cut and Drain have set.
func (s *Session) asked() (cut bool, drained error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cutting, s.drained
}

// leave ends the session as a says: anything but Close breaks the upstream before the client hears of it.
func (e *split) leave(a Action) {
	e.done = true
	if a.Kind == Close {
		e.s.upstream.close()
	} else {
		e.s.upstream.reset()
		if a.Cause == nil {
			a.Cause = ErrAborted
		}
	}
	e.s.blame(a.Cause)
	e.swallow = len(a.Bytes) > 0 && e.s.client.sayLast(a.Bytes)
}

// blame names the cause of an end, if it has none yet.
func (s *Session) blame(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil && !s.stopped {
		s.cause = cause
	}
}

// swallowRest reads on, for a moment, so that the client gets the last word.
func (e *split) swallowRest() {
	if wire.CloseWrite(e.s.client.conn) != nil {
		return // gone, or a pipe
	}
	enough := time.NewTimer(swallowTime)
	defer enough.Stop()
	for n := 0; n < swallowMost; {
		select {
		case c := <-e.client.chunks:
			if c.err != nil {
				return
			}
			n += len(c.p)
			e.client.taken <- struct{}{}
		case <-enough.C:
			return
		}
	}
}
