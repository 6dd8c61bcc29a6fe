package dav

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/proxy"
)

const (
	standsTime = 600 * time.Millisecond // to ask the records, out of the 5 s that a client waits at most
	tellTime   = 5 * time.Second        // to tell the core of an end
)

var errIdle = errors.New("idle")

// sessions are the live sessions of a Door. Each is in proxy.Live from its first request on, and ends once: when it was
// idle for too long, when Live cuts it, or with the Door.
type sessions struct {
	o       Options
	telling sync.WaitGroup // calls of Ended

	mu     sync.Mutex
	open   map[session.ID]*live // guarded by mu
	flying map[string]int       // requests in flight, by member; guarded by mu
}

func newSessions(o Options) *sessions {
	return &sessions{o: o, open: map[session.ID]*live{}, flying: map[string]int{}}
}

// maxFlying bounds the requests in flight of one member: two connections of HTTP/2 with all their streams. An upstream
// is reached by a few hundred connections, and one member who lets them drip must not hold them all.
const maxFlying = 64

// board counts a request of the member in; false: he has too many in flight.
func (s *sessions) board(member string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying[member] >= maxFlying {
		return false
	}
	s.flying[member]++
	return true
}

func (s *sessions) alight(member string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying[member]--; s.flying[member] <= 0 {
		delete(s.flying, member)
	}
}

// live is one session.
type live struct {
	id       session.ID
	door     string
	all      *sessions
	standing authcore.Standing
	entry    *proxy.Entry // set before the session can be found

	proven                   atomic.Bool // the records say that it stands
	established              atomic.Bool // an upstream has answered a request of it
	fromClient, fromUpstream atomic.Int64

	mu    sync.Mutex
	cause error              // it has ended; guarded by mu
	uses  map[*use]struct{}  // requests in flight; guarded by mu
	conns map[*conn]struct{} // of HTTP/1, whose last request was of this session; guarded by mu
	last  time.Time          // when a request ended; guarded by mu
}

// use is one request in flight.
type use struct {
	of     *live
	conn   *conn
	http1  bool
	cancel context.CancelCauseFunc
	stream *http.ResponseController // of HTTP/2
}

// enter counts a request into its session and makes sure that the session stands: the first request of it asks the
// records. leave must follow unless a reason but Allowed is answered.
func (s *sessions) enter(ctx context.Context, a authcore.Attempt, d authcore.Decision, u *use) authcore.Reason {
	l := s.find(a, d)
	if u.http1 {
		u.conn.belong(l)
	}
	if !s.board(string(d.Member)) {
		return authcore.TooManyConnections
	}
	if !l.add(u) { // it has ended this moment, and the next request opens another
		s.alight(string(d.Member))
		return authcore.Unavailable
	}
	if l.proven.Load() {
		return authcore.Allowed
	}
	ctx, cancel := context.WithTimeout(ctx, standsTime)
	defer cancel()
	ok, err := s.o.Auth.Stands(ctx, l.standing)
	switch {
	case err != nil:
		s.leave(u)
		return authcore.Unavailable
	case !ok:
		s.leave(u)
		u.conn.belong(nil) // on which the client still hears why
		l.end(proxy.ErrRevoked)
		return authcore.BadCredentials
	}
	l.proven.Store(true)
	return authcore.Allowed
}

// find answers the session of d, and opens it if it is new here.
func (s *sessions) find(a authcore.Attempt, d authcore.Decision) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.open[d.Session]; ok {
		return l
	}
	l := &live{
		id: d.Session, door: a.Door, all: s, standing: d.Standing(a), uses: map[*use]struct{}{}, conns: map[*conn]struct{}{}, last: time.Now(),
	}
	l.entry = s.o.Live.Enter(proxy.OpenOf(a, d), l.standing, proxy.CutFunc(l.end))
	s.open[d.Session] = l
	s.o.Metrics.Opened(l.door)
	return l
}

// add counts u in; false: the session has ended.
func (l *live) add(u *use) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return false
	}
	u.of = l
	l.uses[u] = struct{}{}
	if u.http1 {
		l.conns[u.conn] = struct{}{}
	}
	return true
}

func (l *live) dropConn(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// leave counts u out. From now on nothing touches its request.
func (s *sessions) leave(u *use) {
	l := u.of
	s.alight(string(l.standing.Member))
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.uses, u)
	l.last = time.Now()
}

// end ends the session: requests in flight are aborted, connections closed, the core is told. Only the first cause counts.
// It does not block.
func (l *live) end(cause error) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	for u := range l.uses {
		u.abort(cause)
	}
	if !errors.Is(cause, errIdle) { // whose connections have their own time
		for c := range l.conns {
			c.close()
		}
	}
	l.mu.Unlock()
	l.all.forget(l)
	l.entry.Leave()
	l.all.telling.Go(func() { l.tell(cause) })
}

// abort breaks a request off: whatever it waits for ends. It needs the session's mu, by which it knows that the request
// has not ended.
func (u *use) abort(cause error) {
	u.cancel(cause)
	if !u.http1 {
		_ = u.stream.SetWriteDeadline(time.Unix(1, 0)) // resets the stream; only fails where there is none
	}
}

func (s *sessions) forget(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[l.id] == l {
		delete(s.open, l.id)
	}
}

func (l *live) tell(cause error) {
	ctx, cancel := context.WithTimeout(context.Background(), tellTime)
	defer cancel()
	e := authcore.End{
		Cause: causeWord(cause), Established: l.established.Load(),
		FromClient: l.fromClient.Load(), FromUpstream: l.fromUpstream.Load(),
	}
	l.all.o.Metrics.Ended(l.door, e)
	l.all.o.Auth.Ended(ctx, l.id, e)
}

// causeWord is the closed word for the end of a session.
func causeWord(cause error) string {
	switch {
	case errors.Is(cause, errIdle):
		return "idle"
	case errors.Is(cause, proxy.ErrRevoked):
		return "revoked"
	case errors.Is(cause, proxy.ErrExpired):
		return "expired"
	case errors.Is(cause, proxy.ErrUnjudged):
		return "unavailable"
	case errors.Is(cause, proxy.ErrDrain):
		return "drain"
	}
	return "error"
}

// endIdle ends the sessions whose last request ended at or before then.
func (s *sessions) endIdle(then time.Time) {
	for _, l := range s.all() {
		if l.idleSince(then) {
			l.end(errIdle)
		}
	}
}

func (l *live) idleSince(then time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.uses) == 0 && !l.last.After(then)
}

func (s *sessions) endAll(cause error) {
	for _, l := range s.all() {
		l.end(cause)
	}
}

func (s *sessions) all() []*live {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*live, 0, len(s.open))
	for _, l := range s.open {
		all = append(all, l)
	}
	return all
}
