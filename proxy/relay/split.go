package relay

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// holdLimit is how much a splitter may hold back of one side before that side is not read any further: more than
	// any piece that must be looked at as a whole, the longest of which is a reply to EHLO of SMTP. One more buffer may
	// have come with it.
	holdLimit = 32 << 10
	// idleTurns bounds the actions in a row that take nothing, for a splitter that never comes to an end.
	idleTurns = 16
)

// split runs a session with a splitter: one goroutine owns it, asks the splitter and writes; a reader for each side
// feeds it.
type split struct {
	s                *Session
	sp               Splitter
	client, upstream inlet
	nudged           chan struct{} // Cut or Drain has been called
	over             chan struct{} // closed by the owner: the readers stop
	readers          sync.WaitGroup

	// Owned by the owner.
	done    bool
	swallow bool        // the client has heard a last word
	leaving bool        // Part has been asked
	cut     bool        // and it was for a cut
	how     Action      // what Part said
	by      time.Time   // when that is done at the latest
	timer   *time.Timer // for by
}

// inlet is what comes from one side.
type inlet struct {
	from, to *leg
	ask      func(p []byte) Action
	chunks   chan chunk
	taken    chan struct{} // answers each chunk: its buffer is free
	held     []byte        // came, not yet taken
	ended    bool          // nothing more will come
	passed   bool          // and the other side knows
}

type chunk struct {
	p   []byte
	err error
}

