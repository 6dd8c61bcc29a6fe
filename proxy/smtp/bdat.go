package smtp

import (
	"strconv"
	"strings"

	"latchkey/proxy/relay"
)

// BDAT (RFC 3030) is a command with its octets behind it, which pass unseen. Door and upstream must agree on where they
// end: an upstream that reads them as commands would obey a message. So BDAT passes only while the upstream's last
// reply to EHLO offered CHUNKING, its size has one way to be written, and is no larger than any server can count.

// maxChunk keeps sizes within 31 bits, which some servers count with.
const maxChunk = 1 << 30

// extensions are those of the upstream that decide what passes.
type extensions struct{ chunking, burl bool }

// note takes one keyword of the reply to EHLO.
func (e *extensions) note(keyword string) {
	switch strings.ToUpper(keyword) {
	case "CHUNKING":
		e.chunking = true
	case "BURL":
		e.burl = true
	}
}

func (s *splitter) judgeBDAT(v verdict, args string) verdict {
	size, last, refusal := parseBDAT(args)
	switch {
	case s.awaits(replyToEHLO):
		return verdict{wait: true}
	case !s.ext.chunking:
		return fatal(replyNoChunking, errNotChunking) // the octets follow, whatever is said
	case refusal != "":
		return fatal(refusal, errUnreadable)
	}
	if s.trace != nil && !s.chunked {
		v.edit = s.traceChunk(size, last)
	}
	if size > 0 {
		v.next, v.left, v.last = chunk, size, last
	}
	v.awaits, v.chunked = replyToChunk, !last
	if last {
		v.awaits = replyToMessage
	}
	return v
}

// parseBDAT reads "size" or "size LAST". RFC 3030 section 2 gives one space and digits.
func parseBDAT(args string) (size int64, last bool, refusal string) {
	digits, marker, marked := strings.Cut(args, " ")
	if marked && !strings.EqualFold(marker, "LAST") || !isSize(digits) {
		return 0, false, replyBadBDAT
	}
	size, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || size > maxChunk {
		return 0, false, replyBigChunk
	}
	return size, marked, ""
}

// isSize wants digits alone, and none that might make it octal.
func isSize(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// traceChunk lets the first chunk of a message carry the Received field in front of the client's octets. A chunk of its
// own for the field would have a reply of its own, and could be accepted where the client's is not.
func (s *splitter) traceChunk(size int64, last bool) []byte {
	field := s.trace.field(s.utf8)
	line := "BDAT " + strconv.FormatInt(size+int64(len(field)), 10)
	if last {
		line += " LAST"
	}
	return append([]byte(line+"\r\n"), field...)
}

// fromChunk passes the octets of a chunk.
func (s *splitter) fromChunk(p []byte) relay.Action {
	n := int(min(int64(len(p)), s.left))
	s.left -= int64(n)
	if s.left == 0 {
		s.phase = commands
	}
	return forward(n)
}

// judgeBURL passes BURL (RFC 4468), a chunk by reference, where the upstream offers it. A Received field cannot go in
// front of it, so where one is needed there is no BURL.
func (s *splitter) judgeBURL(v verdict, args string) verdict {
	switch {
	case s.awaits(replyToEHLO):
		return verdict{wait: true}
	case !s.ext.burl || s.trace != nil:
		return refused(replyNotHere)
	}
	v.awaits, v.chunked = replyToChunk, true
	if fields := strings.Fields(args); len(fields) > 1 && strings.EqualFold(fields[len(fields)-1], "LAST") {
		v.awaits, v.chunked = replyToMessage, false
	}
	return v
}
