package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore"
	"latchkey/authcore/spool"
	"latchkey/authcore/store"
	"latchkey/configs"
	"latchkey/policy/ops"
)

// What a node does, and says, while its store cannot be reached.

// storeTime is what one attempt may ask of the store: bounded where the store lies behind a network.
func storeTime(cfg *configs.Config) time.Duration {
	if cfg.Fleet() {
		return authcore.DefaultStoreTime
	}
	return 0
}

// newSpool is where sign-ins are audited meanwhile; nil where they are refused.
func (h *house) newSpool(cfg *configs.Config) *spool.Spool {
	if !cfg.Fleet() || cfg.Store.Outage != configs.ServeCached {
		return nil
	}
	return spool.New(spool.Options{Dir: cfg.Data, Log: h.log})
}

func (h *house) closeSpool() error {
	if h.spool == nil {
		return nil
	}
	return h.spool.Close()
}

// silence is since when the store does not answer, as probes found.
type silence struct {
	mu    sync.Mutex
	since time.Time // zero: it answers; guarded by mu
}

func (s *silence) note(err error, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = now
	}
	return s.since
}

// storeReads: the store answers, and is what it was.
func (h *house) storeReads(ctx context.Context) error {
	_, _, err := authcore.ReadUsedKeys(ctx, h.db)
	since := h.silence.note(err, time.Now()).UTC().Format(time.RFC3339)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrDistrusted):
		return &ops.Trouble{Cause: err, Sentence: "The store has lost what it had acknowledged (seen since " + since +
			"), and every sign-in gets a temporary answer: find out what happened to it, and what is missing, before you accept it with latchkey doctor -accept-rollback."}
	case errors.Is(err, store.ErrCorrupt):
		return &ops.Trouble{Cause: err, Sentence: "A record of the store is damaged: the log names it; restore it from a backup."}
	case h.spool != nil:
		return &ops.Trouble{Cause: err, Sentence: "The store does not answer since " + since +
			": for the lease sign-ins go on by what this node holds, then they get a temporary answer. See whether it runs and this node reaches it."}
	default:
		return &ops.Trouble{Cause: err, Sentence: "The store does not answer since " + since +
			": sign-ins that need it get a temporary answer. See whether it runs and this node reaches it."}
	}
}

// spoolHasRoom: what was audited without the store is in it by now, or can be kept until then.
func (h *house) spoolHasRoom(context.Context) error {
	if h.spool == nil {
		return nil
	}
	s := h.spool.State()
	switch {
	case s.Broken:
		return &ops.Trouble{Sentence: "The spool of sign-ins cannot be written: look at the disk of the data folder. Sign-ins need it while the store is away."}
	case s.Full():
		return &ops.Trouble{Sentence: fmt.Sprintf("The spool of sign-ins is full with %d entries: no more sign-ins go on without the store. It empties itself when the store is back.", s.Waiting)}
	case s.Waiting > 0:
		return &ops.Trouble{Sentence: fmt.Sprintf("%d sign-ins wait in the spool to be written to the store: it empties itself when the store is back. Keep the data folder until then.", s.Waiting)}
	}
	return nil
}

// countSpool shows the spool's figures among the metrics.
func (h *house) countSpool() {
	if h.spool == nil {
		return
	}
	for name, f := range map[string]struct {
		help  string
		value func(spool.State) float64
	}{
		"spool_entries":        {"Sign-ins that wait to be audited in the store.", func(s spool.State) float64 { return float64(s.Waiting) }},
		"spool_bytes":          {"Bytes of the spool.", func(s spool.State) float64 { return float64(s.Bytes) }},
		"spool_bytes_max":      {"Bytes that the spool may have.", func(s spool.State) float64 { return float64(s.Max) }},
		"spool_appended_total": {"Sign-ins that went on without the store.", func(s spool.State) float64 { return float64(s.Appended) }},
		"spool_replayed_total": {"Of these, those that are audited in the store by now.", func(s spool.State) float64 { return float64(s.Replayed) }},
		"spool_refused_total":  {"Sign-ins that the spool could not take.", func(s spool.State) float64 { return float64(s.Refused) }},
	} {
		value := func() float64 { return f.value(h.spool.State()) }
		if strings.HasSuffix(name, "_total") {
			h.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "latchkey", Name: name, Help: f.help}, value))
		} else {
			h.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "latchkey", Name: name, Help: f.help}, value))
		}
	}
}
