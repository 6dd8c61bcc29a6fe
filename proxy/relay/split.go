package relay

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
)

const (
	// holdLimit is how much a splitter may hold back of one side before that side is not read any further: more than
	// any piece that must be looked at as a whole, the longest of which is a reply to EHLO of SMTP. One more buffer may
	// have come with it.
	holdLimit = 32 << 10
	// spareLimit: what is held stays in a buffer that has become too large for it if no more than so much is idle.
	spareLimit = 4 << 10
	// idleTurns bounds the actions in a row that take nothing, for a splitter that never comes to an end.
	idleTurns = 16
)

// machine runs a session with a splitter, and is passive: it has no goroutine, timer or lock, reads nothing and never
// waits. Its driver tells it what has happened (came, ended, broke, writable, part, tick), one call at a time, and asks
// after each what to do next (over, wants, stalled, next). What it decides is carried out by its sink.
//
// As long as a side has not got what was written to it before, nothing is taken of either side, the splitter is not
// asked, and nobody leaves; writable makes up for it. So octets keep their order, whichever side is slow, and a slow
// one holds the other up.
//
// An idle session holds the machine itself and nothing more: held is nil unless the splitter holds something back.
type machine struct {
	splitter         Splitter
	sink             sink
	client, upstream party
	exit             *exit // how it is left; nil: nobody has asked
	parted           bool  // it is left: the upstream is gone, and the client hears a last word
	done             bool  // nothing is left to do
}

// party is one side.
type party struct {
	name   Side
	held   []byte // came, not yet taken
	count  int64  // octets taken
	ended  bool   // nothing more will come
	passed bool   // and the other side knows
	full   bool   // has not got everything that was written to it
}

// sink carries out what a machine decides. It must not call the machine.
type sink interface {
	// write sends p to a side. What the side does not take yet is kept by the sink, in a copy. Then the answer is full,
	// a few more writes may come all the same, and the machine hears writable when everything is out. An error says
	// that the side is lost, and names it.
	write(to Side, p []byte) (full bool, err error)
	// sayLast is the last write to the client. A sink that waits does so for lastWord at most.
	sayLast(p []byte) (full bool, err error)
	// endWrite says to a side, which has got everything, that nothing more will come. It is false if a connection of
	// its kind cannot end one direction alone.
	endWrite(to Side) bool
	// half says that a side has ended: from now on a silence is short.
	half(from Side)
	// leaveUpstream closes the upstream or, with what is kept for it, resets it: it must not take a part for the whole.
	leaveUpstream(reset bool)
	// blame names the cause of the end and whose it is, nobody's if side is empty. The first cause stands.
	blame(side Side, cause error)
}

func newMachine(sp Splitter, out sink) machine {
	return machine{splitter: sp, sink: out, client: party{name: Client}, upstream: party{name: Upstream}}
}

// came takes in octets of a side; it does not keep p.
func (m *machine) came(from Side, p []byte) {
	defer m.caught()
	in := m.party(from)
	switch {
	case m.done:
	case m.parted:
		m.swallow(in, len(p))
	case len(in.held) > 0:
		in.held = append(in.held, p...)
		m.settle(m.again(in))
	default:
		n, moved := m.judge(in, p)
		in.held = append(in.held, p[n:]...)
		m.settle(moved)
	}
}

// ended notes that a side has said its end, in order.
func (m *machine) ended(from Side) {
	defer m.caught()
	in := m.party(from)
	in.ended = true
	if m.parted {
		m.done = !in.full // or it hears its last word first
		return
	}
	m.sink.half(from)
	m.passEnds()
}

// broke ends the session because one side cannot be read or written any more.
func (m *machine) broke(side Side, err error) {
	if !m.parted {
		m.sink.blame(side, err)
	}
	m.fail()
}

// writable notes that a side has got everything, and does what had to wait for it.
func (m *machine) writable(to Side) {
	defer m.caught()
	m.party(to).full = false
	switch {
	case m.done || m.waits():
	case m.parted:
		m.listen()
	case m.exit != nil && m.exit.due:
		m.leave(m.exit.how)
	default:
		m.ask()
		m.settle(true)
	}
}

// over says that both sides are to be closed, and nothing may be called any more.
func (m *machine) over() bool { return m.done }

// wants says whether a side is to be read.
func (m *machine) wants(from Side) bool {
	in := m.party(from)
	switch {
	case m.done || in.ended || m.waits():
		return false
	case m.parted:
		return from == Client
	}
	return m.mayTake(in) && len(in.held) < holdLimit
}

// stalled says that a side is not read because the splitter holds so much of it back.
func (m *machine) stalled() bool {
	return !m.waits() && max(len(m.client.held), len(m.upstream.held)) >= holdLimit
}

