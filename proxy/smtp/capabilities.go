package smtp

import (
	"bytes"
	"strings"

	"latchkey/proxy/relay"
)

// notOffered says which keywords of an upstream a client never sees: they are between the door and the upstream. AUTH
// may stand as "AUTH=" too, as servers wrote it before RFC 2554.
func notOffered(keyword string) bool {
	switch strings.ToUpper(keyword) {
	case "STARTTLS", "AUTH", "XCLIENT", "XFORWARD":
		return true
	}
	return false
}

// keywordOf answers the first word of a line of capabilities.
func keywordOf(capability string) string {
	i := strings.IndexAny(capability, " =\t")
	if i < 0 {
		return capability
	}
	return capability[:i]
}

// fromEHLO passes the reply to EHLO in one piece, without the lines that are not the client's business. It waits for
// the whole of it: if the last line goes, the one before becomes the last.
func (s *splitter) fromEHLO(p []byte) relay.Action {
	lines, n, ok := cutEHLO(p)
	switch {
	case !ok:
		return s.abort(replyConfused, errMisunderstood)
	case n == 0:
		return hold()
	}
	s.pop()
	s.ext = extensions{}
	if string(p[:3]) == "250" {
		lines = s.offered(lines)
	}
	if kept := joined(lines); !bytes.Equal(kept, p[:n]) {
		return relay.Action{Kind: relay.ToClient, N: n, Bytes: kept}
	}
	return forward(n)
}

// cutEHLO answers the lines of the reply and their length together; 0: it has not come whole.
func cutEHLO(p []byte) (lines [][]byte, n int, ok bool) {
	for {
		line, ok := cutReply(p[n:])
		switch {
		case !ok || n+len(line) > maxEHLO || string(line[:min(3, len(line))]) == "354":
			return nil, 0, false
		case line == nil:
			return nil, 0, len(p) < maxEHLO
		}
		n += len(line)
		lines = append(lines, line)
		if line[3] != '-' {
			return lines, n, true
		}
	}
}

// offered answers the lines that the client may see, and notes the extensions. The first line is a greeting.
func (s *splitter) offered(lines [][]byte) [][]byte {
	kept := lines[:1]
	for _, line := range lines[1:] {
		keyword := keywordOf(string(line[min(4, len(line)-2) : len(line)-2]))
		s.ext.note(keyword)
		if !notOffered(keyword) && !(s.trace != nil && strings.EqualFold(keyword, "BURL")) {
			kept = append(kept, line)
		}
	}
	return kept
}

// joined makes one reply of lines: all but the last go on.
func joined(lines [][]byte) []byte {
	out := bytes.Join(lines, nil)
	at := 0
	for i, line := range lines {
		if i == len(lines)-1 && line[3] == '-' {
			out[at+3] = ' '
		}
		at += len(line)
	}
	return out
}
