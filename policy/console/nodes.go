package console

import (
	"strings"

	"latchkey/authcore"
)

func (s *server) nodeRoutes() { s.signedIn("GET /nodes", (*page).nodes) }

// nodeRow is a node of the fleet.
type nodeRow struct {
	authcore.Node
	Listeners string
	Keys      string // the ids of the server keys that it holds
}

// nodes are the operators', where there is a fleet: else the only one would be this very process.
func (p *page) nodes() error {
	l, err := p.core.Nodes(p.ctx, p.actor)
	if err != nil {
		return err
	}
	if !p.core.HasFleet() {
		return &authcore.Denial{Reason: authcore.NotFound}
	}
	var rows []nodeRow
	for _, n := range l {
		var keys []string
		for _, k := range n.Keys {
			keys = append(keys, k.ID)
		}
		rows = append(rows, nodeRow{Node: n, Listeners: strings.Join(n.Addresses, ", "), Keys: strings.Join(keys, ", ")})
	}
	return p.show("nodes.html", rows)
}
