package admin

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/policy/api"
)

func (s service) tokens(k *api.Kit) {
	const tag = "API tokens"
	api.SignedIn(k, api.Operation{ID: "list-api-tokens", Method: http.MethodGet, Path: "/me/api-tokens", Tag: tag,
		Summary: "My API tokens, without secrets"}, s.listTokens)
	api.SignedIn(k, api.Operation{ID: "create-api-token", Method: http.MethodPost, Path: "/me/api-tokens", Tag: tag, Status: http.StatusCreated, Creates: true,
		Summary: "Make a token for a program of mine (administrators and operators); it is in this answer and never seen again"}, s.createToken)
	api.SignedIn(k, api.Operation{ID: "delete-api-token", Method: http.MethodDelete, Path: "/me/api-tokens/{id}", Tag: tag,
		Summary: "Delete one; it is over at once"}, s.deleteToken)
}

// Token is an API token as lists show it.
type Token struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Scopes      []session.Scope `json:"scopes" nullable:"false" enum:"read,write"`
	Domains     []string        `json:"domains" nullable:"false" doc:"Those that it is for; * is all"`
	CreatedAt   time.Time       `json:"created_at"`
	CreatedFrom string          `json:"created_from,omitempty"`
	UsedAt      time.Time       `json:"used_at" doc:"To five minutes"`
	ExpiresAt   time.Time       `json:"expires_at"`
}

func tokenOf(t authcore.APIToken) Token {
	return Token{ID: string(t.ID), Name: t.Name, Scopes: t.Scopes, Domains: t.Domains, CreatedAt: t.CreatedAt, CreatedFrom: t.From, UsedAt: t.UsedAt,
		ExpiresAt: t.ExpiresAt}
}

func (s service) listTokens(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.List[Token]], error) {
	l, err := s.core.APITokens(ctx, a)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", tokenOf), nil
}

type newToken struct {
	Body struct {
		Name      string          `json:"name" maxLength:"1024" doc:"1 to 40 characters"`
		Scopes    []session.Scope `json:"scopes" nullable:"false" maxItems:"2" enum:"read,write" doc:"write includes read"`
		Domains   []string        `json:"domains,omitempty" nullable:"false" maxItems:"100" doc:"Default: my own. Operators name others, or * for all and for making them"`
		ExpiresAt time.Time       `json:"expires_at,omitzero" doc:"Default: in 90 days; in 365 at most"`
	} `nameHint:"NewToken"`
}

// CreatedToken is an API token with its secret.
type CreatedToken struct {
	Token
	Secret string `json:"token" doc:"Shown once: the bearer token"`
}

func (s service) createToken(ctx context.Context, a authcore.Actor, in *newToken) (*api.Reply[CreatedToken], error) {
	b := in.Body
	t, token, err := s.core.CreateAPIToken(ctx, a, authcore.TokenWish{Name: b.Name, Scopes: b.Scopes, Domains: b.Domains, ExpiresAt: b.ExpiresAt})
	if err != nil {
		return nil, err
	}
	return &api.Reply[CreatedToken]{Body: CreatedToken{Token: tokenOf(t), Secret: token.Reveal()}}, nil
}

func (s service) deleteToken(ctx context.Context, a authcore.Actor, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*api.None, error) {
	return nil, s.core.DeleteAPIToken(ctx, a, session.ID(in.ID))
}
