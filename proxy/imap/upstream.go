package imap

import (
	"context"
	"errors"
	"fmt"

	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// upstream is the sign-in at a real server, and dies with it. One goroutine owns it.
type upstream struct {
	leg    *proxy.Leg
	caps   []string // as last told; nil: they have to be asked for
	tags   int      // used
	lines  int      // that may still come
	octets int      // that may still come
}

// What an upstream may say until the member is in. Dovecot and Cyrus say about ten lines; what comes in literals is
// counted too.
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
	if err := u.signIn(ctx); err != nil {
		return proxy.Welcome{}, err
	}
	if err := u.known(); err != nil {
		return proxy.Welcome{}, err
	}
	if err := u.keeps(l.Offered); err != nil {
		return proxy.Welcome{}, err
	}
	return proxy.Welcome{Capabilities: tellable(u.caps)}, nil
}

// begin leads from the greeting to known capabilities, under TLS if the Leg says so.
func (u *upstream) begin(ctx context.Context) error {
	if err := u.greeting(); err != nil {
		return err
	}
	if u.leg.StartTLS != nil {
		if err := u.startTLS(ctx); err != nil {
			return err
		}
	}
	return u.known()
}

// greeting is RFC 9051 section 7.1. PREAUTH would be somebody's session, and not known to be the member's.
func (u *upstream) greeting() error {
	r, err := u.read()
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if r.tag != "*" || r.status != "OK" {
		return fmt.Errorf("greeting: upstream says %s", r)
	}
	return nil
}

// startTLS is RFC 9051 section 6.2.1. What was said in the clear is forgotten, and octets behind the OK are refused by
// ClientTLS.
func (u *upstream) startTLS(ctx context.Context) error {
	if u.caps != nil && !has(u.caps, "STARTTLS") {
		return errors.New("STARTTLS: upstream does not offer it")
	}
	if err := u.ok("STARTTLS"); err != nil {
		return err
	}
	if err := u.leg.ClientTLS(ctx, u.leg.StartTLS, handshakeTime); err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	u.caps = nil
	return nil
}

// known makes sure that the capabilities are known, and that this upstream may be used.
func (u *upstream) known() error {
	if u.caps == nil {
		if err := u.ok("CAPABILITY"); err != nil {
			return err
		}
	}
	switch {
	case u.caps == nil:
		return errors.New("CAPABILITY: upstream tells none")
	case has(u.caps, "UNAUTHENTICATE") && !u.leg.AuthenticatesOnlyDoor: // RFC 8437
		return errors.New("upstream offers UNAUTHENTICATE, by which a session could change its member behind the door: " +
			"switch UNAUTHENTICATE off there")
	}
	return nil
}

// keeps makes sure that the upstream has what its client was offered before sign-in.
func (u *upstream) keeps(offered []string) error {
	for _, name := range offered {
		if !has(u.caps, name) {
			return fmt.Errorf("upstream lacks %s, which is offered before sign-in", name)
		}
	}
	return nil
}

// tellable leaves out what the door takes back: a referral leads round it (RFC 2221).
func tellable(caps []string) []string {
	var list []string
	for _, name := range caps {
		if !has([]string{"LOGIN-REFERRALS"}, name) {
			list = append(list, name)
		}
	}
	return list
}

// tag answers the next tag of ours.
func (u *upstream) tag() string {
	u.tags++
	return fmt.Sprintf("L%d", u.tags)
}

// ok gives a command without arguments and waits for its OK.
func (u *upstream) ok(name string) error {
	tag := u.tag()
	if err := u.leg.Reply("%s %s\r\n", tag, name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := u.done(tag); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// done waits for the OK to a command.
func (u *upstream) done(tag string) error {
	r, err := u.answer(tag)
	if err == nil && r.status != "OK" {
		err = fmt.Errorf("upstream says %s", r)
	}
	return err
}

// answer waits for what ends a command, or for the challenge or invitation in its midst, and takes what comes before:
// Dovecot may greet twice, and any server may tell of what we do not know.
func (u *upstream) answer(tag string) (response, error) {
	for {
		r, err := u.read()
		switch {
		case err != nil:
			return response{}, err
		case r.tag == tag, r.tag == "+":
			return r, nil
		case r.tag != "*":
			return response{}, fmt.Errorf("upstream says %s out of turn", r)
		}
	}
}

// maxReplyLine is as long as wire takes: capabilities of large servers have a kilobyte.
const maxReplyLine = wire.MaxLine
