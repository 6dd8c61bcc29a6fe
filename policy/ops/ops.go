// Package ops is what the private listener shows to the operator's own tools: metrics, health, readiness, upstreams, the
// level of the log, and profiles. It has no sign-in, so main binds it to loopback or a management network, and it refuses
// to show a secret: checks tell their name, whether they hold, and a fixed sentence of what to do; the cause goes to the log.
package ops

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one thing that must hold for the server to be of use. Check ends when ctx does.
type Check struct {
	Name  string // a closed word, like "records"
	Check func(ctx context.Context) error
	Warns bool // the server is of use without it
}

// Options are what main gives; what is nil is not there (404).
type Options struct {
	Log       *slog.Logger                  // nil: nothing is logged
	Metrics   prometheus.Gatherer           // GET /metrics
	Ready     []Check                       // GET /readyz, in this order
	Draining  func() bool                   // /readyz then fails whatever the checks say
	Level     *slog.LevelVar                // GET, PUT /log-level
	Upstreams func(ctx context.Context) any // GET /upstreams: anything that JSON takes and everybody here may see
	More      map[string]http.Handler       // by pattern: what a demo adds
}

// Bounds of one request.
const (
	checkFor   = 5 * time.Second  // what a probe of a container waits for is shorter
	answerFor  = 15 * time.Second // a scrape
	profileFor = 10 * time.Minute // ?seconds= of a profile, and its answer
	maxBody    = 1 << 10          // a level is a word
)

// New makes the handler.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, state{Status: "ok"}) })
	mux.Handle("GET /readyz", ready{o.Ready, o.Draining, o.Log})
	if o.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	}
	if o.Level != nil {
		l := level{o.Level, o.Log}
		mux.HandleFunc("GET /log-level", l.get)
		mux.HandleFunc("PUT /log-level", l.put)
	}
	if o.Upstreams != nil {
		mux.HandleFunc("GET /upstreams", func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), checkFor)
			defer cancel()
			writeJSON(w, http.StatusOK, o.Upstreams(ctx))
		})
	}
	profiles(mux)
	for pattern, h := range o.More {
		mux.Handle(pattern, h)
	}
	return within(answerFor, mux)
}

// profiles are Go's own, which take as long as they are asked to.
func profiles(mux *http.ServeMux) {
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /debug/pprof/": pprof.Index, "GET /debug/pprof/cmdline": pprof.Cmdline, "GET /debug/pprof/profile": pprof.Profile,
		"GET /debug/pprof/symbol": pprof.Symbol, "GET /debug/pprof/trace": pprof.Trace,
	} {
		mux.Handle(pattern, within(profileFor, h))
	}
}

// within sets the deadlines of the connection for one request, and what every answer has.
func within(d time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.SetReadDeadline(time.Now().Add(d)) // a recorder of tests has none
		_ = c.SetWriteDeadline(time.Now().Add(d))
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whether it arrives is the client's
}
