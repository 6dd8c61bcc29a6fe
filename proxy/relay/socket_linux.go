package relay

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socket is one side of a parked session: a bare descriptor that never blocks.
type socket struct {
	p       *parked
	tls     *tls.Conn // over the descriptor; nil: in the clear
	backlog *backlog  // what the descriptor has not taken; nil: nothing
	came    int64     // octets taken from it
	fd      int32     // less than zero: it is closed
	waits   uint32    // for which events; zero: the epoll does not know it
	tail    tail      // the last two octets that were passed to it
	ended   bool      // it has said its end
	ending  bool      // nothing more will be passed to it
	said    bool      // and it has been told
	hot     bool      // the last read filled the buffer
	late    bool      // there is a leftover of it
}

func (l *socket) name() Side {
	if l == &l.p.client {
		return Client
	}
	return Upstream
}

// wait sets what is waited for: octets if they are wanted, and room as long as there is a backlog. A socket of which
// nothing is wanted is not known to the epoll, which would tell of its errors again and again.
func (l *socket) wait(wanted bool) error {
	if l.fd < 0 {
		return nil
	}
	var waits uint32
	if wanted {
		waits = unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if l.backlog != nil {
		waits |= unix.EPOLLOUT
	}
	if waits == l.waits {
		return nil
	}
	how := unix.EPOLL_CTL_MOD
	switch {
	case waits == 0:
		how = unix.EPOLL_CTL_DEL
	case l.waits == 0:
		how = unix.EPOLL_CTL_ADD
	}
	l.waits = waits
	e := unix.EpollEvent{Events: waits, Fd: int32(l.p.slot << 1), Pad: int32(l.p.generation)}
	if l == &l.p.upstream {
		e.Fd |= 1
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.p.shard.fd, how, int(l.fd), &e))
}

// write passes octets on. What the descriptor does not take becomes the backlog.
func (l *socket) write(octets []byte) error {
	if l.fd < 0 {
		return fmt.Errorf("write to %s: %w", l.name(), net.ErrClosed)
	}
	var err error
	if l.tls == nil {
		err = l.send(octets)
	} else {
		err = l.encrypt(octets)
	}
	if err != nil {
		return fmt.Errorf("write to %s: %w", l.name(), err)
	}
	return nil
}

// gatherSize: a record of so much is worth a call of its own, smaller ones leave together.
const gatherSize = 8 << 10

// encrypt sends the records of octets, with few calls.
func (l *socket) encrypt(octets []byte) error {
	s := l.p.shard
	s.gathers, s.out = l, s.out[:0]
	_, err := l.tls.Write(octets)
	s.gathers = nil
	if err != nil {
		return err
	}
	return l.send(s.out)
}

// send gives p to the descriptor, and what it does not take to the backlog.
func (l *socket) send(p []byte) error {
	if l.backlog == nil {
		n, err := write(l.fd, p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	l.keep(p)
	return nil
}

// passed counts n octets of l, when the other side has got them.
func (l *socket) passed(n int64, to *socket) {
	if to.backlog != nil {
		to.backlog.octets += n
	} else {
		l.came += n
	}
}

// endWrite says that nothing more will come, behind the backlog: close_notify under TLS, then a FIN.
func (l *socket) endWrite() {
	if l.tls != nil && !l.ending {
		_ = l.tls.CloseWrite() // the FIN says it again
	}
	l.ending = true
	if l.backlog == nil && !l.said && l.fd >= 0 {
		l.said = true
		if l.p.allSaid() { // and close says it
			return
		}
		_ = unix.Shutdown(int(l.fd), unix.SHUT_WR) // if it fails, the peer is gone, which may then be read as an end in order
	}
}

// toldAll says that no end is on its way, behind a backlog.
func (l *socket) toldAll() bool { return !l.ending || l.said }

// close ends the connection; what the descriptor does not take of a close_notify is lost, and so is the backlog, after a
// part of which there is none.
func (l *socket) close() {
	if l.tls != nil && l.backlog == nil && l.fd >= 0 {
		_ = l.tls.Close() // it is closed in any case
	}
	l.hangUp()
}

// reset breaks the connection so that its peer notices.
func (l *socket) reset() {
	if l.fd >= 0 { // it is closed in any case
		_ = unix.SetsockoptLinger(int(l.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	l.hangUp()
}

func (l *socket) hangUp() {
	l.drop()
	if l.fd >= 0 {
		_ = unix.Close(int(l.fd))
		l.fd = -1
	}
}

// footing is a socket as the *tls.Conn over it sees it: it never waits.
type footing socket

// Read gives of what the shard has read; else it is an error that crypto/tls does not keep.
func (f *footing) Read(p []byte) (int, error) {
	s := f.p.shard
	switch {
	case s.feeds != (*socket)(f):
		return 0, again{}
	case len(s.feed) > 0:
		n := copy(p, s.feed)
		s.feed = s.feed[n:]
		return n, nil
	case s.feedEnd != nil:
		return 0, s.feedEnd
	}
	return 0, again{}
}

// Write gathers the small records of a burst; an alert or a reply of TLS itself goes out at once.
func (f *footing) Write(p []byte) (int, error) {
	l := (*socket)(f)
	if s := l.p.shard; s.gathers == l {
		if len(p) < gatherSize {
			s.out = append(s.out, p...)
			return len(p), nil
		}
		if err := l.send(s.out); err != nil {
			return 0, err
		}
		s.out = s.out[:0]
	}
	if err := l.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close leaves the descriptor to the socket.
func (f *footing) Close() error { return nil }

func (f *footing) LocalAddr() net.Addr              { return nil }
func (f *footing) RemoteAddr() net.Addr             { return nil }
func (f *footing) SetDeadline(time.Time) error      { return nil }
func (f *footing) SetReadDeadline(time.Time) error  { return nil }
func (f *footing) SetWriteDeadline(time.Time) error { return nil }

// again is what a read answers that would have to wait.
type again struct{}

func (again) Error() string   { return "nothing more for now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// read reads without waiting; at the end it answers io.EOF, and EAGAIN if there is nothing.
func read(fd int32, p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, err
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// write answers how much was taken, which may be nothing.
func write(fd int32, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := unix.Write(int(fd), p)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, os.NewSyscallError("write", err)
		}
		return n, nil
	}
}
