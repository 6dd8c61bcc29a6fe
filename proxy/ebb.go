package proxy

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Ebb ends HTTP servers without losing a request. Shutdown of net/http drops the request of a connection that was just
// accepted: its client did nothing wrong and hears nothing. So first the listener closes, and for up to two seconds whoever
// has come is served, with "Connection: close"; then Shutdown says GOAWAY (RFC 9113 section 6.8: what came too late may be
// sent anew) and closes what is idle. The zero value is ready; one may serve many servers.
type Ebb struct {
	mu      sync.Mutex
	busy    map[net.Conn]struct{} // connections that await their first request or are at one; guarded by mu
	up      int                   // servers that have not been shut down; guarded by mu
	ebbing  bool                  // guarded by mu
	changed chan struct{}         // closed at the next change that somebody waits for; nil: nobody; guarded by mu
}

// Serve serves at ln, with TLS if s has settings for it, until ctx ends; then requests get drain to finish, and what is left
// is cut. It answers nil then, and closes ln.
func (e *Ebb) Serve(ctx context.Context, s *http.Server, ln net.Listener, drain time.Duration) error {
	s.Handler, s.ConnState = e.handler(s.Handler), e.watch(s.ConnState)
	e.join(1)
	over := make(chan error, 1)
	go func() { over <- serveHTTP(s, ln) }()
	select {
	case err := <-over:
		e.join(-1)
		_ = s.Close() // the listener has failed: what it brought is not kept without it
		return err
	case <-ctx.Done():
	}
	e.begin()
	_ = ln.Close()
	<-over
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	grace, late := context.WithTimeout(within, signInGrace)
	defer late()
	e.wait(grace, func() bool { return len(e.busy) == 0 })
	e.join(-1)
	if s.Shutdown(within) != nil {
		_ = s.Close()
	}
	return nil
}

func serveHTTP(s *http.Server, ln net.Listener) error {
	if s.TLSConfig != nil {
		return s.ServeTLS(ln, "", "")
	}
	return s.Serve(ln)
}

// Settled waits until every server is being shut down and no request is in flight, or ctx ends.
func (e *Ebb) Settled(ctx context.Context) {
	e.wait(ctx, func() bool { return e.up == 0 && len(e.busy) == 0 })
}

// wait looks at settled, which needs mu, at every change.
func (e *Ebb) wait(ctx context.Context, settled func() bool) {
	for ctx.Err() == nil {
		e.mu.Lock()
		if settled() {
			e.mu.Unlock()
			return
		}
		if e.changed == nil {
			e.changed = make(chan struct{})
		}
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// tell wakes those who wait. It needs mu.
func (e *Ebb) tell() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

func (e *Ebb) join(servers int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.up += servers
	e.tell()
}

func (e *Ebb) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ebbing = true
}

func (e *Ebb) isEbbing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ebbing
}

// handler says in each answer that no further request is awaited: RFC 9112 section 9.6. For HTTP/2 net/http says GOAWAY.
func (e *Ebb) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.isEbbing() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (e *Ebb) watch(next func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		e.note(c, state)
		if next != nil {
			next(c, state)
		}
	}
}

func (e *Ebb) note(c net.Conn, state http.ConnState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy == nil {
		e.busy = map[net.Conn]struct{}{}
	}
	switch state {
	case http.StateNew, http.StateActive:
		e.busy[c] = struct{}{}
	default: // a hijacked connection is nobody's any more
		delete(e.busy, c)
		e.tell()
	}
}
