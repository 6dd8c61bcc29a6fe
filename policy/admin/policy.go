package admin

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/policy/api"
)

func (s service) policies(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "get-policy", Method: http.MethodGet, Path: "/domains/{domain}/policy", Tag: domainTag,
		Summary: "The policy, with its revision as ETag"}, s.policy)
	api.SignedIn(k, api.Operation{ID: "set-policy", Method: http.MethodPut, Path: "/domains/{domain}/policy", Tag: domainTag,
		Summary: "Save a whole policy over the one that was read (If-Match); it signs nobody out"}, s.setPolicy)
}

func (s service) policy(ctx context.Context, a authcore.Actor, in *OnDomain) (*api.Tagged[policy.Policy], error) {
	p, rev, err := s.core.Policy(ctx, a, in.Domain)
	if err != nil {
		return nil, err
	}
	return &api.Tagged[policy.Policy]{ETag: api.Tag(rev), Body: p}, nil
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
