// Package policy is the document that administrators set for a domain: its fields, bounds and defaults as pure values.
// It refuses every value out of bounds and names every mistake at once; it reads no record and keeps no state.
package policy

import (
	"fmt"
	"slices"
	"time"
)

// Policy holds from the next password, sign-in or attempt on; saving one signs nobody out.
type Policy struct {
	Password                 Password   `json:"password"`
	ThirdParty               ThirdParty `json:"third_party"`
	SignIn                   SignIn     `json:"sign_in"`
	Sessions                 Sessions   `json:"sessions"`
	ProfileManagedExternally bool       `json:"profile_managed_externally"` // members' own changes of contacts are refused
}

// Format says which characters a new account password must hold.
type Format string

// Letters are the English ones; special is every printable character that is neither letter nor digit.
const (
	LettersNumbers        Format = "letters_numbers"
	LettersNumbersSpecial Format = "letters_numbers_special"
)

// Password is the policy for account passwords.
type Password struct {
	Format           Format `json:"format"`
	MinLength        int    `json:"min_length"`         // 8 to 20 code points
	ExpiresAfterDays int    `json:"expires_after_days"` // 0 (never), 30, 60, 90, 180 or 365, counted from the day it was set
	NoReuseOfLast    int    `json:"no_reuse_of_last"`   // 0 to 5, the current one included
	MaxFailures      int    `json:"max_failures"`       // 0 (no limit) or 3 to 20 wrong ones in a row, then the member is suspended
	RefuseSequences  bool   `json:"refuse_sequences"`   // three or more repeated or consecutive characters
	RefuseCommon     bool   `json:"refuse_common"`      // a list of common passwords, and those that hold the login name
}

// AppPasswords says whether members choose to use third-party app passwords.
type AppPasswords string

// MemberChoice cannot be had in a domain created at or after the cutoff.
const (
	MemberChoice AppPasswords = "member_choice"
	Required     AppPasswords = "required"
)

// TwoStepAtDoors says what 2-step verification means at a door, which knows no second step.
type TwoStepAtDoors string

// Enforce, the default, lets only app passwords in where two-step is on; Ignore lets the account password in again.
const (
	Enforce TwoStepAtDoors = "app_passwords_only"
	Ignore  TwoStepAtDoors = "ignore"
)

// ThirdParty is the policy for third-party programs at the doors.
type ThirdParty struct {
	AppPasswords    AppPasswords   `json:"app_passwords"`
	RequiredFrom    *time.Time     `json:"required_from,omitempty"` // with Required: holds from here on; nil: now
	TwoStepAtDoors  TwoStepAtDoors `json:"two_step_at_doors"`
	MaxAppPasswords int            `json:"max_app_passwords"` // 1 to 5 for each member
}

// Bounds of the fields, as the help pages give them.
const (
	MinLengthLow, MinLengthHigh     = 8, 20
	MaxFailuresLow, MaxFailuresHigh = 3, 20
	AppPasswordsLow, AppPasswordsHi = 1, 5
	ReuseHigh                       = 5
)

// ExpiryDays lists the values that ExpiresAfterDays may take.
func ExpiryDays() []int { return []int{0, 30, 60, 90, 180, 365} }

// Default is the policy of a new domain.
func Default() Policy {
	return Policy{
		Password:   Password{Format: LettersNumbers, MinLength: 8, MaxFailures: 10, RefuseCommon: true},
		ThirdParty: ThirdParty{AppPasswords: MemberChoice, TwoStepAtDoors: Enforce, MaxAppPasswords: AppPasswordsHi},
		SignIn:     SignIn{TwoStep: TwoStepOptional, LINE: Deny, Phone: Deny, Quick: Deny, Passkey: Deny},
		Sessions:   Sessions{IdleHours: 7 * 24, AbsoluteDays: 30},
	}
}

// Mistake names one field and what is wrong with it.
type Mistake struct {
	Field  string `json:"field"` // as in the JSON document, with dots
	Reason string `json:"reason"`
}

