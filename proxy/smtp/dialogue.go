package smtp

import (
	"context"
	"errors"
	"strings"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// Bounds of a dialogue. Time has one too, of the Server's.
const (
	// maxAuthLine bounds a line of AUTH: RFC 4954 section 4.
	maxAuthLine = 12288
	// maxBeforeAuth bounds the commands before sign-in: four times what a client with three attempts needs.
	maxBeforeAuth = 50
	// maxRefused is how many refused attempts a connection has.
	maxRefused = 3
)

var (
	errQuit         = errors.New("QUIT")
	errTooMany      = errors.New("too many commands")
	errTooOften     = errors.New("too many refused attempts")
	errOctetsToCome = errors.New("BDAT before AUTH")
	errBytesInFront = errors.New("bytes behind STARTTLS")
)

// dialogue is one connection before sign-in.
type dialogue struct {
	p    *Protocol
	c    *wire.Conn
	info authcore.ConnInfo

	extended bool     // EHLO was said, under the TLS there is
	offered  []string // what its reply offered of the upstreams
	commands int
	refused  int
	login    *proxy.Login
}

// Dialogue greets and speaks until an attempt is allowed.
func (p *Protocol) Dialogue(ctx context.Context, c *wire.Conn, info authcore.ConnInfo) (*proxy.Login, error) {
	d := &dialogue{p: p, c: c, info: info}
	if err := c.Reply("220 %s ESMTP\r\n", p.o.Hostname); err != nil {
		return nil, gone(err)
	}
	for d.login == nil {
		if err := d.next(ctx); err != nil {
			return nil, err
		}
	}
	return d.login, nil
}

// next reads one command and answers it.
func (d *dialogue) next(ctx context.Context) error {
	raw, err := d.c.ReadSecretLine(maxAuthLine) // any line may hold a password: clients get their turns wrong
	if err != nil {
		return d.lost(ctx, err)
	}
	line := string(raw)
	verb, args, _ := strings.Cut(strings.TrimRight(line, " "), " ") // RFC 5321 section 4.1.1: blanks before CRLF
	verb = strings.ToUpper(verb)
	d.commands++
	switch {
	case d.commands > maxBeforeAuth:
		return d.bye(replyTooMuch, errTooMany)
	case len(line)+2 > maxCommand && verb != "AUTH":
		return d.bye(replyLongLine, errLongLine)
	case strings.ContainsFunc(line, isControl):
		return d.reply(replySyntax)
	}
	return d.do(ctx, verb, args)
}

func (d *dialogue) do(ctx context.Context, verb, args string) error {
	switch verb {
	case "EHLO", "HELO":
		return d.hello(verb == "EHLO", args)
	case "STARTTLS":
		return d.startTLS(ctx, args)
	case "AUTH":
		return d.auth(ctx, args)
	case "NOOP", "RSET":
		return d.reply(replyOK)
	case "HELP":
		return d.reply(replyHelp)
	case "QUIT":
		return d.bye(replyBye, errQuit)
	case "MAIL", "RCPT", "DATA", "VRFY", "EXPN", "BURL":
		return d.reply(d.authFirst())
	case "BDAT": // RFC 3030 section 2: the octets come, and are not to be read as commands
		return d.bye(d.authFirst(), errOctetsToCome)
	default: // XCLIENT and XFORWARD among them: nobody at a door speaks for others
		return d.reply(replyNotHere)
	}
}

// secure: here, or before a load balancer that we trust.
func (d *dialogue) secure() bool { return d.info.TLSVersion != "" }

// authFirst is what stands before any mail.
func (d *dialogue) authFirst() string {
	if !d.secure() {
		return replyWantTLS
	}
	return replyWantAuth
}

func (d *dialogue) reply(whole string) error {
	_ = d.c.WriteString(whole) // sticky: Flush tells
	if err := d.c.Flush(); err != nil {
		return gone(err)
	}
	return nil
}

// bye says a last word and ends the dialogue.
func (d *dialogue) bye(whole string, why error) error {
	_ = d.c.Bye("%s", whole) // a client that is gone already does not need it
	return gone(why)
}

// lost ends a dialogue whose next line could not be read.
func (d *dialogue) lost(ctx context.Context, err error) error {
	word := replyLost(err, ctx.Err() != nil)
	if word == "" {
		return gone(err)
	}
	return d.bye(word, err)
}
