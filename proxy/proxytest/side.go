package proxytest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// patience is how long a step waits for the door, in the test's own time.
const patience = 20 * time.Second

// side is the script's end of one connection.
type side struct {
	conn     net.Conn // the pipe, or TLS over it
	in       *inbox
	gathered []byte // C+
	wrote    error  // of the last write; told unless what follows explains it
	secure   bool
	closed   bool // by CLOSE: what the door says to that is nobody's
	wg       *sync.WaitGroup
}

func newSide(c net.Conn, wg *sync.WaitGroup) *side {
	return &side{conn: c, in: receive(c, wg), wg: wg}
}

// send writes; a door that has closed meanwhile is for the next expectation to judge.
func (s *side) send(p []byte) error {
	if s.wrote != nil {
		return fmt.Errorf("write: %w", s.wrote)
	}
	p = append(s.gathered, p...)
	s.gathered = nil
	_, s.wrote = s.conn.Write(p)
	return nil
}

func (s *side) gather(line string) { s.gathered = append(append(s.gathered, line...), "\r\n"...) }

// line waits for one line of the door and answers it without its CRLF.
func (s *side) line() (string, error) {
	p, err := s.in.take(func(have []byte) int { return bytes.IndexByte(have, '\n') + 1 })
	if err != nil {
		return "", err
	}
	s.wrote = nil
	line, ok := bytes.CutSuffix(p, []byte("\r\n"))
	if !ok {
		return "", fmt.Errorf("line %q does not end with CRLF", p)
	}
	return string(line), nil
}

// exactly waits for n octets.
func (s *side) exactly(n int) ([]byte, error) {
	p, err := s.in.take(func(have []byte) int {
		if len(have) < n {
			return 0
		}
		return n
	})
	if err == nil {
		s.wrote = nil
	}
	return p, err
}

// end waits until the door closes and answers how it did: io.EOF is a clean end.
func (s *side) end() error {
	_, err := s.in.take(func(have []byte) int { return 0 })
	s.wrote = nil
	if left := s.in.unread(); len(left) > 0 {
		return fmt.Errorf("unexpected %q before the end", left)
	}
	return err
}

// startTLS does the handshake over what has been the connection until now. A client's
// hello may have come already, a line must not.
func (s *side) startTLS(ctx context.Context, as func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config) error {
	if s.secure {
		return errors.New("there is TLS already")
	}
	if left := s.in.unread(); len(left) > 0 && left[0] != tlsHandshake {
		return fmt.Errorf("unexpected %q before the TLS handshake", left)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t := as(&beneath{Conn: s.conn, in: s.in}, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	s.conn, s.in, s.secure = t, receive(t, s.wg), true
	return nil
}

// tlsHandshake is the first octet of a ClientHello's record (RFC 8446 section 5.1), and of no line.
const tlsHandshake = 0x16

// inbox takes what arrives as it arrives, so that the door never waits for the script.
type inbox struct {
	mu   sync.Mutex
	buf  []byte
	err  error
	more chan struct{} // something changed
}

// maxInbox bounds what a door gone wild may send: no script expects a tenth of it.
const maxInbox = 64 << 20

func receive(c net.Conn, wg *sync.WaitGroup) *inbox {
	in := &inbox{more: make(chan struct{}, 1)}
	wg.Go(func() { in.run(c) })
	return in
}

func (in *inbox) run(c net.Conn) {
	p := make([]byte, 32<<10)
	for {
		n, err := c.Read(p)
		if !in.put(p[:n], err) {
			return
		}
	}
}

func (in *inbox) put(p []byte, err error) (goOn bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.buf = append(in.buf, p...)
	if err == nil && len(in.buf) > maxInbox {
		err = errors.New("too much")
	}
	in.err = err
	select {
	case in.more <- struct{}{}:
	default:
	}
	return err == nil
}

func (in *inbox) unread() []byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	return bytes.Clone(in.buf)
}

// take waits until enough answers more than 0 and takes so many octets, or answers why none come any more.
func (in *inbox) take(enough func(have []byte) int) ([]byte, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		if p, err := in.tryTake(enough); p != nil || err != nil {
			return p, err
		}
		select {
		case <-in.more:
		case <-late.C:
			return nil, fmt.Errorf("nothing within %v; there is %q", patience, in.unread())
		}
	}
}

func (in *inbox) tryTake(enough func(have []byte) int) ([]byte, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if n := enough(in.buf); n > 0 {
		p := bytes.Clone(in.buf[:n])
		in.buf = in.buf[n:]
		return p, nil
	}
	if in.err != nil && len(in.buf) > 0 {
		return nil, fmt.Errorf("%w after %q", in.err, in.buf)
	}
	return nil, in.err
}

// beneath is what TLS reads from: the inbox that has read ahead of it.
type beneath struct {
	net.Conn
	in *inbox
}

func (b *beneath) Read(p []byte) (int, error) {
	for {
		got, err := b.in.tryTake(func(have []byte) int { return min(len(have), len(p)) })
		if got != nil || err != nil {
			return copy(p, got), err
		}
		<-b.in.more
	}
}

// A handshake that hangs is ended by its context, which closes the connection.
func (b *beneath) SetDeadline(time.Time) error     { return nil }
func (b *beneath) SetReadDeadline(time.Time) error { return nil }

// closedCleanly says whether err is an end without a reset.
func closedCleanly(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
