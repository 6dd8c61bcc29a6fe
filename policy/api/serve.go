package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"latchkey/authcore"
)

// request is what is known of a request while it goes on: its goroutine's alone. It becomes one event in the log and one
// count in the metrics.
type request struct {
	id      string
	client  authcore.Client
	control *http.ResponseController
	actor   authcore.Actor // the zero one until a token was shown
	waited  bool           // a body was waited for since the token was looked at
	once    *idempotent    // nil: it carries no idempotency key
	route   string         // the pattern, which holds no name; empty: none matched
	reason  string         // of the problem that was answered
	err     error          // what broke; for the log alone
}

type requestKey struct{}

// requestOf answers the request that ctx belongs to, and an empty one for a ctx of somebody else.
func requestOf(ctx context.Context) *request {
	if q, ok := ctx.Value(requestKey{}).(*request); ok {
		return q
	}
	return &request{control: http.NewResponseController(nil)}
}

// server is the handler around all operations.
type server struct {
	kit *Kit
	mux *http.ServeMux
}

func newServer(o Options, register []Register) *server {
	s := &server{mux: http.NewServeMux()}
	s.kit = &Kit{Core: o.Core, log: o.Log, metrics: o.Metrics, long: map[string]bool{}, uploads: map[string]int64{}, mux: s.mux, huma: newHuma(s.mux),
		perSource: newMeters(o.Rates.PerSource, DefaultRates().PerSource), perMember: newMeters(o.Rates.PerMember, DefaultRates().PerMember), now: o.Now}
	if s.kit.now == nil {
		s.kit.now = time.Now
	}
	if s.kit.log == nil {
		s.kit.log = slog.New(slog.DiscardHandler)
	}
	if s.kit.metrics == nil {
		s.kit.metrics = NewMetrics(nil)
	}
	for _, add := range register {
		add(s.kit)
	}
	return s
}

// ServeHTTP serves one request within its deadlines and tells of it once.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	out := &recorder{ResponseWriter: w}
	q := &request{id: rand.Text(), client: clientOf(r), control: http.NewResponseController(w)}
	handler, pattern := s.mux.Handler(r)
	q.route = pattern
	allowed, arrives, most := answerFor, readFor, int64(MaxBody)
	if s.kit.long[pattern] {
		allowed = exportFor
	}
	if n, ok := s.kit.uploads[pattern]; ok {
		arrives, most = uploadFor, n
	}
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestKey{}, q), allowed)
	defer cancel()
	_ = q.control.SetReadDeadline(began.Add(arrives)) // not supported by a recorder of tests, and by nothing else
	_ = q.control.SetWriteDeadline(began.Add(max(answerFor, arrives) + writeFor))
	r = r.WithContext(ctx)
	r.Body = body{http.MaxBytesReader(out, r.Body, most+1)} // huma's own bound comes first, and says 413
	if q.once = idempotentOf(r); q.once != nil {
		r.Body = hashed{r.Body, q.once.sum}
	}
	header(w.Header(), q.id)
	s.kit.metrics.inFlight.Inc()
	defer s.kit.metrics.inFlight.Dec()
	defer s.finish(q, out, r, began)
	s.route(handler, out, r)
}

// route hands the request to its operation, if there is one and its source may ask.
func (s *server) route(handler http.Handler, out *recorder, r *http.Request) {
	q := requestOf(r.Context())
	if p := s.kit.overSource(q.client); p != nil {
		s.kit.refuse(out, r, p)
		return
	}
	if q.route == "" && s.kit.otherwise != nil && !ofProgram(r.URL.Path) {
		s.kit.otherwise.ServeHTTP(out, r)
		return
	}
	if q.route == "" {
		noRoute(handler, out, r)
		return
	}
	s.mux.ServeHTTP(out, r)
}

// ofProgram says that whoever asks for the path is a program, and reads a Problem.
func ofProgram(path string) bool {
	return strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/.well-known/")
}

