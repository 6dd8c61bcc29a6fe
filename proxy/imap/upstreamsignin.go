package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/sasl"
)

// signIn tells the facts and signs the member in, in one packet where the upstream allows it. Then the capabilities
// are those of the member, or have to be asked for again.
func (u *upstream) signIn(ctx context.Context) error {
	idTag := u.facts()
	if u.leg.SignIn.Way == proxy.Passthrough && !has(u.caps, "AUTH=PLAIN") {
		return u.logIn(idTag)
	}
	e, err := u.exchange(ctx)
	if err != nil {
		return err
	}
	return u.authenticate(idTag, e)
}

// exchange is the SASL exchange for the way of this upstream.
func (u *upstream) exchange(ctx context.Context) (*sasl.Exchange, error) {
	s := u.leg.SignIn
	mechanism := "PLAIN"
	if s.Way == proxy.Token {
		mechanism = "OAUTHBEARER"
	}
	if !has(u.caps, "AUTH="+mechanism) {
		return nil, fmt.Errorf("upstream does not offer AUTH=%s", mechanism)
	}
	switch s.Way {
	case proxy.Master:
		return sasl.PlainExchange(s.User, s.Master, s.Secret)
	case proxy.Passthrough:
		return sasl.PlainExchange("", s.User, s.Secret)
	case proxy.Token:
		token, err := s.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("make a token: %w", err)
		}
		host, port := sasl.Endpoint(u.leg.Conn)
		return sasl.BearerExchange(s.User, token, host, port)
	}
	return nil, fmt.Errorf("no way %q at an IMAP upstream", s.Way)
}

// authenticate is AUTHENTICATE, with the message in the same line if that is offered (RFC 4959).
func (u *upstream) authenticate(idTag string, e *sasl.Exchange) error {
	doing := "AUTHENTICATE " + e.Mechanism()
	tag := u.tag()
	_ = u.leg.Printf("%s %s", tag, doing) // sticky: Flush tells
	if has(u.caps, "SASL-IR") {
		_ = u.leg.WriteSecret(" " + e.Initial().Reveal())
	}
	if err := u.leg.Reply("\r\n"); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := u.factsTaken(idTag); err != nil {
		return err
	}
	u.caps = nil
	if err := u.converse(tag, e); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// converse answers challenges until the tagged OK.
func (u *upstream) converse(tag string, e *sasl.Exchange) error {
	for {
		r, err := u.answer(tag)
		switch {
		case err != nil:
			return err
		case r.status == "OK":
			return nil
		case r.tag != "+":
			return fmt.Errorf("upstream says %s", r)
		}
		line, err := e.Next(r.text)
		if err != nil {
			return err
		}
		_ = u.leg.WriteSecret(line.Reveal()) // sticky: Reply tells
		if err := u.leg.Reply("\r\n"); err != nil {
			return err
		}
	}
}

// logIn is LOGIN, for upstreams that take the member's own password in no other way.
func (u *upstream) logIn(idTag string) error {
	if has(u.caps, "LOGINDISABLED") {
		return errors.New("upstream offers neither AUTH=PLAIN nor LOGIN")
	}
	if err := u.factsTaken(idTag); err != nil { // a literal may have to wait for its invitation
		return err
	}
	tag := u.tag()
	_ = u.leg.Printf("%s LOGIN", tag) // sticky: Flush tells
	for _, s := range []secret.String{secret.New(u.leg.SignIn.User), u.leg.SignIn.Secret} {
		_ = u.leg.WriteString(" ")
		if err := u.argument(tag, s.Reveal()); err != nil {
			return fmt.Errorf("LOGIN: %w", err)
		}
	}
	if err := u.leg.Reply("\r\n"); err != nil {
		return fmt.Errorf("LOGIN: %w", err)
	}
	u.caps = nil
	if err := u.done(tag); err != nil {
		return fmt.Errorf("LOGIN: %w", err)
	}
	return nil
}

// argument writes s to the command so that it can be nothing but one string: quoted if it is ASCII, else as a literal.
func (u *upstream) argument(tag, s string) error {
	ascii := true
	for _, b := range []byte(s) {
		if b < ' ' || b == 0x7f {
			return errors.New("control character in name or password")
		}
		ascii = ascii && b < 0x7f
	}
	if ascii {
		return u.leg.WriteSecret(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`)
	}
	if has(u.caps, "LITERAL+") || has(u.caps, "LITERAL-") && len(s) <= maxLiteralMinus {
		_ = u.leg.Printf("{%d+}\r\n", len(s)) // sticky
		return u.leg.WriteSecret(s)
	}
	if err := u.leg.Reply("{%d}\r\n", len(s)); err != nil {
		return err
	}
	r, err := u.answer(tag)
	if err == nil && r.tag != "+" {
		err = fmt.Errorf("upstream says %s", r)
	}
	if err != nil {
		return err
	}
	return u.leg.WriteSecret(s)
}

// maxLiteralMinus is the longest literal that LITERAL- takes without an invitation: RFC 7888 section 5.
const maxLiteralMinus = 4096
