// Package self has the endpoints of a member: signing in and out, and looking after his own account. It refuses nothing
// itself: authcore decides, and every operation is on whoever's token is shown.
package self

import (
	"context"
	"net/http"

	"latchkey/authcore"
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
	s.inbox(k)
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

// typed is a secret that somebody typed: any text, its bounds are authcore's.
type typed = secret.String
