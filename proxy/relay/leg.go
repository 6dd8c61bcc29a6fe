package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"latchkey/proxy/wire"
)

// leg is one side of a session. One goroutine writes to it.
type leg struct {
	name  Side
	conn  net.Conn
	ahead []byte       // read before the hand-over, not yet relayed; owned by the reader
	came  atomic.Int64 // octets taken from it

	tail   tail // the last two octets written; owned by the writer
	broken bool // nothing more may be written; owned by the writer

	writeBy time.Time // the write deadline as it was last set; guarded by Session.mu
}

// write sends p, or says who failed.
func (s *Session) write(to *leg, p []byte) error {
	if err := s.armWrite(to); err != nil {
		return err
	}
	n, err := to.conn.Write(p)
	if n > 0 {
		s.touch()
		to.remember(p[:n])
	}
	if err == nil {
		return nil
	}
	to.broken = true
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrSlow
	}
	return fmt.Errorf("write to %s: %w", to.name, err)
}

var errStopped = errors.New("session stopped")

// armWrite sets the deadline of the next write, unless the last one still leaves time enough.
func (s *Session) armWrite(l *leg) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return errStopped
	case l.broken:
		return fmt.Errorf("write to %s: %w", l.name, net.ErrClosed)
	case s.cutting:
		return l.conn.SetWriteDeadline(time.Now().Add(lastWord))
	}
	now := time.Now()
	if stall := s.relay.limits.stall; l.writeBy.Sub(now) > stall*3/4 {
		return nil
	}
	l.writeBy = now.Add(s.relay.limits.stall)
	return l.conn.SetWriteDeadline(l.writeBy)
}

// armRead sets a deadline of the next read; zero: none.
func (s *Session) armRead(l *leg, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errStopped
	}
	return l.conn.SetReadDeadline(t)
}

func (l *leg) remember(p []byte) { l.tail = l.tail.after(p) }

// tail is the last two octets of a side.
type tail [2]byte

var lineEnd = tail{'\r', '\n'}

// after is the tail when p has followed.
func (t tail) after(p []byte) tail {
	switch len(p) {
	case 0:
		return t
	case 1:
		return tail{t[1], p[0]}
	}
	return tail(p[len(p)-2:])
}

var longAgo = time.Unix(1, 0)

// interrupt ends what blocks on the leg. Only a dead descriptor fails, and blocks nobody.
func (l *leg) interrupt() {
	if l.conn != nil {
		_ = l.conn.SetDeadline(longAgo)
	}
}

func (l *leg) limitWrites(t time.Time) {
	if l.conn != nil {
		_ = l.conn.SetWriteDeadline(t)
	}
}

// closeWrite says the end; false: there is no half end on such a connection. If it fails, the peer is gone; what
// is left of it may then be read as an end in order.
func (l *leg) closeWrite() bool {
	l.broken = true
	return !errors.Is(wire.CloseWrite(l.conn), errors.ErrUnsupported)
}

// sayLast writes a last word if the leg is sound, and answers whether the peer may read it.
func (l *leg) sayLast(p []byte) bool {
	if l.broken || len(p) == 0 {
		return !l.broken
	}
	l.limitWrites(time.Now().Add(lastWord))
	_, err := l.conn.Write(p)
	l.broken = err != nil
	return err == nil
}

// reset breaks the leg so that its peer notices.
func (l *leg) reset() {
	l.broken = true
	_ = wire.Reset(l.conn) // closed in any case
}

// close ends the leg; crypto/tls may not take longer over its close_notify than a last word may.
func (l *leg) close() {
	if l.conn == nil {
		return
	}
	if t, ok := l.conn.(*tls.Conn); ok {
		defer time.AfterFunc(lastWord, func() { _ = t.NetConn().Close() }).Stop()
	}
	_ = l.conn.Close() // closed in any case
}
