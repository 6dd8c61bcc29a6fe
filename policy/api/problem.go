package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"latchkey/authcore"
	"latchkey/policy"
)

const problemType = "application/problem+json"

// Problem is every answer that is no success (RFC 9457). Its type is always about:blank: the reason says which it is.
type Problem struct {
	Type   string           `json:"type" example:"about:blank"`
	Title  string           `json:"title" doc:"The status in words"`
	Status int              `json:"status"`
	Reason string           `json:"reason" example:"forbidden" doc:"One word out of a closed set that only grows"`
	Detail string           `json:"detail" doc:"A sentence for people"`
	Errors []policy.Mistake `json:"errors,omitempty" nullable:"false" doc:"With the reason invalid: what is wrong with which field"`

	retry time.Duration
}

// Reasons that the API itself gives, beside authcore's.
const (
	reasonInvalid          = string(authcore.Invalid)
	reasonNotFound         = string(authcore.NotFound)
	reasonUnavailable      = string(authcore.Unavailable)
	reasonPrecondition     = "precondition_required" // If-Match is missing
	reasonMethod           = "method_not_allowed"
	reasonTooLarge         = "too_large"
	reasonMediaType        = "unsupported_media_type"
	reasonTimeout          = "timeout" // the request did not arrive in time
	reasonInternal         = "internal_error"
	reasonGone             = "client_gone" // nobody reads the answer: in logs and metrics alone
	unavailableRetry       = 5 * time.Second
	challenge              = `Bearer realm="latchkey"`
	maxMistakes            = 50 // a body of a megabyte can hold many more
	maxMistakeFieldInBytes = 200
)

// answer is what a reason becomes.
type answer struct {
	status int
	detail string // when authcore has no sentence of its own
}

// answers is the table of reasons and their replies (behaviour.md section 2.3 and RFC 9110 section 15.5).
func answers() map[authcore.DenialReason]answer {
	return map[authcore.DenialReason]answer{
		authcore.NotSignedIn:              {http.StatusUnauthorized, "Sign in: there is no token, or its session is over."},
		authcore.TicketInvalid:            {http.StatusUnauthorized, "This step was done already or took too long: begin to sign in again."},
		authcore.Forbidden:                {http.StatusForbidden, "You may not do this."},
		authcore.ReauthenticationRequired: {http.StatusForbidden, "Prove once more who you are: your last sign-in is more than ten minutes ago."},
		authcore.NotFound:                 {http.StatusNotFound, "There is no such thing here."},
		authcore.Invalid:                  {http.StatusUnprocessableEntity, "Some fields are not right."},
		authcore.OptionFixed:              {http.StatusConflict, "Your domain has chosen for you."},
		authcore.AppPasswordLimit:         {http.StatusConflict, "You have as many app passwords as you may."},
		authcore.AddressTaken:             {http.StatusConflict, "The address is somebody's."},
		authcore.AddressWasUsed:           {http.StatusConflict, "The address was a deleted member's: confirm that a new one shall have it."},
		authcore.DomainTaken:              {http.StatusConflict, "There is a domain of this name."},
		authcore.LastAdministrator:        {http.StatusConflict, "A domain needs an administrator."},
		authcore.NotDeleted:               {http.StatusConflict, "This cannot be restored."},
		authcore.RevisionMismatch:         {http.StatusPreconditionFailed, "It was changed meanwhile: read it again."},

		authcore.TwoStepRequiredByPolicy:  {http.StatusConflict, "Your domain requires 2-step verification."},
		authcore.TwoStepMethodMissing:     {http.StatusForbidden, "There is no contact or method for 2-step verification: ask your administrator."},
		authcore.ProfileManagedExternally: {http.StatusForbidden, "Your profile is managed elsewhere: ask your administrator to change it there."},
		authcore.WayDenied:                {http.StatusForbidden, "This way to sign in is not open for you: use another one."},
		authcore.BadCode:                  {http.StatusUnprocessableEntity, "The code is wrong, used or too old: ask for a new one."},
		authcore.AlreadyLinked:            {http.StatusConflict, "It is linked to a member already."},
		authcore.NotLinked:                {http.StatusUnauthorized, "No member is linked to this account: sign in another way and link it first."},
		authcore.ProviderRefused:          {http.StatusUnauthorized, "The provider's answer cannot be believed: begin to sign in again."},
		authcore.LimitReached:             {http.StatusConflict, "There are as many as there may be: delete one first."},
		authcore.ScopeMissing:             {http.StatusForbidden, "This API token is not for that."},
		authcore.IdempotencyMismatch:      {http.StatusUnprocessableEntity, "This idempotency key was used for another request."},

		from(authcore.BadCredentials):         {status: http.StatusUnauthorized},
		from(authcore.AppPasswordRequired):    {status: http.StatusUnauthorized},
		from(authcore.PasswordExpired):        {status: http.StatusUnauthorized},
		from(authcore.PasswordChangeRequired): {status: http.StatusUnauthorized},
		from(authcore.Suspended):              {status: http.StatusForbidden},
		from(authcore.DoorClosed):             {status: http.StatusForbidden},
		from(authcore.TLSRequired):            {status: http.StatusForbidden},
		from(authcore.Throttled):              {status: http.StatusTooManyRequests},
		from(authcore.TooManyConnections):     {status: http.StatusTooManyRequests},
		from(authcore.Unavailable):            {http.StatusServiceUnavailable, authcore.Unavailable.Sentence() + "."},
	}
}

