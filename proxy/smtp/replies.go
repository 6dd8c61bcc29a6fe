package smtp

import (
	"errors"
	"fmt"
	"net"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// Replies of the door itself (RFC 5321 section 4.2, with the codes of RFC 3463 and RFC 4954). Each is whole, with its
// CRLF.
const (
	replySyntax       = "500 5.5.2 Syntax error\r\n"
	replyBareInLine   = "500 5.5.2 CR and LF must come as a pair\r\n"
	replyLongLine     = "500 5.5.2 Line too long\r\n"
	replyNotHere      = "502 5.5.1 Command not implemented\r\n"
	replyNoArguments  = "501 5.5.4 No arguments here\r\n"
	replyBadMail      = "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]\r\n"
	replyBadBDAT      = "501 5.5.4 Syntax: BDAT size [LAST]\r\n"
	replyNoChunking   = "503 5.5.1 CHUNKING is not offered\r\n"
	replyBigChunk     = "552 5.3.4 Chunk too large\r\n"
	replyNotYours     = "553 5.7.1 Sender address is not yours\r\n"
	replyBareInBody   = "550 5.6.11 Message has a CR or LF that stands alone\r\n"
	replyTwice        = "503 5.5.1 Already authenticated\r\n"
	replyNoTLSNow     = "503 5.5.1 TLS is not to be had now\r\n"
	replyConfused     = "421 4.3.0 Temporarily unavailable: try again later\r\n"
	replyCut          = "421 4.7.0 Session ended: sign in again\r\n"
	replyShuttingDown = "421 4.3.2 Shutting down: connect again\r\n"
	replyTimeout      = "421 4.4.2 Too slow\r\n"
	replyTooMuch      = "421 4.7.0 Too many commands\r\n"
	replyTooOften     = "421 4.7.0 Too many refused sign-ins\r\n"
	replyClosing      = "421 4.7.0 Closing\r\n"
	replyBye          = "221 2.0.0 Bye\r\n"
	replyOK           = "250 2.0.0 OK\r\n"
	replyHelp         = "214 2.0.0 Sign in with AUTH, then submit mail\r\n"
	replyGoTLS        = "220 2.0.0 Go ahead\r\n"
	replyWantTLS      = "530 5.7.0 Must issue a STARTTLS command first\r\n" // RFC 3207 section 4
	replyWantAuth     = "530 5.7.0 Authentication required\r\n"             // RFC 4954 section 6
	replyBadHello     = "501 5.5.4 Syntax: EHLO name\r\n"
	replyHelloFirst   = "503 5.5.1 Send EHLO first\r\n"
	replyBadAuth      = "501 5.5.4 Syntax: AUTH mechanism [initial-response]\r\n"
	replyNoMechanism  = "504 5.5.4 Mechanism not supported\r\n"
	replyMalformed    = "501 5.5.2 Cannot read that response\r\n"
	replyCancelled    = "501 5.7.0 Authentication cancelled\r\n" // RFC 4954 section 4
)

// codeOf answers how AUTH is told of a reason. What is not in the table refuses.
func codeOf(r authcore.Reason) string {
	switch r {
	case authcore.Allowed:
		return "235 2.7.0"
	case authcore.Throttled, authcore.TooManyConnections, authcore.Unavailable:
		return "454 4.7.0"
	case authcore.TLSRequired:
		return "538 5.7.11"
	default:
		return "535 5.7.8"
	}
}

// verdictOf is the whole reply to AUTH. It depends on the reason alone.
func verdictOf(r authcore.Reason) string { return codeOf(r) + " " + r.Sentence() + "\r\n" }

// Refuse speaks instead of the greeting (RFC 5321 section 3.1).
func (p *Protocol) Refuse(c *wire.Conn, _ authcore.Reason, text string) error {
	return c.Bye("421 4.7.0 %s\r\n", text)
}

// replyLost answers what is said to a client whose next line could not be read; empty: it is gone, or must hear nothing.
func replyLost(err error, cancelled bool) string {
	var netErr net.Error
	switch {
	case errors.Is(err, wire.ErrLineTooLong):
		return replyLongLine
	case errors.Is(err, wire.ErrBareCR), errors.Is(err, wire.ErrBareLF):
		return replyBareInLine
	case errors.Is(err, wire.ErrNUL):
		return replySyntax
	case cancelled:
		return replyShuttingDown
	case errors.As(err, &netErr) && netErr.Timeout():
		return replyTimeout
	default:
		return ""
	}
}

// gone says that a dialogue has ended and that the client has heard what there was to say.
func gone(why error) error { return fmt.Errorf("%w: %w", proxy.ErrGone, why) }
