package sasl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"

	"latchkey/authcore/secret"
	"latchkey/proxy/wire"
)

// Exchange is our own sign-in at an upstream: one message of ours, and for OAUTHBEARER the empty-handed answer to an
// error. It is used for one exchange, by one goroutine.
type Exchange struct {
	mechanism string
	message   secret.String
	sent      bool
	refusal   string // what answers the server's error message, so that it ends the exchange; empty: there is none
	refused   bool
}

// PlainExchange signs authcid in by PLAIN, to act as authzid if that is not empty.
func PlainExchange(authzid, authcid string, password secret.String) (*Exchange, error) {
	if authcid == "" || password.Empty() { // RFC 4616 section 2: both 1*SAFE
		return nil, errors.New("PLAIN: name or secret is empty")
	}
	for _, part := range []string{authzid, authcid, password.Reveal()} {
		if strings.ContainsRune(part, 0) {
			return nil, errors.New("PLAIN: NUL in name or secret")
		}
	}
	return &Exchange{mechanism: "PLAIN", message: secret.New(authzid + "\x00" + authcid + "\x00" + password.Reveal())}, nil
}

// BearerExchange signs user in by OAUTHBEARER with a token. host and port are those that the upstream is known by;
// empty: they are not told (RFC 7628 section 3.1 leaves that to the client).
func BearerExchange(user string, token secret.String, host, port string) (*Exchange, error) {
	if user == "" || token.Empty() {
		return nil, errors.New("OAUTHBEARER: name or token is empty")
	}
	for _, part := range []string{user, token.Reveal(), host, port} {
		if strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) { // \x01 parts the fields
			return nil, errors.New("OAUTHBEARER: control character in name, token, host or port")
		}
	}
	var b strings.Builder
	b.WriteString("n,a=" + saslname(user) + ",\x01")
	if host != "" {
		b.WriteString("host=" + host + "\x01")
	}
	if port != "" {
		b.WriteString("port=" + port + "\x01")
	}
	b.WriteString("auth=Bearer " + token.Reveal() + "\x01\x01")
	// RFC 7628 section 3.2.3: an error message of the server is answered with one \x01, then it fails.
	return &Exchange{mechanism: "OAUTHBEARER", message: secret.New(b.String()), refusal: "\x01"}, nil
}

// saslname is that of RFC 5801 section 4.
func saslname(s string) string { return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s) }

// Endpoint is how an upstream is known for BearerExchange: the name that its certificate was checked against, and the
// port that was dialled. What is not known is empty.
func Endpoint(c *wire.Conn) (host, port string) {
	if t := c.TLS(); t != nil {
		host = t.ServerName
	}
	if _, p, err := net.SplitHostPort(c.RemoteAddr().String()); err == nil {
		port = p
	}
	return host, port
}

// Format prints the mechanism alone: fmt looks through what hides the message where that is in a field.
func (e *Exchange) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "[%s]", e.mechanism) }

// Mechanism is its name, as it stands in the command.
func (e *Exchange) Mechanism() string { return e.mechanism }

// Initial is the message in base64, to be sent with the command. After it Next is for the server's challenges.
func (e *Exchange) Initial() secret.String {
	e.sent = true
	return encoded(e.message)
}

// InitialLen is the length of what Initial answers, for protocols that bound it.
func (e *Exchange) InitialLen() int { return base64.StdEncoding.EncodedLen(len(e.message.Reveal())) }

// Next answers a challenge (what stands behind "+ ", in base64) with the line to send, in base64.
func (e *Exchange) Next(challenge string) (secret.String, error) {
	switch {
	case !e.sent: // a server that speaks first in a mechanism where it has nothing to say is none of ours
		if challenge != "" {
			return secret.String{}, fmt.Errorf("%s: the server's first challenge is not empty", e.mechanism)
		}
		return e.Initial(), nil
	case e.refusal == "" || e.refused:
		return secret.String{}, fmt.Errorf("%s: one challenge too many", e.mechanism)
	}
	e.refused = true
	return encoded(secret.New(e.refusal)), nil
}

func encoded(s secret.String) secret.String {
	return secret.New(base64.StdEncoding.EncodeToString([]byte(s.Reveal())))
}