// Validate names every mistake, in the order of the fields. bornRequired says that the domain was created at or after
// the cutoff, where MemberChoice is refused.
func (p Policy) Validate(bornRequired bool) []Mistake {
	var m []Mistake
	bad := func(field, format string, a ...any) {
		m = append(m, Mistake{Field: field, Reason: fmt.Sprintf(format, a...)})
	}
	if p.Password.Format != LettersNumbers && p.Password.Format != LettersNumbersSpecial {
		bad("password.format", "must be %q or %q", LettersNumbers, LettersNumbersSpecial)
	}
	if p.Password.MinLength < MinLengthLow || p.Password.MinLength > MinLengthHigh {
		bad("password.min_length", "must be %d to %d", MinLengthLow, MinLengthHigh)
	}
	if !slices.Contains(ExpiryDays(), p.Password.ExpiresAfterDays) {
		bad("password.expires_after_days", "must be one of %v", ExpiryDays())
	}
	if n := p.Password.MaxFailures; n != 0 && (n < MaxFailuresLow || n > MaxFailuresHigh) {
		bad("password.max_failures", "must be 0 (no limit) or %d to %d", MaxFailuresLow, MaxFailuresHigh)
	}
	if n := p.Password.NoReuseOfLast; n < 0 || n > ReuseHigh {
		bad("password.no_reuse_of_last", "must be 0 (no limitation) to %d", ReuseHigh)
	}
	p.ThirdParty.validate(bornRequired, bad)
	p.SignIn.validate(bad)
	p.Sessions.validate(bad)
	return m
}

func (t ThirdParty) validate(bornRequired bool, bad func(field, format string, a ...any)) {
	switch t.AppPasswords {
	case Required:
	case MemberChoice:
		if bornRequired {
			bad("third_party.app_passwords", "must be %q: the domain was created at or after the cutoff", Required)
		}
		if t.RequiredFrom != nil {
			bad("third_party.required_from", "goes with %q only", Required)
		}
	default:
		bad("third_party.app_passwords", "must be %q or %q", MemberChoice, Required)
	}
	if bornRequired && t.RequiredFrom != nil {
		bad("third_party.required_from", "cannot be set: the domain was created at or after the cutoff")
	}
	if t.TwoStepAtDoors != Enforce && t.TwoStepAtDoors != Ignore {
		bad("third_party.two_step_at_doors", "must be %q or %q", Enforce, Ignore)
	}
	if t.MaxAppPasswords < AppPasswordsLow || t.MaxAppPasswords > AppPasswordsHi {
		bad("third_party.max_app_passwords", "must be %d to %d", AppPasswordsLow, AppPasswordsHi)
	}
}

// OnlyAppPasswords says that no member of the domain may use the account password at a door.
func (t ThirdParty) OnlyAppPasswords(bornRequired bool, now time.Time) bool {
	if bornRequired {
		return true
	}
	return t.AppPasswords == Required && (t.RequiredFrom == nil || !now.Before(*t.RequiredFrom))
}

// Accepts is the one kind of credential that counts at the doors for a member.
type Accepts uint8

// The zero value accepts nothing.
const (
	Nothing Accepts = iota
	AppPassword
	AccountPassword
)

// AtDoors is the table of which credential counts. option is the member's "use a third-party app password", twoStep
// says that 2-step verification is on for the member or required by policy.
func (t ThirdParty) AtDoors(bornRequired bool, now time.Time, option, twoStep bool) Accepts {
	switch {
	case t.OnlyAppPasswords(bornRequired, now), option, twoStep && t.TwoStepAtDoors != Ignore:
		return AppPassword
	default:
		return AccountPassword
	}
}

// Cutoff is the default instant from which domains are born with app passwords required. A domain created at the instant
// itself is on that side.
func Cutoff() time.Time { return time.Date(2022, 10, 13, 0, 0, 0, 0, time.FixedZone("KST", 9*3600)) }
