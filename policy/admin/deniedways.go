package admin

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/policy/api"
)

func (s service) deniedWays(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "deny-ways", Method: http.MethodPut, Path: "/members/{address}/denied-ways", Tag: memberTag,
		Summary: "Set which ways to sign in beside the password are denied to a member, from his next sign-in"}, s.denyWays)
}

type deniedWays struct {
	OnMember
	api.IfMatch
	Body struct {
		Ways []string `json:"ways" nullable:"false" maxItems:"50" doc:"All of them: line, phone, quick, passkey, or oidc. and a provider's name"`
	} `nameHint:"DeniedWays"`
}

func (s service) denyWays(ctx context.Context, a authcore.Actor, in *deniedWays) (*api.Tagged[api.Member], error) {
	over, err := in.RevisionIfAny()
	if err != nil {
		return nil, err
	}
	return tagged(s.core.DenyWays(ctx, a, in.Address, in.Body.Ways, over))
}
