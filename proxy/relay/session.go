package relay

import (
	"sync"
	"sync/atomic"
	"time"
)

// Options of one session. The zero value relays every octet and tells nobody of the end.
type Options struct {
	// Idle ends the session when nothing moves either way for so long. Zero: the relay's.
	Idle time.Duration
	// Splitter decides what passes; nil: every octet as it comes.
	Splitter Splitter
	// Farewell is the last word to the client when a session without Splitter is cut, drained or idle, and the client
	// is sure to read it as a line of its own: nothing is on its way, the last octets were CRLF, and nothing moved for
	// ten seconds. Nil, or an answer of nil: none. A Splitter's own word comes from Part.
	Farewell func(cause error) []byte
	// Owner is told of the end. Nil: nobody is.
	Owner Owner
}

// Owner is whose session it is.
type Owner interface {
	// Ended is called exactly once, from a goroutine of its own, when both descriptors are closed.
	Ended(e End)
}

// OnEnd makes a function an Owner.
type OnEnd func(e End)

// Ended calls f.
func (f OnEnd) Ended(e End) { f(e) }

// End says how a session ended.
type End struct {
	// Cause is nil if both sides ended in order; what Cut or Drain was given; one of this package's errors; or that of
	// a connection, with its side.
	Cause error
	// Side says who ended it, in order or by an error. Empty: neither did, or a splitter judged.
	Side Side
	// Octets that were taken from either side: what was read ahead counts, what an error left unsent does not.
	FromClient, FromUpstream int64
	Started, Ended           time.Time
}

// Side is one of the two whom a session connects.
type Side string

// The sides.
const (
	Client   Side = "client"
	Upstream Side = "upstream"
)

// limits of a Relay are always those of defaultLimits, but in tests.
type limits struct {
	// quiet: a client that got nothing for so long waits for whatever comes, so a farewell is not read as a part of
	// something else.
	quiet time.Duration
	// linger bounds the silence after one side has ended: long enough for an answer to the last command, short enough
	// for a peer that will never say its end.
	linger time.Duration
	// stall bounds one write of at most 32 KiB. A phone in a tunnel gets its minutes; who takes less than 150 octets a
	// second for so long costs more than he is worth. It is renewed late: a write has three quarters of it at least.
	stall time.Duration
	// cool: after a silence of this length a borrowed buffer goes back.
	cool time.Duration
	// turn bounds what a shard does for one side before the others have their turn: new keys, which a client may ask for
	// again and again, cost far more than octets.
	turn time.Duration
}

func defaultLimits() limits {
	return limits{quiet: 10 * time.Second, linger: 30 * time.Second, stall: 4 * time.Minute, cool: time.Second, turn: 2 * time.Millisecond}
}

// lastWord bounds the writes of a session that is being cut: either they fit the socket's buffer or they are lost. It
// leaves a cut within a second.
const lastWord = 300 * time.Millisecond

// Session is one client and its upstream.
type Session struct {
	relay    *Relay
	o        Options
	started  time.Duration // since the birth of the relay
	*running               // nil: it is parked
	parked   parker        // nil: it is running
}

// parker is a session that waits without goroutines.
type parker interface {
	cut(cause error)
	drain(cause error, by time.Time)
}

// running is what a session of goroutines needs.
type running struct {
	client, upstream leg
	moved            atomic.Int64 // when octets last moved, in nanoseconds after started
	pumps            atomic.Int32 // how many still run, without a splitter
	split            *split       // nil: there is none

	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	halves  bool        // one side has ended; guarded by mu
	held    bool        // as much is held back as may be; guarded by mu
	drained error       // why it shall leave when it can; guarded by mu
	drainBy time.Time   // and when it must; guarded by mu
	cutting bool        // it leaves now; guarded by mu
	polite  bool        // and may say so; guarded by mu
	stopped bool        // nothing is read and written any more but the last word; guarded by mu
	cause   error       // the first one; guarded by mu
	side    Side        // whose end came first, or whose error cause is; guarded by mu
}

func newSession(r *Relay, o Options) *Session {
	s := &Session{relay: r, o: o, started: time.Since(r.born), running: &running{}}
	s.client.name, s.upstream.name = Client, Upstream
	s.client.tail = lineEnd // a dialogue ends with a whole reply
	return s
}

// prepare makes what Cut and Drain use.
func (s *Session) prepare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Splitter != nil {
		s.split = newSplit(s)
	}
	s.timer = time.AfterFunc(s.o.Idle, s.tick)
}

// start sets the session's goroutines going, or ends it at once with err. They are new ones: a stack that has been
// through a TLS handshake stays large.
func (s *Session) start(err error) {
	switch {
	case err != nil:
		s.fail(err)
		go s.finish()
	case s.split != nil:
		s.split.start()
	default:
		s.pumps.Store(2)
		go s.pump(&s.client, &s.upstream)
		go s.pump(&s.upstream, &s.client)
	}
}

