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
	pool     *Pool
	s        *server
	ways     []*way // in the order of the server's addresses
	base     url.URL
	patience time.Duration // see there
}

// way is that to one address: the connections of its members.
type way struct {
	h         *HTTP
	address   *address
	transport *http.Transport

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
	h := &HTTP{pool: p, s: s, base: url.URL{Scheme: "http", Host: "upstream"}, patience: patience}
	if s.TLS.Mode == TLSOn {
		h.base.Scheme = "https"
	}
	if host := s.TLS.ServerName; host != "" {
		h.base.Host = host
	}
	for _, a := range s.addresses {
		h.ways = append(h.ways, &way{h: h, address: a, transport: s.newTransport(s.tls, a)})
	}
	return h
}

// wayOf answers the way to the member's address; where all are down to any, which says so.
func (h *HTTP) wayOf(member string) *way {
	for _, a := range choose(h.s.addresses, member, time.Now()) {
		return h.ways[slices.IndexFunc(h.ways, func(w *way) bool { return w.address == a })]
	}
	return h.ways[0]
}

func (h *HTTP) closeIdle() {
	for _, w := range h.ways {
		w.transport.CloseIdleConnections()
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

func (s *server) newTransport(cfg *tls.Config, a *address) *http.Transport {
	var versions http.Protocols
	versions.SetHTTP1(true) // one request a connection at a time: a cut one disturbs no other
	return &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return s.connectFrom(ctx, a) },
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    s.timeout,
		Protocols:              &versions,
		DisableCompression:     true, // bytes pass as they are
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConns,
		MaxConnsPerHost:        maxConns,
		IdleConnTimeout:        keepIdle,
		ResponseHeaderTimeout:  responseTimeout,
		ExpectContinueTimeout:  300 * time.Millisecond, // RFC 9110 section 10.1.1: clients wait a second before they send unasked
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
	ctx, cancel := context.WithCancelCause(r.Context())
	w := h.wayOf(proxy.MemberOf(ctx))
	stop := w.watch(ctx, cancel)
	res, err := w.transport.RoundTrip(r.WithContext(ctx))
	stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, h.s.fail(StepRequest, err)
	}
	w.seen.Store(time.Now().UnixNano())
	res.Body = &body{ReadCloser: res.Body, end: func() { cancel(nil) }}
	return res, nil
}

// body ends the request's context with itself.
type body struct {
	io.ReadCloser
	end func()
}

func (b *body) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// watch cancels a request whose server is found dead while it waits. stop ends the watch and waits for it.
func (w *way) watch(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	began := time.Now()
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	timer := time.AfterFunc(w.h.patience, func() {
		defer close(done)
		if !w.alive(ctx, began) && ctx.Err() == nil {
			cancel(errStalled)
		}
	})
	return func() {
		end()
		if !timer.Stop() {
			<-done
		}
	}
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
	ctx, cancel := context.WithTimeout(w.h.pool.life, aliveTimeout)
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