// taken counts the octets that were taken from a side.
func (m *machine) taken(from Side) int64 { return m.party(from).count }

func (m *machine) party(s Side) *party {
	if s == Client {
		return &m.client
	}
	return &m.upstream
}

func (m *machine) other(in *party) *party {
	if in == &m.client {
		return &m.upstream
	}
	return &m.client
}

// waits says that a side has to take first what was written to it.
func (m *machine) waits() bool { return m.client.full || m.upstream.full }

// mayTake says whether octets of a side may be judged: not those of a client whose session is being cut.
func (m *machine) mayTake(in *party) bool {
	cut := m.exit != nil && m.exit.cut
	return !m.done && !m.parted && !m.waits() && !(cut && in == &m.client)
}

// settle lets the held octets of both sides go on until neither moves any more, then passes ends on.
func (m *machine) settle(moved bool) {
	for moved && !m.done {
		c, u := m.again(&m.client), m.again(&m.upstream)
		moved = c || u
	}
	m.passEnds()
}

// again judges held octets and says whether anything happened.
func (m *machine) again(in *party) bool {
	if len(in.held) == 0 {
		return false
	}
	n, moved := m.judge(in, in.held)
	in.held = rest(in.held, n)
	return moved
}

// rest is p without its first n octets, in a buffer that is not much larger.
func rest(p []byte, n int) []byte {
	left := len(p) - n
	switch {
	case left == 0:
		return nil
	case n > 0 && cap(p)-left > spareLimit && left < cap(p)/2:
		return slices.Clone(p[n:])
	}
	return p[:copy(p, p[n:])]
}

// passEnds tells a side of the other's end once everything before it has passed.
func (m *machine) passEnds() {
	for _, in := range []*party{&m.client, &m.upstream} {
		if m.done || m.parted || m.waits() {
			return
		}
		if !in.ended || in.passed || len(in.held) > 0 {
			continue
		}
		in.passed = true
		if !m.sink.endWrite(m.other(in).name) {
			m.done = true
		}
	}
	if m.client.ended && m.upstream.ended && !m.done {
		m.end(unpassed(len(m.client.held) + len(m.upstream.held)))
	}
}

// unpassed is an end in order only if nothing was held back.
func unpassed(n int) error {
	if n == 0 {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// judge asks the splitter about p until it holds, nothing is left, or a side is full. It answers how much was taken, and
// whether anything happened at all. What is forwarded in a row leaves with one write.
func (m *machine) judge(in *party, p []byte) (taken int, moved bool) {
	sent, idle := 0, 0
	for taken < len(p) && m.mayTake(in) {
		a := m.answer(in, p[taken:])
		if a.Kind != Forward && !m.forward(in, p[sent:taken]) {
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
		in.count += int64(a.N)
		if a.Kind != Forward {
			sent = taken
			m.act(a)
		} else if m.leaving() {
			m.forward(in, p[sent:taken])
			sent = taken
		}
		m.ask()
	}
	m.forward(in, p[sent:taken])
	return taken, moved
}

func (m *machine) answer(in *party, p []byte) Action {
	if in == &m.client {
		return m.splitter.FromClient(p)
	}
	return m.splitter.FromUpstream(p)
}

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
func (m *machine) forward(in *party, p []byte) bool {
	m.write(m.other(in), p)
	return !m.done
}

// act does what is neither Forward nor Hold.
func (m *machine) act(a Action) {
	switch a.Kind {
	case Drop:
	case ToClient:
		m.write(&m.client, a.Bytes)
	case ToUpstream:
		m.write(&m.upstream, a.Bytes)
	default:
		m.leave(a)
	}
}

func (m *machine) write(to *party, p []byte) {
	if len(p) == 0 || m.done || m.parted {
		return
	}
	full, err := m.sink.write(to.name, p)
	to.full = to.full || full
	if err != nil {
		m.broke(to.name, err)
	}
}

// end ends the session without a last word: in order, or because of err.
func (m *machine) end(err error) {
	if err == nil {
		m.done = true
		return
	}
	m.sink.blame("", err)
	m.fail()
}

// fail is an end not in order: the upstream is not left to think that it is one.
func (m *machine) fail() {
	m.done = true
	if !m.parted {
		m.sink.leaveUpstream(true)
	}
}

// PanicError is the Cause of a session in which a splitter panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in the relay: %v", e.Value) }

// caught turns a panic into the end of one session.
func (m *machine) caught() {
	if v := recover(); v != nil {
		m.end(&PanicError{Value: v, Stack: debug.Stack()})
	}
}
