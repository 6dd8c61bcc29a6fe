package proxy

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore"
)

// Metrics counts what the doors do. Labels are names from the configuration and closed words: no member, no address.
type Metrics struct {
	connections     *prometheus.GaugeVec   // listener
	accepted        *prometheus.CounterVec // listener
	refused         *prometheus.CounterVec // listener, why
	attempts        *prometheus.CounterVec // door, reason
	decisions       *prometheus.HistogramVec
	upstreamFailed  *prometheus.CounterVec // upstream, step
	upstreamSignIns *prometheus.HistogramVec
	sessions        *prometheus.GaugeVec   // door
	ended           *prometheus.CounterVec // door, cause
	bytes           *prometheus.CounterVec // door, direction
	acceptErrors    *prometheus.CounterVec // listener
	tickets         *prometheus.CounterVec // what
	panics          prometheus.Counter
}

// NewMetrics registers them; nil: they are counted and shown nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		connections:     gauge("connections_open", "Open connections, signed in or not.", "listener"),
		accepted:        counter("connections_total", "Connections accepted.", "listener"),
		refused:         counter("connections_refused_total", "Connections refused before a sign-in.", "listener", "why"),
		attempts:        counter("attempts_total", "Attempts to sign in; reason \"error\" could not be decided.", "door", "reason"),
		decisions:       histogram("decision_seconds", "From an attempt to its decision, holds included.", "door"),
		upstreamFailed:  counter("upstream_failures_total", "Allowed attempts that the upstream did not let in.", "upstream", "step"),
		upstreamSignIns: histogram("upstream_sign_in_seconds", "From the decision to the upstream's OK.", "upstream"),
		sessions:        gauge("sessions_open", "Sessions that are open.", "door"),
		ended:           counter("sessions_total", "Sessions that have ended.", "door", "cause"),
		bytes:           counter("relayed_bytes_total", "Bytes of ended sessions.", "door", "direction"),
		acceptErrors:    counter("accept_errors_total", "Failures to accept, such as a lack of descriptors.", "listener"),
		tickets:         counter("tls_tickets_total", "TLS session tickets: issued, accepted (a shorter handshake), refused (too old, or of another name or certificate).", "what"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "latchkey", Subsystem: "proxy", Name: "panics_total", Help: "Connections that ended in a panic: each is a bug.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.accepted, m.refused, m.attempts, m.decisions, m.upstreamFailed, m.upstreamSignIns,
			m.sessions, m.ended, m.bytes, m.acceptErrors, m.tickets, m.panics)
	}
	return m
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "latchkey", Subsystem: "proxy", Name: name, Help: help}, labels)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "latchkey", Subsystem: "proxy", Name: name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "latchkey", Subsystem: "proxy", Name: name, Help: help,
		Buckets: []float64{.0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15},
	}, labels)
}

// Opened counts a session in, of any door. Ended must follow.
func (m *Metrics) Opened(door string) { m.sessions.WithLabelValues(door).Inc() }

// Ended counts a session out, with what passed in it.
func (m *Metrics) Ended(door string, e authcore.End) {
	m.sessions.WithLabelValues(door).Dec()
	m.ended.WithLabelValues(door, e.Cause).Inc()
	m.bytes.WithLabelValues(door, "from_client").Add(float64(e.FromClient))
	m.bytes.WithLabelValues(door, "from_upstream").Add(float64(e.FromUpstream))
}

// Counting answers a that counts the attempts of every door, DAV's too. main hands it to the Protocols.
func (m *Metrics) Counting(a Authenticator) Authenticator { return &counting{Authenticator: a, m: m} }

type counting struct {
	Authenticator
	m *Metrics
}

func (c *counting) Authenticate(ctx context.Context, a authcore.Attempt) (authcore.Decision, error) {
	began := time.Now()
	d, err := c.Authenticator.Authenticate(ctx, a)
	reason := string(d.Reason)
	switch {
	case err != nil:
		reason = "error"
	case reason == "":
		reason = string(authcore.BadCredentials) // what the zero Decision tells the client
	}
	c.m.attempts.WithLabelValues(a.Door, reason).Inc()
	c.m.decisions.WithLabelValues(a.Door).Observe(time.Since(began).Seconds())
	return d, err
}
