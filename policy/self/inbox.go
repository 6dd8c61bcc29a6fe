package self

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/authcore/notify"
	"latchkey/policy/api"
)

func (s service) inbox(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-my-messages", Method: http.MethodGet, Path: "/me/messages", Tag: tag,
		Summary: "What happened to my account, newest first"}, s.messages)
	api.SignedIn(k, api.Operation{ID: "mark-my-message", Method: http.MethodPut, Path: "/me/messages/{id}/read", Tag: tag,
		Summary: "Mark a message as read, or as unread"}, s.markMessage)
	api.SignedIn(k, api.Operation{ID: "delete-my-message", Method: http.MethodDelete, Path: "/me/messages/{id}", Tag: tag,
		Summary: "Delete a message"}, s.deleteMessage)
	api.SignedIn(k, api.Operation{ID: "set-my-language", Method: http.MethodPut, Path: "/me/language", Tag: tag,
		Summary: "Choose the language of my messages"}, s.language)
}

func (s service) messages(ctx context.Context, a authcore.Actor, in *struct{ api.Page }) (*api.Reply[api.List[notify.Message]], error) {
	l, next, err := s.core.Messages(ctx, a, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, next, api.Same), nil
}

type mark struct {
	ByID
	Body struct {
		Read bool `json:"read"`
	} `nameHint:"MessageMark"`
}

func (s service) markMessage(ctx context.Context, a authcore.Actor, in *mark) (*api.None, error) {
	return nil, s.core.MarkMessage(ctx, a, in.ID, in.Body.Read)
}

func (s service) deleteMessage(ctx context.Context, a authcore.Actor, in *ByID) (*api.None, error) {
	return nil, s.core.DeleteMessage(ctx, a, in.ID)
}

type languageChoice struct {
	Body struct {
		Language string `json:"language" enum:"en,ja,ko"`
	} `nameHint:"Language"`
}

func (s service) language(ctx context.Context, a authcore.Actor, in *languageChoice) (*api.Reply[api.Member], error) {
	p, err := s.core.SetLanguage(ctx, a, in.Body.Language)
	if err != nil {
		return nil, err
	}
	return &api.Reply[api.Member]{Body: api.MemberOf(p)}, nil
}