func newSplit(s *Session) *split {
	e := &split{s: s, sp: s.o.Splitter, nudged: make(chan struct{}, 1), over: make(chan struct{}), timer: time.NewTimer(0)}
	e.timer.Stop()
	e.client = inlet{from: &s.client, to: &s.upstream, ask: e.sp.FromClient, chunks: make(chan chunk), taken: make(chan struct{}, 1)}
	e.upstream = inlet{from: &s.upstream, to: &s.client, ask: e.sp.FromUpstream, chunks: make(chan chunk), taken: make(chan struct{}, 1)}
	return e
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
func (e *split) read(in *inlet) {
	defer e.readers.Done()
	src := e.s.source(in.from)
	defer src.free()
	for {
		p, err := src.next()
		select {
		case in.chunks <- chunk{p, err}:
		case <-e.over:
			return
		}
		if err != nil {
			return
		}
		select {
		case <-in.taken:
		case <-e.over:
			return
		}
	}
}

func (e *split) run() {
	defer e.finish()
	defer e.s.caught()
	for !e.done {
		select {
		case c := <-e.from(&e.client):
			e.arrived(&e.client, c)
		case c := <-e.from(&e.upstream):
			e.arrived(&e.upstream, c)
		case <-e.nudged:
			e.part()
		case <-e.timer.C:
			e.leave(e.how)
		}
	}
}

// from is shut to a side of which enough is held, and to a client whose session is being cut.
func (e *split) from(in *inlet) <-chan chunk {
	if in.full() || e.cut && in == &e.client {
		return nil
	}
	return in.chunks
}

func (in *inlet) full() bool { return len(in.held) >= holdLimit }

func (e *split) finish() {
	if !e.done { // the splitter panicked
		e.s.upstream.reset()
	}
	if e.swallow {
		e.swallowRest()
	}
	e.timer.Stop()
	close(e.over)
	e.s.fail(nil) // ends the reads
	e.readers.Wait()
	e.s.finish()
}

// arrived takes a chunk in and lets both sides go on.
func (e *split) arrived(in *inlet, c chunk) {
	if c.err != nil {
		e.end(in, c.err)
		return
	}
	e.s.touch()
	moved := false
	if len(in.held) == 0 {
		var n int
		n, moved = e.judge(in, c.p)
		in.held = append(in.held, c.p[n:]...)
	} else {
		in.held = append(in.held, c.p...)
		moved = e.again(in)
	}
	in.taken <- struct{}{}
	e.settle(moved)
	e.s.hold(e.client.full() || e.upstream.full())
}

// end notes that a side has ended.
func (e *split) end(in *inlet, err error) {
	if err != io.EOF {
		e.lose(in.from, fmt.Errorf("read from %s: %w", in.from.name, err))
		return
	}
	in.ended = true
	e.s.half(in.from)
	e.passEnds()
}

// settle lets the held octets of both sides go on until neither moves any more, then passes ends on.
func (e *split) settle(moved bool) {
	for moved && !e.done {
		c, u := e.again(&e.client), e.again(&e.upstream)
		moved = c || u
	}
	e.passEnds()
}

// again asks about held octets and says whether anything happened.
func (e *split) again(in *inlet) bool {
	if len(in.held) == 0 {
		return false
	}
	n, moved := e.judge(in, in.held)
	if in.held = in.held[:copy(in.held, in.held[n:])]; len(in.held) == 0 {
		in.held = nil
	}
	return moved
}

// passEnds tells a side of the other's end once everything before it has passed.
func (e *split) passEnds() {
	for _, in := range []*inlet{&e.client, &e.upstream} {
		if e.done || !in.ended || in.passed || len(in.held) > 0 {
			continue
		}
		in.passed = true
		if !in.to.closeWrite() {
			e.fail(nil)
		}
	}
	if e.client.ended && e.upstream.ended && !e.done {
		e.fail(unpassed(len(e.client.held) + len(e.upstream.held)))
	}
}

// unpassed is an end in order only if nothing was held back.
func unpassed(n int) error {
	if n == 0 {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// judge asks the splitter about p until it holds or nothing is left. It answers how much was taken, and whether
// anything happened at all. What is forwarded in a row leaves with one write.
func (e *split) judge(in *inlet, p []byte) (taken int, moved bool) {
	sent, idle := 0, 0
	for taken < len(p) && e.mayTake(in) {
		a := in.ask(p[taken:])
		if a.Kind != Forward && !e.forward(in, p[sent:taken]) {
			return taken, true
		}
		if a.Kind == Hold {
			return taken, moved
		}
		if idle++; a.N > 0 {
			idle = 0
		}
		a = sound(a, len(p)-taken)
		if idle > idleTurns {
			a = impossible()
		}
		moved = true
		taken += a.N
		in.from.came.Add(int64(a.N))
		if a.Kind != Forward {
			sent = taken
			e.act(a)
		} else if e.leaving {
			e.forward(in, p[sent:taken])
			sent = taken
		}
		if e.leaving && !e.done {
			e.part()
		}
	}
	e.forward(in, p[sent:taken])
	return taken, moved
}

func (e *split) mayTake(in *inlet) bool { return !e.done && !(e.cut && in == &e.client) }

// sound answers a if it makes sense with n octets at hand, else an Abort.
func sound(a Action, n int) Action {
	least := 0
	switch a.Kind {
	case Close, Abort:
		a.N = 0
		return a
	case Forward, Drop:
		least = 1
	case ToClient, ToUpstream:
	default:
		return impossible()
	}
	if a.N < least || a.N > n {
		return impossible()
	}
	return a
}

func impossible() Action { return Action{Cause: errors.New("splitter: impossible action")} }

// forward passes p on; false: the session is over.
func (e *split) forward(in *inlet, p []byte) bool {
	if len(p) > 0 && !e.done {
		e.write(in.to, p)
	}
	return !e.done
}

// act does what is neither Forward nor Hold.
func (e *split) act(a Action) {
	switch a.Kind {
	case Drop:
	case ToClient:
		e.write(&e.s.client, a.Bytes)
	case ToUpstream:
		e.write(&e.s.upstream, a.Bytes)
	default:
		e.leave(a)
	}
}

func (e *split) write(to *leg, p []byte) {
	if len(p) == 0 {
		return
	}
	if err := e.s.write(to, p); err != nil {
		e.lose(to, err)
	}
}

// fail ends the session without a last word; with an error, the upstream is not left to think that it is an end.
func (e *split) fail(err error) {
	e.done = true
	if err != nil {
		e.s.upstream.reset()
	}
	e.s.fail(err)
}

// lose is fail because of one side.
func (e *split) lose(l *leg, err error) {
	e.s.blameSide(l, err)
	e.fail(err)
}
