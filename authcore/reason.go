package authcore

// Reason is one word out of a closed set that says why an attempt ended as it did: the same word in reply tables,
// audit, logs and metrics. The set only grows.
type Reason string

// The zero Reason is none of these and refuses, like every other but Allowed.
const (
	Allowed                Reason = "allowed"
	BadCredentials         Reason = "bad_credentials"          // wrong, unknown, suspended or not accepted here: all the same
	AppPasswordRequired    Reason = "app_password_required"    // told by the domain alone, whatever was sent
	PasswordExpired        Reason = "password_expired"         // told only after a right account password
	PasswordChangeRequired Reason = "password_change_required" // told only after a right account password
	Suspended              Reason = "suspended"                // told only after a right app password
	DoorClosed             Reason = "door_closed"              // told only after a right credential
	Throttled              Reason = "throttled"
	TooManyConnections     Reason = "too_many_connections"
	Unavailable            Reason = "unavailable" // broken, not denied: storage or upstream
	TLSRequired            Reason = "tls_required"
)

// Reasons lists the set in a fixed order, for reply tables and their tests.
func Reasons() []Reason {
	return []Reason{
		Allowed, BadCredentials, AppPasswordRequired, PasswordExpired, PasswordChangeRequired, Suspended, DoorClosed,
		Throttled, TooManyConnections, Unavailable, TLSRequired,
	}
}

// Temporary says whether the client may try the same again later: its password was not found wrong.
func (r Reason) Temporary() bool {
	return r == Throttled || r == TooManyConnections || r == Unavailable
}

// Sentence is what people are told, in English, without a full stop and in printable ASCII, so that every protocol can
// carry it. It depends on the reason alone.
func (r Reason) Sentence() string {
	switch r {
	case Allowed:
		return "Signed in"
	case AppPasswordRequired:
		return "An app password is required here: make one on the Security page of your account; " +
			"if your account is suspended, ask your administrator"
	case PasswordExpired:
		return "Your password has expired: sign in on the web and set a new one"
	case PasswordChangeRequired:
		return "Your password must be changed: sign in on the web and set a new one"
	case Suspended:
		return "Your account is suspended: ask your administrator"
	case DoorClosed:
		return "This way in is not open for you: ask your administrator"
	case Throttled:
		return "Too many attempts: try again later"
	case TooManyConnections:
		return "Too many connections of your account at this door: close some and try again"
	case Unavailable:
		return "Temporarily unavailable: try again later"
	case TLSRequired:
		return "An encrypted connection is required: switch TLS on"
	default:
		return "Wrong name or password; if your account is suspended, ask your administrator"
	}
}
