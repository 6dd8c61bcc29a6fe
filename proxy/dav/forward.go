package dav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"

	"golang.org/x/net/http/httpguts"

	"latchkey/authcore"
	"latchkey/proxy"
)

// passage is an allowed request on its way to the upstream and back.
type passage struct {
	*request
	up       Upstream
	session  *live
	place    place
	identity http.Header // what signs the member in, and tells of the client
}

// forward passes the request on. ctx ends with the session.
func (q *request) forward(ctx context.Context, session *live) {
	p := &passage{request: q, session: session}
	if err := p.prepare(ctx); err != nil {
		q.err = err
		q.refuse(authcore.Unavailable, 0)
		return
	}
	if err := p.check(); err != nil {
		p.wrong(err)
		return
	}
	if q.r.ProtoMajor < 2 {
		// An answer may begin before the request has ended: RFC 9112 section 9.5. HTTP/2 needs no word for it.
		_ = q.w.control.EnableFullDuplex() // only fails where there is no connection
	}
	defer func() { session.fromUpstream.Add(q.w.sent) }()
	out := p.inward(ctx)
	if p.body != nil {
		defer p.body.leave()
	}
	res, err := p.up.RoundTrip(out)
	if err != nil {
		p.failed(ctx, err)
		return
	}
	defer func() { _ = res.Body.Close() }() // says nothing that was not said
	p.answer(res)
}

// prepare finds the upstream and what signs the member in there.
func (p *passage) prepare(ctx context.Context) error {
	up, err := p.door.o.Upstream(p.decision.Upstream.Name)
	if err != nil {
		return err
	}
	p.up = up
	p.identity = http.Header{}
	if err := up.SignIn(ctx, p.decision.Upstream, p.identity); err != nil {
		return err
	}
	if up.Forwarded() {
		p.identity.Set("Forwarded", forwarded(p.attempt.Conn, p.r.Host))
	}
	p.place = place{host: p.r.Host, upstream: up.URL(), principal: append([]string{p.decision.Upstream.User}, p.decision.Addresses...)}
	return nil
}

// check keeps the rules for which the member must be known, and rewrites what names a place.
func (p *passage) check() error {
	if err := checkSlashes(p.target.path, p.place.principal); err != nil {
		return err
	}
	return p.place.rewriteHeaders(p.r.Header)
}

func (p *passage) wrong(err error) {
	if errors.Is(err, errHost) {
		p.err = err
		p.say(http.StatusBadGateway, "The destination is on another host") // RFC 4918 section 9.9.4
		return
	}
	p.bad(err)
}

// inward is the request that the upstream gets.
func (p *passage) inward(ctx context.Context) *http.Request {
	ctx = proxy.WithMember(ctx, p.decision.Upstream.User)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: p.informed})
	base := p.place.upstream
	out := &http.Request{
		Method: p.r.Method, Host: p.r.Host, Header: p.headers(),
		// as it came, whatever is escaped in it
		URL: &url.URL{Scheme: base.Scheme, Host: base.Host, Opaque: p.target.path},
	}
	if p.target.query != "" {
		out.URL.RawQuery, out.URL.ForceQuery = p.target.query[1:], true
	}
	if p.r.Body == nil || p.r.Body == http.NoBody || p.r.ContentLength == 0 {
		return out.WithContext(ctx)
	}
	p.body = newBody(p)
	out.Body, out.ContentLength = p.body, p.r.ContentLength
	if out.Trailer = p.body.trailer(p.up.UserHeader()); out.Trailer != nil {
		out.ContentLength = -1 // RFC 9112 section 7.1.2: trailers need chunks
	}
	return out.WithContext(ctx)
}

// noAgent is none, and not that of a library.
var noAgent = []string{""}

