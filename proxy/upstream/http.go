package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"latchkey/authcore"
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
	pool      *Pool
	s         *server
	transport *http.Transport
	base      url.URL
	patience  time.Duration // see there

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
	h.transport = s.newTransport(s.tls)
	return h
}

func (s *server) newTransport(cfg *tls.Config) *http.Transport {
	var versions http.Protocols
	versions.SetHTTP1(true) // one request a connection at a time: a cut one disturbs no other
	return &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return s.connect(ctx, authcore.ConnInfo{}) },
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
	stop := h.watch(ctx, cancel)
	res, err := h.transport.RoundTrip(r.WithContext(ctx))
	stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, h.s.fail(StepRequest, err)
	}
	h.seen.Store(time.Now().UnixNano())
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
func (h *HTTP) watch(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	began := time.Now()
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	timer := time.AfterFunc(h.patience, func() {
		defer close(done)
		if !h.alive(ctx, began) && ctx.Err() == nil {
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
func (h *HTTP) alive(ctx context.Context, since time.Time) bool {
	if h.seen.Load() > since.UnixNano() {
		return true
	}
	answer := h.asking.DoChan("", func() (any, error) { return nil, h.askAlive() })
	select {
	case a := <-answer:
		return a.Err == nil
	case <-ctx.Done():
		return false
	}
}

// askAlive asks on a connection of its own. It is nobody's request, so it ends by its own time or with the Pool.
func (h *HTTP) askAlive() error {
	ctx, cancel := context.WithTimeout(h.pool.life, aliveTimeout)
	defer cancel()
	t := h.s.newTransport(h.s.tls)
	defer t.CloseIdleConnections()
	if _, err := h.ask(ctx, t, nil); err != nil {
		return err
	}
	h.seen.Store(time.Now().UnixNano())
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
