package relay

import "time"

// How a session with a splitter is left: cut, drained, or broken off by the splitter itself.

const (
	// maxReplyWait bounds the wait for a reply in flight while a session is cut (a revocation is done in a second).
	maxReplyWait = 900 * time.Millisecond
	// swallowTime and swallowMost bound what is read of a client after its last word: a connection that is closed over
	// unread octets is reset, and the word may be lost with them.
	swallowTime = time.Second
	swallowMost = 1 << 20
)

// exit is how a session is left. Few sessions have one at any time.
type exit struct {
	cut       bool      // it is cut, not drained
	drained   error     // the cause of the drain
	how       Action    // what Part or the splitter said
	due       bool      // and it is done as soon as both sides have got everything
	by        time.Time // when the present step is done at the latest; zero: no limit
	swallowed int       // octets of the client after its last word
}

// part notes that the session is cut, or shall leave when it can because of drained, and asks the splitter how. It may
// be called again; a cut overrides a drain.
func (m *machine) part(cut bool, drained error) {
	defer m.caught()
	if m.done || m.parted || !cut && drained == nil {
		return
	}
	x := m.exiting()
	x.drained = drained
	if cut && !x.cut { // what was granted to a drain is void
		x.cut, x.by = true, time.Time{}
	}
	m.ask()
}

// next is when tick is to be called; zero: not at all.
func (m *machine) next() time.Time {
	if m.exit == nil {
		return time.Time{}
	}
	return m.exit.by
}

// tick notes that next has come: the reply in flight, or the client with its last word, took too long.
func (m *machine) tick() {
	defer m.caught()
	switch {
	case m.done || m.exit == nil || m.exit.by.IsZero() || time.Now().Before(m.exit.by):
	case m.parted:
		m.done = true
	default:
		m.leave(m.exit.how)
	}
}

func (m *machine) exiting() *exit {
	if m.exit == nil {
		m.exit = new(exit)
	}
	return m.exit
}

// leaving says that the session has been asked to leave, and has not made up its mind.
func (m *machine) leaving() bool { return m.exit != nil && !m.exit.due && !m.parted && !m.done }

// ask asks a splitter that shall leave how, and does so or waits.
func (m *machine) ask() {
	if !m.leaving() || m.waits() {
		return
	}
	x := m.exit
	how, wait := m.splitter.Part(!x.cut)
	if how.Cause == nil {
		how.Cause = x.drained
	}
	if x.cut {
		wait = min(wait, maxReplyWait)
	}
	if wait <= 0 {
		m.leave(how)
		return
	}
	x.how = how
	if by := time.Now().Add(wait); x.by.IsZero() || by.Before(x.by) {
		x.by = by
	}
}

// leave ends the session as a says: anything but Close breaks the upstream before the client hears of it.
func (m *machine) leave(a Action) {
	x := m.exiting()
	if m.waits() {
		x.how, x.due, x.by = a, true, time.Time{}
		return
	}
	m.parted = true
	if a.Kind != Close && a.Cause == nil {
		a.Cause = ErrAborted
	}
	m.sink.leaveUpstream(a.Kind != Close)
	m.sink.blame("", a.Cause)
	m.say(a.Bytes)
}

// say tells the client a last word.
func (m *machine) say(word []byte) {
	if len(word) == 0 {
		m.done = true
		return
	}
	full, err := m.sink.sayLast(word)
	switch {
	case err != nil:
		m.done = true
	case full:
		m.client.full = true
		m.exit.by = time.Now().Add(lastWord)
	default:
		m.listen()
	}
}

// listen reads on for a moment after the last word, so that the client gets it.
func (m *machine) listen() {
	if m.client.ended || !m.sink.endWrite(Client) {
		m.done = true
		return
	}
	m.exit.by = time.Now().Add(swallowTime)
}

// swallow takes what the client says after its last word.
func (m *machine) swallow(in *party, n int) {
	if in != &m.client {
		return
	}
	m.exit.swallowed += n
	m.done = m.exit.swallowed >= swallowMost
}
