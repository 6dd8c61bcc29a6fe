package smtp

import (
	"bytes"
	"errors"
	"strings"

	"latchkey/proxy/relay"
)

// After AUTH these verbs pass, and no other:
//
//	EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP, and BURL where the upstream offers it
//
// XCLIENT and XFORWARD would let a client be anyone at an upstream that believes the door; STARTTLS would put it out of
// sight; a second AUTH would change who is speaking (RFC 4954 section 4 forbids it too).

// Why a session was ended for what the client said.
var (
	errLongLine      = errors.New("client's command is too long")
	errBareInLine    = errors.New("client's command has a CR or LF that stands alone")
	errBareInBody    = errors.New("client's message has a CR or LF that stands alone")
	errUnreadable    = errors.New("client's BDAT cannot be read")
	errNotChunking   = errors.New("client sends BDAT where CHUNKING is not offered")
	errMisunderstood = errors.New("upstream's reply does not fit what was said")
)

// verdict on one command: refused here, or passed with what that changes.
type verdict struct {
	refusal string // answered here; empty: it passes
	fatal   error  // why what follows the refused command cannot be read any more; nil: it can
	wait    bool   // a reply that is awaited decides

	edit    []byte // goes upstream instead of the line; nil: the line itself
	awaits  reply
	next    phase
	left    int64
	last    bool
	chunked bool
	utf8    bool
	ext     extensions
}

func refused(reply string) verdict { return verdict{refusal: reply} }

func fatal(reply string, why error) verdict { return verdict{refusal: reply, fatal: why} }

// fromCommands passes as many whole commands as can go in one piece.
func (s *splitter) fromCommands(p []byte) relay.Action {
	n := 0
	for s.phase == commands && s.n < len(s.queue) && (n == 0 || !s.draining) {
		line, v := s.next(p[n:])
		switch {
		case line == nil || v.wait:
			return forward(n)
		case n > 0 && (v.refusal != "" || v.edit != nil):
			return forward(n) // what is before it goes first
		case v.refusal != "":
			return s.refuse(len(line), v)
		}
		s.take(v)
		if v.edit != nil {
			return relay.Action{Kind: relay.ToUpstream, N: len(line), Bytes: v.edit}
		}
		n += len(line)
	}
	return forward(n)
}

// take notes what a command changes that goes upstream now.
func (s *splitter) take(v verdict) {
	s.push(v.awaits)
	s.phase, s.left, s.last = v.next, v.left, v.last
	s.chunked, s.utf8, s.ext = v.chunked, v.utf8, v.ext
}

// refuse answers a command here, once everything before it is answered: replies come in the order of their commands
// (RFC 2920 section 3.2).
func (s *splitter) refuse(n int, v verdict) relay.Action {
	switch {
	case s.n > 0 || s.midReply:
		return hold()
	case v.fatal != nil:
		return s.end(v.refusal, v.fatal)
	default:
		return relay.Action{Kind: relay.ToClient, N: n, Bytes: []byte(v.refusal)}
	}
}

// next answers the first command of p with its CRLF and what is to be done with it; nil: it has not come whole. The
// verdict does not depend on how the line was cut into packets.
func (s *splitter) next(p []byte) (line []byte, v verdict) {
	i := bytes.IndexByte(p[:min(len(p), maxCommand)], '\n')
	switch {
	case i < 0 && len(p) >= maxCommand:
		return p, fatal(replyLongLine, errLongLine)
	case i < 0:
		return nil, verdict{}
	case i == 0 || bytes.IndexByte(p[:i], '\r') != i-1: // RFC 5321 section 2.3.8
		return p[:i+1], fatal(replyBareInLine, errBareInLine)
	}
	return p[:i+1], s.judge(string(p[:i-1]))
}

// judge decides on a command, and changes nothing: a refusal may have to wait for its turn.
func (s *splitter) judge(line string) verdict {
	if strings.ContainsFunc(line, isControl) {
		return refused(replySyntax)
	}
	v := verdict{awaits: replyToOther, next: commands, chunked: s.chunked, utf8: s.utf8, ext: s.ext}
	verb, args, _ := strings.Cut(line, " ")
	if strings.ContainsFunc(verb, func(r rune) bool { return r > 0x7e }) { // Unicode has other capitals than ASCII: ſ is S
		return refused(replyNotHere)
	}
	switch strings.ToUpper(verb) { // RFC 5321 section 2.4: verbs are case-insensitive
	case "RCPT", "NOOP", "VRFY", "EXPN", "HELP":
		return v
	case "RSET":
		v.chunked = false // RFC 3030 section 2
		return v
	case "HELO":
		v.chunked, v.ext = false, extensions{} // RFC 5321 section 3.2: no extension after HELO
		return v
	case "EHLO":
		v.awaits, v.chunked, v.ext = replyToEHLO, false, extensions{} // until the reply names them
		return v
	case "MAIL":
		return s.judgeMail(v, args)
	case "DATA":
		v.awaits, v.next = replyToDATA, asked
		return v
	case "BDAT":
		return s.judgeBDAT(v, args)
	case "BURL":
		return s.judgeBURL(v, args)
	case "QUIT":
		v.awaits, v.next = replyToQUIT, quitting
		return v
	case "AUTH":
		return refused(replyTwice)
	case "STARTTLS":
		return refused(replyNoTLSNow)
	default: // XCLIENT and XFORWARD among them
		return refused(replyNotHere)
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
