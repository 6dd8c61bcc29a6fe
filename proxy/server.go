package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"latchkey/proxy/relay"
)

// Options of a Server. Auth, Dialer, Live, Relay and MaxConnections are needed.
type Options struct {
	Auth   Authenticator
	Dialer Dialer
	Live   *Live        // shared with DAV
	Relay  *relay.Relay // the Server does not close it
	// MaxConnections bounds the connections of all listeners, signed in or not. The function of the same name answers
	// what the process has descriptors for.
	MaxConnections int
	MaxPerSource   int          // not yet signed in, of one source; zero: 50
	Metrics        *Metrics     // nil: counted and shown nowhere
	Log            *slog.Logger // nil: nothing is logged
}

// Server accepts and serves the connections of all listeners of the text protocols. Shutdown ends it.
type Server struct {
	o      Options
	limits *limits

	base context.Context // the parent of every connection's
	end  context.CancelCauseFunc

	loops    sync.WaitGroup // Serve
	visits   sync.WaitGroup // connections before the relay
	sessions sync.WaitGroup // relayed ones, until Ended was told

	mu        sync.Mutex
	listeners map[net.Listener]struct{} // guarded by mu
	drainBy   time.Time                 // guarded by mu; set before stopping is closed
	stopping  chan struct{}             // closed under mu
}

// NewServer makes a Server that serves nothing yet.
func NewServer(o Options) *Server {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	base, end := context.WithCancelCause(context.Background())
	return &Server{
		o: o, limits: newLimits(o.MaxPerSource, o.MaxConnections), base: base, end: end,
		listeners: make(map[net.Listener]struct{}), stopping: make(chan struct{}),
	}
}

// Serve accepts connections until ctx ends or Shutdown is called, then answers nil; any other end is an error. It closes
// ln. What was accepted lives on until Shutdown. settings is asked once per connection.
func (s *Server) Serve(ctx context.Context, ln net.Listener, settings func() Listener) error {
	defer func() { _ = ln.Close() }() // an error would say that it is closed already
	if !s.join(ln) {
		return nil
	}
	defer s.part(ln)
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for pause := time.Duration(0); ; {
		c, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(c, settings())
		case ctx.Err() != nil || s.isStopping():
			return nil
		case !passing(err):
			return fmt.Errorf("accept at %s: %w", ln.Addr(), err)
		default:
			pause = longer(pause)
			s.notAccepted(settings().Name, err, pause)
			s.rest(ctx, pause)
		}
	}
}

// join counts a Serve in; false: the Server is stopping.
func (s *Server) join(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopping() {
		return false
	}
	s.listeners[ln] = struct{}{}
	s.loops.Add(1)
	return true
}

func (s *Server) part(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	s.loops.Done()
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// passing says whether Accept may work again in a while: descriptors or memory are short, or the client was quick.
func passing(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// longer doubles the pause between two failures to accept, from 5 ms to a second.
func longer(pause time.Duration) time.Duration {
	return min(max(2*pause, 5*time.Millisecond), time.Second)
}

func (s *Server) notAccepted(listener string, err error, pause time.Duration) {
	s.o.Metrics.acceptErrors.WithLabelValues(listener).Inc()
	s.o.Log.Error("cannot accept", "listener", listener, "error", err, "pause", pause)
}

func (s *Server) rest(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-s.stopping:
	}
}

// take starts a connection. Where there is no room it is told so, or closed when too many are being told.
func (s *Server) take(c net.Conn, l Listener) {
	tune(c)
	room := s.limits.enter()
	if !room && !s.limits.refuse() {
		s.o.Metrics.refused.WithLabelValues(l.Name, "full").Inc()
		_ = c.Close()
		return
	}
	s.o.Metrics.accepted.WithLabelValues(l.Name).Inc()
	v := &visit{server: s, l: l, raw: c, began: time.Now()}
	s.visits.Go(func() { v.run(s.base, room) }) // Serve is counted, so Shutdown does not wait for visits yet
}
