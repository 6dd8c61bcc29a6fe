package pop3

import (
	"context"

	"latchkey/authcore"
	"latchkey/proxy/sasl"
)

// setUser is USER, RFC 1939 section 7. The answer is the same whoever it is.
func (d *dialogue) setUser(arg []byte) error {
	if !d.secure() {
		return d.refused(authcore.TLSRequired)
	}
	d.user = ""
	if _, err := sasl.Password("", string(arg), ""); err != nil {
		return &complaint{"Malformed name"}
	}
	d.user = string(arg)
	return d.c.Reply("+OK Send PASS\r\n")
}

// pass is PASS, RFC 1939 section 7: the rest of the line is the password, spaces too.
func (d *dialogue) pass(ctx context.Context, arg []byte) error {
	user := d.user
	d.user = "" // whatever comes of it, RFC 1939 wants USER again
	switch {
	case !d.secure():
		return d.refused(authcore.TLSRequired)
	case user == "":
		return &complaint{"Send USER first"}
	case arg == nil:
		return &complaint{"PASS and a password"}
	}
	credential, err := sasl.Password("", user, string(arg))
	if err != nil {
		return &complaint{"Malformed password"}
	}
	return d.attempt(ctx, "USER", credential)
}
