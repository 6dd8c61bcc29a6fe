package self

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy/api"
)

// phone registers signing in with a phone number, and linking one.
func (s service) phone(k *api.Kit) {
	api.Open(k, api.Operation{ID: "sign-in-phone", Method: http.MethodPost, Path: "/sign-in/phone", Tag: signInTag,
		Summary: "Begin to sign in with a phone number; a code goes to it if a member who may sign in so has linked it, and the answer does not tell"}, s.phoneBegin)
	api.Open(k, api.Operation{ID: "sign-in-phone-message", Method: http.MethodPost, Path: "/sign-in/phone/message", Tag: signInTag,
		Summary: "Send a new code to my inbox instead, for sessions that I have already"}, s.phoneMessage)
	api.Open(k, api.Operation{ID: "sign-in-phone-code", Method: http.MethodPost, Path: "/sign-in/phone/code", Tag: signInTag,
		Summary: "Sign in with the code that was sent"}, s.phoneCode)
	api.SignedIn(k, api.Operation{ID: "reauthenticate-phone", Method: http.MethodPost, Path: "/reauthenticate/phone", Tag: signInTag,
		Summary: "Have a code sent to the number I linked, to prove once more who I am"}, s.phoneAgain)
	api.SignedIn(k, api.Operation{ID: "reauthenticate-phone-code", Method: http.MethodPost, Path: "/reauthenticate/phone/code", Tag: signInTag,
		Summary: "Prove once more who I am with the code that was sent; answers a new token in the place of the old one"}, s.phoneAgainCode)
	api.SignedIn(k, api.Operation{ID: "get-my-phone-link", Method: http.MethodGet, Path: "/me/phone-link", Tag: tag,
		Summary: "The number I sign in with"}, s.phoneLink)
	api.SignedIn(k, api.Operation{ID: "create-my-phone-link", Method: http.MethodPost, Path: "/me/phone-link", Tag: tag,
		Summary: "Have a code sent to a number that I want to sign in with"}, s.linkPhone)
	api.SignedIn(k, api.Operation{ID: "confirm-my-phone-link", Method: http.MethodPost, Path: "/me/phone-link/confirm", Tag: tag,
		Summary: "Link the number with the code that was sent, in the place of the one before"}, s.confirmPhone)
	api.SignedIn(k, api.Operation{ID: "delete-my-phone-link", Method: http.MethodDelete, Path: "/me/phone-link", Tag: tag,
		Summary: "Sign in with the number no more"}, s.unlinkPhone)
}

// Asked is a ticket for the code that was perhaps sent.
type Asked struct {
	Ticket    string    `json:"ticket" doc:"For the code; good for several tries"`
	ExpiresAt time.Time `json:"expires_at" doc:"Of the ticket. A code is good for five minutes"`
}

func askedOf(a authcore.Asked, err error) (*api.Reply[Asked], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[Asked]{Body: Asked{Ticket: a.Ticket.Reveal(), ExpiresAt: a.ExpiresAt}}, nil
}

type numberBody struct {
	Body struct {
		Number string `json:"number" maxLength:"100" example:"+81 90 1234 5678" doc:"A mobile number, with its country"`
	} `nameHint:"PhoneNumber"`
}

type ticketBody struct {
	Body struct {
		Ticket typed `json:"ticket" maxLength:"200"`
	} `nameHint:"AskedTicket"`
}

type codeBody struct {
	Body struct {
		Ticket typed `json:"ticket" maxLength:"200"`
		Code   typed `json:"code" maxLength:"100" doc:"Six digits"`
	} `nameHint:"AskedCode"`
}

func (s service) phoneBegin(ctx context.Context, c authcore.Client, in *numberBody) (*api.Reply[Asked], error) {
	return askedOf(s.core.SignInPhone(ctx, c, in.Body.Number))
}

func (s service) phoneMessage(ctx context.Context, c authcore.Client, in *ticketBody) (*api.None, error) {
	return nil, s.core.SignInPhoneMessage(ctx, c, in.Body.Ticket)
}

func (s service) phoneCode(ctx context.Context, c authcore.Client, in *codeBody) (*api.Reply[Result], error) {
	r, err := s.core.SignInPhoneCode(ctx, c, in.Body.Ticket, in.Body.Code)
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

func (s service) phoneAgain(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[Asked], error) {
	return askedOf(s.core.ReauthenticatePhone(ctx, a))
}

func (s service) phoneAgainCode(ctx context.Context, a authcore.Actor, in *codeBody) (*api.Reply[Result], error) {
	r, err := s.core.ReauthenticatePhoneCode(ctx, a, in.Body.Ticket, in.Body.Code)
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

// PhoneLink is the linked number as its owner sees it.
type PhoneLink struct {
	Linked bool      `json:"linked"`
	Number string    `json:"number,omitempty" example:"+81********78" doc:"Masked; nobody else sees even this"`
	Since  time.Time `json:"since,omitzero"`
}

func phoneLinkOf(l authcore.PhoneLink, err error) (*api.Reply[PhoneLink], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[PhoneLink]{Body: PhoneLink{Linked: l.Masked != "", Number: l.Masked, Since: l.Since}}, nil
}

func (s service) phoneLink(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[PhoneLink], error) {
	return phoneLinkOf(s.core.MyPhoneLink(ctx, a))
}

func (s service) linkPhone(ctx context.Context, a authcore.Actor, in *numberBody) (*api.Reply[Asked], error) {
	return askedOf(s.core.LinkPhone(ctx, a, in.Body.Number))
}

func (s service) confirmPhone(ctx context.Context, a authcore.Actor, in *codeBody) (*api.Reply[PhoneLink], error) {
	return phoneLinkOf(s.core.ConfirmPhoneLink(ctx, a, in.Body.Ticket, in.Body.Code))
}

func (s service) unlinkPhone(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.None, error) {
	return nil, s.core.UnlinkPhone(ctx, a)
}
