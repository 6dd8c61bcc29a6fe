package admin

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy/api"
)

func (s service) statuses(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "suspend-member", Method: http.MethodPost, Path: "/members/{address}/suspend", Tag: memberTag,
		Summary: "Suspend a member; he is signed out of everything"}, s.suspend)
	api.SignedIn(k, api.Operation{ID: "lift-suspension", Method: http.MethodPost, Path: "/members/{address}/lift", Tag: memberTag,
		Summary: "Lift a suspension and clear the count of wrong passwords"}, s.lift)
	api.SignedIn(k, api.Operation{ID: "sign-out-member", Method: http.MethodPost, Path: "/members/{address}/sign-out", Tag: memberTag,
		Summary: "Sign a member out of everything"}, s.signOut)
	api.SignedIn(k, api.Operation{ID: "reset-password", Method: http.MethodPost, Path: "/members/{address}/reset-password", Tag: memberTag,
		Summary: "Give a member a temporary password; it is in this answer and never seen again"}, s.resetPassword)
}

func (s service) suspend(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Tagged[api.Member], error) {
	return tagged(s.core.Suspend(ctx, a, in.Address))
}

func (s service) lift(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Tagged[api.Member], error) {
	return tagged(s.core.Lift(ctx, a, in.Address))
}

func (s service) signOut(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Tagged[api.Member], error) {
	return tagged(s.core.SignOutEverywhere(ctx, a, in.Address))
}

type reset struct {
	OnMember
	Body *resetWishes
}

type resetWishes struct {
	KeepAppPasswords bool `json:"keep_app_passwords,omitempty" doc:"Default: they are deleted too"`
}

// Temporary is a temporary password.
type Temporary struct {
	Password  string    `json:"temporary_password" doc:"Shown once; for the web only, where he sets his own"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s service) resetPassword(ctx context.Context, a authcore.Actor, in *reset) (*api.Reply[Temporary], error) {
	keep := in.Body != nil && in.Body.KeepAppPasswords
	p, until, err := s.core.ResetPassword(ctx, a, in.Address, keep)
	if err != nil {
		return nil, err
	}
	return &api.Reply[Temporary]{Body: Temporary{Password: p.Reveal(), ExpiresAt: until.UTC()}}, nil
}
