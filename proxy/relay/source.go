package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// bufferSize of a borrowed buffer: two TLS records, and about what a socket has ready in a bulk transfer.
	bufferSize = 32 << 10
	// smallSize is what a TLS leg holds while it waits: a usual command or reply fits.
	smallSize = 512
)

// buffers are those of a Relay.
type buffers struct {
	pool sync.Pool    // the free ones
	lent atomic.Int64 // how many are in use
}

func (b *buffers) borrow() *[bufferSize]byte {
	b.lent.Add(1)
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p
	}
	return new([bufferSize]byte)
}

func (b *buffers) giveBack(p *[bufferSize]byte) {
	b.lent.Add(-1)
	b.pool.Put(p)
}

// source reads one leg and borrows a large buffer only while octets move. Owned by the goroutine that reads.
type source struct {
	s     *Session
	l     *leg
	small []byte
	large *[bufferSize]byte // nil: none is borrowed
	hot   bool              // the last read filled its buffer, more is likely

	raw  syscall.RawConn // of a bare TCP connection; nil: another
	try  func(fd uintptr) bool
	n    int   // what try read
	fail error // how try failed
}

func (s *Session) source(l *leg) *source {
	src := &source{s: s, l: l}
	if tcp, ok := l.conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			src.raw, src.try = raw, src.tryRead
			return src
		}
	}
	src.small = make([]byte, smallSize)
	return src
}

// next waits for octets; they are valid until next or free. It answers octets or an error, never both.
func (src *source) next() ([]byte, error) {
	if p := src.l.ahead; len(p) > 0 {
		src.l.ahead = nil
		return p, nil
	}
	if src.raw != nil {
		return src.nextRaw()
	}
	for {
		p, err := src.nextAny()
		if len(p) > 0 {
			return p, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// free gives the borrowed buffer back.
func (src *source) free() {
	if src.large != nil {
		src.s.relay.buffers.giveBack(src.large)
		src.large = nil
	}
}

// nextRaw waits in the runtime's poller without a buffer and borrows one when there is something to read.
func (src *source) nextRaw() ([]byte, error) {
	src.free()
	if err := src.raw.Read(src.try); err != nil {
		return nil, err
	}
	switch {
	case src.fail != nil:
		return nil, os.NewSyscallError("read", src.fail)
	case src.n == 0:
		return nil, io.EOF
	}
	return src.large[:src.n], nil
}

// tryRead is false as long as there is nothing to read.
func (src *source) tryRead(fd uintptr) bool {
	src.large = src.s.relay.buffers.borrow()
	for {
		src.n, src.fail = syscall.Read(int(fd), src.large[:])
		if src.fail != syscall.EINTR {
			break
		}
	}
	if src.fail == syscall.EAGAIN {
		src.free()
		return false
	}
	return true
}

// nextAny reads into the small buffer. Once that was full a large one is borrowed, until nothing comes for a while.
func (src *source) nextAny() ([]byte, error) {
	if !src.hot {
		n, err := src.l.conn.Read(src.small)
		src.hot = n == len(src.small)
		return src.small[:n], err
	}
	if src.large == nil {
		src.large = src.s.relay.buffers.borrow()
	}
	if err := src.s.armRead(src.l, time.Now().Add(src.s.relay.limits.cool)); err != nil {
		return nil, err
	}
	n, err := src.l.conn.Read(src.large[:])
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		src.hot = false
		src.free()
		return nil, src.s.armRead(src.l, time.Time{})
	}
	return src.large[:n], err
}
