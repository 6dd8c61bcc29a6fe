package imap

import "latchkey/authcore"

// refusal is the code and text of a tagged NO, or of BYE, for a Reason. The codes are those of RFC 5530.
func refusal(r authcore.Reason) string { return "[" + code(r) + "] " + r.Sentence() }

func code(r authcore.Reason) string {
	switch r {
	case authcore.PasswordExpired, authcore.PasswordChangeRequired:
		return "EXPIRED"
	case authcore.Suspended:
		return "CONTACTADMIN"
	case authcore.DoorClosed:
		return "AUTHORIZATIONFAILED"
	case authcore.Throttled, authcore.TooManyConnections:
		return "LIMIT"
	case authcore.Unavailable:
		return "UNAVAILABLE"
	case authcore.TLSRequired:
		return "PRIVACYREQUIRED"
	default: // bad_credentials and app_password_required; a Reason of tomorrow too
		return "AUTHENTICATIONFAILED"
	}
}
