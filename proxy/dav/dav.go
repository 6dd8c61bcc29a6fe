// Package dav is the door of CalDAV and CardDAV programs: HTTP over TLS, where every request carries its Basic
// credentials and every allowed one is passed on to the member's own server, streamed both ways, byte for byte.
//
// It refuses whatever could make the server behind it take the member for somebody else: copies of the headers by which
// it is told who the member is, and paths that two servers might read in two ways. It decides nothing about passwords and
// nothing about who may see which tree: the upstream does that, for the member it is told.
//
// What stands in the way of the bytes:
//
//	RFC 7617  Basic, charset="UTF-8"             yes, over TLS only, before the body is read
//	RFC 6764  .well-known/caldav, carddav        yes, answered before the sign-in with a redirect to the context path
//	RFC 9110  any method, 100-continue, trailers yes; TRACE, CONNECT and Upgrade are refused or dropped
//	RFC 9112  HTTP/1.1   RFC 9113  HTTP/2        yes; HTTP/1.0 as well
//	RFC 4918  Destination, If                    their paths are checked like the request's, scheme and host are rewritten
//	RFC 7239  Forwarded                          made here, where the upstream is to be told of the client
//
// Paths are 1:1, so nothing else is rewritten but Location, and no body is looked into. A member's session here is all
// that one of his programs does from one network until it was silent for 15 minutes.
package dav

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
)

// Options of a Door. Auth, Live and Upstream are needed.
type Options struct {
	Auth proxy.Authenticator
	Live *proxy.Live // shared with the doors of the text protocols
	// Upstream answers the way to the HTTP server of that name.
	Upstream func(name string) (Upstream, error)
	// Idle is how long a session may be silent. Zero: 15 minutes.
	Idle time.Duration
	// Stall is how long a body may stand still, in either direction. Zero: a minute.
	Stall time.Duration
	// Drain is how long requests may take to finish when Serve is told to end. Zero: 10 s.
	Drain time.Duration
	// Ebb knows of requests in flight, those of other HTTP listeners too. Nil: the Door's own.
	Ebb *proxy.Ebb
	// Metrics count sessions, those of the text protocols too. Nil: they are shown nowhere.
	Metrics *proxy.Metrics
	Log     *slog.Logger // nil: nothing is logged
}

// Upstream is the way to a server. *upstream.HTTP is one.
type Upstream interface {
	// RoundTripper sends a request, whatever host it names. It tells informational answers to the httptrace.ClientTrace of
	// the request's context before it answers, and touches the body no more once it has closed it.
	http.RoundTripper
	// URL answers scheme and host that requests are addressed to.
	URL() url.URL
	// UserHeader is the header that tells it who the member is; empty: there is none.
	UserHeader() string
	// SignIn puts what signs the member in into h.
	SignIn(ctx context.Context, u authcore.Upstream, h http.Header) error
	// Forwarded says whether it is to be told of the client.
	Forwarded() bool
}

// Settings are those of a listener, read once per request.
type Settings struct {
	Listener string
	// Doors says which doors a host name serves: policy.CalDAV, policy.CardDAV or both, where an attempt needs both. The
	// name "" stands for all others; without it they are refused.
	Doors map[string][]string
	// ContextPath is where .well-known leads: RFC 6764 section 5. Empty: "/".
	ContextPath string
	// Realm is shown by programs that ask for the password. Empty: "Latchkey". It holds no quotes.
	Realm         string
	DefaultDomain string // for bare local parts; empty: they are refused
	// Elsewhere answers at a host name that has no calendars but something else to show; nil or its nil: there is none.
	Elsewhere func(host string) http.Handler
}

// Door serves any number of listeners. Run must be running while Serve is.
type Door struct {
	o        Options
	sessions *sessions
	buffers  *buffers
}

// New makes a Door.
func New(o Options) *Door {
	def := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	def(&o.Idle, 15*time.Minute)
	def(&o.Stall, time.Minute)
	def(&o.Drain, 10*time.Second)
	if o.Ebb == nil {
		o.Ebb = &proxy.Ebb{}
	}
	if o.Metrics == nil {
		o.Metrics = proxy.NewMetrics(nil)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Door{o: o, sessions: newSessions(o), buffers: newBuffers()}
}

// Run ends sessions that have been idle for too long until ctx ends, then all of them, and returns when the core has been
// told of every end. Start it before the first Serve and end it after the last one.
func (d *Door) Run(ctx context.Context) {
	tick := time.NewTicker(d.o.Idle / 30)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case now := <-tick.C:
			d.sessions.endIdle(now.Add(-d.o.Idle))
		case <-ctx.Done():
		}
	}
	d.sessions.endAll(proxy.ErrDrain)
	d.sessions.telling.Wait()
}

// buffers lends what bodies are copied with.
type buffers struct{ pool sync.Pool }

// bufferSize is that of one TLS record and then some: what a REPORT's answer is written in.
const bufferSize = 32 << 10

func newBuffers() *buffers {
	return &buffers{pool: sync.Pool{New: func() any { return new([bufferSize]byte) }}}
}

// Get lends a buffer.
func (b *buffers) Get() []byte { return b.pool.Get().(*[bufferSize]byte)[:] }

// Put takes it back.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
