package pop3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// upstream is the sign-in at a real server, and dies with it. One goroutine owns it.
type upstream struct {
	leg    *proxy.Leg
	caps   []string // lines of CAPA; empty: none are known
	facts  bool     // the greeting has promised XCLIENT
	lines  int      // that may still come
	octets int      // that may still come
}

// What an upstream may say until the member is in. Dovecot says about thirty short lines.
const (
	maxReplyLines  = 200
	maxReplyOctets = 64 << 10
)

// LogIn signs the member in. Every error is told as unavailable.
func (p *Door) LogIn(ctx context.Context, up *proxy.Leg, l *proxy.Login) (proxy.Welcome, error) {
	u := &upstream{leg: up, lines: maxReplyLines, octets: maxReplyOctets}
	if err := u.begin(ctx); err != nil {
		return proxy.Welcome{}, err
	}
	if err := u.tellFacts(); err != nil {
		return proxy.Welcome{}, err
	}
	if err := u.signIn(ctx); err != nil {
		return proxy.Welcome{}, err
	}
	if err := u.keeps(l.Offered); err != nil {
		return proxy.Welcome{}, err
	}
	return proxy.Welcome{Capabilities: u.caps}, nil
}

// begin leads from the greeting to the capabilities, under TLS if the Leg says so.
func (u *upstream) begin(ctx context.Context) error {
	r, err := u.read()
	if err == nil && !r.ok {
		err = fmt.Errorf("upstream says %s", r)
	}
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	u.facts = r.code == "XCLIENT"
	if u.leg.StartTLS != nil {
		if err := u.startTLS(ctx); err != nil {
			return err
		}
	}
	return u.capa()
}

// startTLS is RFC 2595 section 4. Octets behind the +OK are refused by ClientTLS.
func (u *upstream) startTLS(ctx context.Context) error {
	if err := u.ok("STLS"); err != nil {
		return err
	}
	if err := u.leg.ClientTLS(ctx, u.leg.StartTLS, handshakeTime); err != nil {
		return fmt.Errorf("STLS: %w", err)
	}
	return nil
}

// capa asks for the capabilities. A server that has no CAPA has none.
func (u *upstream) capa() error {
	if err := u.leg.Reply("CAPA\r\n"); err != nil {
		return fmt.Errorf("CAPA: %w", err)
	}
	r, err := u.read()
	u.caps = nil
	if err != nil || !r.ok {
		return wrap("CAPA", err)
	}
	for {
		line, err := u.line()
		switch {
		case err != nil:
			return fmt.Errorf("CAPA: %w", err)
		case string(line) == ".":
			return nil
		case isCapability(string(line)):
			u.caps = append(u.caps, string(line))
		}
	}
}

// keeps makes sure that the upstream has what its client was offered before sign-in.
func (u *upstream) keeps(offered []string) error {
	if len(offered) == 0 {
		return nil
	}
	if err := u.capa(); err != nil {
		return err
	}
	for _, line := range offered {
		if !has(u.caps, line) {
			return fmt.Errorf("upstream lacks %s, which is offered before sign-in", line)
		}
	}
	return nil
}

// ok gives a command and waits for its +OK. What is said in an error is the command's name, for it may hold a secret.
func (u *upstream) ok(command string) error {
	name, _, _ := strings.Cut(command, " ")
	_ = u.leg.WriteSecret(command) // sticky: Reply tells
	if err := u.leg.Reply("\r\n"); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r, err := u.read()
	if err == nil && !r.ok {
		err = fmt.Errorf("upstream says %s", r)
	}
	return wrap(name, err)
}

// wrap says what was being done when err came; no error stays none.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// answer is the first line of what the upstream answers.
type answer struct {
	ok        bool   // +OK
	challenge bool   // "+ "
	code      string // the word of a response code, if there is one
	text      string // of a challenge
}

// String is for errors. The upstream's own words stay out of them: it may have repeated a secret.
func (r answer) String() string {
	status := "-ERR"
	switch {
	case r.challenge:
		return "a challenge"
	case r.ok:
		status = "+OK"
	}
	if r.code != "" {
		status += " [" + r.code + "]"
	}
	return status
}

var (
	errEndless = errors.New("upstream says too much before sign-in")
	errReply   = errors.New("upstream says what is not POP3")
)

// read takes the first line of an answer.
func (u *upstream) read() (answer, error) {
	line, err := u.line()
	if err != nil {
		return answer{}, err
	}
	word, rest, _ := strings.Cut(string(line), " ")
	switch strings.ToUpper(word) {
	case "+OK":
		return answer{ok: true, code: code(rest)}, nil
	case "-ERR":
		return answer{code: code(rest)}, nil
	case "+":
		return answer{challenge: true, text: rest}, nil
	}
	return answer{}, errReply
}

// line takes a line within the bounds. One that passes the octets left is too long.
func (u *upstream) line() ([]byte, error) {
	if u.lines == 0 {
		return nil, errEndless
	}
	line, err := u.leg.ReadLine(min(wire.MaxLine, u.octets+len("\r\n")))
	u.lines--
	u.octets -= len(line)
	return line, err
}

// code answers the response code at the front of s: RFC 2449 section 8.
func code(s string) string {
	inner, found := strings.CutPrefix(s, "[")
	if !found {
		return ""
	}
	inner, _, found = strings.Cut(inner, "]")
	if !found || !isCapability(inner) || len(inner) > maxCode {
		return ""
	}
	return strings.ToUpper(inner)
}

// maxCode is far above the longest code of the registry.
const maxCode = 40
