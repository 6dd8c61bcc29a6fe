package dav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"

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
	pass := &httputil.ReverseProxy{
		Rewrite: p.rewrite, Transport: p.up, ModifyResponse: p.answered, ErrorHandler: p.failed,
		FlushInterval: -1, BufferPool: q.door.buffers, ErrorLog: silent,
	}
	pass.ServeHTTP(q.w, p.inward(ctx))
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

// inward is the client's request as the reverse proxy gets it.
func (p *passage) inward(ctx context.Context) *http.Request {
	r := p.r.WithContext(proxy.WithMember(ctx, p.decision.Upstream.User))
	for _, name := range []string{"Upgrade", "Http2-Settings"} { // RFC 9110 section 7.8: an offer that may be ignored
		p.r.Header.Del(name)
	}
	if r.Body != nil && r.Body != http.NoBody {
		p.body = newBody(p)
		r.Body = p.body
	}
	return r
}

// rewrite makes the request that the upstream gets.
func (p *passage) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	base := p.up.URL()
	out.URL = &url.URL{Scheme: base.Scheme, Host: base.Host, Opaque: p.target.path} // as it came, whatever is escaped in it
	if p.target.query != "" {
		out.URL.RawQuery, out.URL.ForceQuery = p.target.query[1:], true
	}
	out.Host = pr.In.Host
	dropClaims(out.Header, p.up.UserHeader())
	for name, values := range p.identity {
		out.Header[name] = values
	}
	if p.body == nil {
		out.Trailer = nil
		return
	}
	if out.Trailer = p.body.trailer(p.up.UserHeader()); out.Trailer != nil {
		out.ContentLength = -1 // RFC 9112 section 7.1.2: trailers need chunks
	}
}

// errRefused: the upstream did not take our word for who the member is. He was let in by the door, so that is no reason to
// ask him for his password again.
var errRefused = errors.New("the upstream does not accept the sign-in (401)")

// answered looks at the head of the upstream's answer.
func (p *passage) answered(res *http.Response) error {
	if res.StatusCode == http.StatusUnauthorized {
		return errRefused
	}
	p.session.established.Store(true)
	if location := res.Header.Get("Location"); location != "" {
		res.Header.Set("Location", p.place.outward(location))
	}
	if p.body != nil && !p.body.complete.Load() && p.r.ProtoMajor < 2 {
		// The answer came first. What is left of the request would be read as the next one, so the connection ends here,
		// and the client is told: RFC 9112 section 9.6.
		res.Header.Set("Connection", "close")
	}
	return nil
}

// failed answers a request that has got no answer.
func (p *passage) failed(_ http.ResponseWriter, r *http.Request, err error) {
	if ctx := r.Context(); ctx.Err() != nil { // the session was cut, or the client is gone
		p.err = context.Cause(ctx)
		panic(http.ErrAbortHandler)
	}
	if p.body != nil && p.body.failed() != nil {
		p.err = fmt.Errorf("read from the client: %w", p.body.failed())
		p.w.Header().Set("Connection", "close")
		p.say(http.StatusBadRequest, "The request is not complete")
		return
	}
	p.err = err
	p.refuse(authcore.Unavailable, 0)
}
