package api

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts requests. Labels are patterns and closed words: no name, no address.
type Metrics struct {
	requests *prometheus.CounterVec   // route, method, status
	problems *prometheus.CounterVec   // reason
	lasted   *prometheus.HistogramVec // route
	inFlight prometheus.Gauge
	panics   prometheus.Counter
}

// NewMetrics registers them; nil: they are counted and shown nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const namespace, subsystem = "latchkey", "api"
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "requests_total",
			Help: "Requests answered."}, []string{"route", "method", "status"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "problems_total",
			Help: "Requests answered with a problem, by its reason."}, []string{"reason"}),
		lasted: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem, Name: "request_seconds",
			Help: "From a request to its answer, holds included.", Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60}}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "requests_in_flight", Help: "Requests being worked on."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "panics_total",
			Help: "Requests that ended in a panic: each is a bug."}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.problems, m.lasted, m.inFlight, m.panics)
	}
	return m
}

func (m *Metrics) count(q *request, method string, status int, lasted time.Duration) {
	m.requests.WithLabelValues(q.route, methodWord(method), strconv.Itoa(status)).Inc()
	m.lasted.WithLabelValues(q.route).Observe(lasted.Seconds())
	if q.reason != "" {
		m.problems.WithLabelValues(q.reason).Inc()
	}
}

// methodWord keeps methods that clients invent out of labels and logs.
func methodWord(method string) string {
	known := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	if slices.Contains(known, method) {
		return method
	}
	return "other"
}
