// Package self has the endpoints of a member: signing in and out, and looking after his own account. It refuses nothing
// itself: authcore decides, and every operation is on whoever's token is shown.
package self

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/policy/api"
)

// Register adds them.
func Register(k *api.Kit) {
	s := service{k.Core}
	s.signIn(k)
	s.providers(k)
	s.phone(k)
	s.forgotten(k)
	s.appPasswords(k)
	s.twoSteps(k)
	s.contacts(k)
	s.quick(k)
	s.passkeys(k)
	api.SignedIn(k, api.Operation{ID: "get-me", Method: http.MethodGet, Path: "/me", Tag: tag, Summary: "Who I am"}, s.me)
	s.mySessions(k)
	api.SignedIn(k, api.Operation{ID: "list-my-messages", Method: http.MethodGet, Path: "/me/messages", Tag: tag,
		Summary: "What happened to my account, newest first"}, s.messages)
}

// tag groups the member's own operations in the document.
const tag = "Me"

type service struct{ core *authcore.Core }

func (s service) me(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.Member], error) {
	p, err := s.core.Me(ctx, a)
	if err != nil {
		return nil, err
	}
	return &api.Reply[api.Member]{Body: api.MemberOf(p)}, nil
}

func (s service) messages(ctx context.Context, a authcore.Actor, in *struct{ api.Page }) (*api.Reply[api.List[notify.Message]], error) {
	l, next, err := s.core.Messages(ctx, a, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, next, api.Same), nil
}

// typed is a secret that somebody typed: any text, its bounds are authcore's.
type typed = secret.String
