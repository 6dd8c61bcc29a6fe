package admin

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/policy/api"
)

func (s service) credentials(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-app-passwords", Method: http.MethodGet, Path: "/members/{address}/app-passwords", Tag: memberTag,
		Summary: "A member's app passwords, without secrets"}, s.appPasswords)
	api.SignedIn(k, api.Operation{ID: "delete-app-password", Method: http.MethodDelete, Path: "/members/{address}/app-passwords/{id}", Tag: memberTag,
		Summary: "Delete one; what it signed in is cut"}, s.deleteAppPassword)
	api.SignedIn(k, api.Operation{ID: "list-sessions", Method: http.MethodGet, Path: "/members/{address}/sessions", Tag: memberTag,
		Summary: "What a member is signed in to"}, s.sessions)
	api.SignedIn(k, api.Operation{ID: "end-sessions", Method: http.MethodDelete, Path: "/members/{address}/sessions", Tag: memberTag,
		Summary: "End all of them"}, s.endSessions)
	api.SignedIn(k, api.Operation{ID: "end-session", Method: http.MethodDelete, Path: "/members/{address}/sessions/{id}", Tag: memberTag,
		Summary: "End one"}, s.endSession)
}

// one is one thing of a member's.
type one struct {
	OnMember
	ID string `path:"id" maxLength:"64"`
}

func (s service) appPasswords(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Reply[api.List[api.AppPassword]], error) {
	l, err := s.core.AppPasswordsOf(ctx, a, in.Address)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", api.AppPasswordOf), nil
}

func (s service) deleteAppPassword(ctx context.Context, a authcore.Actor, in *one) (*api.None, error) {
	return nil, s.core.DeleteAppPasswordOf(ctx, a, in.Address, in.ID)
}

func (s service) sessions(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Reply[api.List[api.Session]], error) {
	l, err := s.core.SessionsOf(ctx, a, in.Address)
	if err != nil {
		return nil, err
	}
	return api.SessionsOf(l), nil
}

func (s service) endSessions(ctx context.Context, a authcore.Actor, in *OnMember) (*api.None, error) {
	return nil, s.core.EndSessions(ctx, a, in.Address)
}

func (s service) endSession(ctx context.Context, a authcore.Actor, in *one) (*api.None, error) {
	return nil, s.core.EndSession(ctx, a, in.Address, session.ID(in.ID))
}
