package notify

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts messages on their way outside. Labels are closed words: no name, no address, no webhook's name.
type Metrics struct {
	messages *prometheus.CounterVec // channel, kind, outcome
}

// NewMetrics registers them; nil: they are counted and shown nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const namespace, subsystem = "latchkey", "notify"
	m := &Metrics{messages: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "messages_total",
		Help: "Messages to addresses outside: queued (first taken out of the outbox), sent, failed (an attempt; it is tried again), refused (by the other side), given_up."},
		[]string{"channel", "kind", "outcome"})}
	if reg != nil {
		reg.MustRegister(m.messages)
	}
	return m
}

func (m *Metrics) count(o Outgoing, outcome string) {
	if m != nil {
		m.messages.WithLabelValues(o.Channel.Word(), string(o.Kind), outcome).Inc()
	}
}

func (m *Metrics) attempted(o Outgoing, err error) {
	if o.Attempt == 1 {
		m.count(o, "queued")
	}
	switch {
	case err == nil:
		m.count(o, "sent")
	case errors.Is(err, ErrRefused):
		m.count(o, "refused")
	default:
		m.count(o, "failed")
	}
}

func (m *Metrics) gaveUp(o Outgoing) { m.count(o, "given_up") }
