package relay

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/proxy/wire"
)

// Why a session ended, besides the errors of the connections themselves.
var (
	// ErrIdle: nothing moved either way for the idle limit.
	ErrIdle = errors.New("idle for too long")
	// ErrSlow: a side took nothing for so long that it counts as gone.
	ErrSlow = errors.New("takes no data")
	// ErrHeld: the splitter held back as much of one side as may be, and nothing moved for as long as a write may take.
	ErrHeld = errors.New("too much held back")
	// ErrAborted: the splitter broke the session off and named no cause.
	ErrAborted = errors.New("broken off")
	// ErrClosed: the relay takes no more sessions.
	ErrClosed = errors.New("relay closed")
	// ErrCut: the session was cut, and no cause was named.
	ErrCut = errors.New("cut")
)

// DefaultIdle lets an IMAP client wait for the half hour that RFC 9051 section 5.4 grants, and a little longer, so that
// the upstream's own autologout comes first.
const DefaultIdle = 31 * time.Minute

// Settings of a Relay. The zero value works.
type Settings struct {
	// Idle is the limit of sessions whose Options name none. Zero: DefaultIdle.
	Idle time.Duration
	// Goroutines relays every session with goroutines of its own, as it is done on systems other than Linux: for tests
	// and comparisons.
	Goroutines bool
}

// Relay runs sessions.
type Relay struct {
	settings Settings
	born     time.Time // what its sessions count time from
	limits   limits
	buffers  buffers
	shards   shards // of the parked sessions; guarded by mu

	started      atomic.Int64
	fromClient   atomic.Int64
	fromUpstream atomic.Int64

	mu     sync.Mutex
	live   map[*Session]struct{} // guarded by mu
	empty  chan struct{}         // guarded by mu; made by who waits, closed when the last session is gone
	closed error                 // guarded by mu; the cause with which it was closed
}

// New makes a Relay; Close ends it.
func New(o Settings) *Relay {
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	return &Relay{settings: o, limits: defaultLimits(), born: time.Now(), live: map[*Session]struct{}{}}
}

// Counters are what a Relay has done so far. The octets are those of sessions that have ended.
type Counters struct {
	Open                     int   // sessions
	Borrowed                 int   // buffers in use, 32 KiB each
	Started                  int64 // sessions, since the beginning
	FromClient, FromUpstream int64
}

// Counters answers the present ones.
func (r *Relay) Counters() Counters {
	r.mu.Lock()
	open := len(r.live)
	r.mu.Unlock()
	return Counters{Open: open, Borrowed: int(r.buffers.lent.Load()), Started: r.started.Load(),
		FromClient: r.fromClient.Load(), FromUpstream: r.fromUpstream.Load()}
}

// Start takes both connections over and returns at once. If the relay is closed, or a connection was handed over or
// closed before, the session ends at once, with that cause.
func (r *Relay) Start(client, upstream *wire.Conn, o Options) *Session {
	if o.Idle == 0 {
		o.Idle = r.settings.Idle
	}
	r.started.Add(1)
	c, u := take(client), take(upstream)
	if s := r.park(c, u, o); s != nil {
		return s
	}
	return r.run(c, u, o)
}

// handed is a connection that was handed over.
type handed struct {
	conn  net.Conn // nil: there was none any more
	ahead []byte   // read before, not yet relayed
}

func take(c *wire.Conn) handed {
	conn, ahead := c.Detach()
	return handed{conn, ahead}
}

// run starts a session of goroutines.
func (r *Relay) run(client, upstream handed, o Options) *Session {
	s := newSession(r, o)
	s.client.conn, s.client.ahead = client.conn, client.ahead
	s.upstream.conn, s.upstream.ahead = upstream.conn, upstream.ahead
	s.prepare()
	err := r.enter(s, nil)
	if client.conn == nil || upstream.conn == nil {
		err = wire.ErrDetached
	}
	s.start(err)
	return s
}

// Drain asks every session to leave when it can do so without harm, and cuts it after at most d.
func (r *Relay) Drain(cause error, d time.Duration) {
	for _, s := range r.sessions() {
		s.Drain(cause, d)
	}
}

// Wait waits until no session is left, and every Owner has been told.
func (r *Relay) Wait(ctx context.Context) error {
	r.mu.Lock()
	if len(r.live) == 0 {
		r.mu.Unlock()
		return nil
	}
	if r.empty == nil {
		r.empty = make(chan struct{})
	}
	empty := r.empty
	r.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close cuts every session, refuses new ones, and waits until all are gone.
func (r *Relay) Close(cause error) {
	r.mu.Lock()
	if r.closed == nil {
		r.closed = errors.Join(ErrClosed, cause)
	}
	r.mu.Unlock()
	for _, s := range r.sessions() {
		s.Cut(cause)
	}
	_ = r.Wait(context.Background()) // the background does not end
	r.stopShards()
}

func (r *Relay) sessions() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Session, 0, len(r.live))
	for s := range r.live {
		all = append(all, s)
	}
	return all
}

// enter counts s among the live ones, also when it is refused, for Wait waits until its Owner was told. If it is not, begin is
// called, before anybody can find s there.
func (r *Relay) enter(s *Session, begin func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[s] = struct{}{}
	if r.closed == nil && begin != nil {
		return begin()
	}
	return r.closed
}

func (r *Relay) forget(s *Session, e End) {
	r.fromClient.Add(e.FromClient)
	r.fromUpstream.Add(e.FromUpstream)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, s)
	if len(r.live) == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
}
