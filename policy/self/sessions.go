package self

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/policy/api"
)

func (s service) mySessions(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-my-sessions", Method: http.MethodGet, Path: "/me/sessions", Tag: tag,
		Summary: "What I am signed in to"}, s.sessions)
	api.SignedIn(k, api.Operation{ID: "end-my-sessions", Method: http.MethodDelete, Path: "/me/sessions", Tag: tag,
		Summary: "Sign out everywhere, here and at the doors too"}, s.endSessions)
	api.SignedIn(k, api.Operation{ID: "end-my-session", Method: http.MethodDelete, Path: "/me/sessions/{id}", Tag: tag,
		Summary: "End one of my sessions; at a door it is cut"}, s.endSession)
	api.SignedIn(k, api.Operation{ID: "list-my-trusted-browsers", Method: http.MethodGet, Path: "/me/trusted-browsers", Tag: tag,
		Summary: "Browsers that are spared the second step"}, s.trustedBrowsers)
	api.SignedIn(k, api.Operation{ID: "end-my-trusted-browsers", Method: http.MethodDelete, Path: "/me/trusted-browsers", Tag: tag,
		Summary: "Ask every browser for the second step again"}, s.endTrusts)
	api.SignedIn(k, api.Operation{ID: "end-my-trusted-browser", Method: http.MethodDelete, Path: "/me/trusted-browsers/{id}", Tag: tag,
		Summary: "Ask one browser for the second step again"}, s.endTrust)
}

func (s service) sessions(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.List[api.Session]], error) {
	l, err := s.core.MySessions(ctx, a)
	if err != nil {
		return nil, err
	}
	return api.SessionsOf(l), nil
}

func (s service) endSessions(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.None, error) {
	return nil, s.core.EndMySessions(ctx, a)
}

func (s service) endSession(ctx context.Context, a authcore.Actor, in *ByID) (*api.None, error) {
	return nil, s.core.EndMySession(ctx, a, session.ID(in.ID))
}

// TrustedBrowserInfo is a browser that is spared the second step.
type TrustedBrowserInfo struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	From      string    `json:"from,omitempty"`
	Agent     string    `json:"agent,omitempty"`
}

func trustedBrowser(t session.Trust) TrustedBrowserInfo {
	return TrustedBrowserInfo{ID: t.ID, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, From: t.From, Agent: t.Agent}
}

func (s service) trustedBrowsers(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.List[TrustedBrowserInfo]], error) {
	l, err := s.core.TrustedBrowsers(ctx, a)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", trustedBrowser), nil
}

func (s service) endTrusts(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.None, error) {
	return nil, s.core.EndTrust(ctx, a, "")
}

func (s service) endTrust(ctx context.Context, a authcore.Actor, in *ByID) (*api.None, error) {
	return nil, s.core.EndTrust(ctx, a, in.ID)
}
