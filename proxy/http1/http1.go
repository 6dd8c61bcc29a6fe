// Package http1 sends requests to one HTTP/1.1 server over connections that it keeps, for a door that passes on what its
// clients ask: RFC 9112 without upgrades and tunnels, streamed both ways.
//
// It costs less than net/http's Transport because a request runs on its caller's goroutine: head and body leave in one
// write where the body is short, the answer is read where it is awaited, and a connection that is kept costs neither a
// goroutine nor a buffer. Only a body that is long, of unknown length or held back by Expect gets a goroutine.
//
// Connections are shared by members, so what could make one of them hear another's answer is refused:
//
//   - a method, target, host or field that holds what would begin another line or another request. Length, transfer coding
//     and connection are told here alone, whatever the fields say;
//   - a connection on which anything came unasked, or was left of an answer, or whose request has not left whole: it is
//     closed. So is one whose answer was not read to its end, tells its end twice, or may yet be followed by a body that it
//     must not have;
//   - a request is sent once more only if its connection had been kept and was closed before a word of an answer, and if
//     nothing of it was sent or its method is safe (RFC 9110 section 9.2.2). The second time it gets a new connection.
package http1

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options of a Transport. Dial is needed.
type Options struct {
	// Dial opens a connection on which requests can be sent: TLS is done. ctx bounds it.
	Dial func(ctx context.Context) (net.Conn, error)
	// Doubt is asked once about a request that has waited for Patience since it began. Its error ends the request. Nil:
	// nobody is asked.
	Doubt    func(ctx context.Context, began time.Time) error
	Patience time.Duration // zero: 3 s
	// Connect is how long Dial may take. Zero: 4.5 s.
	Connect time.Duration
	// Answer is how long the server may think once it has the whole request. Zero: a minute.
	Answer time.Duration
	// Stall is how long a read or write may stand still within a body. Zero: a minute.
	Stall time.Duration
	// Continue is how long a body waits for 100 where the request expects it, before it goes unasked: RFC 9110 section
	// 10.1.1. Zero: 300 ms.
	Continue time.Duration
	// Conns bounds the connections, and Idle those that are kept. Zero: 256 and 32.
	Conns, Idle int
	// Keep is how long a connection is kept. Zero: 45 s.
	Keep time.Duration
	// HeadBytes bounds the head of an answer, with those before it that are informational. Zero: 64 KiB.
	HeadBytes int

	lastWrite time.Duration // tests have more
}

func (o *Options) setDefaults() {
	o.Patience = cmp.Or(o.Patience, 3*time.Second)
	o.Connect = cmp.Or(o.Connect, 4500*time.Millisecond)
	o.Answer = cmp.Or(o.Answer, time.Minute)
	o.Stall = cmp.Or(o.Stall, time.Minute)
	o.Continue = cmp.Or(o.Continue, 300*time.Millisecond)
	o.Conns, o.Idle = cmp.Or(o.Conns, 256), cmp.Or(o.Idle, 32)
	o.Keep = cmp.Or(o.Keep, 45*time.Second)
	o.HeadBytes = cmp.Or(o.HeadBytes, 64<<10)
	o.lastWrite = cmp.Or(o.lastWrite, lastWrite)
}

// Transport is the way to one server, whatever host a request names. It is safe for use by many goroutines. A request is
// that of http.RoundTripper, with these differences: its body may be read until it is closed, also after RoundTrip, and is
// closed by the Transport in any case; informational answers but 100 are told to the httptrace.ClientTrace of its context,
// by the goroutine that called RoundTrip.
type Transport struct {
	o     Options
	slots chan struct{} // one for each request that has a connection or is about to get one
	pool  pool

	pieces  pieces
	readers sync.Pool // of *bufio.Reader
}

// New makes a Transport. Close it.
func New(o Options) *Transport {
	o.setDefaults()
	return &Transport{o: o, slots: make(chan struct{}, o.Conns), pool: pool{most: o.Idle, keep: o.Keep}}
}

// Close closes the connections that are kept, and keeps none from now on. Requests in flight go on.
func (t *Transport) Close() { t.pool.close() }

// RoundTrip sends r and answers when the head of its answer has come. Whoever gets the answer closes its body.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := &exchange{t: t, r: r, ctx: r.Context()}
	res, err := x.run()
	if err != nil {
		if cause := context.Cause(x.ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	return res, nil
}