func from(r authcore.Reason) authcore.DenialReason { return authcore.DenialReason(r) }

func newProblem(status int, reason, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Reason: reason, Detail: detail}
}

// Invalid is a problem with fields that no operation looked at yet.
func Invalid(m ...policy.Mistake) error {
	return &authcore.Denial{Reason: authcore.Invalid, Mistakes: m}
}

// problemOf is what a client is told of err, and keeps err for the request's event. Only a Denial's words go out.
func problemOf(ctx context.Context, err error) *Problem {
	p, broken := problemFrom(err)
	q := requestOf(ctx)
	q.reason = p.Reason
	switch {
	case broken && errors.Is(ctx.Err(), context.Canceled):
		q.reason = reasonGone
	case broken:
		q.err = err
	}
	if broken && q.once != nil {
		p.Detail += " It is safe to send this again with the same Idempotency-Key: what was done is not done twice."
	}
	return p
}

func problemFrom(err error) (p *Problem, broken bool) {
	var d *authcore.Denial
	if errors.As(err, &p) {
		return p, false
	}
	if !errors.As(err, &d) {
		a := answers()[from(authcore.Unavailable)]
		p = newProblem(a.status, reasonUnavailable, a.detail)
		p.retry = unavailableRetry
		return p, true
	}
	a, ok := answers()[d.Reason]
	if !ok {
		a = answer{status: http.StatusForbidden} // a reason without a row refuses; a test sees to it that there is none
	}
	p = newProblem(a.status, string(d.Reason), a.detail)
	if d.Detail != "" {
		p.Detail = d.Detail
	}
	p.Errors, p.retry = d.Mistakes, d.RetryAfter
	return p, false
}

// Error names the problem by its word.
func (p *Problem) Error() string { return p.Reason }

// GetStatus makes Problem a huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes Problem a huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders makes Problem a huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge) // RFC 9110 section 15.5.2: every 401 has one
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(int(max(1, math.Ceil(p.retry.Seconds())))))
	}
	return h
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	h := w.Header()
	for k, v := range p.GetHeaders() {
		h[k] = v
	}
	h.Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // whether it arrives is the client's
}

// asProblem makes a Problem of huma's own refusals. The values that huma would show again are left out: one may be a
// password in the wrong field.
func asProblem(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := newProblem(m.Status, reasonOf(m.Status), "The request is not right.")
	for _, e := range m.Errors[:min(len(m.Errors), maxMistakes)] {
		field := strings.TrimPrefix(e.Location, "body.")
		p.Errors = append(p.Errors, policy.Mistake{Field: field[:min(len(field), maxMistakeFieldInBytes)], Reason: mistake(e)})
	}
	requestOf(ctx.Context()).reason = p.Reason
	return p, nil
}

// mistake says what is wrong with a field in huma's words, which are fixed, or in ours where they quote what was sent.
func mistake(e *huma.ErrorDetail) string {
	if e.Location == "body" && e.Value != nil {
		if _, ok := e.Value.(string); ok {
			return "is not the JSON that is expected here"
		}
	}
	return e.Message
}

func reasonOf(status int) string {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return reasonInvalid
	case http.StatusNotFound:
		return reasonNotFound
	case http.StatusMethodNotAllowed:
		return reasonMethod
	case http.StatusRequestTimeout:
		return reasonTimeout
	case http.StatusRequestEntityTooLarge:
		return reasonTooLarge
	case http.StatusUnsupportedMediaType:
		return reasonMediaType
	default:
		return reasonInternal
	}
}
