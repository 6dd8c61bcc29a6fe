package pop3

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"latchkey/proxy"
	"latchkey/proxy/sasl"
)

// signIn signs the member in by the way of this upstream.
func (u *upstream) signIn(ctx context.Context) error {
	if u.leg.SignIn.Way == proxy.Passthrough && !u.offers("PLAIN") {
		return u.userPass()
	}
	e, err := u.exchange(ctx)
	if err != nil {
		return err
	}
	return wrap("AUTH "+e.Mechanism(), u.authenticate(e))
}

// exchange is the SASL exchange for the way of this upstream.
func (u *upstream) exchange(ctx context.Context) (*sasl.Exchange, error) {
	s := u.leg.SignIn
	mechanism := "PLAIN"
	if s.Way == proxy.Token {
		mechanism = "OAUTHBEARER"
	}
	if !u.offers(mechanism) {
		return nil, fmt.Errorf("upstream does not offer SASL %s", mechanism)
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
	return nil, fmt.Errorf("no way %q at a POP3 upstream", s.Way)
}

// offers says whether CAPA names the mechanism.
func (u *upstream) offers(mechanism string) bool {
	for _, line := range u.caps {
		if words := strings.Fields(line); strings.EqualFold(words[0], "SASL") && has(words[1:], mechanism) {
			return true
		}
	}
	return false
}

// maxInitial is RFC 5034 section 4: a command with its initial response has 255 octets at most, CRLF included.
const maxInitial = 255

// authenticate is AUTH, RFC 5034.
func (u *upstream) authenticate(e *sasl.Exchange) error {
	command := "AUTH " + e.Mechanism()
	if n := len(command) + len(" ") + e.InitialLen() + len("\r\n"); n <= maxInitial {
		_ = u.leg.WriteString(command + " ") // sticky: Reply tells
		_ = u.leg.WriteSecret(e.Initial().Reveal())
	} else {
		_ = u.leg.WriteString(command)
	}
	for {
		if err := u.leg.Reply("\r\n"); err != nil {
			return err
		}
		r, err := u.read()
		switch {
		case err != nil:
			return err
		case r.ok:
			return nil
		case !r.challenge:
			return fmt.Errorf("upstream says %s", r)
		}
		line, err := e.Next(r.text)
		if err != nil {
			return err
		}
		_ = u.leg.WriteSecret(line.Reveal())
	}
}

// userPass is USER and PASS, RFC 1939, for upstreams that take the member's own password in no other way.
func (u *upstream) userPass() error {
	s := u.leg.SignIn
	for _, part := range []string{s.User, s.Secret.Reveal()} {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return errors.New("USER: name or password is empty or has a control character")
		}
	}
	if strings.Contains(s.User, " ") { // upstreams differ in what they make of it
		return errors.New("USER: space in the name")
	}
	if err := u.ok("USER " + s.User); err != nil {
		return err
	}
	return u.ok("PASS " + s.Secret.Reveal())
}

// proxyHops is how many proxies of Dovecot may still follow: its own proxies begin with five, and we were the first.
const proxyHops = 4

// tellFacts says by XCLIENT what the upstream should know of the client. Dovecot has it for login_trusted_networks, and
// says so in its greeting.
func (u *upstream) tellFacts() error {
	f := u.leg.Facts
	if !f.Send || !u.facts && !has(u.caps, "XCLIENT") {
		return nil
	}
	command := "XCLIENT"
	if f.Conn.ClientVouched && f.Conn.Client.IsValid() {
		command += " ADDR=" + address(f.Conn.Client) + " PORT=" + strconv.Itoa(int(f.Conn.Client.Port()))
	}
	if isWord(f.Session) {
		command += " SESSION=" + f.Session
	}
	return u.ok(command + " TTL=" + strconv.Itoa(proxyHops))
}

func address(a netip.AddrPort) string { return a.Addr().Unmap().WithZone("").String() }

// isWord says whether s can stand as a value of XCLIENT.
func isWord(s string) bool {
	return s != "" && len(s) <= maxSession && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// maxSession is the longest session id that Dovecot takes.
const maxSession = 64
