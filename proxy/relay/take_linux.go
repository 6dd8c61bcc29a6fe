package relay

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// readsAtOnce bounds what is done for one side before the others have their turn.
const readsAtOnce = 4

// turn bounds it, too: new keys, which a client may ask for again and again, cost far more than octets.
const turn = 2 * time.Millisecond

// take reads a side as long as more is likely to be there, and passes on what comes. An end that has been told of is
// read, too.
func (p *parked) take(l *socket, ending bool) {
	began := time.Now()
	for range readsAtOnce {
		more := p.takeOnce(l)
		if !more && !(ending && !l.ended) || p.over || !p.wants(l) || time.Since(began) > turn {
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
// wait: what is left in it is a part of a record, and for the rest there will be an event.
func (p *parked) decrypt(l *socket, came []byte, end error) {
	s := p.shard
	s.feeds, s.feed, s.feedEnd = l, came, end
	defer func() { s.feeds, s.feed, s.feedEnd = nil, nil, nil }()
	for !p.finished(l) {
		n, err := fill(l.tls, s.plain)
		if n > 0 {
			p.came(l, s.plain[:n])
		}
		if err == nil || p.finished(l) {
			continue
		}
		if _, pause := err.(again); !pause { // crypto/tls answers what it was given
			p.readFailed(l, err)
		}
		return
	}
}

// fill reads until p is full.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}
