// Package signin is the machine of a sign-in on the web and in the app: which step follows which. It keeps nothing, asks
// nobody and opens no session: Core feeds it what the records say, and does what it answers.
package signin

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
