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
	s.steps(k)
	api.SignedIn(k, api.Operation{ID: "list-reauthentication-ways", Method: http.MethodGet, Path: "/reauthenticate", Tag: signInTag,
		Summary: "The ways by which I may prove once more who I am"}, s.confirmWays)
	api.SignedIn(k, api.Operation{ID: "reauthenticate", Method: http.MethodPost, Path: "/reauthenticate", Tag: signInTag,
		Summary: "Prove once more who I am; answers a new token in the place of the old one"}, s.reauthenticate)
	api.SignedIn(k, api.Operation{ID: "sign-out", Method: http.MethodPost, Path: "/sign-out", Tag: signInTag, Summary: "End this session"}, s.signOut)
	api.SignedIn(k, api.Operation{ID: "change-my-password", Method: http.MethodPut, Path: "/me/password", Tag: tag,
		Summary: "Set a new account password; ends my other sessions and answers a new token"}, s.changePassword)
}

// Result is what a step of a sign-in came to.
type Result struct {
	State     string      `json:"state" enum:"signed_in,two_step_required,password_change_required,two_step_enrolment_required" doc:"Which step comes next"`
	Token     string      `json:"token,omitempty" doc:"With signed_in: for Authorization: Bearer"`
	ExpiresAt time.Time   `json:"expires_at,omitzero" doc:"Of the token, or of the ticket"`
	Member    *api.Member `json:"member,omitempty" doc:"With signed_in"`
	Ticket    string      `json:"ticket,omitempty" doc:"For the next step, once, within ten minutes and from where the sign-in began"`
	Methods   []Method    `json:"methods,omitempty" nullable:"false" doc:"With two_step_required: any one of them"`
	Enrol     []string    `json:"enrol,omitempty" nullable:"false" enum:"email,mobile,totp" doc:"With two_step_enrolment_required: any one of these kinds"`
	Trusted   *Trusted    `json:"trusted_browser,omitempty" doc:"With signed_in, where it was asked for and the policy allows it"`
}

// Method is one method for the second step.
type Method struct {
	Method string `json:"method" enum:"email,mobile,totp,recovery_code,passkey"`
	ID     string `json:"id,omitempty" doc:"Of email and mobile: which, to ask for a code"`
	To     string `json:"to,omitempty" example:"a•••@e•••.org" doc:"Of email and mobile: as much as its owner knows it by"`
}

// Trusted is what a browser shows at its next sign-in, to be spared the second step.
type Trusted struct {
	Token     string    `json:"token" doc:"Shown once; trusted_browser of the next sign-ins"`
	ExpiresAt time.Time `json:"expires_at"`
}

// result shows r. Only a finished sign-in has a token.
func (s service) result(ctx context.Context, r authcore.SignInResult) (*api.Reply[Result], error) {
	v := Result{State: string(r.State), ExpiresAt: r.ExpiresAt, Ticket: r.Ticket.Reveal()}
	for _, m := range r.Methods {
		v.Methods = append(v.Methods, Method{Method: string(m.Kind), ID: m.ID, To: m.To})
	}
	for _, m := range r.Enrollable {
		v.Enrol = append(v.Enrol, string(m))
	}
	if !r.Trust.Empty() {
		v.Trusted = &Trusted{Token: r.Trust.Reveal(), ExpiresAt: r.TrustUntil}
	}
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
		TrustedBrowser
	} `nameHint:"PasswordSignIn"`
}

func (s service) begin(ctx context.Context, c authcore.Client, in *credentials) (*api.Reply[Result], error) {
	r, err := s.core.SignIn(ctx, in.Body.client(c), in.Body.Login, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

// TrustedBrowser is a part of every request that proves a first factor. It is exported because huma looks into exported
// fields alone.
type TrustedBrowser struct {
	Token typed `json:"trusted_browser,omitempty" maxLength:"200" doc:"What this browser was given to be spared the second step"`
}

func (b TrustedBrowser) client(c authcore.Client) authcore.Client {
	c.TrustedBrowser = b.Token
	return c
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

// Ways are first factors, by the names that policies have for them.
type Ways struct {
	Ways []string `json:"ways" nullable:"false" example:"[\"password\",\"line\",\"oidc.acme\"]" doc:"password, line, phone, quick, passkey, or oidc. and the name of a provider"`
}

func (s service) confirmWays(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[Ways], error) {
	l, err := s.core.ReauthenticationWays(ctx, a)
	if err != nil {
		return nil, err
	}
	return &api.Reply[Ways]{Body: Ways{Ways: l}}, nil
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
