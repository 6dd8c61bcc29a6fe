package pop3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// What a client may do before it has signed in. Programs need five commands and one attempt.
const (
	maxCommands = 100
	maxBad      = 5 // commands that were not understood or not allowed
	maxAttempts = 3
	// maxLine bounds a command line: a token of an OpenID provider fits, and so it is at the other doors.
	maxLine = 12 << 10
	// maxVerb is that of AUTH's neighbours, and then some.
	maxVerb = 16
)

// dialogue is what is known of a client before its sign-in, and dies with it. One goroutine owns it.
type dialogue struct {
	o        *Options
	c        *wire.Conn
	info     authcore.ConnInfo
	user     string   // of USER, until PASS
	told     []string // of the upstreams, since the greeting or STLS
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
		if err := d.turn(ctx); err != nil {
			return nil, d.gone(ctx, err)
		}
		if d.login != nil {
			return d.login, nil
		}
	}
	return nil, d.gone(ctx, ending("Too many commands before sign-in"))
}

// greet: RFC 1939 section 4. There is no timestamp in it, for APOP cannot work.
func (d *dialogue) greet() error {
	host := d.o.Hostname
	if host != "" {
		host += " "
	}
	return d.c.Reply("+OK %sLatchkey ready\r\n", host)
}

// complaint is what the client did wrong and may do better: the command is answered with it, and the dialogue goes on.
type complaint struct{ text string }

func (c *complaint) Error() string { return c.text }

// turn reads one command and answers it. A complaint is answered, the last one that is heard ends the dialogue; so does
// any other error.
func (d *dialogue) turn(ctx context.Context) error {
	line, err := d.c.ReadSecretLine(maxLine) // it may be PASS
	if err != nil {
		return err
	}
	err = d.dispatch(ctx, line)
	var wrong *complaint
	if !errors.As(err, &wrong) {
		return err
	}
	if d.bad++; d.bad >= maxBad {
		return ending(wrong.text + "; too many bad commands")
	}
	return d.c.Reply("-ERR %s\r\n", wrong.text)
}

// dispatch gives the line to its command. The argument is nil if no space follows the verb; it is valid until the next
// read.
func (d *dialogue) dispatch(ctx context.Context, line []byte) error {
	verb, arg, found := bytes.Cut(line, []byte(" "))
	if !found {
		arg = nil
	} else if arg == nil {
		arg = []byte{}
	}
	if len(verb) > maxVerb {
		return errUnknown
	}
	name := strings.ToUpper(string(verb)) // RFC 1939 section 3: in any letter case
	switch name {
	case "USER":
		return d.setUser(arg)
	case "PASS":
		return d.pass(ctx, arg)
	case "AUTH":
		return d.auth(ctx, arg)
	}
	if arg != nil {
		return errUnknown
	}
	switch name {
	case "CAPA":
		return d.capa()
	case "STLS":
		return d.startTLS(ctx)
	case "NOOP":
		return d.c.Reply("+OK\r\n")
	case "QUIT":
		_ = d.c.Bye("+OK Goodbye\r\n") // it leaves anyway
		return errLeft
	}
	return errUnknown
}

var errUnknown = &complaint{"Not known here before sign-in: sign in first"}

// secure says whether the client's secrets are under TLS: ours, or that of a trusted hop before us.
func (d *dialogue) secure() bool { return d.info.TLSVersion != "" }

// errLeft: the client has been told what there is to say, or wants to hear nothing.
var errLeft = errors.New("client left")

// ending ends the dialogue with -ERR and this text.
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
		_ = d.c.Bye("-ERR %s\r\n", text) // it goes anyway
	}
	return fmt.Errorf("%w: %w", proxy.ErrGone, err)
}

// lastWord is the text of -ERR; empty: none is said.
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
