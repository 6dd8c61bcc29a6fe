package demo

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"

	"latchkey/authcore/secret"
)

var errPOP3Refused = errors.New("sign-in refused")

// signIn does a command of the AUTHORIZATION state.
func (sess *pop3Session) signIn(ctx context.Context, verb, rest string) error {
	switch verb {
	case "USER":
		sess.user = rest
		return sess.reply("+OK Send PASS")
	case "PASS": // RFC 1939 section 7: the rest of the line, spaces too
		if sess.user == "" {
			return sess.reply("-ERR Send USER first")
		}
		p := sess.server.enter("", sess.user, secret.New(rest))
		sess.user = ""
		return sess.admit(ctx, p)
	case "AUTH":
		return sess.auth(ctx, rest)
	}
	return sess.reply("-ERR Unknown command, or not before signing in")
}

// auth is the SASL exchange of RFC 5034.
func (sess *pop3Session) auth(ctx context.Context, rest string) error {
	mechanism, initial, hasInitial := strings.Cut(rest, " ")
	var in *person
	exchange := sess.server.exchange(strings.ToUpper(mechanism), func(p *person) { in = p }, errPOP3Refused)
	if exchange == nil {
		return sess.reply("-ERR Unknown mechanism")
	}
	var response []byte
	if hasInitial {
		var err error
		if response, err = decodePOP3(initial); err != nil {
			return sess.reply("-ERR Malformed base64")
		}
	}
	err := sess.converse(exchange, response)
	switch {
	case errors.Is(err, errPOP3Refused):
		return sess.admit(ctx, nil)
	case errors.Is(err, errPOP3Cancelled):
		return sess.reply("-ERR Sign-in cancelled")
	case err != nil:
		return err
	}
	return sess.admit(ctx, in)
}

var errPOP3Cancelled = errors.New("sign-in cancelled")

// converse sends challenges and reads responses until the exchange is over: nil is success.
func (sess *pop3Session) converse(exchange sasl.Server, response []byte) error {
	for {
		challenge, done, err := exchange.Next(response)
		if err != nil || done {
			return err
		}
		if err := sess.reply("+ " + base64.StdEncoding.EncodeToString(challenge)); err != nil {
			return err
		}
		line, err := sess.line()
		if err != nil {
			return err
		}
		if line == "*" {
			return errPOP3Cancelled
		}
		if response, err = decodePOP3(line); err != nil {
			return errPOP3Refused
		}
	}
}

// decodePOP3 reads a response; "=" is an empty one. Its result is never nil.
func decodePOP3(s string) ([]byte, error) {
	if s == "=" {
		s = ""
	}
	b, err := base64.StdEncoding.DecodeString(s)
	return append([]byte{}, b...), err
}

// admit opens the maildrop of whoever came in; nil is nobody.
func (sess *pop3Session) admit(ctx context.Context, p *person) error {
	if p == nil {
		sess.failures++
		err := sess.reply("-ERR [AUTH] Sign-in failed")
		if sess.failures >= maxPOP3Failures {
			return errors.Join(err, sess.out.Flush(), errPOP3Quit)
		}
		return err
	}
	drop, err := openMaildrop(ctx, sess.inside, p)
	if err != nil {
		sess.server.log.Error("demo: open maildrop", "cause", err)
		return sess.reply("-ERR [SYS/TEMP] The mailbox cannot be opened now")
	}
	sess.drop = drop
	return sess.reply("+OK Signed in")
}
