package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// Node is a process of the fleet as it tells of itself.
type Node struct {
	Process   string    `json:"process"` // this run of it
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Version   string    `json:"version,omitempty"`
	Started   time.Time `json:"started"`
	Addresses []string  `json:"addresses,omitempty"`
	Keys      []KeyHeld `json:"keys"`
	Sessions  int       `json:"sessions"` // live at its doors
	Draining  bool      `json:"draining,omitempty"`
	At        time.Time `json:"at"` // by its own clock
}

func (c *Core) thisNode(now time.Time) Node {
	f := c.fleet
	f.mu.Lock()
	draining := f.draining
	f.mu.Unlock()
	return Node{Process: f.process, ID: c.o.Node, Name: f.o.Name, Version: f.o.Version, Started: f.started, Addresses: f.o.Addresses,
		Keys: KeysHeld(c.o.Keys), Sessions: c.doors.Len(), Draining: draining, At: now.UTC()}
}

// liveProcesses answers the processes whose heartbeat was heard lately.
func (c *Core) liveProcesses(ctx context.Context) (map[string]bool, error) {
	l, err := c.o.Ephemeral.Members(ctx, liveKey(), c.fleet.o.Dead, maxNodes)
	if err != nil {
		return nil, broken("ask which nodes live", err)
	}
	live := make(map[string]bool, len(l))
	for _, p := range l {
		live[p] = true
	}
	return live, nil
}

// liveNodes answers what those tell of themselves, by their names. One that has told nothing yet is left out.
func (c *Core) liveNodes(ctx context.Context) ([]Node, error) {
	live, err := c.liveProcesses(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var l []Node
	each(tellers, slices.Collect(maps.Keys(live)), func(process string) {
		p, e := c.o.Ephemeral.Get(ctx, nodeKey(process))
		if errors.Is(e, store.ErrNotFound) {
			return
		}
		var n Node
		if e == nil {
			e = json.Unmarshal(p, &n)
		}
		mu.Lock()
		defer mu.Unlock()
		if err = errors.Join(err, e); e == nil {
			l = append(l, n)
		}
	})
	if err != nil {
		return nil, broken("ask after the nodes", err)
	}
	slices.SortFunc(l, func(a, b Node) int {
		return strings.Compare(a.Name+"\x00"+a.Process, b.Name+"\x00"+b.Process)
	})
	return l, nil
}

// Nodes lists the living nodes for an operator. A process that shares its records with nobody is the only one.
func (c *Core) Nodes(ctx context.Context, a Actor) ([]Node, error) {
	if !a.may(readTenants, "", "", "") {
		return nil, a.refusal(readTenants, "", "", "")
	}
	if c.fleet == nil {
		return []Node{{ID: c.o.Node, Name: c.o.Node, Started: c.started, Keys: KeysHeld(c.o.Keys), Sessions: c.doors.Len(), At: c.now().UTC()}}, nil
	}
	return c.liveNodes(ctx)
}
