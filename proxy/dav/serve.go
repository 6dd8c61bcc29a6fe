package dav

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Bounds of a connection.
const (
	// headerBytes: 32 KiB take the longest If and Cookie that programs send.
	headerBytes = 32 << 10
	// maxStreams a connection: programs fetch a handful of collections at once.
	maxStreams = 32
	// headerTime is for the TLS hello, and for a request's headers.
	headerTime = 10 * time.Second
	// keepIdle: a program that syncs every minute or so keeps its connection; a forgotten one goes.
	keepIdle = 3 * time.Minute
	// pingAfter: an HTTP/2 client that was silent for so long is asked whether it is there.
	pingAfter = time.Minute
)

// Serve accepts connections until ctx ends, then lets requests finish for at most Options.Drain and answers nil. It owns
// ln, which is bare: TLS is put on here, with cfg. settings is asked once per request.
func (d *Door) Serve(ctx context.Context, ln net.Listener, cfg *tls.Config, settings func() Settings) error {
	h := &handler{door: d, settings: settings, quiet: make(chan struct{}), conns: map[net.Conn]*conn{}}
	err := d.o.Ebb.Serve(ctx, d.server(h, cfg), ln, d.o.Drain)
	h.wait()
	if err != nil {
		return fmt.Errorf("serve DAV at %s: %w", ln.Addr(), err)
	}
	return nil
}

func (d *Door) server(h *handler, cfg *tls.Config) *http.Server {
	var versions http.Protocols
	versions.SetHTTP1(true)
	versions.SetHTTP2(true)
	return &http.Server{
		Handler:           h,
		TLSConfig:         cfg,
		Protocols:         &versions,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, WriteByteTimeout: d.o.Stall},
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       keepIdle,
		MaxHeaderBytes:    headerBytes,
		ConnContext:       h.remember,
		ConnState:         h.watch,
		ErrorLog:          log.New(io.Discard, "", 0), // scanners and clients that distrust us; a panic is logged by the handler
		// OPTIONS * is answered like any other path that is none: it says nothing about a member's server.
		DisableGeneralOptionsHandler: true,
	}
}

// handler serves one listener.
type handler struct {
	door     *Door
	settings func() Settings

	mu      sync.Mutex
	conns   map[net.Conn]*conn // open ones; guarded by mu
	running int                // requests; guarded by mu
	ending  bool               // guarded by mu
	quiet   chan struct{}      // closed under mu when no request runs and none may begin
}

// begin counts a request in; false: it is too late.
func (h *handler) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending {
		return false
	}
	h.running++
	return true
}

func (h *handler) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running--
	if h.ending && h.running == 0 {
		close(h.quiet)
	}
}

// wait lets no request begin any more and waits for those that run. Their connections are closed.
func (h *handler) wait() {
	h.mu.Lock()
	h.ending = true
	if h.running == 0 {
		close(h.quiet)
	}
	h.mu.Unlock()
	<-h.quiet
}