// Cut ends the session now, from anywhere, at any time; the first cause stands. It does not wait: the owner is told.
func (s *Session) Cut(cause error) {
	if cause == nil {
		cause = ErrCut
	}
	if s.parked != nil {
		s.parked.cut(cause)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut(cause)
}

// Drain ends the session when it can leave without harm: when it has been quiet, or its splitter says so. After d it
// is cut.
func (s *Session) Drain(cause error, d time.Duration) {
	if cause == nil {
		cause = ErrCut
	}
	if s.parked != nil {
		s.parked.drain(cause, time.Now().Add(d))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutting || s.stopped || s.drained != nil {
		return
	}
	s.drained, s.drainBy = cause, time.Now().Add(d)
	s.timer.Reset(0)
	if s.split != nil {
		s.split.nudge()
	}
}

// cut needs mu.
func (s *Session) cut(cause error) {
	if s.cutting || s.stopped {
		return
	}
	s.cutting = true
	if s.cause == nil {
		s.cause = cause
	}
	if s.split != nil { // its goroutine leaves as Part says; what it writes meanwhile may not hold it up
		soon := time.Now().Add(lastWord)
		s.client.limitWrites(soon)
		s.upstream.limitWrites(soon)
		s.split.nudge()
		return
	}
	s.polite = s.quiet() >= s.relay.limits.quiet && !s.halves
	s.stop()
}

// stop makes every read and write end; it needs mu.
func (s *Session) stop() {
	if !s.stopped {
		s.stopped = true
		s.client.interrupt()
		s.upstream.interrupt()
	}
}

// fail ends the session because of err; nil: in order. An end that has a cause keeps it.
func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil && !s.stopped {
		s.cause = err
	}
	s.stop()
}

// blameSide says that it is a side that ends the session with err, unless something else has ended it.
func (s *Session) blameSide(l *leg, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil && !s.stopped {
		s.cause, s.side = err, l.name
	}
}

// lose ends the session because of one side.
func (s *Session) lose(l *leg, err error) {
	s.blameSide(l, err)
	s.fail(err)
}

// half notes that a side has ended. From now on a silence is short.
func (s *Session) half(l *leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	if s.side == "" && s.cause == nil { // a side that ends a session which is being cut did not end it
		s.side = l.name
	}
	s.halves = true
	s.touch() // the silence begins now
	s.timer.Reset(s.next())
}

// hold notes whether a side is not read because of what is held of it: then a silence is no longer than a write.
func (s *Session) hold(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == on || s.stopped {
		return
	}
	s.held = on
	s.timer.Reset(s.next())
}

// tick looks what the passing of time means.
func (s *Session) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutting || s.stopped {
		return
	}
	next := s.next()
	switch {
	case next > 0:
		s.timer.Reset(next)
	case s.drained != nil && s.quiet() < s.limit():
		s.cut(s.drained)
	case s.held && !s.halves:
		s.cut(ErrHeld)
	default:
		s.cut(ErrIdle)
	}
}

// next is how long nothing can happen by time alone; it needs mu.
func (s *Session) next() time.Duration {
	next := s.limit() - s.quiet()
	if s.drained != nil {
		next = min(next, time.Until(s.drainBy))
		if s.split == nil {
			next = min(next, s.relay.limits.quiet-s.quiet())
		}
	}
	return next
}

// limit is how long a silence may be; it needs mu.
func (s *Session) limit() time.Duration {
	switch {
	case s.halves:
		return min(s.relay.limits.linger, s.o.Idle)
	case s.held:
		return min(s.relay.limits.stall, s.o.Idle)
	}
	return s.o.Idle
}

// quiet is how long nothing has moved.
func (s *Session) quiet() time.Duration {
	return s.age() - time.Duration(s.moved.Load())
}

func (s *Session) touch() { s.moved.Store(int64(s.age())) }

func (s *Session) age() time.Duration { return time.Since(s.relay.born) - s.started }

// finish is the last thing the last goroutine does.
func (s *Session) finish() {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.stopped = true // a Cut comes too late from now on
	polite, cause, side := s.polite, s.cause, s.side
	s.mu.Unlock()
	if polite && s.o.Farewell != nil {
		s.client.sayLast(s.farewell(cause))
	}
	s.upstream.close()
	s.client.close()
	s.tell(End{Cause: cause, Side: side, FromClient: s.client.came.Load(), FromUpstream: s.upstream.came.Load()})
}

// tell lets the owner know of the end, which is now.
func (s *Session) tell(e End) {
	e.Started, e.Ended = s.relay.born.Add(s.started), time.Now()
	defer s.relay.forget(s, e)
	if s.o.Owner != nil {
		s.o.Owner.Ended(e)
	}
}

// farewell is what the client may be told, nil if it could be read as something else.
func (s *Session) farewell(cause error) []byte {
	if s.client.tail != lineEnd {
		return nil
	}
	return s.o.Farewell(cause)
}
