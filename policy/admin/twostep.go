package admin

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/policy/api"
)

func (s service) twoSteps(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "get-two-step", Method: http.MethodGet, Path: "/members/{address}/two-step", Tag: memberTag,
		Summary: "A member's 2-step verification and which methods he has"}, s.twoStep)
	api.SignedIn(k, api.Operation{ID: "reset-two-step", Method: http.MethodDelete, Path: "/members/{address}/two-step", Tag: memberTag,
		Status:  http.StatusOK,
		Summary: "Remove a member's authenticator app and recovery codes and switch off what he switched on; he is told"}, s.resetTwoStep)
}

func twoStep(v authcore.TwoStepView, err error) (*api.Reply[api.TwoStepStatus], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[api.TwoStepStatus]{Body: api.TwoStepOf(v)}, nil
}

func (s service) twoStep(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Reply[api.TwoStepStatus], error) {
	return twoStep(s.core.TwoStepOf(ctx, a, in.Address))
}

func (s service) resetTwoStep(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Reply[api.TwoStepStatus], error) {
	return twoStep(s.core.ResetTwoStep(ctx, a, in.Address))
}
