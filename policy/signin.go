package policy

import (
	"maps"
	"regexp"
	"slices"
)

// SignIn is the policy for signing in on the web and in the app. A change holds from the next sign-in.
type SignIn struct {
	TwoStep      TwoStep        `json:"two_step" enum:"optional,required"`
	LINE         Way            `json:"line" enum:"allow,deny"`
	Phone        Way            `json:"phone" enum:"allow,deny"`
	Quick        Way            `json:"quick" enum:"allow,deny"`
	Passkey      Way            `json:"passkey" enum:"allow,deny"`
	OIDC         map[string]Way `json:"oidc,omitempty"` // by the provider's name in the configuration; what is not named is denied
	TrustBrowser bool           `json:"trust_browser"`  // members may spare a browser the second step for 30 days
}

// TwoStep says whether 2-step verification is for all members or for those who choose it.
type TwoStep string

// The zero value is Optional: what a document does not ask for is not asked of members.
const (
	TwoStepOptional TwoStep = "optional"
	TwoStepRequired TwoStep = "required"
)

// Way says whether a way to sign in beside the password is open.
type Way string

// Every value but Allow denies.
const (
	Allow Way = "allow"
	Deny  Way = "deny"
)

// Ways to sign in beside the password, as policy fields and members' denials name them. An OpenID provider other than LINE
// is OIDCPrefix and its name.
const (
	WayLINE    = "line"
	WayPhone   = "phone"
	WayQuick   = "quick"
	WayPasskey = "passkey"
	OIDCPrefix = "oidc."
)

// Allows says whether the way is open.
func (s SignIn) Allows(way string) bool {
	switch way {
	case WayLINE:
		return s.LINE == Allow
	case WayPhone:
		return s.Phone == Allow
	case WayQuick:
		return s.Quick == Allow
	case WayPasskey:
		return s.Passkey == Allow
	}
	name, ok := cutOIDC(way)
	return ok && s.OIDC[name] == Allow
}

// KnownWay says whether the word is that of a way: one of the house, or of a provider that may have the name.
func KnownWay(way string) bool {
	switch way {
	case WayLINE, WayPhone, WayQuick, WayPasskey:
		return true
	}
	name, ok := cutOIDC(way)
	return ok && ProviderName(name)
}

// ProviderName says whether an OpenID provider other than LINE may have the name.
func ProviderName(name string) bool { return providerName.MatchString(name) && name != WayLINE }

// Allowed lists the ways that are open, in a fixed order.
func (s SignIn) Allowed() []string {
	ways := []string{WayLINE, WayPhone, WayQuick, WayPasskey}
	for _, name := range slices.Sorted(maps.Keys(s.OIDC)) {
		ways = append(ways, OIDCPrefix+name)
	}
	return slices.DeleteFunc(ways, func(w string) bool { return !s.Allows(w) })
}

func cutOIDC(way string) (string, bool) {
	if len(way) <= len(OIDCPrefix) || way[:len(OIDCPrefix)] != OIDCPrefix {
		return "", false
	}
	return way[len(OIDCPrefix):], true
}

// providerName is what the configuration takes as the name of an OpenID provider.
var providerName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

const maxProviders = 16 // in one policy: a page of buttons

func (s SignIn) validate(bad func(field, format string, a ...any)) {
	if s.TwoStep != TwoStepOptional && s.TwoStep != TwoStepRequired {
		bad("sign_in.two_step", "must be %q or %q", TwoStepOptional, TwoStepRequired)
	}
	way := func(field string, w Way) {
		if w != Allow && w != Deny {
			bad(field, "must be %q or %q", Allow, Deny)
		}
	}
	way("sign_in.line", s.LINE)
	way("sign_in.phone", s.Phone)
	way("sign_in.quick", s.Quick)
	way("sign_in.passkey", s.Passkey)
	if len(s.OIDC) > maxProviders {
		bad("sign_in.oidc", "must name at most %d providers", maxProviders)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.OIDC)) {
		if !ProviderName(name) {
			bad("sign_in.oidc", "%.32q is no name of a provider: small letters, digits and hyphens, and not %q", name, WayLINE)
			continue
		}
		way("sign_in.oidc."+name, s.OIDC[name])
	}
}

// Sessions are the lifetimes of sessions on the web and in the app. A session keeps those it began with.
type Sessions struct {
	IdleHours    int `json:"idle_hours"`    // 1 to 720 without a request
	AbsoluteDays int `json:"absolute_days"` // 1 to 365 from the sign-in
}

// Bounds of Sessions.
const (
	IdleHoursHigh    = 720
	AbsoluteDaysHigh = 365
)

func (s Sessions) validate(bad func(field, format string, a ...any)) {
	if s.IdleHours < 1 || s.IdleHours > IdleHoursHigh {
		bad("sessions.idle_hours", "must be 1 to %d", IdleHoursHigh)
	}
	if s.AbsoluteDays < 1 || s.AbsoluteDays > AbsoluteDaysHigh {
		bad("sessions.absolute_days", "must be 1 to %d", AbsoluteDaysHigh)
	}
}
