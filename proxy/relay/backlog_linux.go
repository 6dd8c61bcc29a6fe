package relay

import (
	"fmt"
	"time"
)

// backlogLimit: a side with so much before it is not read any further, for what it says may need an answer of TLS.
const backlogLimit = 4 * bufferSize

// backlog is what a socket has not taken yet, as it goes to the descriptor. It is bounded: the other side is not read as
// long as it lasts, so it holds no more than what came of one read.
type backlog struct {
	pipe   *pipe               // holds the first octets; nil: they are in the chunks
	chunks []*[bufferSize]byte // borrowed
	from   int                 // where the first chunk begins
	to     int                 // where the last one ends
	octets int64               // of the other side that are counted when it is gone
	since  time.Duration       // when the socket last had taken enough, as the shard's now
	took   int                 // what it has taken since then
}

// keep appends p to the backlog.
func (l *socket) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	b := l.behind()
	for len(p) > 0 {
		if len(b.chunks) == 0 || b.to == bufferSize {
			b.chunks = append(b.chunks, l.p.relay.buffers.borrow())
			b.to = 0
		}
		n := copy(b.chunks[len(b.chunks)-1][b.to:], p)
		b.to += n
		p = p[n:]
	}
}

// behind answers the backlog, and makes it.
func (l *socket) behind() *backlog {
	if l.backlog == nil {
		l.backlog = &backlog{since: l.p.shard.now}
	}
	return l.backlog
}

// flush sends of the backlog what the descriptor takes, and says whether it took anything.
func (l *socket) flush() (moved bool, err error) {
	n := 0
	if n, err = l.sendBacklog(); err != nil {
		return n > 0, fmt.Errorf("write to %s: %w", l.name(), err)
	}
	b := l.backlog
	if b.pipe != nil || len(b.chunks) > 0 {
		if b.took += n; b.took >= bufferSize { // who takes a buffer in that time is slow, but not gone
			b.renew(l.p.shard.now)
		}
		return n > 0, nil
	}
	l.backlog = nil
	l.p.other(l).came += b.octets
	if l.ending {
		l.endWrite()
	}
	return n > 0, nil
}

// sendBacklog answers how much went out.
func (l *socket) sendBacklog() (sent int, err error) {
	b := l.backlog
	if b.pipe != nil {
		if sent, err = l.sendPipe(b.pipe); err != nil || b.pipe.holds > 0 {
			return sent, err
		}
		l.p.shard.giveBack(b.pipe)
		b.pipe = nil
	}
	for len(b.chunks) > 0 {
		end := bufferSize
		if len(b.chunks) == 1 {
			end = b.to
		}
		n, err := write(l.fd, b.chunks[0][b.from:end])
		sent += n
		if b.from += n; err != nil || b.from < end {
			return sent, err
		}
		l.p.relay.buffers.giveBack(b.chunks[0])
		b.chunks[0] = nil
		b.chunks, b.from = b.chunks[1:], 0
	}
	return sent, nil
}

// drop throws the backlog away.
func (l *socket) drop() {
	b := l.backlog
	if b == nil {
		return
	}
	for _, c := range b.chunks {
		l.p.relay.buffers.giveBack(c)
	}
	if b.pipe != nil {
		l.p.shard.giveBack(b.pipe)
	}
	l.backlog = nil
}

// renew lets the time begin in which the socket must take something.
func (b *backlog) renew(now time.Duration) {
	if b != nil {
		b.since, b.took = now, 0
	}
}

// long says that there is too much of it.
func (b *backlog) long() bool {
	return b != nil && len(b.chunks) > backlogLimit/bufferSize
}
