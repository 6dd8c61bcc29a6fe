package admin

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy/api"
)

func (s service) announcements(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-announcements", Method: http.MethodGet, Path: "/domains/{domain}/announcements", Tag: domainTag,
		Summary: "What every member is told, and how many were told yet, newest first"}, s.listAnnouncements)
}

// Announcement is what every member of a domain is told, once.
type Announcement struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind" example:"way_allowed"`
	Name       string    `json:"name" example:"line" doc:"The way to sign in that is available now"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Done       int       `json:"done" doc:"Members told"`
	Total      int       `json:"total" doc:"Members as they were counted when it began; 0 before that"`
}

type announcementsOf struct {
	OnDomain
	api.Page
}

func (s service) listAnnouncements(ctx context.Context, a authcore.Actor, in *announcementsOf) (*api.Reply[api.List[Announcement]], error) {
	l, next, err := s.core.Announcements(ctx, a, in.Domain, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, next, func(n authcore.Announcement) Announcement {
		return Announcement{ID: n.ID, Kind: string(n.Kind), Name: n.Name, StartedAt: n.At, FinishedAt: n.FinishedAt, Done: n.Done, Total: n.Total}
	}), nil
}
