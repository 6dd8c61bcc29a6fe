package admin

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/policy/api"
)

func (s service) policies(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "get-policy", Method: http.MethodGet, Path: "/domains/{domain}/policy", Tag: domainTag,
		Summary: "The policy, with its revision as ETag"}, s.policy)
	api.SignedIn(k, api.Operation{ID: "set-policy", Method: http.MethodPut, Path: "/domains/{domain}/policy", Tag: domainTag,
		Summary: "Save a whole policy over the one that was read (If-Match); it signs nobody out"}, s.setPolicy)
	api.SignedIn(k, api.Operation{ID: "preview-policy", Method: http.MethodPost, Path: "/domains/{domain}/policy/preview", Tag: domainTag,
		Summary: "What saving this policy would do: who could not sign in any more, at all or in some way, and whose programs would stop"}, s.preview)
}

func (s service) policy(ctx context.Context, a authcore.Actor, in *OnDomain) (*api.Tagged[policy.Policy], error) {
	p, rev, err := s.core.Policy(ctx, a, in.Domain)
	if err != nil {
		return nil, err
	}
	return &api.Tagged[policy.Policy]{ETag: api.Tag(rev), Body: p}, nil
}

type policyQuery struct {
	OnDomain
	AfterLockedOut string `query:"after_locked_out" maxLength:"200" doc:"Where the list goes on: next_locked_out of the answer before"`
	AfterEnding    string `query:"after_ways_ending" maxLength:"200" doc:"Where the list goes on: next_ways_ending of the answer before"`
	AfterStopping  string `query:"after_stopping" maxLength:"200" doc:"Where the list goes on: next_stopping of the answer before"`
	Body           policy.Policy
}

// Preview is what saving a policy would do.
type Preview struct {
	Members       int         `json:"members" doc:"Active members of the domain"`
	LockedOut     int         `json:"locked_out" doc:"Who could not sign in any more with the account password: a second step would be asked, and there is none"`
	AlreadyOut    int         `json:"already_locked_out" doc:"Those of them for whom it is so today"`
	LockedOutList []LockedOut `json:"locked_out_members" nullable:"false" doc:"100 of them"`
	NextLockedOut string      `json:"next_locked_out,omitempty"`
	Ending        int         `json:"ways_ending" doc:"Who could not sign in any more by a way that stays allowed, and keep their account password"`
	EndingList    []Ending    `json:"ways_ending_members" nullable:"false" doc:"100 of them"`
	NextEnding    string      `json:"next_ways_ending,omitempty"`
	Stopping      int         `json:"stopping" doc:"Whose programs would stop at their next connection: another credential would count at the doors"`
	WithoutApps   int         `json:"stopping_without_app_password" doc:"Those of them who have no app password to go on with"`
	StoppingList  []Stopping  `json:"stopping_members" nullable:"false" doc:"100 of them"`
	NextStopping  string      `json:"next_stopping,omitempty"`
	StoppingFrom  time.Time   `json:"stopping_from,omitzero" doc:"When they stop, if it is not at once: third_party.required_from"`
}

// LockedOut is a member who could not sign in any more.
type LockedOut struct {
	Address string `json:"address"`
	Already bool   `json:"already" doc:"It is so today"`
}

// Ending is a member who could not sign in any more by some of his ways.
type Ending struct {
	Address string   `json:"address"`
	Ways    []string `json:"ways" nullable:"false" enum:"phone,passkey" doc:"A second step would be asked after them, and all that he has for it is the same thing once more"`
}

// Stopping is a member whose programs would stop.
type Stopping struct {
	Address      string `json:"address"`
	Counts       string `json:"counts" enum:"app_password,account_password" doc:"The one kind of credential that would count"`
	AppPasswords int    `json:"app_passwords" doc:"How many he has"`
}

func (s service) preview(ctx context.Context, a authcore.Actor, in *policyQuery) (*api.Reply[Preview], error) {
	p, err := s.core.PreviewPolicy(ctx, a, in.Domain, in.Body, authcore.PreviewAfter{LockedOut: in.AfterLockedOut, Ending: in.AfterEnding, Stopping: in.AfterStopping})
	if err != nil {
		return nil, err
	}
	v := Preview{Members: p.Members, LockedOut: p.LockedOut, AlreadyOut: p.AlreadyOut, LockedOutList: []LockedOut{}, NextLockedOut: p.Next.LockedOut,
		Ending: p.Ending, EndingList: []Ending{}, NextEnding: p.Next.Ending,
		Stopping: p.Stopping, WithoutApps: p.WithoutApps, StoppingList: []Stopping{}, NextStopping: p.Next.Stopping, StoppingFrom: p.StoppingFrom}
	for _, m := range p.LockedOutList {
		v.LockedOutList = append(v.LockedOutList, LockedOut{Address: m.Address, Already: m.Already})
	}
	for _, m := range p.EndingList {
		v.EndingList = append(v.EndingList, Ending{Address: m.Address, Ways: m.Ways})
	}
	for _, m := range p.StoppingList {
		counts := "account_password"
		if m.Counts == policy.AppPassword {
			counts = "app_password"
		}
		v.StoppingList = append(v.StoppingList, Stopping{Address: m.Address, Counts: counts, AppPasswords: m.AppPasswords})
	}
	return &api.Reply[Preview]{Body: v}, nil
}

type newPolicy struct {
	OnDomain
	api.IfMatch
	Body policy.Policy
}

func (s service) setPolicy(ctx context.Context, a authcore.Actor, in *newPolicy) (*api.Tagged[policy.Policy], error) {
	over, err := in.Revision()
	if err != nil {
		return nil, err
	}
	rev, err := s.core.SetPolicy(ctx, a, in.Domain, in.Body, over)
	if err != nil {
		return nil, err
	}
	return &api.Tagged[policy.Policy]{ETag: api.Tag(rev), Body: in.Body}, nil
}
