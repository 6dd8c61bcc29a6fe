package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore"
	"latchkey/authcore/store/redis"
	"latchkey/policy/ops"
)

// talker is a store that tells something of itself.
type talker struct {
	engine
	state redis.State
}

func (t talker) State() redis.State { return t.state }

// Each trouble of a shared store is one sentence with what to do, and names no address: that is for the log.
func TestReadinessSaysWhatTheStoreTells(t *testing.T) {
	at, canary := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC), "canary 10.1.2.3:6379"
	opened := map[string]redis.BreakerState{canary: {State: redis.BreakerOpen, Since: at, Cause: canary}}
	well := redis.BusState{Hears: true, Since: at}
	for name, c := range map[string]struct {
		state  redis.State
		says   []string // of storeTells
		bus    string   // of hearsOthers
		metric string   // that is 1
	}{
		"well":            {redis.State{Bus: well}, nil, "", "bus_heard"},
		"breaker open":    {redis.State{Bus: well, Breakers: opened}, []string{"since 2026-05-04T09:00:00Z", "see whether it runs"}, "", "store_breakers_open"},
		"lossy":           {redis.State{Bus: well, Durability: redis.Durability{Lossy: []string{canary}}}, []string{"latchkey doctor says which to change"}, "", "store_lossy"},
		"away":            {redis.State{Bus: well, Durability: redis.Durability{Failing: []string{canary}}}, []string{"could not be looked at"}, "", "store_servers_failing"},
		"ahead":           {redis.State{Bus: well, Durability: redis.Durability{Ahead: 3210 * time.Millisecond}}, []string{"clock is 3.2s ahead of the store's"}, "", "store_clock_differs"},
		"behind":          {redis.State{Bus: well, Durability: redis.Durability{Ahead: -3 * time.Second}}, []string{"clock is 3s behind the store's"}, "", "store_clock_differs"},
		"copied":          {redis.State{Bus: well, Durability: redis.Durability{Copied: true}}, []string{"a copy of this node's data folder", "stop one of the two"}, "", "store_folder_copied"},
		"notes":           {redis.State{Bus: well, Durability: redis.Durability{Unwritten: errors.New(canary)}}, []string{"look at the disk of the data folder"}, "", "store_notes_unwritten"},
		"rolled back":     {redis.State{Bus: well, Durability: redis.Durability{RolledBack: []redis.Alarm{{Node: canary}}}}, nil, "", "store_rolled_back"}, // the check "records" says so
		"two":             {redis.State{Bus: well, Breakers: opened, Durability: redis.Durability{Lossy: []string{canary}}}, []string{"see whether it runs", "latchkey doctor"}, "", "store_lossy"},
		"deaf":            {redis.State{Bus: redis.BusState{Since: at, Cause: canary, Gaps: 1}}, nil, "since 2026-05-04T09:00:00Z", "bus_gaps_total"},
		"not yet hearing": {redis.State{Bus: redis.BusState{Gaps: 1}}, nil, "", "bus_gaps_total"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &house{db: talker{state: c.state}, metrics: prometheus.NewRegistry()}
			wantTrouble(t, h.storeTells(t.Context()), c.says...)
			if c.bus == "" {
				wantTrouble(t, h.hearsOthers(t.Context()))
			} else {
				wantTrouble(t, h.hearsOthers(t.Context()), c.bus, "reads every record anew")
			}
			h.countStore()
			if got := valueOf(t, h.metrics, "latchkey_"+c.metric); got != 1 {
				t.Errorf("%s is %v", c.metric, got)
			}
		})
	}
	alone := &house{db: gone{}, metrics: prometheus.NewRegistry()}
	wantTrouble(t, alone.storeTells(t.Context()))
	wantTrouble(t, alone.hearsOthers(t.Context()))
}

func TestReadinessSaysThatTheNetIsLate(t *testing.T) {
	wantTrouble(t, lateNet(authcore.Stats{RecheckAge: time.Second}))
	wantTrouble(t, lateNet(authcore.Stats{RecheckLate: 7, RecheckAge: 12 * time.Second}), "for 7 domains", "12s", "end with the lease")
}

// wantTrouble wants a sentence with these words; none of them: no trouble.
func wantTrouble(t *testing.T, err error, words ...string) {
	t.Helper()
	var said *ops.Trouble
	if errors.As(err, &said) != (len(words) > 0) {
		t.Fatalf("got %v, want %q", err, words)
	}
	for _, w := range words {
		if !strings.Contains(said.Sentence, w) {
			t.Errorf("%q does not say %q", said.Sentence, w)
		}
	}
	if said != nil && strings.Contains(said.Sentence, "canary") {
		t.Errorf("it names an address: %q", said.Sentence)
	}
}

func valueOf(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
