package smtp

import (
	"time"

	"latchkey/proxy/relay"
)

// How a session is ended from our side: with 421 between commands, and never so that a message might be sent in half.
// A revocation breaks a message off before its end is said; a drain lets it finish, and takes nothing new. In both, the
// reply to an end that was said is awaited: the client should hear what became of its message.

const (
	// cutPatience is what a revocation waits for the reply to a message: a session is gone within a second.
	cutPatience = 900 * time.Millisecond
	// drainPatience is what a drain waits for a message: the time that RFC 5321 section 4.5.3.2.6 gives a server to
	// answer the final dot. Who drains may be less patient.
	drainPatience = 10 * time.Minute
)

// Part says how to leave, and how long the message in flight may take before.
func (s *splitter) Part(drain bool) (relay.Action, time.Duration) {
	s.draining = s.draining || drain
	switch {
	case s.unheard() > 0 && !drain:
		return s.farewell(replyCut), cutPatience
	case !drain:
		return s.farewell(replyCut), 0
	case s.inMessage() || s.unheard() > 0:
		return s.farewell(replyShuttingDown), drainPatience
	default:
		return s.farewell(replyShuttingDown), 0
	}
}

// farewell ends the session with word, unless it would be read as a part of what is being said: the rest of a reply,
// the fate of a message that the upstream may have taken.
func (s *splitter) farewell(word string) relay.Action {
	if s.midReply || s.unheard() > 0 || s.phase == quitting {
		word = ""
	}
	return s.end(word, nil)
}

// end ends the session. An upstream that is inside a message is broken off, so that it never takes it for whole.
func (s *splitter) end(word string, cause error) relay.Action {
	kind := relay.Close
	if s.inMessage() {
		kind = relay.Abort
	}
	return relay.Action{Kind: kind, Bytes: []byte(word), Cause: cause}
}

// abort breaks the upstream off, whatever it is inside of. Inside a reply the client is told nothing, for it would be
// read as that reply's.
func (s *splitter) abort(word string, cause error) relay.Action {
	if s.midReply {
		word = ""
	}
	return relay.Action{Kind: relay.Abort, Bytes: []byte(word), Cause: cause}
}

// inMessage says whether a message was begun whose end has not been said.
func (s *splitter) inMessage() bool {
	return s.phase == asked || s.phase == body || s.phase == chunk || s.chunked
}

// unheard counts the messages whose end was said and whose reply is to come.
func (s *splitter) unheard() int {
	n := s.awaited(replyToMessage)
	if s.phase == chunk && s.last && n > 0 {
		n-- // its octets are still coming
	}
	return n
}
