package self

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/policy/api"
)

const twoStepTag = "2-step verification"

func (s service) twoSteps(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "get-my-two-step", Method: http.MethodGet, Path: "/me/two-step", Tag: twoStepTag,
		Summary: "My 2-step verification: whether it is on, who asked for it, and my methods"}, s.myTwoStep)
	api.SignedIn(k, api.Operation{ID: "switch-my-two-step", Method: http.MethodPut, Path: "/me/two-step", Tag: twoStepTag,
		Summary: "Switch 2-step verification on or off; ends my sessions at the doors, where another credential counts then"}, s.switchTwoStep)
	api.SignedIn(k, api.Operation{ID: "begin-my-authenticator-app", Method: http.MethodPost, Path: "/me/two-step/app", Tag: twoStepTag, Status: http.StatusCreated,
		Summary: "Make the secret of an authenticator app; it is in this answer and never seen again, and counts after its first code"}, s.beginApp)
	api.SignedIn(k, api.Operation{ID: "confirm-my-authenticator-app", Method: http.MethodPost, Path: "/me/two-step/app/confirm", Tag: twoStepTag,
		Summary: "Take the authenticator app into use, by a code that it shows"}, s.confirmApp)
	api.SignedIn(k, api.Operation{ID: "remove-my-authenticator-app", Method: http.MethodDelete, Path: "/me/two-step/app", Tag: twoStepTag,
		Summary: "Remove the authenticator app, unless it is my last method"}, s.removeApp)
	api.SignedIn(k, api.Operation{ID: "make-my-recovery-codes", Method: http.MethodPost, Path: "/me/two-step/recovery-codes", Tag: twoStepTag, Status: http.StatusCreated, Creates: true,
		Summary: "Make ten recovery codes; they are in this answer and never seen again, and void those from before"}, s.recoveryCodes)
}

func twoStep(v authcore.TwoStepView, err error) (*api.Reply[api.TwoStepStatus], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[api.TwoStepStatus]{Body: api.TwoStepOf(v)}, nil
}

func (s service) myTwoStep(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.TwoStepStatus], error) {
	return twoStep(s.core.MyTwoStep(ctx, a))
}

type twoStepSwitch struct {
	Body struct {
		Enabled         bool `json:"enabled"`
		LeaveUnverified bool `json:"leave_unverified,omitempty" doc:"Switch it on though a saved contact is not verified yet; another method must be"`
	} `nameHint:"TwoStepSwitch"`
}

func (s service) switchTwoStep(ctx context.Context, a authcore.Actor, in *twoStepSwitch) (*api.Reply[api.TwoStepStatus], error) {
	return twoStep(s.core.SwitchTwoStep(ctx, a, in.Body.Enabled, in.Body.LeaveUnverified))
}

func (s service) beginApp(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[AppSecret], error) {
	n, err := s.core.BeginApp(ctx, a)
	if err != nil {
		return nil, err
	}
	return &api.Reply[AppSecret]{Body: AppSecret{Secret: n.Secret.Reveal(), URL: n.URL.Reveal()}}, nil
}

type codeTyped struct {
	Body struct {
		Code typed `json:"code" maxLength:"100" doc:"Six digits"`
	} `nameHint:"Code"`
}

func (s service) confirmApp(ctx context.Context, a authcore.Actor, in *codeTyped) (*api.Reply[api.TwoStepStatus], error) {
	return twoStep(s.core.ConfirmApp(ctx, a, in.Body.Code))
}

func (s service) removeApp(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.None, error) {
	return nil, s.core.RemoveApp(ctx, a)
}

// RecoveryCodes are those that were just made.
type RecoveryCodes struct {
	Codes []string `json:"codes" nullable:"false" doc:"Each is good for one sign-in; shown once"`
}

func (s service) recoveryCodes(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[RecoveryCodes], error) {
	l, err := s.core.NewRecoveryCodes(ctx, a)
	if err != nil {
		return nil, err
	}
	v := RecoveryCodes{Codes: make([]string, len(l))}
	for i, c := range l {
		v.Codes[i] = c.Reveal()
	}
	return &api.Reply[RecoveryCodes]{Body: v}, nil
}
