package self

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/policy/api"
)

// passkeys has what a browser needs for passkeys.
func (s service) passkeys(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-my-passkeys", Method: http.MethodGet, Path: "/me/passkeys", Tag: tag, Summary: "My passkeys"}, s.listPasskeys)
	api.SignedIn(k, api.Operation{ID: "begin-passkey", Method: http.MethodPost, Path: "/me/passkeys/begin", Tag: tag,
		Summary: "Begin to make a passkey, within ten minutes of a sign-in"}, s.beginPasskey)
	api.SignedIn(k, api.Operation{ID: "create-passkey", Method: http.MethodPost, Path: "/me/passkeys", Tag: tag, Status: http.StatusCreated,
		Summary: "Keep the passkey that the authenticator made"}, s.createPasskey)
	api.SignedIn(k, api.Operation{ID: "delete-my-passkey", Method: http.MethodDelete, Path: "/me/passkeys/{id}", Tag: tag,
		Summary: "Delete a passkey; it cannot sign in any more"}, s.deletePasskey)
	api.Open(k, api.Operation{ID: "sign-in-passkey", Method: http.MethodPost, Path: "/sign-in/passkey", Tag: signInTag,
		Summary: "Begin to sign in with a passkey, or to prove once more who I am by it"}, s.beginPasskeySignIn)
	api.Open(k, api.Operation{ID: "sign-in-passkey-finish", Method: http.MethodPost, Path: "/sign-in/passkey/finish", Tag: signInTag,
		Summary: "Go on with the passkey's answer"}, s.finishPasskeySignIn)
	api.Open(k, api.Operation{ID: "sign-in-two-step-passkey", Method: http.MethodPost, Path: "/sign-in/two-step/passkey", Tag: signInTag,
		Summary: "Begin to pass the second step by a passkey; its answer goes to the second step as the credential"}, s.beginPasskeyStep)
	api.SignedIn(k, api.Operation{ID: "reauthenticate-passkey", Method: http.MethodPost, Path: "/reauthenticate/passkey", Tag: signInTag,
		Summary: "Prove once more who I am by a passkey"}, s.confirmPasskey)
}

func (s service) listPasskeys(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.List[api.Passkey]], error) {
	l, err := s.core.Passkeys(ctx, a)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", api.PasskeyOf), nil
}

func (s service) beginPasskey(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[KeyChallenge], error) {
	return keyChallenge(s.core.BeginPasskey(ctx, a))
}

type newPasskey struct {
	Body struct {
		Answered
		Name string `json:"name" maxLength:"200" doc:"1 to 40 characters"`
	} `nameHint:"NewPasskey"`
}

func (s service) createPasskey(ctx context.Context, a authcore.Actor, in *newPasskey) (*api.Reply[api.Passkey], error) {
	p, err := s.core.FinishPasskey(ctx, a, in.Body.Ticket, in.Body.Name, in.Body.Credential)
	if err != nil {
		return nil, err
	}
	return &api.Reply[api.Passkey]{Body: api.PasskeyOf(p)}, nil
}

func (s service) deletePasskey(ctx context.Context, a authcore.Actor, in *ByID) (*api.None, error) {
	return nil, s.core.DeletePasskey(ctx, a, in.ID)
}

func (s service) beginPasskeySignIn(ctx context.Context, c authcore.Client, _ *struct{}) (*api.Reply[KeyChallenge], error) {
	return keyChallenge(s.core.BeginPasskeySignIn(ctx, c))
}

func (s service) finishPasskeySignIn(ctx context.Context, c authcore.Client, in *byKey) (*api.Reply[Result], error) {
	return s.next(ctx)(s.core.SignInPasskey(ctx, in.Body.client(c), in.Body.Ticket, in.Body.Credential))
}

type atStep struct {
	Body struct {
		Ticket typed `json:"ticket" maxLength:"200" doc:"Of the second step; it stays good for it"`
	} `nameHint:"PasskeyStep"`
}

func (s service) beginPasskeyStep(ctx context.Context, c authcore.Client, in *atStep) (*api.Reply[KeyChallenge], error) {
	return keyChallenge(s.core.SignInPasskeyStep(ctx, c, in.Body.Ticket))
}

func (s service) confirmPasskey(ctx context.Context, a authcore.Actor, in *byKey) (*api.Reply[Result], error) {
	return s.next(ctx)(s.core.ReauthenticatePasskey(ctx, a, in.Body.Ticket, in.Body.Credential))
}
