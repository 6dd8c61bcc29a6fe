package dav

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"latchkey/authcore"
	"latchkey/policy"
)

// request is one request on its way, and what is logged of it when it ends. It holds no path, no name and no secret.
type request struct {
	door     *Door
	w        *writer
	r        *http.Request
	conn     *conn
	info     authcore.ConnInfo
	settings Settings
	began    time.Time

	doors    []string
	target   target
	attempt  authcore.Attempt
	decision authcore.Decision

	reason authcore.Reason
	body   *body
	err    error
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.begin() {
		panic(http.ErrAbortHandler) // its connection is closed already
	}
	defer h.end()
	settings := h.settings()
	if other := settings.elsewhere(r.Host); other != nil && r.TLS != nil {
		other.ServeHTTP(w, r)
		return
	}
	q := &request{
		door: h.door, r: r, conn: connOf(r), settings: settings, began: time.Now(),
		w: &writer{ResponseWriter: w, control: http.NewResponseController(w), stall: h.door.o.Stall},
	}
	q.info = q.conn.infoOf(r, q.settings)
	defer q.over()
	q.serve()
}

// serve is the way of a request.
func (q *request) serve() {
	if !q.acceptable() || q.wellKnown() {
		return
	}
	if !q.authenticate() {
		return
	}
	ctx, cancel := context.WithCancelCause(q.r.Context())
	defer cancel(nil)
	u := &use{conn: q.conn, http1: q.r.ProtoMajor < 2, cancel: cancel, stream: q.w.control}
	if reason := q.door.sessions.enter(ctx, q.attempt, q.decision, u); reason != authcore.Allowed {
		q.refuse(reason, 0)
		return
	}
	defer q.door.sessions.leave(u)
	q.forward(ctx, u.of)
}

// acceptable answers what is refused whoever asks.
func (q *request) acceptable() bool {
	if q.r.TLS == nil {
		q.w.Header().Set("Connection", "close")
		q.refuse(authcore.TLSRequired, 0)
		return false
	}
	// TRACE would send the credentials back, CONNECT is a tunnel
	if m := q.r.Method; m == http.MethodTrace || m == http.MethodConnect {
		q.say(http.StatusMethodNotAllowed, "This method is not allowed here")
		return false
	}
	if !httpguts.ValidHeaderFieldName(q.r.Method) { // HTTP/2 can bring what is no token: RFC 9110 section 9.1
		q.bad(errMethod)
		return false
	}
	var err error
	if q.target, err = targetOf(q.r); err != nil {
		q.bad(err)
		return false
	}
	if q.doors = q.settings.doorsOf(q.r.Host); len(q.doors) == 0 {
		q.say(http.StatusMisdirectedRequest, "There is no calendar or address book at this host name") // RFC 9110 section 15.5.20
		return false
	}
	return true
}

// bad answers what breaks a rule of paths.
func (q *request) bad(err error) {
	q.err = err
	q.say(http.StatusBadRequest, "The request is not acceptable: "+err.Error())
}

// elsewhere is who answers at a host name in the door's place; nil: the door does.
func (s Settings) elsewhere(host string) http.Handler {
	if s.Elsewhere == nil {
		return nil
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return s.Elsewhere(host)
}

// doorsOf answers which doors a host serves.
func (s Settings) doorsOf(host string) []string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if doors, ok := s.Doors[strings.ToLower(strings.TrimSuffix(host, "."))]; ok {
		return doors
	}
	return s.Doors[""]
}

// wellKnown answers the discovery of RFC 6764 section 5, which must not ask for credentials.
func (q *request) wellKnown() bool {
	service, ok := strings.CutPrefix(q.target.path, "/.well-known/")
	if !ok {
		return false
	}
	service = strings.TrimSuffix(service, "/")
	if service != policy.CalDAV && service != policy.CardDAV {
		return false
	}
	for _, door := range q.doors {
		if door == service {
			q.hurry()
			q.w.Header().Set("Location", q.settings.contextPath())
			q.w.Header().Set("Cache-Control", "max-age=3600")
			q.w.WriteHeader(http.StatusMovedPermanently)
			return true
		}
	}
	q.say(http.StatusNotFound, "This host does not serve it")
	return true
}

func (s Settings) contextPath() string {
	if s.ContextPath == "" {
		return "/"
	}
	return s.ContextPath
}

// authenticate asks whether the credentials of the request are good. It is asked anew every time: the core remembers.
func (q *request) authenticate() bool {
	password, ok := credentials(q.r.Header)
	if !ok {
		q.unauthorized()
		return false
	}
	q.attempt = authcore.Attempt{
		Door: q.doors[0], Mechanism: "BASIC", Conn: q.info, Credential: password,
	}
	if len(q.doors) > 1 {
		q.attempt.Doors = q.doors
	}
	d, err := q.door.o.Auth.Authenticate(q.r.Context(), q.attempt)
	switch {
	case err != nil:
		q.err = fmt.Errorf("authenticate: %w", err)
		q.refuse(authcore.Unavailable, d.RetryAfter)
		return false
	case !d.Allowed():
		q.refuse(d.Reason, d.RetryAfter)
		return false
	}
	q.decision, q.reason = d, authcore.Allowed
	return true
}

// over writes the request's event, whatever way it ended.
func (q *request) over() {
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		q.door.o.Log.Error("panic", "connection", q.info.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	q.write(p != nil)
	if p != nil {
		panic(http.ErrAbortHandler) // the answer is incomplete: the server breaks the stream or the connection off
	}
}

func (q *request) write(aborted bool) {
	level := slog.LevelInfo
	if q.w.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if !q.door.o.Log.Enabled(context.Background(), level) {
		return
	}
	a := []slog.Attr{
		slog.String("id", q.info.ID), slog.String("listener", q.settings.Listener), slog.String("proto", q.r.Proto),
		slog.Int("status", q.w.status), slog.Bool("aborted", aborted), slog.Duration("lasted", time.Since(q.began)),
		slog.Int64("from_upstream", q.w.sent),
	}
	word := func(key, value string) {
		if value != "" {
			a = append(a, slog.String(key, value))
		}
	}
	word("method", known(q.r.Method))
	word("reason", string(q.reason))
	word("domain", string(q.decision.Domain))
	word("member", string(q.decision.Member))
	word("session", string(q.decision.Session))
	word("upstream", q.decision.Upstream.Name)
	if q.body != nil {
		a = append(a, slog.Int64("from_client", q.body.taken.Load()))
	}
	if q.err != nil {
		a = append(a, slog.String("error", q.err.Error()))
	}
	q.door.o.Log.LogAttrs(context.Background(), level, "request", a...)
}

// known keeps words that clients make up out of the log.
func known(method string) string {
	switch method {
	case "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "PROPPATCH", "REPORT", "MKCALENDAR", "MKCOL",
		"MOVE", "COPY", "LOCK", "UNLOCK", "ACL", "SEARCH", "TRACE", "CONNECT":
		return method
	}
	return "other"
}
