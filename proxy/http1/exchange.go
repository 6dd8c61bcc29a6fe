package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Why an exchange fails, beside what the connection says.
var (
	errBusy    = errors.New("all connections are in use")
	errHead    = errors.New("the head of the answer is too long")
	errVersion = errors.New("the answer is not of HTTP/1")
	errSwitch  = errors.New("the answer switches protocols unasked")
	errStatus  = errors.New("the answer has no status")
)

// exchange is one request and its answer.
type exchange struct {
	t   *Transport
	r   *http.Request
	ctx context.Context

	framing framing
	expects bool // the body waits for 100
	source  io.Reader
	out     []byte // what is written at once: the head, and the body where it is short
	whole   bool   // out is the whole request

	began   time.Time // when there was something to send
	doubted bool      // Doubt was asked; guarded by mu
	c       *conn
	stop    func() bool // ends the watch over ctx; false: it has closed c
	wrote   int         // octets of out, on c
	// The answer has a length beside a transfer coding, or may: its head came in pieces, in which nobody looks for one.
	toldTwice bool
	body      *sender // nil: nothing but out is sent

	mu      sync.Mutex
	sentAt  time.Time // when the last of the request was sent; guarded by mu
	headed  bool      // the head of the answer has come; guarded by mu
	bodyErr error     // why the body could not be sent; guarded by mu
}

// run leads to the head of the answer. The request's body is closed if there is none.
func (x *exchange) run() (*http.Response, error) {
	p := x.t.pieces.lend()
	defer x.t.pieces.back(p)
	if err := x.prepare(p[:0]); err != nil {
		x.closeBody()
		return nil, err
	}
	x.began = time.Now()
	if err := x.slot(); err != nil {
		x.closeBody()
		return nil, err
	}
	kept := false
	defer func() {
		if !kept { // nor after a panic
			<-x.t.slots
		}
	}()
	res, err := x.tries()
	if err != nil {
		if x.body == nil {
			x.closeBody()
		}
		return nil, err
	}
	kept = true
	return x.received(res), nil
}

func (x *exchange) closeBody() {
	if x.r.Body != nil {
		_ = x.r.Body.Close() // nobody reads it any more
	}
}

// prepare makes what is written first. A body of known length that fits behind the head is read whole before anybody is
// bothered: it leaves in one write, and a slow client holds no connection.
func (x *exchange) prepare(b []byte) error {
	x.source, x.framing = x.r.Body, framingOf(x.r)
	x.expects = x.framing != none && httpguts.HeaderValuesContainsToken(x.r.Header["Expect"], "100-continue")
	if x.framing == chunked && !x.expects && len(x.r.Trailer) == 0 && seldomHasBody(x.r.Method) {
		if err := x.probe(); err != nil {
			return err
		}
	}
	b, err := appendHead(b, x.r, x.framing)
	if err != nil {
		return err
	}
	if x.framing == counted && !x.expects && x.r.ContentLength <= int64(cap(b)-len(b)) {
		n, err := io.ReadFull(x.r.Body, b[len(b):len(b)+int(x.r.ContentLength)])
		if err != nil {
			return cutShort(err)
		}
		b, x.whole = b[:len(b)+n], true
	}
	x.whole = x.whole || x.framing == none
	if x.whole {
		x.closeBody()
	}
	x.out = b
	return nil
}

// seldomHasBody: HTTP/2 may tell of the end only after the head, and a server is not to be bothered with an empty body then.
func seldomHasBody(method string) bool { return safe(method) || method == http.MethodDelete }

// probe looks whether there is a body at all.
func (x *exchange) probe() error {
	first := make([]byte, 512)
	n, err := x.source.Read(first)
	for n == 0 && err == nil {
		n, err = x.source.Read(first)
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return &bodyError{err}
	case n == 0:
		x.framing = none
	default:
		x.source = io.MultiReader(bytes.NewReader(first[:n]), x.source)
	}
	return nil
}

// slot waits until there may be one more connection in use.
func (x *exchange) slot() error {
	select {
	case x.t.slots <- struct{}{}:
		return nil
	default:
	}
	long := time.NewTimer(x.t.o.Patience)
	defer long.Stop()
	for {
		select {
		case x.t.slots <- struct{}{}:
			return nil
		case <-x.ctx.Done():
			return x.ctx.Err()
		case <-long.C:
			if x.doubted {
				return errBusy
			}
			if err := x.doubt(); err != nil {
				return err
			}
			long.Reset(x.t.o.Answer)
		}
	}
}

