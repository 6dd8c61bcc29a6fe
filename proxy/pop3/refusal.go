package pop3

import "latchkey/authcore"

// refusal is the code and text of -ERR for a Reason. The codes are those of RFC 3206: [AUTH] is about the credentials,
// so that the client asks for new ones; [SYS/TEMP] is about us, so that it keeps them and tries again.
func refusal(r authcore.Reason) string { return respCode(r) + r.Sentence() }

func respCode(r authcore.Reason) string {
	switch {
	case r == authcore.TLSRequired:
		return ""
	case r.Temporary():
		return "[SYS/TEMP] "
	}
	return "[AUTH] "
}
