package imap

import (
	"context"

	"latchkey/authcore"
	"latchkey/proxy/sasl"
)

// maxCredential bounds a name or password in LOGIN, as package sasl does.
const maxCredential = 1024

// logIn is LOGIN, RFC 9051 section 6.2.3. In the clear it is refused before its arguments are looked at, so a
// synchronising literal with a password is never invited.
func (d *dialogue) logIn(ctx context.Context, cmd *command) error {
	if !d.secure() {
		return d.refused(cmd, authcore.TLSRequired)
	}
	name, password, err := loginArguments(cmd)
	if err != nil {
		return err
	}
	credential, err := sasl.Password("", name, password)
	if err != nil {
		return &complaint{"BAD Malformed name or password"}
	}
	return d.attempt(ctx, cmd, "LOGIN", credential)
}

func loginArguments(cmd *command) (name, password string, err error) {
	if err := cmd.sp(); err != nil {
		return "", "", err
	}
	if name, err = cmd.astring(maxCredential); err != nil {
		return "", "", err
	}
	if err := cmd.sp(); err != nil {
		return "", "", err
	}
	if password, err = cmd.astring(maxCredential); err != nil {
		return "", "", err
	}
	return name, password, cmd.end()
}
