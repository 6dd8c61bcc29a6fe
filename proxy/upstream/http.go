package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/http1"
)

// Bounds of the way to an HTTP server.
const (
	// responseTimeout: once a server has been seen alive it may think for so long. A REPORT over years of a calendar
	// takes Radicale tens of seconds, and clients themselves give up after a minute or so.
	responseTimeout = 60 * time.Second
	// patience is how long a request waits before somebody asks whether the server is alive at all, and aliveTimeout
	// how long that may take: together under the 5 s within which a client hears that it is not.
	patience     = 3 * time.Second
	aliveTimeout = 1500 * time.Millisecond
	// connectTime bounds connect and TLS together, whatever address it leads to.
	connectTime = patience + aliveTimeout
	// maxConns bounds the connections to one server: descriptors are finite, and DAV servers have few workers.
	maxConns = 256
	// idleConns are kept for keepIdle: under the keep-alive of common servers, so that they seldom close first.
	idleConns = 32
	keepIdle  = 45 * time.Second
	// maxResponseHeaders bounds what a server may say before the body: sync tokens and ETags are short.
	maxResponseHeaders = 64 << 10
)

// HTTP is the way to an HTTP server. It is an http.RoundTripper that goes to that server, whatever the request's URL says.
type HTTP struct {
	pool *Pool
	s    *server
	ways []*way // in the order of the server's addresses
	base url.URL
}

// way is that to one address: the connections of its members.
type way struct {
	h         *HTTP
	address   *address
	transport *http1.Transport

	seen   atomic.Int64       // when it last answered anything, in Unix nanoseconds
	asking singleflight.Group // whether it is alive
}

// HTTP answers the way to the HTTP server of that name.
func (p *Pool) HTTP(name string) (*HTTP, error) {
	s, err := p.find(name)
	if err != nil {
		return nil, err
	}
	if s.http == nil {
		return nil, s.fail(StepFind, errors.New("is no HTTP server"))
	}
	return s.http, nil
}

func newHTTP(p *Pool, s *server) *HTTP {
	h := &HTTP{pool: p, s: s, base: url.URL{Scheme: "http", Host: "upstream"}}
	if s.TLS.Mode == TLSOn {
		h.base.Scheme = "https"
	}
	if host := s.TLS.ServerName; host != "" {
		h.base.Host = host
	}
	for _, a := range s.addresses {
		w := &way{h: h, address: a}
		w.transport = http1.New(http1.Options{
			Dial: w.dial, Doubt: w.doubt, Patience: p.o.patience, Connect: connectTime, Answer: responseTimeout,
			Conns: maxConns, Idle: idleConns, Keep: keepIdle, HeadBytes: maxResponseHeaders,
		})
		h.ways = append(h.ways, w)
	}
	return h
}

// wayOf answers the way to the member's address; where all are down to any, which says so.
func (h *HTTP) wayOf(member string) *way {
	if len(h.ways) == 1 { // whoever dials asks how it is
		return h.ways[0]
	}
	for _, a := range ordered(h.s.addresses, member, time.Now(), (*address).wouldRank) {
		return h.ways[slices.IndexFunc(h.ways, func(w *way) bool { return w.address == a })]
	}
	return h.ways[0]
}

func (h *HTTP) closeIdle() {
	for _, w := range h.ways {
		w.transport.Close()
	}
}

// connectFrom reaches a, or the others when it is dead: the request's body can be sent once.
func (s *server) connectFrom(ctx context.Context, a *address) (net.Conn, error) {
	if s.probing {
		conn, _, err := s.connectTo(ctx, s.addresses, authcore.ConnInfo{})
		return conn, err
	}
	order := choose(s.addresses, "", time.Now())
	if i := slices.Index(order, a); i > 0 {
		order = append([]*address{a}, slices.Delete(order, i, i+1)...)
	}
	conn, _, err := s.connectTo(ctx, order, authcore.ConnInfo{})
	return conn, err
}