// doubt asks whether waiting makes sense.
func (x *exchange) doubt() error {
	x.mu.Lock()
	x.doubted = true
	x.mu.Unlock()
	if x.t.o.Doubt == nil {
		return nil
	}
	return x.t.o.Doubt(x.ctx, x.began)
}

// tries sends the request, and sends it once more where that is safe.
func (x *exchange) tries() (*http.Response, error) {
	if c := x.t.pool.take(); c != nil {
		res, err := x.try(c)
		if err == nil || !x.again(err) {
			return res, err
		}
	}
	c, err := x.t.connect(x.ctx)
	if err != nil {
		return nil, err
	}
	return x.try(c)
}

// again says whether a request that failed on a kept connection may be sent once more: the server had closed it, and has
// seen nothing of the request or may see it twice.
func (x *exchange) again(err error) bool {
	return x.body == nil && !x.c.heard && x.ctx.Err() == nil && !timeout(err) && (x.wrote == 0 || safe(x.r.Method))
}

// safe methods change nothing, so that a second time is like the first: RFC 9110 section 9.2.1, RFC 4918 section 9.1, RFC
// 3253 section 3.6, RFC 5323 section 2.
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "PROPFIND", "REPORT", "SEARCH":
		return true
	}
	return false
}

func timeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// try sends the request on c and reads the head of the answer. c is closed if there is none.
func (x *exchange) try(c *conn) (*http.Response, error) {
	x.c = c
	x.t.borrow(c)
	x.stop = context.AfterFunc(x.ctx, c.close)
	res, err := x.converse()
	if err == nil {
		return res, nil
	}
	x.stop()
	x.hush()
	c.close()
	x.t.giveBack(c)
	if e := x.broken(); e != nil {
		err = e
	}
	return nil, err
}

func (x *exchange) converse() (*http.Response, error) {
	x.rearm()
	x.c.renewWrites(x.t.o.Stall)
	var err error
	if x.wrote, err = x.c.Write(x.out); err != nil {
		return nil, err
	}
	if x.whole {
		x.sent()
	} else {
		x.body = x.newSender(x.c)
		go x.body.run()
	}
	return x.answer()
}

// sent: nothing more of the request is on its way to the server.
func (x *exchange) sent() {
	x.mu.Lock()
	x.sentAt = time.Now()
	again := x.doubted || !x.whole // it is not Patience that ends the wait
	x.mu.Unlock()
	if again {
		x.rearm()
	}
}

// broke is told by the sender that the rest of the body cannot be read, or is not taken. The server must not take what it
// has for the whole.
func (x *exchange) broke(err error) {
	x.mu.Lock()
	x.bodyErr = err
	x.mu.Unlock()
	x.c.close()
}

func (x *exchange) broken() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.bodyErr
}

// hush ends the wait of a body that has not begun.
func (x *exchange) hush() {
	if x.body != nil && x.body.goOn != nil && !x.body.told {
		x.body.told = true
		close(x.body.over)
	}
}

// rearm sets until when the head of the answer is waited for.
func (x *exchange) rearm() {
	x.mu.Lock()
	defer x.mu.Unlock()
	var until time.Time // while the body is sent, its own deadlines hold
	switch {
	case x.headed:
		return
	case !x.doubted:
		until = x.began.Add(x.t.o.Patience)
	case !x.sentAt.IsZero():
		until = x.sentAt.Add(x.t.o.Answer)
	}
	_ = x.c.SetReadDeadline(until) // only fails where it is closed
}

// answer reads heads until there is a final one.
func (x *exchange) answer() (*http.Response, error) {
	for {
		if err := x.listen(); err != nil {
			return nil, err
		}
		head, _ := x.c.r.Peek(x.c.r.Buffered()) // they are there
		left := x.c.left
		res, err := http.ReadResponse(x.c.r, x.r)
		switch {
		case err != nil:
			return nil, err
		case res.ProtoMajor != 1:
			return nil, errVersion
		case res.StatusCode < http.StatusContinue:
			return nil, errStatus
		case res.StatusCode == http.StatusSwitchingProtocols:
			return nil, errSwitch
		case res.StatusCode == http.StatusContinue:
			x.goOn()
		case res.StatusCode < http.StatusOK:
			if err := x.tell(res); err != nil {
				return nil, err
			}
		default:
			x.hush()
			x.toldTwice = len(res.TransferEncoding) > 0 && (x.c.left != left || namesLength(head[:len(head)-x.c.r.Buffered()]))
			return res, nil
		}
	}
}

