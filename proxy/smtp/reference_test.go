package smtp

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// reference is an upstream that reads what reaches it in its own way, and names the first thing that should never have
// come. It is as careless as real servers are: without CHUNKING it reads the octets of BDAT as commands.
type reference struct {
	chunking bool // offer CHUNKING
	refuses  bool // refuse every other DATA
	received bool // every message must begin with a Received field

	offered bool // in the last reply to EHLO
	in      []byte
	reading string // "commands", "message" or "chunk"
	message []byte
	left    int
	lastOne bool
	asked   int
	wrong   string
}

var allowedLine = regexp.MustCompile(`(?i)^(EHLO|HELO|MAIL|RCPT|DATA|BDAT|RSET|NOOP|QUIT|VRFY|EXPN|HELP)( [^\x00-\x1f\x7f]*)?$`)

// take answers what it has to say to p.
func (s *reference) take(p []byte) (replies string) {
	s.in = append(s.in, p...)
	for {
		n, reply := s.step()
		if n == 0 {
			return replies
		}
		s.in, replies = s.in[n:], replies+reply
	}
}

func (s *reference) step() (n int, reply string) {
	switch s.reading {
	case "message":
		return s.readMessage()
	case "chunk":
		return s.readChunk()
	default:
		line, _, ok := bytes.Cut(s.in, []byte("\n"))
		if !ok {
			return 0, ""
		}
		text, crlf := bytes.CutSuffix(line, []byte("\r"))
		if !crlf || !allowedLine.Match(text) {
			s.blame("command %q", line)
		}
		return len(line) + 1, s.command(string(text))
	}
}

func (s *reference) blame(format string, a ...any) {
	if s.wrong == "" {
		s.wrong = fmt.Sprintf(format, a...)
	}
}

func (s *reference) command(text string) string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return "500 what\r\n"
	}
	switch strings.ToUpper(words[0]) {
	case "EHLO":
		s.message = nil
		if s.offered = s.chunking; s.offered {
			return "250-ref\r\n250-STARTTLS\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n"
		}
		return "250-ref\r\n250 XCLIENT NAME\r\n"
	case "HELO", "RSET":
		s.message, s.offered = nil, s.offered && words[0] != "HELO" && strings.ToUpper(words[0]) != "HELO"
		return "250 ref\r\n"
	case "MAIL":
		s.judge(text)
		return "250-2.1.0\r\n250 2.1.0 ok\r\n"
	case "DATA":
		if s.asked++; s.refuses && s.asked%2 == 1 {
			return "554 no\r\n"
		}
		s.reading, s.message = "message", nil
		return "354 go\r\n"
	case "BDAT":
		return s.bdat(words)
	case "QUIT":
		return "221 bye\r\n"
	default:
		return "250 ok\r\n"
	}
}

func (s *reference) bdat(words []string) string {
	n, err := strconv.Atoi(words[min(1, len(words)-1)])
	if !s.offered || err != nil {
		return "500 what\r\n"
	}
	s.left, s.lastOne, s.reading = n, len(words) > 2, "chunk"
	return ""
}

func (s *reference) readChunk() (n int, reply string) {
	n = min(s.left, len(s.in))
	if n == 0 && s.left > 0 {
		return 0, ""
	}
	s.message = append(s.message, s.in[:n]...)
	if s.left -= n; s.left > 0 {
		return n, ""
	}
	s.reading = "commands"
	if s.lastOne {
		s.whole()
	}
	if n == 0 { // an empty chunk is read with its command
		s.in = append([]byte("x"), s.in...)
		n = 1
	}
	return n, "250 chunk\r\n"
}

func (s *reference) readMessage() (n int, reply string) {
	s.message = append(s.message, s.in...)
	had := len(s.message) - len(s.in)
	end := bytes.Index(append([]byte("\r\n"), s.message...), []byte("\r\n.\r\n"))
	if end < 0 {
		if alone(s.message) {
			s.blame("message %q", s.message)
		}
		return len(s.in), ""
	}
	n = end + 3 - had
	s.message = s.message[:end+3]
	if alone(s.message) {
		s.blame("message %q", s.message)
	}
	s.reading = "commands"
	s.whole()
	return n, "250 taken\r\n"
}

func (s *reference) whole() {
	if has := bytes.HasPrefix(s.message, []byte("Received: ")); s.received && !has {
		s.blame("message without its field: %q", s.message)
	}
	s.message = nil
}

// alone says whether there is a CR or LF without its other half.
func alone(p []byte) bool {
	rest := bytes.ReplaceAll(p, []byte("\r\n"), nil)
	return bytes.ContainsAny(rest, "\r\n")
}

// judge reads the sender out of MAIL: what stands between the brackets, without route and quotes, whatever it is.
func (s *reference) judge(text string) {
	word, sender, ok := strings.Cut(text, "<")
	if !ok || !strings.EqualFold(strings.TrimRight(word, " "), "MAIL FROM:") {
		s.blame("sender in %q", text)
		return
	}
	end, inQuotes := -1, false
	for i := 0; i < len(sender) && end < 0; i++ {
		switch {
		case inQuotes && sender[i] == '\\':
			i++
		case sender[i] == '"':
			inQuotes = !inQuotes
		case sender[i] == '>' && !inQuotes:
			end = i
		}
	}
	if end < 0 || end+1 < len(sender) && sender[end+1] != ' ' {
		s.blame("sender in %q", text)
		return
	}
	sender = sender[:end]
	if strings.HasPrefix(sender, "@") {
		sender = sender[strings.LastIndex(sender, ":")+1:]
	}
	sender = strings.ToLower(norm.NFKC.String(strings.NewReplacer(`"`, "", `\`, "").Replace(sender)))
	if sender != "" && sender != "a@new.example" {
		s.blame("sender %q in %q", sender, text)
	}
}
