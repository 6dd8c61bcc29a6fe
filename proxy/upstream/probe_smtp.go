package upstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"

	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// smtpKeywords are the EHLO keywords that a probe asks for. What is not among them is never offered at a door: a verb that
// nobody here has read about does not pass the door's list of verbs either.
func smtpKeywords() []string {
	return []string{
		"8BITMIME", "AUTH", "BINARYMIME", "BURL", "CHUNKING", "DELIVERBY", "DSN", "ENHANCEDSTATUSCODES", "FUTURERELEASE",
		"LIMITS", "MT-PRIORITY", "PIPELINING", "REQUIRETLS", "RRVS", "SIZE", "SMTPUTF8", "STARTTLS", "VRFY", "XCLIENT", "XFORWARD",
	}
}

// lookSMTP reads the EHLO keywords before and after the sign-in, and answers the client for what else is to be asked.
func (p *Pool) lookSMTP(ctx context.Context, c *call, in *proxy.SignIn, r *Report) (*smtp.Client, error) {
	client, err := p.greetSMTP(c)
	if err != nil {
		return nil, err
	}
	r.Before = keywords(client)
	switch {
	case in == nil:
		return client, nil
	case in.Way == proxy.XCLIENT:
		return p.xclient(ctx, c, in, r)
	}
	mechanism, err := saslClient(ctx, *in)
	if err != nil {
		return nil, err
	}
	if err := client.Auth(mechanism); err != nil {
		return nil, c.s.fail(StepSignIn, unspoken(err))
	}
	r.After = r.Before // RFC 4954 section 4: without a security layer the list stays
	return client, nil
}

func (p *Pool) greetSMTP(c *call) (*smtp.Client, error) {
	if c.s.TLS.Mode != StartTLS {
		return p.hello(c, smtp.NewClient(c.conn))
	}
	client, err := smtp.NewClientStartTLS(c.conn, c.tls)
	if err != nil {
		return nil, c.s.fail(StepTLS, shown(err))
	}
	return p.hello(c, client)
}

func (p *Pool) hello(c *call, client *smtp.Client) (*smtp.Client, error) {
	if err := client.Hello(p.o.HelloName); err != nil {
		return nil, c.s.fail(StepGreeting, shown(err))
	}
	return client, nil
}

// shown leaves of a reply its codes.
func shown(err error) error {
	var e *smtp.SMTPError
	if errors.As(err, &e) {
		return fmt.Errorf("answered with %d", e.Code)
	}
	return err
}

func keywords(client *smtp.Client) []string {
	var caps []string
	for _, k := range smtpKeywords() {
		if ok, param := client.Extension(k); ok {
			caps = append(caps, capability(k+" "+param))
		}
	}
	return sorted(caps)
}

// xclient calls again and signs the member in by XCLIENT LOGIN. The command puts the server back to its greeting
// (Postfix, XCLIENT_README: "the server replies with 220"), which is where a client library begins.
func (p *Pool) xclient(ctx context.Context, first *call, in *proxy.SignIn, r *Report) (*smtp.Client, error) {
	if err := takesLogin(r.Before); err != nil {
		return nil, first.s.fail(StepSignIn, err)
	}
	deadline, _ := ctx.Deadline()
	again, err := first.s.call(ctx)
	if err != nil {
		return nil, err
	}
	first.hangUp()
	*first = *again // who made the call hangs this one up
	w := wire.New(first.conn, wire.Options{Deadline: deadline})
	if err := p.sendXCLIENT(ctx, first, w, in.User); err != nil {
		return nil, first.s.fail(StepSignIn, err)
	}
	conn, ahead := w.Detach()
	if len(ahead) > 0 || conn == nil {
		return nil, first.s.fail(StepSignIn, errGarbage)
	}
	client, err := p.hello(first, smtp.NewClient(conn))
	if err != nil {
		return nil, err
	}
	r.After = keywords(client)
	return client, nil
}

// takesLogin says whether the server lists XCLIENT with LOGIN, as it does for whom it authorized.
func takesLogin(caps []string) error {
	for _, c := range caps {
		if words := strings.Fields(c); words[0] == "XCLIENT" && strings.Contains(c+" ", " LOGIN ") {
			return nil
		}
	}
	return errors.New("does not offer XCLIENT with LOGIN to this host")
}

func (p *Pool) sendXCLIENT(ctx context.Context, c *call, w *wire.Conn, user string) error {
	if err := smtpReply(w, "220"); err != nil {
		return err
	}
	if err := p.ehlo(w); err != nil {
		return err
	}
	if c.s.TLS.Mode == StartTLS {
		if err := p.startTLS(ctx, c, w); err != nil {
			return err
		}
	}
	return w.Reply("XCLIENT LOGIN=%s\r\n", xtext(user))
}

func (p *Pool) startTLS(ctx context.Context, c *call, w *wire.Conn) error {
	if err := w.Reply("STARTTLS\r\n"); err != nil {
		return err
	}
	if err := smtpReply(w, "220"); err != nil {
		return err
	}
	if err := w.ClientTLS(ctx, c.tls, p.o.ProbeTimeout); err != nil {
		return err
	}
	return p.ehlo(w)
}

func (p *Pool) ehlo(w *wire.Conn) error {
	if err := w.Reply("EHLO %s\r\n", p.o.HelloName); err != nil {
		return err
	}
	return smtpReply(w, "250")
}

// maxReplyLines bounds a reply: EHLO lists have about twenty.
const maxReplyLines = 100

// smtpReply reads one reply and asks for its code: RFC 5321 section 4.2.1.
func smtpReply(w *wire.Conn, code string) error {
	for range maxReplyLines {
		line, err := w.ReadLine(2048) // four times what RFC 5321 section 4.5.3.1.5 grants
		if err != nil {
			return err
		}
		if len(line) < 3 || string(line[:3]) != code {
			return fmt.Errorf("answered without %s", code)
		}
		if len(line) == 3 || line[3] == ' ' {
			return nil
		}
	}
	return errGarbage
}

// xtext encodes a value: RFC 3461 section 4.
func xtext(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < '!' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// sizeOf answers the limit of a SIZE keyword; 0: it sets none. RFC 1870 section 3.
func sizeOf(keyword string) (limit int64, ok bool) {
	param, ok := strings.CutPrefix(keyword, "SIZE")
	if !ok {
		return 0, false
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(param), 10, 64)
	return max(limit, 0), err == nil || param == ""
}
