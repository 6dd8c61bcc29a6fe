package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
)

// Trouble is a failure with a sentence that may be shown: what is wrong and what to do about it, and nothing that a store
// or a peer has said.
type Trouble struct {
	Sentence string
	Cause    error // for the log; nil: the sentence is all
}

// Error is for the log.
func (t *Trouble) Error() string {
	if t.Cause == nil {
		return t.Sentence
	}
	return t.Sentence + " (" + t.Cause.Error() + ")"
}

// Unwrap answers the cause.
func (t *Trouble) Unwrap() error { return t.Cause }

// state is the answer of a probe.
type state struct {
	Status string  `json:"status"` // "ok", "degraded" (it serves, and somebody should look), or "failing"
	Checks []check `json:"checks,omitempty"`
}

type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // of a Trouble
}

type ready struct {
	checks   []Check
	draining func() bool
	log      *slog.Logger
}

// ServeHTTP runs all checks at once: 200 when all hold that must, else 503, and which do not.
func (d ready) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.draining != nil && d.draining() {
		writeJSON(w, http.StatusServiceUnavailable, state{Status: "draining"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), checkFor)
	defer cancel()
	s := state{Status: "ok", Checks: make([]check, len(d.checks))}
	var wait sync.WaitGroup
	for i, c := range d.checks {
		s.Checks[i].Name = c.Name
		wait.Go(func() { s.Checks[i].OK, s.Checks[i].Detail = d.holds(ctx, c) })
	}
	wait.Wait()
	status := http.StatusOK
	for i, c := range s.Checks {
		switch {
		case c.OK:
		case !d.checks[i].Warns:
			s.Status, status = "failing", http.StatusServiceUnavailable
		case status == http.StatusOK:
			s.Status = "degraded"
		}
	}
	writeJSON(w, status, s)
}

func (d ready) holds(ctx context.Context, c Check) (ok bool, detail string) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("readiness", "check", c.Name, "error", fmt.Errorf("panic: %v", p))
			ok, detail = false, ""
		}
	}()
	if err := c.Check(ctx); err != nil {
		d.log.Warn("readiness", "check", c.Name, "error", err)
		var t *Trouble
		if errors.As(err, &t) {
			detail = t.Sentence
		}
		return false, detail
	}
	return true, ""
}