// namesLength says whether a head has a Content-Length: beside a transfer coding, package http takes it out.
func namesLength(head []byte) bool {
	return bytes.Contains(bytes.ToLower(head), []byte("\ncontent-length:"))
}

// listen waits for the beginning of a head.
func (x *exchange) listen() error {
	for {
		_, err := x.c.r.Peek(1)
		if err == nil {
			return nil
		}
		if x.doubted || !timeout(err) {
			return err
		}
		if err := x.doubt(); err != nil {
			return err
		}
		x.rearm()
	}
}

func (x *exchange) goOn() {
	if x.body != nil && x.body.goOn != nil && !x.body.told {
		x.body.told = true
		close(x.body.goOn)
	}
}

// tell hands an informational answer on.
func (x *exchange) tell(res *http.Response) error {
	trace := httptrace.ContextClientTrace(x.ctx)
	if trace == nil || trace.Got1xxResponse == nil {
		return nil
	}
	return trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header))
}

// received makes the answer as the caller gets it.
func (x *exchange) received(res *http.Response) *http.Response {
	x.mu.Lock()
	x.headed = true
	x.mu.Unlock()
	dropTrailers(res.Trailer)
	// HTTP/1.0 knows no transfer coding, so who tells one may mean another end than we read, as may who tells a length
	// beside it: RFC 9112 sections 6.1 and 6.3
	last := res.Close || x.r.Close || !res.ProtoAtLeast(1, 1) || x.toldTwice || x.mayFollow(res)
	b := &answerBody{body: res.Body, res: res, x: x, last: last}
	if res.Body == http.NoBody {
		b.end(true)
		return res
	}
	x.c.left = unbounded
	x.c.stall = x.t.o.Stall // a read sets the deadline: a short answer is here already
	res.Body = b
	return res
}

// mayFollow says whether a body may yet come that the answer must not have: servers err about HEAD, and some send a body
// for which a 204 or 304 gives the length. It can hold what a member has stored, and it would answer the next request.
func (x *exchange) mayFollow(res *http.Response) bool {
	if res.Body != http.NoBody {
		return false
	}
	length := res.Header.Get("Content-Length")
	return x.r.Method == http.MethodHead || len(res.TransferEncoding) > 0 || length != "" && length != "0"
}

// answerBody ends the exchange with itself. One goroutine reads and closes it.
type answerBody struct {
	body io.Reader
	res  *http.Response // its trailers come with the end
	x    *exchange
	last bool // the connection takes no other request
	err  error
}

func (b *answerBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.body.Read(p)
	if err != nil {
		b.err = err
		dropTrailers(b.res.Trailer)
		b.end(errors.Is(err, io.EOF))
	}
	return n, err
}

func (b *answerBody) Close() error {
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
		b.end(false)
	}
	return nil
}

// end gives the connection up or back. complete: the answer was read to its end.
func (b *answerBody) end(complete bool) {
	x := b.x
	alive := x.stop()
	if alive && complete && !b.last && x.c.r.Buffered() == 0 && (x.body == nil || x.body.sentWhole()) {
		x.t.giveBack(x.c)
		x.c.used = true
		x.t.pool.put(x.c)
	} else {
		x.c.close()
		x.t.giveBack(x.c)
	}
	<-x.t.slots
}

const unbounded = int(^uint(0) >> 1)

// borrow readies c for an exchange.
func (t *Transport) borrow(c *conn) {
	c.left, c.heard, c.stall, c.deadline = t.o.HeadBytes, false, 0, time.Time{}
	r, ok := t.readers.Get().(*bufio.Reader)
	if !ok {
		r = bufio.NewReader(nil)
	}
	r.Reset(c)
	c.r = r
}

// giveBack takes the buffer: what is kept between requests has none.
func (t *Transport) giveBack(c *conn) {
	c.r.Reset(nil)
	t.readers.Put(c.r)
	c.r = nil
}
