package http1

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// pieceSize is what a long body is sent by, and what a short one fits into together with its head.
const pieceSize = 16 << 10

// pieces are lent.
type pieces struct{ pool sync.Pool }

func (l *pieces) lend() *[pieceSize]byte {
	if p, ok := l.pool.Get().(*[pieceSize]byte); ok {
		return p
	}
	return new([pieceSize]byte)
}

func (l *pieces) back(p *[pieceSize]byte) { l.pool.Put(p) }

// errUnsent: the answer came while the body waited for 100.
var errUnsent = errors.New("the server answered before it wanted the body")

// sender sends a body that does not leave together with its head. It runs beside the exchange, which reads the answer.
type sender struct {
	x *exchange
	c *conn

	goOn chan struct{} // closed when the server says 100; nil: it is not waited for
	told bool          // goOn is closed; owned by the exchange
	over chan struct{} // closed when the exchange wants no more of the body before it has begun

	ending atomic.Bool   // the body has been read to its end
	done   chan struct{} // closed when nothing touches the body any more
	err    error         // set before done is closed; nil: all was sent
}

func (x *exchange) newSender(c *conn) *sender {
	s := &sender{x: x, c: c, over: make(chan struct{}), done: make(chan struct{})}
	if x.expects {
		s.goOn = make(chan struct{})
	}
	return s
}

func (s *sender) run() {
	defer close(s.done)
	s.err = s.caught()
	if own := (*bodyError)(nil); errors.As(s.err, &own) || timeout(s.err) {
		s.x.broke(s.err)
		return
	}
	s.x.sent() // or nothing more is: if the server has hung up, its answer may be on the way
}

// caught sends. A panic of whoever gives the body fails this request: nobody else could recover on this goroutine.
func (s *sender) caught() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &bodyError{fmt.Errorf("panic: %v\n%s", v, debug.Stack())}
		}
	}()
	defer s.x.r.Body.Close() // has been read
	return s.send()
}

func (s *sender) send() error {
	if !s.awaited() {
		return errUnsent
	}
	p := s.x.t.pieces.lend()
	defer s.x.t.pieces.back(p)
	if s.x.framing == counted {
		return s.counted(p[:])
	}
	return s.chunks(p[:])
}

// awaited waits for 100, or long enough. False: the exchange is over.
func (s *sender) awaited() bool {
	if s.goOn == nil {
		return true
	}
	long := time.NewTimer(s.x.t.o.Continue)
	defer long.Stop()
	select {
	case <-s.goOn:
	case <-long.C:
	case <-s.over:
		return false
	}
	return true
}

func (s *sender) counted(p []byte) error {
	for left := s.x.r.ContentLength; left > 0; {
		n, err := s.x.source.Read(p[:min(int64(len(p)), left)])
		left -= int64(n)
		s.ending.Store(left == 0)
		if n > 0 {
			if err := s.write(p[:n]); err != nil {
				return err
			}
		}
		if left > 0 && err != nil {
			return cutShort(err)
		}
	}
	return nil
}

// cutShort: the body ended before its length.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &bodyError{err}
}

// chunkRoom is for the size of a piece before it, and tailRoom for the ends of a chunk and of a body without trailers.
const (
	chunkRoom = len("ffff\r\n")
	tailRoom  = len("\r\n0\r\n\r\n")
)

func (s *sender) chunks(p []byte) error {
	for {
		n, err := s.x.source.Read(p[chunkRoom : len(p)-tailRoom])
		out := chunk(p, n)
		switch {
		case errors.Is(err, io.EOF):
			s.ending.Store(true)
			if out, err = appendEnd(out, s.x.r.Trailer); err != nil {
				return &bodyError{err}
			}
			return s.write(out)
		case err != nil:
			return &bodyError{err}
		}
		if n > 0 {
			if err := s.write(out); err != nil {
				return err
			}
		}
	}
}

// chunk frames the n octets at chunkRoom of p, in p: RFC 9112 section 7.1. No octets make no chunk, which would be the last.
func chunk(p []byte, n int) []byte {
	if n == 0 {
		return p[:0]
	}
	var room [chunkRoom]byte
	size := append(strconv.AppendInt(room[:0], int64(n), 16), "\r\n"...)
	begin := chunkRoom - len(size)
	copy(p[begin:], size)
	return append(p[begin:chunkRoom+n], "\r\n"...)
}

// appendEnd writes the last chunk and the trailers, whose values are known by now.
func appendEnd(b []byte, trailer http.Header) ([]byte, error) {
	b = append(b, "0\r\n"...)
	for name, values := range trailer {
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return nil, errField
			}
			if passes(name) {
				b = appendField(b, name, value)
			}
		}
	}
	return append(b, "\r\n"...), nil
}

func (s *sender) write(p []byte) error {
	s.c.renewWrites(s.x.t.o.Stall)
	_, err := s.c.Write(p)
	return err
}

// bodyError: it was not the server's fault.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read the request's body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// lastWrite is how long the end of a request may take to be known as sent once its answer is complete.
const lastWrite = 50 * time.Millisecond

// sentWhole says whether the request has left whole: its connection could take another.
func (s *sender) sentWhole() bool {
	if s.ending.Load() { // the server may be faster than we are
		long := time.NewTimer(s.x.t.o.lastWrite)
		defer long.Stop()
		select {
		case <-s.done:
		case <-long.C:
		}
	}
	select {
	case <-s.done:
		return s.err == nil
	default:
		return false
	}
}