// newTransport is for questions of our own, each on a connection of its own: a second opinion to the one that members'
// requests go by.
func (s *server) newTransport(cfg *tls.Config, a *address) *http.Transport {
	var versions http.Protocols
	versions.SetHTTP1(true)
	return &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return s.connectFrom(ctx, a) },
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    s.timeout,
		Protocols:              &versions,
		DisableCompression:     true,
		ResponseHeaderTimeout:  responseTimeout,
		MaxResponseHeaderBytes: maxResponseHeaders,
	}
}

// Name is that of the configuration.
func (h *HTTP) Name() string { return h.s.Name }

// URL answers scheme and host to which requests are to be addressed.
func (h *HTTP) URL() url.URL { return h.base }

// UserHeader is the header by which the server is told who the member is; empty: there is none.
func (h *HTTP) UserHeader() string { return h.s.Header }

// Forwarded says whether the server is to be told of the client.
func (h *HTTP) Forwarded() bool { return h.s.Facts == FactsForwarded }

// SignIn puts into header what signs the member in. Whatever of the kind was there before must be gone.
func (h *HTTP) SignIn(ctx context.Context, u authcore.Upstream, header http.Header) error {
	credential, err := h.pool.credential(ctx, h.s, h.s.claims(u.User))
	if err != nil {
		return err
	}
	return h.s.identify(header, u, credential)
}

// errStalled: the server took the connection and says nothing to anybody.
var errStalled = errors.New("does not answer")

// RoundTrip sends r. A server that cannot be reached, or does not answer anything, fails it within 5 s; one that is at
// work on it may take a minute.
func (h *HTTP) RoundTrip(r *http.Request) (*http.Response, error) {
	w := h.wayOf(proxy.MemberOf(r.Context()))
	res, err := w.transport.RoundTrip(r)
	if err != nil {
		return nil, h.s.fail(StepRequest, err)
	}
	w.seen.Store(time.Now().UnixNano())
	return res, nil
}

// dial opens a connection, and TLS on it.
func (w *way) dial(ctx context.Context) (net.Conn, error) {
	bare, err := w.h.s.connectFrom(ctx, w.address)
	if err != nil || w.h.s.tls == nil {
		return bare, err
	}
	c := tls.Client(bare, w.h.s.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = bare.Close()
		return nil, w.h.s.fail(StepTLS, err)
	}
	return c, nil
}

// doubt ends a request whose server is found dead while it waits.
func (w *way) doubt(ctx context.Context, began time.Time) error {
	if !w.alive(ctx, began) {
		return errStalled
	}
	return nil
}

// alive says whether the server has answered anything since then, or answers a short question now. However many wait, one
// asks.
func (w *way) alive(ctx context.Context, since time.Time) bool {
	if w.seen.Load() > since.UnixNano() {
		return true
	}
	answer := w.asking.DoChan("", func() (any, error) { return nil, w.askAlive() })
	select {
	case a := <-answer:
		return a.Err == nil
	case <-ctx.Done():
		return false
	}
}

// askAlive asks on a connection of its own. It is nobody's request, so it ends by its own time or with the Pool.
func (w *way) askAlive() error {
	ctx, cancel := context.WithTimeout(w.h.pool.life, w.h.pool.o.alive)
	defer cancel()
	t := w.h.s.newTransport(w.h.s.tls, w.address)
	defer t.CloseIdleConnections()
	if _, err := w.h.ask(ctx, t, nil); err != nil {
		return err
	}
	w.seen.Store(time.Now().UnixNano())
	return nil
}

// ask sends OPTIONS for the root and answers what came, without its body.
func (h *HTTP) ask(ctx context.Context, t http.RoundTripper, header http.Header) (*http.Response, error) {
	u := h.base
	u.Path = "/"
	r, err := http.NewRequestWithContext(ctx, http.MethodOptions, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	res, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	_, _ = io.CopyN(io.Discard, res.Body, maxProbeBytes)
	return res, res.Body.Close()
}
