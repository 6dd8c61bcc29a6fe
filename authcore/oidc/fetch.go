package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Bounds of talking to a provider: members wait for it, and its documents have some kilobytes.
const (
	timeout     = 10 * time.Second // of one request, its body included
	maxDocument = 256 << 10
	maxHeaders  = 64 << 10
	maxHops     = 3
	retryAfter  = 10 * time.Second // a provider that failed is left alone for so long
)

// newClient refuses anything but https, bodies without end, and redirects to another host or of anything but a GET:
// a secret and a code stand in the others.
func newClient(roots *x509.CertPool, timeout time.Duration) *http.Client {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: maxHeaders,
		DisableKeepAlives: true, // sign-ins are seldom, and no connection outlives a reload
	}
	return &http.Client{Transport: bounded{t}, Timeout: timeout, CheckRedirect: func(q *http.Request, via []*http.Request) error {
		if via[0].Method != http.MethodGet || q.URL.Host != via[0].URL.Host || len(via) >= maxHops {
			return http.ErrUseLastResponse // its status is not the one that is awaited
		}
		return nil
	}}
}

type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.URL.Scheme != "https" {
		return nil, errors.New("not https")
	}
	res, err := b.next.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	res.Body = http.MaxBytesReader(nil, res.Body, maxDocument)
	return res, nil
}

// fetched is something that a provider publishes: fetched when it is asked for, by one at a time, and kept. An old value
// serves on while no new one can be had.
type fetched[T any] struct {
	now    func() time.Time
	flight chan struct{} // whoever put something in fetches

	mu    sync.Mutex // guards the rest
	value *T
	at    time.Time // of value
	tried time.Time // of the last fetch
	err   error     // of the last fetch
}

func newFetched[T any](now func() time.Time) *fetched[T] {
	return &fetched[T]{now: now, flight: make(chan struct{}, 1)}
}

// get answers the value, at most of that age where a younger one can be had.
func (f *fetched[T]) get(ctx context.Context, age time.Duration, fetch func(context.Context) (*T, error)) (*T, error) {
	if v, err, ok := f.kept(age); ok {
		return v, err
	}
	select {
	case f.flight <- struct{}{}:
		defer func() { <-f.flight }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if v, err, ok := f.kept(age); ok { // somebody fetched meanwhile
		return v, err
	}
	// A client that hangs up must not make it look like a failure of the provider to all others.
	v, err := fetch(context.WithoutCancel(ctx)) // the client has a time-out
	return f.keep(v, err)
}

// kept answers what is there, if it is young enough or too early to ask again.
func (f *fetched[T]) kept(age time.Duration) (*T, error, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	switch {
	case f.value != nil && now.Sub(f.at) < age:
		return f.value, nil, true
	case f.tried.IsZero() || now.Sub(f.tried) >= retryAfter:
		return nil, nil, false
	case f.value != nil:
		return f.value, nil, true
	default:
		return nil, f.err, f.err != nil
	}
}

func (f *fetched[T]) keep(v *T, err error) (*T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried = f.now()
	if err != nil {
		f.err = err
		if f.value != nil {
			return f.value, nil
		}
		return nil, err
	}
	f.value, f.at, f.err = v, f.tried, nil
	return v, nil
}
