package pop3

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"latchkey/authcore"
	"latchkey/proxy/sasl"
)

// auth is AUTH, RFC 5034, with an initial response; without a mechanism it lists them, as some programs expect.
func (d *dialogue) auth(ctx context.Context, arg []byte) error {
	switch {
	case !d.secure():
		return d.refused(authcore.TLSRequired)
	case arg == nil:
		return d.c.Reply("+OK Mechanisms follow\r\n%s\r\n.\r\n", strings.Join(sasl.Names(), "\r\n"))
	}
	name, response, given := bytes.Cut(arg, []byte(" "))
	var initial []byte // nil: there is none
	if given {
		initial = append([]byte{}, response...)
	}
	mechanism, m, ok := sasl.New(string(name[:min(len(name), maxVerb)]))
	if !ok {
		return &complaint{"Mechanism not offered"}
	}
	credential, err := sasl.Run(ctx, m, initial, d.ask)
	switch {
	case errors.Is(err, sasl.ErrCancelled): // RFC 5034 section 4: -ERR
		return &complaint{"Cancelled"}
	case errors.Is(err, sasl.ErrMalformed):
		return &complaint{"Malformed response"}
	case err != nil:
		return err
	}
	return d.attempt(ctx, mechanism, credential)
}

// ask sends a challenge; an empty one keeps the space behind its plus (RFC 5034 section 4).
func (d *dialogue) ask(challenge string) ([]byte, error) {
	if err := d.c.Reply("+ %s\r\n", challenge); err != nil {
		return nil, err
	}
	return d.c.ReadSecretLine(maxLine)
}
