package self

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/policy/api"
)

func (s service) appPasswords(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-my-app-passwords", Method: http.MethodGet, Path: "/me/app-passwords", Tag: tag,
		Summary: "My app passwords"}, s.list)
	api.SignedIn(k, api.Operation{ID: "create-app-password", Method: http.MethodPost, Path: "/me/app-passwords", Tag: tag, Status: http.StatusCreated, Creates: true,
		Summary: "Make an app password; its secret is in this answer and never seen again"}, s.create)
	api.SignedIn(k, api.Operation{ID: "delete-my-app-password", Method: http.MethodDelete, Path: "/me/app-passwords/{id}", Tag: tag,
		Summary: "Delete an app password; what it signed in is cut"}, s.delete)
	api.SignedIn(k, api.Operation{ID: "set-my-app-password-option", Method: http.MethodPut, Path: "/me/app-passwords/option", Tag: tag,
		Summary: "Choose whether third-party programs need an app password"}, s.option)
}

func (s service) list(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.List[api.AppPassword]], error) {
	l, err := s.core.AppPasswords(ctx, a)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", api.AppPasswordOf), nil
}

type wish struct {
	Body struct {
		Name      string    `json:"name" doc:"1 to 40 characters"`
		Doors     []string  `json:"doors,omitempty" nullable:"false" maxItems:"20" doc:"Default: all"`
		Networks  []string  `json:"networks,omitempty" nullable:"false" maxItems:"100" doc:"Addresses or CIDR; default: from anywhere"`
		ExpiresAt time.Time `json:"expires_at,omitzero" doc:"Default: never"`
	} `nameHint:"NewAppPassword"`
}

// CreatedAppPassword is an app password with its secret.
type CreatedAppPassword struct {
	api.AppPassword
	Password string `json:"password" example:"abcd-efgh-jkmn-2345" doc:"Shown once"`
}

func (s service) create(ctx context.Context, a authcore.Actor, in *wish) (*api.Reply[CreatedAppPassword], error) {
	w := apppass.Wish{Name: in.Body.Name, Doors: in.Body.Doors, Networks: in.Body.Networks, ExpiresAt: in.Body.ExpiresAt}
	p, plain, err := s.core.CreateAppPassword(ctx, a, w)
	if err != nil {
		return nil, err
	}
	return &api.Reply[CreatedAppPassword]{Body: CreatedAppPassword{AppPassword: api.AppPasswordOf(p), Password: plain.Reveal()}}, nil
}

// ByID is an operation on one thing of the member. It is exported because huma looks into exported fields alone.
type ByID struct {
	ID string `path:"id" maxLength:"64"`
}

func (s service) delete(ctx context.Context, a authcore.Actor, in *ByID) (*api.None, error) {
	return nil, s.core.DeleteAppPassword(ctx, a, in.ID)
}

type choice struct {
	Body struct {
		Enabled bool `json:"enabled"`
	} `nameHint:"AppPasswordOption"`
}

func (s service) option(ctx context.Context, a authcore.Actor, in *choice) (*api.Reply[api.Option], error) {
	p, err := s.core.SetAppPasswordOption(ctx, a, in.Body.Enabled)
	if err != nil {
		return nil, err
	}
	return &api.Reply[api.Option]{Body: api.MemberOf(p).AppPasswordOption}, nil
}
