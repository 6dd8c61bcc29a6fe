// Package signin is the machine of a sign-in on the web and in the app: which step follows which. It keeps nothing, asks
// nobody and opens no session: Core feeds it what the records say, and does what it answers. Every step is decided anew
// from the facts of its own moment, so that a step is never done on what was true before.
package signin

import (
	"errors"
	"slices"
)

// Factor is the first thing that somebody proved.
type Factor string

// The first factors. An OpenID provider's is its way as the policy names it: line, or oidc. and its name.
const (
	Password       Factor = "password"
	Phone          Factor = "phone"
	QuickPIN       Factor = "quick_pin"
	QuickBiometric Factor = "quick_biometric"
	Passkey        Factor = "passkey"
)

// Method is a kind of second step.
type Method string

// The methods.
const (
	ByEmail    Method = "email"         // a code to a personal e-mail address
	ByMobile   Method = "mobile"        // a code to a mobile phone
	ByApp      Method = "totp"          // an authenticator app
	ByRecovery Method = "recovery_code" // one of the member's recovery codes
	ByPasskey  Method = "passkey"
)

// Facts are what the records say of a member who proved a first factor. The zero Facts let nobody on.
type Facts struct {
	Factor       Factor
	MustChange   bool     // after Password: it is temporary, expired, or an administrator asks for another
	TwoStepAsked bool     // by the policy, or by the member's own choice
	Methods      []Method // that he has and the installation can use
	Proven       bool     // he proved a method once, usable or not: he does not enrol another by a first factor alone
	Reset        Method   // the channel by which he made the password himself after he forgot it; empty: he did not
	Managed      bool     // members do not change their profiles: nothing can be enrolled
	Enrollable   []Method // that the installation can verify
}

// Progress is what was done since the first factor.
type Progress struct {
	Trusted    bool `json:"trusted,omitempty"`     // the browser is spared the second step
	SecondStep bool `json:"second_step,omitempty"` // passed
	Password   bool `json:"password,omitempty"`    // a new one was set
	Enrolled   bool `json:"enrolled,omitempty"`    // a first method was verified
}

// State is the word for a step; the set only grows.
type State string

// The states. Only SignedIn opens a session.
const (
	SignedIn           State = "signed_in"
	TwoStepRequired    State = "two_step_required"
	PasswordRequired   State = "password_change_required"
	EnrolmentRequired  State = "two_step_enrolment_required"
	TwoStepUnavailable State = "two_step_method_missing" // the end of this sign-in
)

// Step is what comes next: a TwoStep, PasswordChange, Enrolment, Done or Missing. The nil Step lets nobody on.
type Step interface{ State() State }

// TwoStep asks for any one of the methods.
type TwoStep struct{ Methods []Method }

// PasswordChange asks for a new account password.
type PasswordChange struct{}

// Enrolment asks a member without a method to verify one of these kinds.
type Enrolment struct{ Methods []Method }

// Done is a finished sign-in.
type Done struct{}

// Missing ends a sign-in: a second step is asked, and there is none after this first factor.
type Missing struct{}

// State says which word a client is told.
func (TwoStep) State() State        { return TwoStepRequired }
func (PasswordChange) State() State { return PasswordRequired }
func (Enrolment) State() State      { return EnrolmentRequired }
func (Done) State() State           { return SignedIn }
func (Missing) State() State        { return TwoStepUnavailable }

// Event is what a client did at a step.
type Event string

// The events: each belongs to one step.
const (
	SecondStepPassed Event = "second_step_passed"
	PasswordSet      Event = "password_set"
	MethodEnrolled   Event = "method_enrolled"
)

// A transition is one row of the table: while asked, the step is next, and only its event leads on.
type transition struct {
	asked func(Facts, Progress) bool
	step  func(Facts) Step
	event Event // empty: nothing leads on
	does  func(*Progress)
}

// transitions is the table of the machine; the first row that is asked is the next step. Nothing about the account can
// change in a row above the second step, and whoever has a method never reaches the enrolment of another.
func transitions() []transition {
	return []transition{
		{
			asked: func(f Facts, p Progress) bool { return f.wants(p) && f.missing() },
			step:  func(Facts) Step { return Missing{} },
		},
		{
			asked: func(f Facts, p Progress) bool { return f.wants(p) && len(f.Methods) > 0 && !p.Trusted },
			step:  func(f Facts) Step { return TwoStep{f.usable()} },
			event: SecondStepPassed, does: func(p *Progress) { p.SecondStep = true },
		},
		{
			asked: func(f Facts, p Progress) bool { return f.Factor == Password && f.MustChange && !p.Password },
			step:  func(Facts) Step { return PasswordChange{} },
			event: PasswordSet, does: func(p *Progress) { p.Password = true },
		},
		{
			asked: func(f Facts, p Progress) bool { return f.wants(p) && len(f.Methods) == 0 },
			step:  func(f Facts) Step { return Enrolment{f.enrollable()} },
			event: MethodEnrolled, does: func(p *Progress) { p.Enrolled = true },
		},
	}
}

// Next answers the step that comes next.
func Next(f Facts, p Progress) Step {
	if f.Factor == "" {
		return nil
	}
	for _, t := range transitions() {
		if t.asked(f, p) {
			return t.step(f)
		}
	}
	return Done{}
}

// ErrNotNow: the event does not belong to the step that is next. The sign-in begins again.
var ErrNotNow = errors.New("not the step that is next")

// Do answers the progress once e was done at the step at, which must be the one that is next.
func Do(at State, e Event, f Facts, p Progress) (Progress, error) {
	if f.Factor == "" || e == "" {
		return p, ErrNotNow
	}
	for _, t := range transitions() {
		if !t.asked(f, p) {
			continue
		}
		if t.event != e || t.step(f).State() != at {
			return p, ErrNotNow
		}
		t.does(&p)
		return p, nil
	}
	return p, ErrNotNow
}

// wants says whether a second step is asked and not done.
func (f Facts) wants(p Progress) bool { return f.TwoStepAsked && !p.SecondStep && !p.Enrolled }

// missing says that there is nothing to ask for: what he has is the first factor once more, or cannot be used, or he has
// nothing and may not enrol.
func (f Facts) missing() bool {
	if len(f.Methods) > 0 {
		return len(f.usable()) == 0
	}
	return f.Proven || f.Managed || len(f.enrollable()) == 0
}

// usable are the methods that are a second thing beside the first factor. A password that was made anew by a code is not
// confirmed through the channel of that code, unless there is no other.
func (f Facts) usable() []Method {
	l := f.without(f.Methods, f.first())
	if f.Factor == Password && f.Reset != "" {
		if others := f.without(l, f.Reset); len(others) > 0 {
			return others
		}
	}
	return l
}

func (f Facts) enrollable() []Method { return f.without(f.Enrollable, f.first()) }

// first is the method that would ask for the first factor once more.
func (f Facts) first() Method {
	switch f.Factor {
	case Phone:
		return ByMobile
	case Passkey:
		return ByPasskey
	default:
		return ""
	}
}

func (Facts) without(l []Method, m Method) []Method {
	return slices.DeleteFunc(slices.Clone(l), func(x Method) bool { return x == m })
}