// headers are the client's without what is meant for us and what would claim to be somebody, and with who he is.
func (p *passage) headers() http.Header {
	h := make(http.Header, len(p.r.Header)+len(p.identity))
	for name, values := range p.r.Header {
		if !hop(name) && !claims(name, p.up.UserHeader()) {
			h[name] = values
		}
	}
	for _, name := range named(p.r.Header) {
		delete(h, name)
	}
	if httpguts.HeaderValuesContainsToken(p.r.Header["Te"], "trailers") {
		h["Te"] = []string{"trailers"} // the only coding that goes further: RFC 9110 section 10.1.4
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = noAgent
	}
	for name, values := range p.identity {
		h[name] = values
	}
	return h
}

// informed hands an informational answer on, which HTTP/1.0 does not know: RFC 9110 section 15.2.
func (p *passage) informed(code int, header textproto.MIMEHeader) error {
	if !p.r.ProtoAtLeast(1, 1) {
		return nil
	}
	h := p.w.Header()
	before := h.Clone()
	clear(h)
	passOn(h, http.Header(header))
	p.w.WriteHeader(code)
	clear(h)
	maps.Copy(h, before)
	return nil
}

// errRefused: the upstream did not take our word for who the member is. He was let in by the door, so that is no reason to
// ask him for his password again.
var errRefused = errors.New("the upstream does not accept the sign-in (401)")

// answer passes the upstream's answer on.
func (p *passage) answer(res *http.Response) {
	p.closeUnread()
	if res.StatusCode == http.StatusUnauthorized {
		p.err = errRefused
		p.refuse(authcore.Unavailable, 0)
		return
	}
	p.session.established.Store(true)
	h := p.w.Header()
	passOn(h, res.Header)
	if location := h.Get("Location"); location != "" {
		h.Set("Location", p.place.outward(location))
	}
	announced := len(res.Trailer)
	for name := range res.Trailer {
		h.Add("Trailer", name)
	}
	p.w.WriteHeader(res.StatusCode)
	if err := p.copyBody(res.Body); err != nil {
		p.err = err
		panic(http.ErrAbortHandler) // the answer is incomplete
	}
	p.trailers(res.Trailer, announced)
}

// passOn puts the upstream's fields into h, but those for us.
func passOn(h, from http.Header) {
	drop := named(from)
	for name, values := range from {
		if !hop(name) && !slices.Contains(drop, name) {
			h[name] = values
		}
	}
}

// closeUnread: the answer comes before the request has ended. What is left of it would be read as the next request, so the
// connection ends with the answer, and the client is told: RFC 9112 section 9.6.
func (p *passage) closeUnread() {
	if p.body != nil && !p.body.complete.Load() && p.r.ProtoMajor < 2 {
		p.w.Header().Set("Connection", "close")
	}
}

// copyBody passes each piece on as it comes. What is left of the last one leaves with the end of the answer.
func (p *passage) copyBody(from io.Reader) error {
	if from == http.NoBody {
		return nil
	}
	buf := p.door.buffers.Get()
	defer p.door.buffers.Put(buf)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := p.w.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the answer: %w", err)
		}
		if err := p.w.control.Flush(); err != nil {
			return err
		}
	}
}

// trailers follow the body: RFC 9110 section 6.5. Those that were not announced need a name of the library's.
func (p *passage) trailers(trailer http.Header, announced int) {
	if len(trailer) == 0 {
		return
	}
	_ = p.w.control.Flush() // so that a short answer has chunks; only fails where the client is gone
	prefix := ""
	if len(trailer) != announced {
		prefix = http.TrailerPrefix
	}
	for name, values := range trailer {
		p.w.Header()[prefix+name] = values
	}
}

// failed answers a request that has got no answer.
func (p *passage) failed(ctx context.Context, err error) {
	if ctx.Err() != nil { // the session was cut, or the client is gone
		p.err = context.Cause(ctx)
		panic(http.ErrAbortHandler)
	}
	p.closeUnread()
	if p.body != nil && p.body.failed() != nil {
		p.err = fmt.Errorf("read from the client: %w", p.body.failed())
		p.w.Header().Set("Connection", "close")
		p.say(http.StatusBadRequest, "The request is not complete")
		return
	}
	p.err = err
	p.refuse(authcore.Unavailable, 0)
}
