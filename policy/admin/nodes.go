package admin

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy/api"
)

func (s service) nodes(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-nodes", Method: http.MethodGet, Path: "/nodes", Tag: domainTag,
		Summary: "The nodes of the fleet that live now (operators); a server alone is the only one"}, s.listNodes)
	api.SignedIn(k, api.Operation{ID: "list-domain-sessions", Method: http.MethodGet, Path: "/domains/{domain}/sessions", Tag: domainTag,
		Summary: "Live sessions at the doors of a domain's members, on all nodes, newest first"}, s.domainSessions)
}

// Node is one node of the fleet.
type Node struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Version   string    `json:"version,omitempty"`
	StartedAt time.Time `json:"started_at"`
	Listeners []string  `json:"listeners" nullable:"false" doc:"Names and addresses"`
	Keys      []NodeKey `json:"keys" nullable:"false" doc:"The server keys that it holds: the same on all nodes but while one is being rotated"`
	Sessions  int       `json:"sessions" doc:"Live at its doors"`
	Draining  bool      `json:"draining" doc:"It takes nobody in any more"`
	HeardAt   time.Time `json:"heard_at" doc:"Its last heartbeat, by its own clock"`
}

// NodeKey is a server key that a node holds.
type NodeKey struct {
	ID    string `json:"id"`
	Kind  string `json:"kind" enum:"mac,sign"`
	Check string `json:"check" doc:"Equal on two nodes: the same key"`
}

func nodeOf(n authcore.Node) Node {
	v := Node{ID: n.ID, Name: n.Name, Version: n.Version, StartedAt: n.Started, Listeners: append([]string{}, n.Addresses...), Keys: []NodeKey{},
		Sessions: n.Sessions, Draining: n.Draining, HeardAt: n.At}
	for _, k := range n.Keys {
		v.Keys = append(v.Keys, NodeKey{ID: k.ID, Kind: k.Kind, Check: k.Value})
	}
	return v
}

func (s service) listNodes(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.List[Node]], error) {
	l, err := s.core.Nodes(ctx, a)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", nodeOf), nil
}

// DomainSession is a live session at a door, with whose it is.
type DomainSession struct {
	api.Session
	Member string `json:"member" doc:"The member's address"`
}

// domainSessionsPage is a page of a domain's live sessions.
type domainSessionsPage struct {
	Items  []DomainSession `json:"items" nullable:"false"`
	Next   string          `json:"next,omitempty" doc:"Where to go on: the after of the next page"`
	Silent []string        `json:"silent" nullable:"false" doc:"Names of nodes that did not answer in time: theirs are missing"`
}

func (s service) domainSessions(ctx context.Context, a authcore.Actor, in *struct {
	OnDomain
	api.Page
}) (*api.Reply[domainSessionsPage], error) {
	p, err := s.core.DomainSessions(ctx, a, in.Domain, authcore.DoorSessions{}, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	v := domainSessionsPage{Items: []DomainSession{}, Next: p.Next, Silent: append([]string{}, p.Silent...)}
	for _, d := range p.Sessions {
		v.Items = append(v.Items, DomainSession{Session: api.DoorSessionOf(d.Door), Member: d.Address})
	}
	return &api.Reply[domainSessionsPage]{Body: v}, nil
}
