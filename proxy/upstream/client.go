package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"latchkey/authcore"
	"latchkey/proxy"
)

// maxProbeBytes bounds what an upstream may say to one probe: greetings and capability lists are a few hundred bytes.
const maxProbeBytes = 64 << 10

var errTooTalkative = fmt.Errorf("says more than %d bytes", maxProbeBytes)

// bounded is a connection for a client library that sets deadlines of its own and reads what comes: it has one deadline
// that cannot be moved, and a budget of bytes.
type bounded struct {
	net.Conn
	left int64 // owned by the one reader that a client library has
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooTalkative
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (b *bounded) SetDeadline(time.Time) error      { return nil }
func (b *bounded) SetReadDeadline(time.Time) error  { return nil }
func (b *bounded) SetWriteDeadline(time.Time) error { return nil }

// call is one conversation of a probe with an upstream.
type call struct {
	s    *server
	conn *bounded
	tls  *tls.Config // toward the upstream, watching the certificate; nil: in the clear
	seen *x509.Certificate
	stop func() bool
}

// call dials s for a probe and puts TLS under it where that comes first. hangUp must follow. ctx has a deadline.
func (s *server) call(ctx context.Context) (*call, error) {
	conn, _, err := s.connectTo(ctx, s.addresses, authcore.ConnInfo{}) // a dead one too: it is asked
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // only fails on a dead descriptor
	c := &call{s: s, conn: &bounded{Conn: conn, left: maxProbeBytes}}
	c.tls = s.watched(&c.seen)
	c.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if s.TLS.Mode != TLSOn {
		return c, nil
	}
	t := tls.Client(conn, c.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		c.hangUp()
		return nil, s.fail(StepTLS, err)
	}
	c.conn.Conn = t
	return c, nil
}

// watched is the TLS configuration, made to leave the certificate it meets in seen.
func (s *server) watched(seen **x509.Certificate) *tls.Config {
	if s.tls == nil {
		return nil
	}
	cfg := s.tls.Clone()
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) > 0 {
			*seen = cs.PeerCertificates[0]
		}
		return nil
	}
	return cfg
}

func (c *call) hangUp() {
	c.stop()
	_ = c.conn.Close()
}

// saslClient answers the client side of the way's mechanism.
func saslClient(ctx context.Context, in proxy.SignIn) (sasl.Client, error) {
	switch in.Way {
	case proxy.Master:
		return sasl.NewPlainClient(in.User, in.Master, in.Secret.Reveal()), nil
	case proxy.Passthrough:
		return sasl.NewPlainClient("", in.User, in.Secret.Reveal()), nil
	case proxy.Token:
		token, err := in.Token(ctx)
		if err != nil {
			return nil, err
		}
		return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: in.User, Token: token.Reveal()}), nil
	}
	return nil, fmt.Errorf("way %q has no SASL mechanism", in.Way)
}

// ErrRefused: the upstream understood the sign-in and did not let the member in.
var ErrRefused = errors.New("refused")

// unspoken makes an error of a sign-in fit to be shown: what a server says after it was told a secret may hold it, so
// only its codes stay.
func unspoken(err error) error {
	var smtpErr *smtp.SMTPError
	var imapErr *imap.Error
	var own *Error
	var netErr net.Error
	switch {
	case err == nil || errors.As(err, &own) || errors.Is(err, ErrRefused):
		return err
	case errors.As(err, &smtpErr):
		return fmt.Errorf("%w with %d %d.%d.%d", ErrRefused, smtpErr.Code,
			smtpErr.EnhancedCode[0], smtpErr.EnhancedCode[1], smtpErr.EnhancedCode[2])
	case errors.As(err, &imapErr):
		return fmt.Errorf("%w with %s", ErrRefused, known(imapErr))
	case errors.As(err, &netErr), errors.Is(err, net.ErrClosed):
		return err
	}
	return fmt.Errorf("%w or the answer is not understood", ErrRefused)
}

// known answers the status and code of an IMAP reply if they are words that the standard has.
func known(e *imap.Error) string {
	for _, code := range []imap.ResponseCode{
		imap.ResponseCodeAuthenticationFailed, imap.ResponseCodeAuthorizationFailed, imap.ResponseCodeUnavailable,
		imap.ResponseCodePrivacyRequired, imap.ResponseCodeContactAdmin, imap.ResponseCodeExpired, imap.ResponseCodeLimit,
	} {
		if e.Code == code {
			return fmt.Sprintf("NO [%s]", code)
		}
	}
	if e.Type == imap.StatusResponseTypeBad {
		return "BAD"
	}
	return "NO"
}
