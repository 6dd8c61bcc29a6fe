package relay

import (
	"container/heap"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// parked is a session that waits in a shard, without goroutines and buffers. All of it is owned by the shard's goroutine
// but what Start has set for good, and condemned.
type parked struct {
	Session
	shard            *shard
	client, upstream socket
	machine          *machine              // nil: every octet passes as it comes
	moved            time.Duration         // when octets last moved, as the shard's now
	due              time.Duration         // when its limits are to be looked at
	place            int32                 // in the timeline
	slot, generation uint32                // in the shard, and which of the sessions that had that slot
	halves           bool                  // one side has ended
	held             bool                  // the splitter holds as much as may be
	cutting          bool                  // it leaves now
	over             bool                  // it has ended, or never began: a cut of a refused one finds nothing to do
	drained          *drain                // it shall leave when it can; nil: nobody has asked
	condemned        atomic.Pointer[error] // with which cause Cut has been called; nil: it has not
	cause            error                 // the first one
	ender            *socket               // whose end came first, or whose error cause is
}

// drain is why a session shall leave when it can, and when it must.
type drain struct {
	cause error
	by    time.Time
}

// begin is the first that the shard does for a session; the octets are those that were read ahead.
func (p *parked) begin(fromClient, fromUpstream []byte) {
	defer p.caught()
	p.over, p.moved, p.shard.began = false, p.shard.now, time.Now()
	p.shard.admit(p)
	p.welcome(&p.client, fromClient)
	p.welcome(&p.upstream, fromUpstream)
	p.settle()
}

// welcome passes on what has been read of a side: before the hand-over, and by TLS.
func (p *parked) welcome(l *socket, ahead []byte) {
	if len(ahead) > 0 && !p.over && !p.doomed() {
		p.came(l, ahead)
	}
	if l.tls != nil && !p.over {
		p.decrypt(l, nil, nil)
	}
}

// event notes what has happened to a socket.
func (p *parked) event(l *socket, what uint32) {
	defer p.caught()
	if p.doomed() {
		return
	}
	const (
		broken = unix.EPOLLHUP | unix.EPOLLERR
		ending = unix.EPOLLRDHUP | broken
	)
	if l.backlog != nil && what&(unix.EPOLLOUT|broken) != 0 {
		p.flush(l)
	}
	switch {
	case p.over || l.fd < 0 || what&(unix.EPOLLIN|ending) == 0:
	case p.wants(l):
		p.take(l, what&ending != 0)
	}
	p.settle()
}

// wants says whether a side is to be read: not as long as the other one has not got what came before.
func (p *parked) wants(l *socket) bool {
	switch {
	case l.ended || l.late || l.fd < 0 || l.backlog.long():
		return false
	case p.machine != nil:
		return p.machine.wants(l.name())
	}
	return p.other(l).backlog == nil
}

// settle follows on any call that may have changed what is waited for.
func (p *parked) settle() {
	if p.over {
		return
	}
	if m := p.machine; m != nil {
		switch {
		case !m.over():
			p.held = m.stalled()
		case p.cause != nil || p.cutting || m.parted || p.client.toldAll() && p.upstream.toldAll(): // else it waits for that
			p.end()
			return
		}
	}
	for _, l := range []*socket{&p.client, &p.upstream} {
		if err := l.wait(p.wants(l)); err != nil {
			p.broke(l, fmt.Errorf("wait for %s: %w", l.name(), err))
			p.settle()
			return
		}
	}
	p.hasten()
}

// came passes octets of a side on.
func (p *parked) came(from *socket, octets []byte) {
	p.touch()
	if p.machine != nil {
		p.machine.came(from.name(), octets)
		return
	}
	to := p.other(from)
	if err := to.write(octets); err != nil {
		p.broke(to, err)
		return
	}
	to.tail = to.tail.after(octets)
	from.passed(int64(len(octets)), to)
}

// flush sends what a socket has not taken before. Then the other side, of which more may be there, goes on.
func (p *parked) flush(l *socket) {
	moved, err := l.flush()
	if moved {
		p.touch()
	}
	if err != nil {
		p.broke(l, err)
		return
	}
	if l.backlog != nil {
		return
	}
	if p.machine != nil {
		p.machine.writable(l.name())
		return
	}
	p.endBoth()
	if other := p.other(l); !p.over && p.wants(other) {
		p.take(other, false)
	}
}

// ended notes that a side has said its end.
func (p *parked) ended(l *socket) {
	l.ended = true
	if p.machine != nil {
		p.machine.ended(l.name())
		return
	}
	p.half(l.name())
	p.other(l).endWrite()
	p.endBoth()
}

// endBoth ends a session of which both sides have ended, and know it of each other.
func (p *parked) endBoth() {
	if p.allSaid() {
		p.end()
	}
}

// allSaid says that without a machine there is nothing more to come and to tell.
func (p *parked) allSaid() bool {
	return p.machine == nil && p.client.ended && p.upstream.ended && p.client.said && p.upstream.said
}

// finished says that nothing more is taken of a side: it is over, or the side has been left.
func (p *parked) finished(l *socket) bool {
	return p.over || l.fd < 0 || p.machine != nil && p.machine.over()
}

// broke ends the session because of a side.
func (p *parked) broke(l *socket, err error) {
	if p.machine != nil && !p.machine.over() {
		p.machine.broke(l.name(), err)
		return
	}
	p.blame(l.name(), err)
	p.end()
}

// cut and drain may be called by anybody.

// cut condemns the session at once, so that nothing passes that is said from now on; the shard learns of it later.
func (p *parked) cut(cause error) {
	if p.condemned.CompareAndSwap(nil, &cause) {
		_ = p.shard.post(func() { // a shard that has stopped has no session left
			defer p.caught()
			p.leave(cause)
		})
	}
}

// doomed says whether nothing may pass any more. It is asked when octets have been read: what was said after a cut is
// read after it. A machine is asked how to leave instead.
func (p *parked) doomed() bool { return p.machine == nil && p.condemned.Load() != nil }

func (p *parked) drain(cause error, by time.Time) {
	_ = p.shard.post(func() {
		defer p.caught()
		if p.over || p.cutting || p.drained != nil {
			return
		}
		p.drained = &drain{cause, by}
		if p.machine != nil {
			p.machine.part(false, cause)
		}
		p.settle()
	})
}

// leave ends the session now, with a last word if there is one.
func (p *parked) leave(cause error) {
	if p.over || p.cutting {
		return
	}
	p.cutting = true
	p.blame("", cause)
	if p.machine == nil {
		p.farewell()
		p.end()
		return
	}
	var drained error
	if p.drained != nil {
		drained = p.drained.cause
	}
	p.client.backlog.renew(p.shard.now)
	p.upstream.backlog.renew(p.shard.now)
	p.machine.part(true, drained)
	p.settle()
}

// farewell tells the client that it is over, if that cannot be read as something else. What its socket does not take at
// once is lost.
func (p *parked) farewell() {
	c := &p.client
	if p.quiet() < p.relay.limits.quiet || p.halves || c.backlog != nil || c.tail != lineEnd || p.o.Farewell == nil {
		return
	}
	if word := p.o.Farewell(p.cause); len(word) > 0 {
		_ = c.write(word) // it is closed in any case
	}
}

// end closes both sides and tells the owner.
func (p *parked) end() {
	if p.over {
		return
	}
	p.over = true
	p.blame("", nil)
	p.upstream.close()
	p.client.close()
	p.shard.dismiss(p)
	e := End{Cause: p.cause, FromClient: p.client.came, FromUpstream: p.upstream.came}
	if p.ender != nil {
		e.Side = p.ender.name()
	}
	if m := p.machine; m != nil {
		e.FromClient, e.FromUpstream = m.taken(Client), m.taken(Upstream)
	}
	go p.Session.tell(e)
}

// caught turns a panic into the end of one session.
func (p *parked) caught() {
	if v := recover(); v != nil {
		p.shard.feeds, p.shard.gathers = nil, nil
		p.blame("", &PanicError{Value: v, Stack: debug.Stack()})
		p.end()
	}
}

// ring looks what the passing of time means.
func (p *parked) ring() {
	defer p.caught()
	now := p.shard.now
	switch l := p.slow(); {
	case p.next() > 0:
	case l != nil:
		p.broke(l, fmt.Errorf("write to %s: %w", l.name(), ErrSlow))
	case p.machine != nil && p.wakes() <= 0:
		p.machine.tick()
	case p.drained != nil && p.quiet() < p.limit():
		p.leave(p.drained.cause)
	case p.held && !p.halves:
		p.leave(ErrHeld)
	default:
		p.leave(ErrIdle)
	}
	p.settle()
	if !p.over { // what has put it off until now is noted
		p.due = now + max(p.next(), time.Millisecond)
		heap.Fix(&p.shard.timeline, int(p.place))
	}
}

// hasten brings the time forward at which the limits are looked at, if they come earlier now.
func (p *parked) hasten() {
	if p.over {
		return
	}
	if due := p.shard.now + p.next(); due < p.due {
		p.due = due
		heap.Fix(&p.shard.timeline, int(p.place))
	}
}

// forever is later than any time that matters, and far from the greatest Duration: it is added to a time.
const forever time.Duration = 1 << 62

// next is how long nothing can happen by time alone.
func (p *parked) next() time.Duration {
	next := forever
	if !p.cutting { // then it has other limits
		next = min(next, p.limit()-p.quiet())
		if p.drained != nil {
			next = min(next, time.Until(p.drained.by))
			if p.machine == nil {
				next = min(next, p.relay.limits.quiet-p.quiet())
			}
		}
	}
	if p.machine != nil {
		next = min(next, p.wakes())
	}
	return min(next, p.patience(&p.client), p.patience(&p.upstream))
}

// wakes is how long it is until the machine wants to be woken.
func (p *parked) wakes() time.Duration {
	at := p.machine.next()
	if at.IsZero() || p.machine.over() {
		return forever
	}
	return time.Until(at)
}

// patience is for how long a side may still take nothing.
func (p *parked) patience(l *socket) time.Duration {
	switch {
	case l.backlog == nil:
		return forever
	case p.cutting:
		return l.backlog.since + lastWord - p.shard.now
	}
	return l.backlog.since + p.relay.limits.stall - p.shard.now
}

// slow answers the side that has taken nothing for too long, nil if there is none.
func (p *parked) slow() *socket {
	for _, l := range []*socket{&p.client, &p.upstream} {
		if p.patience(l) <= 0 {
			return l
		}
	}
	return nil
}

// limit is how long a silence may be.
func (p *parked) limit() time.Duration {
	switch {
	case p.halves:
		return min(p.relay.limits.linger, p.o.Idle)
	case p.held:
		return min(p.relay.limits.stall, p.o.Idle)
	}
	return p.o.Idle
}

// quiet is how long nothing has moved.
func (p *parked) quiet() time.Duration { return p.shard.now - p.moved }

func (p *parked) touch() { p.moved = p.shard.now }

func (p *parked) other(l *socket) *socket {
	if l == &p.client {
		return &p.upstream
	}
	return &p.client
}

func (p *parked) side(s Side) *socket {
	if s == Client {
		return &p.client
	}
	return &p.upstream
}

// A parked session is its machine's sink.

func (p *parked) write(to Side, octets []byte) (full bool, err error) {
	l := p.side(to)
	p.touch()
	err = l.write(octets)
	return l.backlog != nil, err
}

func (p *parked) sayLast(octets []byte) (full bool, err error) { return p.write(Client, octets) }

func (p *parked) endWrite(to Side) bool {
	p.side(to).endWrite()
	return true
}

func (p *parked) half(from Side) {
	if p.ender == nil && p.cause == nil { // a side that ends a session which is being cut did not end it
		p.ender = p.side(from)
	}
	p.halves = true
	p.touch() // the silence begins now
}

func (p *parked) leaveUpstream(reset bool) {
	if reset {
		p.upstream.reset()
	} else {
		p.upstream.close()
	}
}

func (p *parked) blame(side Side, cause error) {
	if p.cause != nil {
		return
	}
	if cut := p.condemned.Load(); cut != nil { // that came first
		p.cause = *cut
		return
	}
	p.cause = cause
	if side != "" {
		p.ender = p.side(side)
	}
}
