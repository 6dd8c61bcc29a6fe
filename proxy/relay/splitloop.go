package relay

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// split drives a machine with goroutines: one owns it and writes, and waits when it writes; a reader for each side feeds
// it.
type split struct {
	s                *Session
	machine          machine
	client, upstream feed
	nudged           chan struct{} // Cut or Drain has been called
	stop             chan struct{} // closed by the owner: the readers stop
	readers          sync.WaitGroup
	timer            *time.Timer // for the machine's next; nil: it never had one. Owned by the owner
}

// feed is what a reader gives the owner.
type feed struct {
	leg    *leg
	chunks chan chunk
	taken  chan struct{} // answers each chunk: its buffer is free
}

type chunk struct {
	p   []byte
	err error
}

func newSplit(s *Session) *split {
	e := &split{s: s, client: newFeed(&s.client), upstream: newFeed(&s.upstream),
		nudged: make(chan struct{}, 1), stop: make(chan struct{})}
	e.machine = newMachine(s.o.Splitter, e)
	return e
}

func newFeed(l *leg) feed {
	return feed{leg: l, chunks: make(chan chunk), taken: make(chan struct{}, 1)}
}

func (e *split) start() {
	e.readers.Add(2)
	go e.read(&e.client)
	go e.read(&e.upstream)
	go e.run()
}

// nudge tells the owner to look at what Cut or Drain has set.
func (e *split) nudge() {
	select {
	case e.nudged <- struct{}{}:
	default: // it will look anyway
	}
}

// read feeds the owner; a chunk's buffer is borrowed until it is taken.
func (e *split) read(f *feed) {
	defer e.readers.Done()
	src := e.s.source(f.leg)
	defer src.free()
	for {
		p, err := src.next()
		select {
		case f.chunks <- chunk{p, err}:
		case <-e.stop:
			return
		}
		if err != nil {
			return
		}
		select {
		case <-f.taken:
		case <-e.stop:
			return
		}
	}
}

func (e *split) run() {
	for !e.machine.over() {
		select {
		case c := <-e.wanted(&e.client):
			e.arrived(&e.client, c)
		case c := <-e.wanted(&e.upstream):
			e.arrived(&e.upstream, c)
		case <-e.nudged:
			e.machine.part(e.s.asked())
		case <-e.next():
			e.machine.tick()
		}
	}
	e.finish()
}

// wanted is shut to a side that is not to be read.
func (e *split) wanted(f *feed) <-chan chunk {
	if e.machine.wants(f.leg.name) {
		return f.chunks
	}
	return nil
}

// next ticks when the machine wants it; most sessions end without ever having a timer.
func (e *split) next() <-chan time.Time {
	at := e.machine.next()
	switch {
	case at.IsZero():
		return nil
	case e.timer == nil:
		e.timer = time.NewTimer(time.Until(at))
	default:
		e.timer.Reset(time.Until(at))
	}
	return e.timer.C
}

// arrived tells the machine what has come.
func (e *split) arrived(f *feed, c chunk) {
	switch side := f.leg.name; c.err {
	case nil:
		e.s.touch()
		e.machine.came(side, c.p)
		f.taken <- struct{}{}
		e.s.hold(e.machine.stalled())
	case io.EOF:
		e.machine.ended(side)
	default:
		e.machine.broke(side, fmt.Errorf("read from %s: %w", side, c.err))
	}
}

func (e *split) finish() {
	if e.timer != nil {
		e.timer.Stop()
	}
	close(e.stop)
	e.s.fail(nil) // ends the reads
	e.readers.Wait()
	e.s.client.came.Store(e.machine.taken(Client))
	e.s.upstream.came.Store(e.machine.taken(Upstream))
	e.s.finish()
}

// split is the machine's sink. Its writes wait, so nothing is ever kept.

func (e *split) leg(side Side) *leg {
	if side == Client {
		return &e.s.client
	}
	return &e.s.upstream
}

func (e *split) write(to Side, p []byte) (full bool, err error) {
	return false, e.s.write(e.leg(to), p)
}

func (e *split) sayLast(p []byte) (full bool, err error) {
	if !e.s.client.sayLast(p) {
		return false, errStopped
	}
	return false, nil
}

func (e *split) endWrite(to Side) bool { return e.leg(to).closeWrite() }

func (e *split) half(from Side) { e.s.half(e.leg(from)) }

func (e *split) leaveUpstream(reset bool) {
	if reset {
		e.s.upstream.reset()
	} else {
		e.s.upstream.close()
	}
}

func (e *split) blame(side Side, cause error) {
	if side == "" {
		e.s.blame(cause)
	} else {
		e.s.blameSide(e.leg(side), cause)
	}
}

// asked is what Cut and Drain have set.
func (s *Session) asked() (cut bool, drained error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cutting, s.drained
}

// blame names the cause of an end, if it has none yet.
func (s *Session) blame(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil && !s.stopped {
		s.cause = cause
	}
}
