package relay

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is asked for; a pipe holds what it holds.
	pipeSize = 256 << 10
	// freePipes are kept for the next burst.
	freePipes = 4
	// mostPipes of a shard are in use at once: each takes two descriptors, as a session does. Other bursts are copied.
	mostPipes = 64
	// lastPart of what comes to the client goes by way of memory, so that it is known how the line ends.
	lastPart = 1 << 10
)

// pipe carries octets from socket to socket within the kernel while a burst lasts. An empty one belongs to the shard,
// one that holds octets to a backlog.
type pipe struct {
	r, w  int
	holds int // octets
}

// pipe lends an empty one; nil: there is none.
func (s *shard) pipe() *pipe {
	last := len(s.pipes) - 1
	if last >= 0 {
		p := s.pipes[last]
		s.pipes = s.pipes[:last]
		s.lent++
		return p
	}
	var fds [2]int
	if s.lent >= mostPipes || unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize) // a smaller one serves, too
	s.lent++
	return &pipe{r: fds[0], w: fds[1]}
}

// giveBack takes a pipe back. One that still holds octets is of no use to others.
func (s *shard) giveBack(p *pipe) {
	s.lent--
	if p.holds == 0 && len(s.pipes) < freePipes {
		s.pipes = append(s.pipes, p)
	} else {
		p.close()
	}
}

func (p *pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// canSplice: octets that nobody looks at, between two descriptors in the clear.
func (p *parked) canSplice(from *socket) bool {
	to := p.other(from)
	return p.machine == nil && to.tls == nil && to.backlog == nil
}

// splice is takeOnce without a copy.
func (p *parked) splice(from *socket) (more bool) {
	s, to := p.shard, p.other(from)
	pipe := s.pipe()
	if pipe == nil { // there is another way
		from.hot = false
		return true
	}
	n, err := splice(int(from.fd), pipe.w, 1<<20, 0)
	pipe.holds = n
	if p.doomed() {
		s.giveBack(pipe)
		return false
	}
	if n == 0 {
		s.giveBack(pipe)
		from.hot = false
		if err != nil && err != io.EOF && err != unix.EAGAIN {
			p.readFailed(from, err)
		}
		return err == io.EOF // or so it says before an urgent octet, too; a read knows
	}
	from.hot = n >= readSize
	p.touch()
	if _, err := to.sendPipe(pipe); err != nil {
		s.giveBack(pipe)
		p.broke(to, fmt.Errorf("write to %s: %w", to.name(), err))
		return false
	}
	if pipe.holds == 0 {
		s.giveBack(pipe)
	} else {
		to.behind().pipe = pipe
	}
	from.passed(int64(n), to)
	return from.hot
}

// sendPipe sends what the descriptor takes of what a pipe holds; the last part by way of memory.
func (l *socket) sendPipe(p *pipe) (sent int, err error) {
	last := min(lastPart, p.holds)
	for p.holds > last {
		n, err := splice(p.r, int(l.fd), p.holds-last, unix.SPLICE_F_MORE)
		if sent += n; err == unix.EAGAIN {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
		p.holds -= n
	}
	in := l.p.shard.in[:p.holds]
	for p.holds > 0 { // all of it before any is kept: what is in the pipe goes out before that
		n, err := read(int32(p.r), in[len(in)-p.holds:])
		if err != nil {
			return sent, err
		}
		p.holds -= n
	}
	l.tail = l.tail.after(in)
	took, err := write(l.fd, in)
	if err != nil {
		return sent, err
	}
	l.keep(in[took:])
	return sent + took, nil
}

// splice moves at most n octets without waiting; io.EOF: there may be no more.
func splice(from, to, n, flags int) (int, error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, n, flags|unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, err
		case err != nil:
			return 0, os.NewSyscallError("splice", err)
		case moved == 0:
			return 0, io.EOF
		}
		return int(moved), nil
	}
}
