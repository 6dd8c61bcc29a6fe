package imap

import (
	"context"
	"errors"

	"latchkey/authcore"
	"latchkey/proxy/sasl"
)

// authenticate is AUTHENTICATE, RFC 9051 section 6.2.2, with the initial response of RFC 4959.
func (d *dialogue) authenticate(ctx context.Context, cmd *command) error {
	if !d.secure() {
		return d.refused(cmd, authcore.TLSRequired)
	}
	mechanism, m, initial, err := authenticateArguments(cmd)
	if err != nil {
		return err
	}
	credential, err := sasl.Run(ctx, m, initial, d.ask)
	switch {
	case errors.Is(err, sasl.ErrCancelled): // RFC 9051 section 6.2.2: BAD
		return &complaint{"BAD Cancelled"}
	case errors.Is(err, sasl.ErrMalformed):
		return &complaint{"BAD Malformed response"}
	case err != nil:
		return err
	}
	return d.attempt(ctx, cmd, mechanism, credential)
}

// authenticateArguments takes the mechanism and the initial response; nil: there is none. The response is copied.
func authenticateArguments(cmd *command) (canonical string, m sasl.Mechanism, initial []byte, err error) {
	if err := cmd.sp(); err != nil {
		return "", nil, nil, err
	}
	name := cmd.take(maxName, isAtomChar)
	if name == "" {
		return "", nil, nil, errSyntax
	}
	if len(cmd.rest) > 0 {
		if err := cmd.sp(); err != nil {
			return "", nil, nil, err
		}
		initial = append([]byte{}, cmd.rest...)
	}
	canonical, m, ok := sasl.New(name)
	if !ok {
		return "", nil, nil, &complaint{"NO Mechanism not offered"}
	}
	cmd.rest = nil // base64 holds no literal
	return canonical, m, initial, nil
}

// ask sends a challenge; an empty one keeps the space behind its plus (RFC 9051 section 9, continue-req).
func (d *dialogue) ask(challenge string) ([]byte, error) {
	if err := d.c.Reply("+ %s\r\n", challenge); err != nil {
		return nil, err
	}
	return d.c.ReadSecretLine(maxLine)
}
