package smtp

import (
	"bytes"

	"latchkey/proxy/relay"
)

// Inside DATA the octets go on as they come, until CRLF "." CRLF (RFC 5321 section 4.1.1.4). A CR or LF that stands
// alone ends everything: 550 5.6.11 to the client, the upstream broken off before its final dot. A server that takes
// LF "." LF or the like for the end would read what follows as commands, in the member's name (CVE-2023-51764).

// lineState says where in a line of the body the next octet is. It is never between CR and LF: a CR waits for what
// follows, so a lone one never goes upstream.
type lineState uint8

const (
	lineStart lineState = iota
	afterDot            // the line is "." so far
	inLine
)

func (s *splitter) fromBody(p []byte) relay.Action {
	if s.untraced {
		s.untraced = false
		return relay.Action{Kind: relay.ToUpstream, Bytes: s.trace.field(s.utf8)}
	}
	n, at, end := scanBody(p, s.line)
	switch {
	case n == 0 && string(p) == "\r":
		return hold()
	case n == 0:
		return s.abort(replyBareInBody, errBareInBody)
	}
	s.line = at
	if end {
		s.endBody()
	}
	return forward(n)
}

// endBody is called when the final dot goes upstream. What the client hears of it is the upstream's word.
func (s *splitter) endBody() {
	s.phase = commands
	if !s.answered {
		s.push(replyToMessage)
	}
}

// scanBody answers how many octets of p may go on, where in its line the next one is, and whether the final dot is the
// last of them. It stops before a CR or LF that stands alone, and before a CR that is the last octet.
func scanBody(p []byte, at lineState) (n int, next lineState, end bool) {
	for n < len(p) {
		line := p[n:]
		lf := bytes.IndexByte(line, '\n')
		if lf >= 0 {
			line = line[:lf]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case lf > 0 && cr == lf-1: // a whole line, or the rest of one
			dot := at == afterDot && cr == 0 || at == lineStart && string(line) == ".\r"
			n, at = n+lf+1, lineStart
			if dot {
				return n, at, true
			}
			continue
		case cr >= 0:
			line = line[:cr]
		}
		return n + len(line), along(line, at), false
	}
	return n, at, false
}

// along answers where in its line the octet behind part is.
func along(part []byte, at lineState) lineState {
	switch {
	case len(part) == 0:
		return at
	case at == lineStart && string(part) == ".":
		return afterDot
	default:
		return inLine
	}
}