// body calls whatever keeps a request from being read to its end a time-out, which huma answers with 408: the request did
// not arrive whole (RFC 9110 section 15.5.9), which is no fault of the server's.
type body struct{ io.ReadCloser }

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = incomplete{err}
	}
	return n, err
}

type incomplete struct{ error }

func (incomplete) Timeout() bool   { return true }
func (incomplete) Temporary() bool { return false }

// header sets what every answer has. Answers carry tokens, passwords and people's data: no cache may keep one.
func header(h http.Header, id string) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Request-Id", id)
}

// noRoute answers what the mux would refuse in plain text: 404, or 405 with its Allow.
func noRoute(h http.Handler, w http.ResponseWriter, r *http.Request) {
	probe := &refusal{head: http.Header{}}
	h.ServeHTTP(probe, r)
	if allow := probe.head.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
	}
	p := newProblem(http.StatusNotFound, reasonNotFound, "There is nothing at this path.")
	if probe.status == http.StatusMethodNotAllowed {
		p = newProblem(http.StatusMethodNotAllowed, reasonMethod, "This cannot be done here.")
	}
	requestOf(r.Context()).reason = p.Reason
	writeProblem(w, p)
}

// refusal takes what the mux says about a request that it has no handler for.
type refusal struct {
	head   http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.head }
func (r *refusal) Write(p []byte) (int, error) { return len(p), nil }
func (r *refusal) WriteHeader(status int)      { r.status = status }

// finish recovers, logs and counts. A panic is a bug: its request is told 500 if nothing was sent yet.
func (s *server) finish(q *request, out *recorder, r *http.Request, began time.Time) {
	p := recover()
	switch {
	case p == nil:
	case p == http.ErrAbortHandler:
		q.reason = reasonUnavailable
	default:
		s.kit.metrics.panics.Inc()
		q.reason, q.err = reasonInternal, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		if out.status == 0 {
			writeProblem(out, newProblem(http.StatusInternalServerError, reasonInternal, "Something is wrong with the server."))
			p = nil
		} else {
			p = http.ErrAbortHandler
		}
	}
	lasted := time.Since(began)
	s.kit.metrics.count(q, r.Method, out.status, lasted)
	s.event(q, out, r.Method, lasted)
	if p != nil {
		panic(p)
	}
}

// event is the one line about a request. It holds ids and closed words, neither names nor paths nor anything from a body.
func (s *server) event(q *request, out *recorder, method string, lasted time.Duration) {
	level := slog.LevelInfo
	a := []slog.Attr{
		slog.String("id", q.id), slog.String("method", methodWord(method)), slog.String("route", q.route), slog.Int("status", out.status),
		slog.String("client", q.client.From()), slog.Duration("lasted", lasted), slog.Int64("bytes", out.bytes),
	}
	if q.actor.Member != "" {
		a = append(a, slog.String("domain", string(q.actor.Domain)), slog.String("member", string(q.actor.Member)), slog.String("session", string(q.actor.Session)))
	}
	if q.reason != "" {
		a = append(a, slog.String("reason", q.reason))
	}
	if q.err != nil {
		level = slog.LevelError
		a = append(a, slog.String("error", q.err.Error()))
	}
	s.kit.log.LogAttrs(context.Background(), level, "request", a...)
}

// maxAgent bounds what is kept of a User-Agent, as authcore.Client asks.
const maxAgent = 200

// clientOf is the other end of the connection.
func clientOf(r *http.Request) authcore.Client {
	c := authcore.Client{Agent: agent(r.UserAgent())}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.Addr = a.Addr().Unmap().WithZone("")
	}
	return c
}

func agent(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxAgent)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// recorder remembers what was answered. A client that takes nothing any more is no error of ours: what is written to it
// is dropped, and only who streams is told.
type recorder struct {
	http.ResponseWriter
	status  int
	bytes   int64
	failed  error
	streams bool
}

// Unwrap lets an http.ResponseController through.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.failed == nil {
		var n int
		n, w.failed = w.ResponseWriter.Write(p)
		w.bytes += int64(n)
	}
	if w.streams && w.failed != nil {
		return 0, w.failed
	}
	return len(p), nil
}
