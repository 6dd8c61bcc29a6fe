package self

import (
	"context"
	"errors"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/policy/api"
)

const signInTag = "Signing in"

func (s service) signIn(k *api.Kit) {
	api.Open(k, api.Operation{ID: "sign-in", Method: http.MethodPost, Path: "/sign-in", Tag: signInTag,
		Summary: "Begin to sign in with the account password"}, s.begin)
	api.Open(k, api.Operation{ID: "sign-in-password", Method: http.MethodPost, Path: "/sign-in/password", Tag: signInTag,
		Summary: "Set the new password that a sign-in asked for"}, s.newPassword)
	api.SignedIn(k, api.Operation{ID: "reauthenticate", Method: http.MethodPost, Path: "/reauthenticate", Tag: signInTag,
		Summary: "Prove once more who I am; answers a new token in the place of the old one"}, s.reauthenticate)
	api.SignedIn(k, api.Operation{ID: "sign-out", Method: http.MethodPost, Path: "/sign-out", Tag: signInTag, Summary: "End this session"}, s.signOut)
	api.SignedIn(k, api.Operation{ID: "change-my-password", Method: http.MethodPut, Path: "/me/password", Tag: tag,
		Summary: "Set a new account password; ends my other sessions and answers a new token"}, s.changePassword)
}

// Result is what a step of a sign-in came to.
type Result struct {
	State     string      `json:"state" enum:"signed_in,password_change_required,two_step_required" doc:"Which step comes next"`
	Token     string      `json:"token,omitempty" doc:"With signed_in: for Authorization: Bearer"`
	ExpiresAt time.Time   `json:"expires_at,omitzero" doc:"Of the token, or of the ticket"`
	Member    *api.Member `json:"member,omitempty" doc:"With signed_in"`
	Ticket    string      `json:"ticket,omitempty" doc:"For the next step, once"`
}

// result shows r. Only a finished sign-in has a token.
func (s service) result(ctx context.Context, r authcore.SignInResult) (*api.Reply[Result], error) {
	v := Result{State: string(r.State), ExpiresAt: r.ExpiresAt, Ticket: r.Ticket.Reveal()}
	if r.State == authcore.SignedIn {
		p, err := s.core.Me(ctx, r.Actor)
		if err != nil {
			return nil, err
		}
		m := api.MemberOf(p)
		v.Token, v.Member = r.Token.Reveal(), &m
	}
	return &api.Reply[Result]{Body: v}, nil
}

type credentials struct {
	Body struct {
		Login    string `json:"login" maxLength:"1024" doc:"An address or an alias"`
		Password typed  `json:"password" maxLength:"1024"`
	} `nameHint:"PasswordSignIn"`
}

func (s service) begin(ctx context.Context, c authcore.Client, in *credentials) (*api.Reply[Result], error) {
	r, err := s.core.SignIn(ctx, c, in.Body.Login, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

type passwordStep struct {
	Body struct {
		Ticket      typed `json:"ticket" maxLength:"200"`
		NewPassword typed `json:"new_password" maxLength:"1024"`
	} `nameHint:"SignInPassword"`
}

func (s service) newPassword(ctx context.Context, c authcore.Client, in *passwordStep) (*api.Reply[Result], error) {
	r, err := s.core.SignInPassword(ctx, c, in.Body.Ticket, in.Body.NewPassword)
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

type proof struct {
	Body struct {
		Password typed `json:"password" maxLength:"1024"`
	} `nameHint:"Reauthenticate"`
}

func (s service) reauthenticate(ctx context.Context, a authcore.Actor, in *proof) (*api.Reply[Result], error) {
	r, err := s.core.Reauthenticate(ctx, a, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

func (s service) signOut(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.None, error) {
	return nil, s.core.SignOut(ctx, a)
}

type passwordChange struct {
	Body struct {
		Current            typed `json:"current" maxLength:"1024"`
		New                typed `json:"new" maxLength:"1024"`
		DeleteAppPasswords bool  `json:"delete_app_passwords,omitempty"`
	} `nameHint:"PasswordChange"`
}

func (s service) changePassword(ctx context.Context, a authcore.Actor, in *passwordChange) (*api.Reply[Result], error) {
	r, err := s.core.ChangePassword(ctx, a, in.Body.Current, in.Body.New, in.Body.DeleteAppPasswords)
	if err != nil {
		return nil, renamed(err, "new_password", "new")
	}
	return s.result(ctx, r)
}

// renamed calls the field of a mistake as this operation does.
func renamed(err error, was, is string) error {
	var d *authcore.Denial
	if !errors.As(err, &d) || len(d.Mistakes) == 0 {
		return err
	}
	c := *d
	c.Mistakes = append([]policy.Mistake(nil), d.Mistakes...)
	for i := range c.Mistakes {
		if c.Mistakes[i].Field == was {
			c.Mistakes[i].Field = is
		}
	}
	return &c
}
