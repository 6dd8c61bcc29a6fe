package self

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy/api"
)

// providers has what begins with LINE or another OpenID provider and ends with its answer: a client asks for an address,
// sends the browser there, and hands back what the provider put into the redirect. Codes and states come in bodies, so
// that no log of addresses has them.
func (s service) providers(k *api.Kit) {
	api.Open(k, api.Operation{ID: "sign-in-provider", Method: http.MethodPost, Path: "/sign-in/oidc/{provider}", Tag: signInTag,
		Summary: "Begin to sign in with LINE or another OpenID provider"}, s.beginProvider)
	api.Open(k, api.Operation{ID: "sign-in-provider-callback", Method: http.MethodPost, Path: "/sign-in/oidc/{provider}/callback", Tag: signInTag,
		Summary: "Go on to sign in with the provider's answer"}, s.endProvider)
	api.SignedIn(k, api.Operation{ID: "reauthenticate-provider", Method: http.MethodPost, Path: "/reauthenticate/oidc/{provider}", Tag: signInTag,
		Summary: "Begin to prove once more who I am, at a provider"}, s.beginConfirm)
	api.SignedIn(k, api.Operation{ID: "reauthenticate-provider-callback", Method: http.MethodPost, Path: "/reauthenticate/oidc/{provider}/callback", Tag: signInTag,
		Summary: "Prove who I am by the provider's answer; answers a new token in the place of the old one"}, s.endConfirm)
	api.SignedIn(k, api.Operation{ID: "list-my-links", Method: http.MethodGet, Path: "/me/links", Tag: tag,
		Summary: "The providers that I sign in with"}, s.links)
	api.SignedIn(k, api.Operation{ID: "link-provider", Method: http.MethodPost, Path: "/me/links/{provider}", Tag: tag,
		Summary: "Begin to link my account at a provider"}, s.beginLink)
	api.SignedIn(k, api.Operation{ID: "link-provider-callback", Method: http.MethodPost, Path: "/me/links/{provider}/callback", Tag: tag, Status: http.StatusCreated,
		Summary: "Link the account that the provider's answer is of"}, s.endLink)
	api.SignedIn(k, api.Operation{ID: "unlink-provider", Method: http.MethodDelete, Path: "/me/links/{provider}", Tag: tag,
		Summary: "Sign in with this provider no more"}, s.unlink)
}

// AtProvider is an operation at one provider. It is exported because huma looks into exported fields alone.
type AtProvider struct {
	Provider string `path:"provider" maxLength:"32" example:"line" doc:"Its name in the configuration"`
}

// ProviderStep sends a browser to a provider.
type ProviderStep struct {
	AuthorizeURL string    `json:"authorize_url" doc:"Where to send the browser; it comes back to the redirect_url of the configuration"`
	Ticket       string    `json:"ticket" doc:"For the answer, once, from the same browser"`
	ExpiresAt    time.Time `json:"expires_at" doc:"Of the ticket"`
}

// answered is what the provider put into the redirect, and the ticket of the beginning.
type answered struct {
	AtProvider
	Body struct {
		Ticket typed  `json:"ticket" maxLength:"200"`
		State  typed  `json:"state" maxLength:"200" doc:"From the redirect"`
		Code   typed  `json:"code" maxLength:"4096" doc:"From the redirect"`
		Issuer string `json:"iss,omitempty" maxLength:"1024" doc:"From the redirect, where the provider sends it"`
		TrustedBrowser
	} `nameHint:"ProviderAnswer"`
}

func (in *answered) answer() authcore.ProviderAnswer {
	return authcore.ProviderAnswer{State: in.Body.State, Code: in.Body.Code, Issuer: in.Body.Issuer}
}

func step(p authcore.ProviderStep, err error) (*api.Reply[ProviderStep], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[ProviderStep]{Body: ProviderStep{AuthorizeURL: p.AuthorizeURL, Ticket: p.Ticket.Reveal(), ExpiresAt: p.ExpiresAt.UTC()}}, nil
}

func (s service) beginProvider(ctx context.Context, c authcore.Client, in *AtProvider) (*api.Reply[ProviderStep], error) {
	return step(s.core.SignInProvider(ctx, c, in.Provider))
}

func (s service) endProvider(ctx context.Context, c authcore.Client, in *answered) (*api.Reply[Result], error) {
	r, err := s.core.SignInProviderCallback(ctx, in.Body.client(c), in.Provider, in.Body.Ticket, in.answer())
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

func (s service) beginConfirm(ctx context.Context, a authcore.Actor, in *AtProvider) (*api.Reply[ProviderStep], error) {
	return step(s.core.ReauthenticateProvider(ctx, a, in.Provider))
}

func (s service) endConfirm(ctx context.Context, a authcore.Actor, in *answered) (*api.Reply[Result], error) {
	r, err := s.core.ReauthenticateProviderCallback(ctx, a, in.Provider, in.Body.Ticket, in.answer())
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

// Link is a provider that a member signs in with. Nothing of his account there is shown.
type Link struct {
	Provider string    `json:"provider"`
	LinkedAt time.Time `json:"linked_at"`
}

func linkOf(l authcore.Link) Link { return Link{Provider: l.Provider, LinkedAt: l.Since} }

func (s service) links(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.List[Link]], error) {
	l, err := s.core.Links(ctx, a)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", linkOf), nil
}

func (s service) beginLink(ctx context.Context, a authcore.Actor, in *AtProvider) (*api.Reply[ProviderStep], error) {
	return step(s.core.LinkProvider(ctx, a, in.Provider))
}

func (s service) endLink(ctx context.Context, a authcore.Actor, in *answered) (*api.Reply[Link], error) {
	l, err := s.core.LinkProviderCallback(ctx, a, in.Provider, in.Body.Ticket, in.answer())
	if err != nil {
		return nil, err
	}
	return &api.Reply[Link]{Body: linkOf(l)}, nil
}

func (s service) unlink(ctx context.Context, a authcore.Actor, in *AtProvider) (*api.None, error) {
	return nil, s.core.Unlink(ctx, a, in.Provider)
}
