package authcore

import (
	"time"

	"latchkey/policy"
)

// Denial is why an operation of the API is not done: a value that callers tell from a broken server with errors.As. Its
// words are a closed set, told to the client as they are.
type Denial struct {
	Reason     DenialReason
	Detail     string           // a sentence for people; empty: the reason says it all
	Mistakes   []policy.Mistake // of Invalid
	RetryAfter time.Duration
}

// DenialReason is one word; the set only grows.
type DenialReason string

// The reasons beside those of sign-in.
const (
	NotSignedIn              DenialReason = "not_signed_in" // no token, or one that is over
	Forbidden                DenialReason = "forbidden"
	NotFound                 DenialReason = "not_found"
	Invalid                  DenialReason = "invalid" // with Mistakes
	ReauthenticationRequired DenialReason = "reauthentication_required"
	OptionFixed              DenialReason = "option_fixed"
	AppPasswordLimit         DenialReason = "app_password_limit"
	AddressTaken             DenialReason = "address_taken"
	AddressWasUsed           DenialReason = "address_was_used" // by a deleted member: confirm, and it inherits nothing
	DomainTaken              DenialReason = "domain_taken"
	RevisionMismatch         DenialReason = "revision_mismatch" // If-Match did not hold: read again
	TicketInvalid            DenialReason = "ticket_invalid"    // used, too old, or another browser's
	LastAdministrator        DenialReason = "last_administrator"
	NotDeleted               DenialReason = "not_restorable"
	TwoStepRequiredByPolicy  DenialReason = "two_step_required_by_policy"
	TwoStepMethodMissing     DenialReason = "two_step_method_missing" // the detail names the other ways in
	ProfileManagedExternally DenialReason = "profile_managed_externally"
	WayDenied                DenialReason = "way_denied"           // by the domain's policy, or an administrator for this member
	BadCode                  DenialReason = "bad_code"             // wrong, used, too old, or tried too often
	AlreadyLinked            DenialReason = "already_linked"       // the number or account is linked to somebody, perhaps to oneself
	NotLinked                DenialReason = "not_linked"           // the provider's account is linked to nobody
	ProviderRefused          DenialReason = "provider_refused"     // the OpenID provider's answer is not to be believed
	LimitReached             DenialReason = "limit_reached"        // as many as there may be
	ScopeMissing             DenialReason = "scope_missing"        // the API token is not for this
	IdempotencyMismatch      DenialReason = "idempotency_mismatch" // the key was used for another request
)

func (d *Denial) Error() string {
	if d.Detail != "" {
		return string(d.Reason) + ": " + d.Detail
	}
	return string(d.Reason)
}

func deny(r DenialReason, detail string) error { return &Denial{Reason: r, Detail: detail} }

func invalid(m ...policy.Mistake) error { return &Denial{Reason: Invalid, Mistakes: m} }

// denyReason carries a sign-in's own reason.
func denyReason(r Reason, retry time.Duration) error {
	return &Denial{Reason: DenialReason(r), Detail: r.Sentence(), RetryAfter: retry}
}
