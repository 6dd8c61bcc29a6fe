package dav

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// renewAfter is how old a deadline may grow before it is set anew: not at each read and write of a busy stream.
const renewAfter = 5 * time.Second

// body is the client's, on its way to the upstream: no read waits longer than the stall time, octets are counted, and
// trailers are filtered.
type body struct {
	io.Reader
	p       *passage
	renewed time.Time // when the deadline was set; owned by the reader
	taken   atomic.Int64

	complete atomic.Bool // the client has sent all of it

	mu       sync.Mutex
	err      error       // other than io.EOF; guarded by mu
	left     bool        // the request is over; guarded by mu
	trailers http.Header // as the upstream will get them; filled by the reader before io.EOF; nil: none
}

func newBody(p *passage) *body { return &body{Reader: p.r.Body, p: p} }

// Close leaves what the client still sends to the server.
func (b *body) Close() error { return nil }

// leave is called when the request is over. Who may still be reading for the upstream touches nothing of it from now on,
// and is not waited for: the client shall see the end of its answer. Over HTTP/1 the server then reads what is left, without
// a deadline of its own, before it closes the connection: that has an end here.
func (b *body) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
	if !b.complete.Load() && b.p.r.ProtoMajor < 2 {
		time.AfterFunc(b.p.unwanted(), b.p.conn.close)
	}
}

// deadline bounds reads while the request lasts.
func (b *body) deadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.left {
		_ = b.p.w.control.SetReadDeadline(t) // only fails where there is no connection
	}
}

func (b *body) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// trailer answers the names of the trailers that were announced and may pass, for the transport to announce. It fills
// them when the body has ended: RFC 9110 section 6.5.
func (b *body) trailer(userHeader string) http.Header {
	if len(b.p.r.Trailer) == 0 {
		return nil
	}
	names := b.p.r.Trailer.Clone()
	dropClaims(names, userHeader)
	if len(names) == 0 {
		return nil
	}
	b.trailers = names
	return names
}

func (b *body) Read(p []byte) (int, error) {
	if b.over() {
		return 0, http.ErrBodyReadAfterClose
	}
	if now := time.Now(); now.Sub(b.renewed) > renewAfter {
		b.renewed = now
		b.deadline(now.Add(b.p.door.o.Stall))
	}
	n, err := b.Reader.Read(p)
	taken := b.taken.Add(int64(n))
	b.p.session.fromClient.Add(int64(n))
	switch {
	case errors.Is(err, io.EOF), err == nil && taken == b.p.r.ContentLength && b.trailers == nil:
		b.ended()
	case err != nil:
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// ended lets the wait for the answer last, and hands the trailers on.
func (b *body) ended() {
	if !b.complete.Swap(true) {
		b.deadline(time.Time{})
	}
	for name := range b.trailers {
		b.trailers[name] = b.p.r.Trailer[name]
	}
}

// failed answers why the client's body could not be read; nil: it could.
func (b *body) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// writer is the answer on its way to the client: no write waits longer than the stall time, octets are counted.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	renewed time.Time
	status  int
	sent    int64
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(code int) {
	if code == http.StatusContinue {
		return // the server says so itself when the upstream's own makes us read the body: once is enough
	}
	if w.status = code; code >= http.StatusOK {
		w.renew()
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *writer) Write(p []byte) (int, error) {
	w.renew()
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

func (w *writer) renew() {
	if now := time.Now(); now.Sub(w.renewed) > renewAfter {
		w.renewed = now
		_ = w.control.SetWriteDeadline(now.Add(w.stall)) // only fails where there is no connection
	}
}
