package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore"
	"latchkey/authcore/store/redis"
	"latchkey/policy/ops"
)

// What a store that nodes share tells of itself, for /readyz and the metrics. None of it is asked of a server. What it
// names, like addresses, goes to the log; the sentences are fixed.

// tells is an engine that does.
type tells interface{ State() redis.State }

// storeState answers false for an embedded store.
func (h *house) storeState() (redis.State, bool) {
	t, is := h.db.(tells)
	if !is {
		return redis.State{}, false
	}
	return t.State(), true
}

// storeTells: servers of it that are away while others may answer, and what its settings or this node's disk may lose.
func (h *house) storeTells(context.Context) error {
	s, _ := h.storeState()
	var says []string
	var why []error
	add := func(sentence string, causes ...string) {
		says = append(says, sentence)
		for _, c := range causes {
			why = append(why, errors.New(c))
		}
	}
	if len(s.Breakers) > 0 {
		since := slices.MinFunc(slices.Collect(maps.Values(s.Breakers)), func(a, b redis.BreakerState) int { return a.Since.Compare(b.Since) }).Since
		add("A server of the store did not answer, or not in time, since "+told(since)+
			", and what needs it gets a temporary answer at once: see whether it runs, and, where only writes hang, whether its replicas do.",
			slices.Sorted(maps.Keys(s.Breakers))...)
	}
	if len(s.Lossy) > 0 {
		add("The store's settings let it lose what it has acknowledged: latchkey doctor says which to change.", s.Lossy...)
	}
	if len(s.Failing) > 0 {
		add("A server of the store could not be looked at: see whether it runs; latchkey doctor goes the way step by step.", s.Failing...)
	}
	if s.Ahead.Abs() > clockWarns {
		add("This node's clock is "+s.Ahead.Abs().Round(time.Second/10).String()+map[bool]string{true: " ahead of", false: " behind"}[s.Ahead > 0]+
			" the store's, which ends records by its own: let both follow the same time servers.", "clocks differ by "+s.Ahead.String())
	}
	if s.Copied {
		add("Another process runs with a copy of this node's data folder, so this one answers nobody any more: stop one of the two, empty its data folder, and start it; a node has a folder of its own.",
			"two processes write under one node's id")
	}
	if s.Unwritten != nil {
		add("This node cannot write down what it has seen of the store, so a store that lost something might not be noticed after a restart: look at the disk of the data folder.",
			s.Unwritten.Error())
	}
	if len(says) == 0 {
		return nil
	}
	return &ops.Trouble{Sentence: strings.Join(says, " "), Cause: errors.Join(why...)}
}

// hearsOthers: the bus is heard.
func (h *house) hearsOthers(context.Context) error {
	s, _ := h.storeState()
	if s.Bus.Hears || s.Bus.Since.IsZero() {
		return nil
	}
	return &ops.Trouble{Cause: errors.New(s.Bus.Cause), Sentence: "This node does not hear the others since " + told(s.Bus.Since) +
		": it reads every record anew and looks for revocations twice a second. See whether the server of the bus runs, and whether the store's user may use the channels that docs/fleet.md names."}
}

// revocationsAreRead: the net under the bus is in time.
func (h *house) revocationsAreRead(context.Context) error { return lateNet(h.core.Stats()) }

func lateNet(s authcore.Stats) error {
	if s.RecheckLate == 0 {
		return nil
	}
	return &ops.Trouble{Sentence: fmt.Sprintf("Whether sessions were revoked could not be read in time for %d domains, the longest wait is %v: their sessions end with the lease. See whether the store answers, and fast enough for so many domains.",
		s.RecheckLate, s.RecheckAge.Round(time.Second/10))}
}

func told(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// countStore shows what it tells among the metrics.
func (h *house) countStore() {
	if _, is := h.storeState(); !is {
		return
	}
	for name, f := range map[string]struct {
		help  string
		value func(redis.State) int
	}{
		"store_breakers_open":   {"Ways to servers of the store, reads and writes apart, that are not tried at each call since they failed.", func(s redis.State) int { return len(s.Breakers) }},
		"store_lossy":           {"Settings of the store's servers by which it may lose what it acknowledged.", func(s redis.State) int { return len(s.Lossy) }},
		"store_rolled_back":     {"Nodes that miss what the store has acknowledged; while there are any, nobody is let in.", func(s redis.State) int { return len(s.RolledBack) }},
		"store_servers_failing": {"Servers of the store that could not be looked at.", func(s redis.State) int { return len(s.Failing) }},
		"store_notes_unwritten": {"1: this node cannot write down what it has seen of the store.", func(s redis.State) int { return one(s.Unwritten != nil) }},
		"store_clock_differs":   {"1: this node's clock differs from that of a server of the store.", func(s redis.State) int { return one(s.Ahead.Abs() > clockWarns) }},
		"store_folder_copied":   {"1: another process runs with a copy of this node's data folder.", func(s redis.State) int { return one(s.Copied) }},
		"bus_heard":             {"1: this node hears the others.", func(s redis.State) int { return one(s.Bus.Hears) }},
		"bus_gaps_total":        {"How often it could not be sure to hear all, and read anew.", func(s redis.State) int { return int(s.Bus.Gaps) }},
	} {
		value := func() float64 {
			s, _ := h.storeState()
			return float64(f.value(s))
		}
		if strings.HasSuffix(name, "_total") {
			h.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "latchkey", Name: name, Help: f.help}, value))
		} else {
			h.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "latchkey", Name: name, Help: f.help}, value))
		}
	}
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
