package self

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/signin"
	"latchkey/policy/api"
)

// steps has what comes behind the first factor, whichever it was: each answer says which is next. All of them are for the
// ticket of the answer before, and for whoever began.
func (s service) steps(k *api.Kit) {
	api.Open(k, api.Operation{ID: "sign-in-ways", Method: http.MethodGet, Path: "/sign-in/ways", Tag: signInTag,
		Summary: "How members of a domain may begin to sign in; tells nothing of members"}, s.waysOf)
	api.Open(k, api.Operation{ID: "sign-in-two-step-send", Method: http.MethodPost, Path: "/sign-in/two-step/send", Tag: signInTag,
		Summary: "Send a code for the second step; the one before is void"}, s.sendCode)
	api.Open(k, api.Operation{ID: "sign-in-two-step", Method: http.MethodPost, Path: "/sign-in/two-step", Tag: signInTag,
		Summary: "Pass the second step"}, s.twoStep)
	api.Open(k, api.Operation{ID: "sign-in-enrolment-send", Method: http.MethodPost, Path: "/sign-in/enrolment/send", Tag: signInTag,
		Summary: "Send a code to a contact, to make it the first method for the second step"}, s.enrolSend)
	api.Open(k, api.Operation{ID: "sign-in-enrolment-totp", Method: http.MethodPost, Path: "/sign-in/enrolment/totp", Tag: signInTag,
		Summary: "Make the secret of an authenticator app, to make it the first method for the second step"}, s.enrolApp)
	api.Open(k, api.Operation{ID: "sign-in-enrolment", Method: http.MethodPost, Path: "/sign-in/enrolment", Tag: signInTag,
		Summary: "Verify the first method for the second step, by a code"}, s.enrol)
}

// DomainWays is how members of a domain may begin to sign in.
type DomainWays struct {
	Ways
	TrustBrowser bool `json:"trust_browser" doc:"A browser may be spared the second step"`
}

type ofDomain struct {
	Domain string `query:"domain" maxLength:"253" required:"true" example:"example.org"`
}

func (s service) waysOf(ctx context.Context, _ authcore.Client, in *ofDomain) (*api.Reply[DomainWays], error) {
	w, err := s.core.WaysOf(ctx, in.Domain)
	if err != nil {
		return nil, err
	}
	return &api.Reply[DomainWays]{Body: DomainWays{Ways: Ways{w.Ways}, TrustBrowser: w.TrustBrowser}}, nil
}

// Sent says that a code is on its way.
type Sent struct {
	ExpiresAt time.Time `json:"expires_at" doc:"Of the code"`
}

func sent(until time.Time, err error) (*api.Reply[Sent], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[Sent]{Body: Sent{ExpiresAt: until.UTC()}}, nil
}

type sendWish struct {
	Body struct {
		Ticket typed         `json:"ticket" maxLength:"200"`
		Method signin.Method `json:"method" enum:"email,mobile"`
		ID     string        `json:"id,omitempty" maxLength:"64" doc:"Which, of the methods; default: the first of the kind"`
	} `nameHint:"TwoStepSend"`
}

func (s service) sendCode(ctx context.Context, c authcore.Client, in *sendWish) (*api.Reply[Sent], error) {
	return sent(s.core.SignInSend(ctx, c, in.Body.Ticket, in.Body.Method, in.Body.ID))
}

type secondStep struct {
	Body struct {
		Ticket typed           `json:"ticket" maxLength:"200"`
		Method signin.Method   `json:"method" enum:"email,mobile,totp,recovery_code,passkey"`
		Code   typed           `json:"code,omitempty" maxLength:"64" doc:"Of all methods but passkey"`
		Answer json.RawMessage `json:"credential,omitempty" doc:"Of passkey: the authenticator's answer in the JSON form of WebAuthn"`
		Trust  bool            `json:"trust_browser,omitempty" doc:"Spare this browser the second step for 30 days, where the policy allows it"`
	} `nameHint:"TwoStep"`
}

func (s service) twoStep(ctx context.Context, c authcore.Client, in *secondStep) (*api.Reply[Result], error) {
	b := in.Body
	r, err := s.core.SignInTwoStep(ctx, c, b.Ticket, authcore.SecondAnswer{Method: b.Method, Code: b.Code, Assertion: b.Answer, Trust: b.Trust})
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}

type enrolSend struct {
	Body struct {
		Ticket  typed         `json:"ticket" maxLength:"200"`
		Method  signin.Method `json:"method" enum:"email,mobile"`
		Contact string        `json:"contact" maxLength:"254" doc:"A personal e-mail address, or a mobile number like +819012345678"`
	} `nameHint:"EnrolmentSend"`
}

func (s service) enrolSend(ctx context.Context, c authcore.Client, in *enrolSend) (*api.Reply[Sent], error) {
	return sent(s.core.SignInEnrolSend(ctx, c, in.Body.Ticket, in.Body.Method, in.Body.Contact))
}

type ticketAlone struct {
	Body struct {
		Ticket typed `json:"ticket" maxLength:"200"`
	} `nameHint:"EnrolmentApp"`
}

// AppSecret is what an authenticator app takes in.
type AppSecret struct {
	Secret string `json:"secret" doc:"In base32, to type; shown once"`
	URL    string `json:"url" doc:"otpauth, for a QR code; shown once"`
}

func (s service) enrolApp(ctx context.Context, c authcore.Client, in *ticketAlone) (*api.Reply[AppSecret], error) {
	v, err := s.core.SignInEnrolApp(ctx, c, in.Body.Ticket)
	if err != nil {
		return nil, err
	}
	return &api.Reply[AppSecret]{Body: AppSecret{Secret: v.Secret.Reveal(), URL: v.URL.Reveal()}}, nil
}

type enrolment struct {
	Body struct {
		Ticket typed         `json:"ticket" maxLength:"200"`
		Method signin.Method `json:"method" enum:"email,mobile,totp"`
		Code   typed         `json:"code" maxLength:"64"`
		Trust  bool          `json:"trust_browser,omitempty" doc:"Spare this browser the second step for 30 days, where the policy allows it"`
	} `nameHint:"Enrolment"`
}

func (s service) enrol(ctx context.Context, c authcore.Client, in *enrolment) (*api.Reply[Result], error) {
	b := in.Body
	r, err := s.core.SignInEnrol(ctx, c, b.Ticket, authcore.SecondAnswer{Method: b.Method, Code: b.Code, Trust: b.Trust})
	if err != nil {
		return nil, err
	}
	return s.result(ctx, r)
}
