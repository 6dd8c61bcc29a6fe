package self

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/policy/api"
)

// forgotten registers what helps who forgot his password or his address.
func (s service) forgotten(k *api.Kit) {
	api.Open(k, api.Operation{ID: "forgotten-password", Method: http.MethodPost, Path: "/forgotten-password", Tag: signInTag,
		Summary: "Have a code sent to a contact of my profile; the answer does not tell whether the login is somebody's"}, s.forgotPassword)
	api.Open(k, api.Operation{ID: "forgotten-password-code", Method: http.MethodPost, Path: "/forgotten-password/code", Tag: signInTag,
		Summary: "Answers a ticket for a new password when the code is right"}, s.forgotPasswordCode)
	api.Open(k, api.Operation{ID: "forgotten-password-set", Method: http.MethodPost, Path: "/forgotten-password/password", Tag: signInTag,
		Summary: "Set the new password; ends all my web sessions and signs nobody in"}, s.setForgottenPassword)
	api.Open(k, api.Operation{ID: "forgotten-address", Method: http.MethodPost, Path: "/forgotten-address", Tag: signInTag, Status: http.StatusAccepted,
		Summary: "Send my addresses to a contact of my profile; the answer does not tell whether there are any"}, s.forgotAddress)
}

type forgottenPassword struct {
	Body struct {
		Login   string `json:"login" maxLength:"1024" doc:"An address or an alias"`
		Channel string `json:"channel" enum:"email,sms" doc:"To the personal e-mail address or the mobile number of the profile"`
	} `nameHint:"ForgottenPassword"`
}

func (s service) forgotPassword(ctx context.Context, c authcore.Client, in *forgottenPassword) (*api.Reply[Asked], error) {
	kind := member.Email
	if in.Body.Channel == "sms" {
		kind = member.Mobile
	}
	return askedOf(s.core.ForgotPassword(ctx, c, in.Body.Login, kind))
}

func (s service) forgotPasswordCode(ctx context.Context, c authcore.Client, in *codeBody) (*api.Reply[Asked], error) {
	return askedOf(s.core.ForgotPasswordCode(ctx, c, in.Body.Ticket, in.Body.Code))
}

type forgottenPasswordSet struct {
	Body struct {
		Ticket             typed `json:"ticket" maxLength:"200"`
		NewPassword        typed `json:"new_password" maxLength:"1024"`
		DeleteAppPasswords bool  `json:"delete_app_passwords,omitempty"`
	} `nameHint:"ForgottenPasswordSet"`
}

func (s service) setForgottenPassword(ctx context.Context, c authcore.Client, in *forgottenPasswordSet) (*api.None, error) {
	return nil, s.core.SetForgottenPassword(ctx, c, in.Body.Ticket, in.Body.NewPassword, in.Body.DeleteAppPasswords)
}

type contactBody struct {
	Body struct {
		Contact string `json:"contact" maxLength:"300" doc:"A personal e-mail address, or a mobile number with its country"`
	} `nameHint:"ForgottenAddress"`
}

func (s service) forgotAddress(ctx context.Context, c authcore.Client, in *contactBody) (*api.None, error) {
	return nil, s.core.ForgotAddress(ctx, c, in.Body.Contact)
}
