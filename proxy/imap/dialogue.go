package imap

import (
	"context"
	"errors"
	"fmt"
	"os"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// What a client may do before it has signed in. Programs need five commands and one attempt.
const (
	maxCommands = 100
	maxBad      = 5 // commands that were not understood or not allowed
	maxAttempts = 3
)

// dialogue is what is known of a client before its sign-in, and dies with it. One goroutine owns it.
type dialogue struct {
	o        *Options
	c        *wire.Conn
	info     authcore.ConnInfo
	told     []string // of the upstreams, since the greeting or STARTTLS
	bad      int
	attempts int          // that were not allowed
	login    *proxy.Login // set by the command that was allowed: then the dialogue is over
}

// Dialogue greets, and speaks until an attempt is allowed.
func (p *Door) Dialogue(ctx context.Context, c *wire.Conn, info authcore.ConnInfo) (*proxy.Login, error) {
	d := &dialogue{o: &p.o, c: c, info: info}
	if err := d.greet(); err != nil {
		return nil, d.gone(ctx, err)
	}
	for range maxCommands {
		err := d.turn(ctx)
		switch {
		case err != nil:
			return nil, d.gone(ctx, err)
		case d.login != nil:
			return d.login, nil
		case d.bad >= maxBad:
			return nil, d.gone(ctx, ending("Too many bad commands"))
		}
	}
	return nil, d.gone(ctx, ending("Too many commands before sign-in"))
}

// greet: RFC 9051 section 7.1.1, with the capabilities so that nobody needs to ask.
func (d *dialogue) greet() error {
	host := d.o.Hostname
	if host != "" {
		host += " "
	}
	return d.c.Reply("* OK [CAPABILITY %s] %sLatchkey ready\r\n", d.capabilities(), host)
}

// turn reads one command and answers it. A complaint is answered; any other error ends the dialogue.
func (d *dialogue) turn(ctx context.Context) error {
	cmd, err := readCommand(d.c)
	if err == nil {
		err = d.dispatch(ctx, cmd)
	}
	var wrong *complaint
	if !errors.As(err, &wrong) {
		return err
	}
	d.bad++
	if err := cmd.skip(); err != nil {
		return err
	}
	return d.c.Reply("%s %s\r\n", cmd.tag, wrong.answer)
}

func (d *dialogue) dispatch(ctx context.Context, cmd *command) error {
	switch cmd.name {
	case "CAPABILITY":
		return d.capability(cmd)
	case "NOOP":
		return d.noop(cmd)
	case "LOGOUT":
		return d.logout(cmd)
	case "ID":
		return d.id(cmd)
	case "STARTTLS":
		return d.startTLS(ctx, cmd)
	case "LOGIN":
		return d.logIn(ctx, cmd)
	case "AUTHENTICATE":
		return d.authenticate(ctx, cmd)
	}
	return &complaint{"BAD Not known here before sign-in: sign in first"}
}

// secure says whether the client's secrets are under TLS: ours, or that of a trusted hop before us.
func (d *dialogue) secure() bool { return d.info.TLSVersion != "" }

// noop is RFC 9051 section 6.1.2.
func (d *dialogue) noop(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	return d.c.Reply("%s OK Done\r\n", cmd.tag)
}

// logout is RFC 9051 section 6.1.3.
func (d *dialogue) logout(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	_ = d.c.Bye("* BYE Goodbye\r\n%s OK Signed out\r\n", cmd.tag) // it leaves anyway
	return errLeft
}

// errLeft: the client has been told what there is to say, or wants to hear nothing.
var errLeft = errors.New("client left")

// ending ends the dialogue with BYE and this text.
type ending string

func (e ending) Error() string { return string(e) }

// brokenError ends the dialogue for a fault of ours. The client has been told.
type brokenError struct{ error }

func (e brokenError) Unwrap() error { return e.error }

// gone says the last word that err leaves room for, and turns err into what Dialogue answers.
func (d *dialogue) gone(ctx context.Context, err error) error {
	var broken brokenError
	if errors.As(err, &broken) {
		return broken.error
	}
	if text := lastWord(ctx, err); text != "" {
		_ = d.c.Bye("* BYE %s\r\n", text) // it goes anyway
	}
	return fmt.Errorf("%w: %w", proxy.ErrGone, err)
}

// lastWord is the text of BYE; empty: none is said.
func lastWord(ctx context.Context, err error) string {
	var end ending
	switch {
	case errors.Is(err, errLeft), errors.Is(err, wire.ErrBytesBeforeTLS):
		return ""
	case ctx.Err() != nil:
		return refusal(authcore.Unavailable)
	case errors.As(err, &end):
		return string(end)
	case errors.Is(err, wire.ErrLineTooLong):
		return "Line too long"
	case errors.Is(err, wire.ErrBareCR), errors.Is(err, wire.ErrBareLF):
		return "Lines end with CR LF"
	case errors.Is(err, wire.ErrNUL):
		return "NUL octet in a line"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "Sign-in took too long"
	}
	return ""
}
