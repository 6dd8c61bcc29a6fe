package relay

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// readsAtOnce bounds what is done for one side before the others have their turn.
const readsAtOnce = 4

// spent says that the turn is over.
func (s *shard) spent() bool { return time.Since(s.began) > s.relay.limits.turn }

// leftover is what a side has sent that its turn was too short for: some here, more perhaps in its TLS. It is not read
// before that is done.
type leftover struct {
	of     *socket
	octets []byte
	end    error // what follows on them
}

// takeLeftovers gives those their turn again who have not done, in the order in which they came: one turn for them all, and
// then the others.
func (s *shard) takeLeftovers() {
	s.began = time.Now()
	for len(s.leftovers) > 0 && !s.spent() {
		l := s.leftovers[0]
		s.leftovers = slices.Delete(s.leftovers, 0, 1)
		l.of.p.takeLeftover(l)
	}
}

func (p *parked) takeLeftover(l leftover) {
	defer p.caught()
	l.of.late = false
	if p.over || p.doomed() {
		return
	}
	p.decrypt(l.of, l.octets, l.end)
	p.settle()
}

// take reads a side as long as more is likely to be there, and passes on what comes. An end that has been told of is
// read, too.
func (p *parked) take(l *socket, ending bool) {
	p.shard.began = time.Now()
	for range readsAtOnce {
		more := p.takeOnce(l)
		if !more && !(ending && !l.ended) || p.over || !p.wants(l) || p.shard.spent() {
			return
		}
	}
}

// takeOnce says whether more is likely to be there.
func (p *parked) takeOnce(l *socket) (more bool) {
	if l.hot && l.tls == nil && p.canSplice(l) {
		return p.splice(l)
	}
	s := p.shard
	n, err := read(l.fd, s.in)
	l.hot = n == len(s.in)
	switch {
	case err == unix.EAGAIN || p.doomed():
		return false
	case l.tls != nil:
		p.decrypt(l, s.in[:n], err)
	case err != nil:
		p.readFailed(l, err)
	default:
		p.came(l, s.in[:n])
	}
	return l.hot
}

// readFailed notes how the reading of a side has ended.
func (p *parked) readFailed(l *socket, err error) {
	if err == io.EOF {
		p.ended(l)
		return
	}
	p.broke(l, fmt.Errorf("read from %s: %w", l.name(), err))
}

// decrypt gives TLS what has come, and the error that follows on it, and passes on what comes out, until it would have to
// wait: what is left in it is a part of a record, and for the rest there will be an event. Or until the turn is over.
func (p *parked) decrypt(l *socket, came []byte, end error) {
	s := p.shard
	s.feeds, s.feed, s.feedEnd = l, came, end
	defer func() { s.feeds, s.feed, s.feedEnd = nil, nil, nil }()
	for !p.finished(l) {
		n, err := s.fill(l.tls)
		if n > 0 {
			p.came(l, s.plain[:n])
		}
		switch {
		case p.finished(l):
		case err == nil && s.spent():
			l.late = true
			s.leftovers = append(s.leftovers, leftover{l, bytes.Clone(s.feed), s.feedEnd}) // the next one is read into what they lie in
			return
		case err != nil:
			if _, pause := err.(again); !pause { // crypto/tls answers what it was given
				p.readFailed(l, err)
			}
			return
		}
	}
}

// fill reads until the buffer is full or the turn is over.
func (s *shard) fill(r io.Reader) (n int, err error) {
	for n < len(s.plain) && err == nil && (n == 0 || !s.spent()) {
		var m int
		m, err = r.Read(s.plain[n:])
		n += m
	}
	return n, err
}
