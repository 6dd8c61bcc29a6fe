package smtp

import (
	"bytes"

	"latchkey/proxy/relay"
)

// Replies of the upstream pass as they are. Each is matched with the command it answers, in their order (RFC 5321
// section 4.1.1, RFC 2920 section 3.2): that of DATA decides how the client's next octets are read.

// reply is the kind of a reply that is awaited.
type reply uint8

const (
	replyToOther reply = iota
	replyToEHLO
	replyToDATA
	replyToChunk   // of BDAT or BURL without LAST
	replyToMessage // of the final dot, or of LAST
	replyToQUIT
)

func (s *splitter) push(r reply) {
	s.queue[(s.head+s.n)%len(s.queue)] = r
	s.n++
}

func (s *splitter) pop() reply {
	r := s.queue[s.head]
	s.head = (s.head + 1) % len(s.queue)
	s.n--
	return r
}

// awaited counts the replies of a kind that are still to come.
func (s *splitter) awaited(r reply) int {
	count := 0
	for i := range s.n {
		if s.queue[(s.head+i)%len(s.queue)] == r {
			count++
		}
	}
	return count
}

func (s *splitter) awaits(r reply) bool { return s.awaited(r) > 0 }

// FromUpstream says what happens to the upstream's octets. As many whole replies as possible pass in one piece.
func (s *splitter) FromUpstream(p []byte) relay.Action {
	n := 0
	for {
		if s.nextIsEHLO() {
			return s.beforeEHLO(n, p)
		}
		line, ok := cutReply(p[n:])
		switch {
		case !ok && n == 0:
			return s.abort(replyConfused, errMisunderstood)
		case line == nil || !ok:
			return forward(n)
		}
		fate := goOn
		if s.midReply = line[3] == '-'; !s.midReply {
			fate = s.settle(string(line[:3]))
		}
		switch fate {
		case confused:
			return s.abort(string(p[:n])+replyConfused, errMisunderstood)
		case last:
			return s.end(string(p[:n+len(line)]), nil)
		}
		n += len(line)
	}
}

// nextIsEHLO says whether the next octets are the reply to EHLO.
func (s *splitter) nextIsEHLO() bool {
	return s.n > 0 && s.queue[s.head] == replyToEHLO && !s.midReply
}

// beforeEHLO passes what comes before the reply to EHLO, and then that.
func (s *splitter) beforeEHLO(n int, p []byte) relay.Action {
	if n > 0 {
		return forward(n)
	}
	return s.fromEHLO(p)
}

// cutReply answers the first line of a reply with its CRLF: nil if it has not come whole, not ok if it is none.
func cutReply(p []byte) (line []byte, ok bool) {
	i := bytes.IndexByte(p[:min(len(p), maxReplyLine)], '\n')
	if i < 0 {
		return nil, len(p) < maxReplyLine
	}
	line = p[:i+1]
	text, whole := bytes.CutSuffix(line, []byte("\r\n"))
	return line, whole && isReply(text)
}

// isReply wants three digits of which the first is 2 to 5, then a space, a hyphen or the end (RFC 5321 section 4.2).
func isReply(text []byte) bool {
	return len(text) >= 3 && text[0] >= '2' && text[0] <= '5' && isDigit(text[1]) && isDigit(text[2]) &&
		(len(text) == 3 || text[3] == ' ' || text[3] == '-') && bytes.IndexByte(text, '\r') < 0
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// fate is what follows from a whole reply.
type fate uint8

const (
	goOn     fate = iota
	last          // it passes, and the session is over
	confused      // it cannot be the answer to what was asked
)

// settle takes a whole reply for the oldest command that awaits one.
func (s *splitter) settle(code string) fate {
	if s.n == 0 {
		return s.unasked()
	}
	kind, goAhead := s.pop(), code == "354"
	switch {
	case kind == replyToDATA:
		s.afterDATA(goAhead)
	case goAhead:
		return confused // it takes what comes for a message
	case kind == replyToChunk:
		s.chunked = s.chunked && code[0] == '2'
	case kind == replyToQUIT && code[0] == '2':
		return last
	case kind == replyToQUIT:
		s.phase = commands
	}
	return goOn
}

// afterDATA ends the wait for the reply to DATA. Its 354 alone lets a message's octets through.
func (s *splitter) afterDATA(goAhead bool) {
	s.phase = commands
	if goAhead {
		s.phase, s.line, s.answered, s.untraced = body, lineStart, false, s.trace != nil
	}
}

// unasked judges a reply that no command awaits. Inside a body it may refuse the message early, and stands for the
// reply to the final dot. Else only "421" (RFC 5321 section 3.8) makes sense, and the session is over.
func (s *splitter) unasked() fate {
	if s.phase != body || s.answered {
		return last
	}
	s.answered = true
	return goOn
}
