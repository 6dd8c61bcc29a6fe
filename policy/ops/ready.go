package ops

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
)

// state is the answer of a probe.
type state struct {
	Status string  `json:"status"` // "ok" or "failing"
	Checks []check `json:"checks,omitempty"`
}

type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}

type ready struct {
	checks []Check
	log    *slog.Logger
}

// ServeHTTP runs all checks at once: 200 when all hold, else 503 and which do not.
func (d ready) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkFor)
	defer cancel()
	s := state{Status: "ok", Checks: make([]check, len(d.checks))}
	var wait sync.WaitGroup
	for i, c := range d.checks {
		s.Checks[i].Name = c.Name
		wait.Go(func() { s.Checks[i].OK = d.holds(ctx, c) })
	}
	wait.Wait()
	status := http.StatusOK
	for _, c := range s.Checks {
		if !c.OK {
			s.Status, status = "failing", http.StatusServiceUnavailable
		}
	}
	writeJSON(w, status, s)
}

func (d ready) holds(ctx context.Context, c Check) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("readiness", "check", c.Name, "error", fmt.Errorf("panic: %v", p))
			ok = false
		}
	}()
	if err := c.Check(ctx); err != nil {
		d.log.Warn("readiness", "check", c.Name, "error", err)
		return false
	}
	return true
}
