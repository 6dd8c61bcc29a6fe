package self

import (
	"context"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/policy/api"
)

func (s service) contacts(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "enter-my-contact", Method: http.MethodPost, Path: "/me/contacts", Tag: twoStepTag, Status: http.StatusAccepted,
		Summary: "Enter a personal e-mail address or mobile number; it is mine once its code is verified"}, s.beginContact)
	api.SignedIn(k, api.Operation{ID: "send-code-to-my-contact", Method: http.MethodPost, Path: "/me/contacts/{id}/send-code", Tag: twoStepTag, Status: http.StatusAccepted,
		Summary: "Send a code, or another one, to a contact"}, s.sendContactCode)
	api.SignedIn(k, api.Operation{ID: "verify-my-contact", Method: http.MethodPost, Path: "/me/contacts/{id}/verify", Tag: twoStepTag,
		Summary: "Verify a contact by the code that was sent there; a change that waits for it is made"}, s.verifyContact)
	api.SignedIn(k, api.Operation{ID: "remove-my-contact", Method: http.MethodDelete, Path: "/me/contacts/{id}", Tag: twoStepTag,
		Summary: "Remove a contact, unless it is my last method of 2-step verification"}, s.removeContact)
}

type newContact struct {
	Body struct {
		Kind     string `json:"kind" enum:"email,mobile"`
		Value    string `json:"value" maxLength:"320" doc:"A mobile number with its country, like +81 90 1234 5678, unless the installation has a default country"`
		Replaces string `json:"replaces,omitempty" maxLength:"64" doc:"Id of the contact that goes when this one is verified"`
	} `nameHint:"MyContact"`
}

// CodeSent says where a code went.
type CodeSent struct {
	Contact   string    `json:"contact" doc:"Its id"`
	To        string    `json:"to" example:"a•••@e•••.org" doc:"As much as its owner knows it by"`
	ExpiresAt time.Time `json:"expires_at" doc:"Of the code"`
}

func codeSent(c authcore.ContactCode, err error) (*api.Reply[CodeSent], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[CodeSent]{Body: CodeSent{Contact: c.Contact, To: c.Masked, ExpiresAt: c.ExpiresAt}}, nil
}

func (s service) beginContact(ctx context.Context, a authcore.Actor, in *newContact) (*api.Reply[CodeSent], error) {
	b := in.Body
	return codeSent(s.core.BeginContact(ctx, a, authcore.ContactWish{Kind: b.Kind, Value: b.Value, Replaces: b.Replaces}))
}

func (s service) sendContactCode(ctx context.Context, a authcore.Actor, in *ByID) (*api.Reply[CodeSent], error) {
	return codeSent(s.core.SendContactCode(ctx, a, in.ID))
}

type contactCode struct {
	ByID
	codeTyped
}

func (s service) verifyContact(ctx context.Context, a authcore.Actor, in *contactCode) (*api.Reply[api.TwoStepStatus], error) {
	return twoStep(s.core.VerifyContact(ctx, a, in.ID, in.Body.Code))
}

func (s service) removeContact(ctx context.Context, a authcore.Actor, in *ByID) (*api.None, error) {
	return nil, s.core.RemoveContact(ctx, a, in.ID)
}
