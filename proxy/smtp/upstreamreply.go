package smtp

import (
	"fmt"
	"regexp"
	"strings"

	"latchkey/proxy"
)

// upstreamReply is a whole reply of an upstream: its code, and its lines without code and CRLF, one at least.
type upstreamReply struct {
	code  string
	lines []string
}

// expect reads a reply and wants this code.
func (v *visit) expect(to, code string) (upstreamReply, error) {
	r, err := v.read(to)
	if err == nil && r.code != code {
		err = fmt.Errorf("%s is answered %q", to, r.text())
	}
	return r, err
}

// read reads one reply (RFC 5321 section 4.2.1): its lines have one code, and their number and length a bound.
func (v *visit) read(to string) (upstreamReply, error) {
	var r upstreamReply
	for octets := 0; len(r.lines) < maxUpstreamLines && octets < maxUpstreamOctets; {
		line, err := v.up.ReadLine(maxReplyLine)
		if err != nil {
			return r, fmt.Errorf("reply to %s: %w", to, err)
		}
		octets += len(line)
		if !isReply(line) || r.code != "" && r.code != string(line[:3]) {
			return r, fmt.Errorf("reply to %s makes no sense", to)
		}
		r.code = string(line[:3])
		r.lines = append(r.lines, string(line[min(4, len(line)):]))
		if len(line) == 3 || line[3] == ' ' {
			return r, r.bye()
		}
	}
	return r, fmt.Errorf("reply to %s does not end", to)
}

// bye says that the upstream closes the connection: RFC 5321 section 3.8.
func (r upstreamReply) bye() error {
	if r.code != "421" {
		return nil
	}
	return fmt.Errorf("%w: %s", proxy.ErrBye, r.codes())
}

// maxTold bounds what is told in an error of what an upstream has said.
const maxTold = 200

// text is the first line for a log: printable, and cut.
func (r upstreamReply) text() string {
	s := r.code + " " + r.lines[0]
	return strings.ToValidUTF8(s[:min(len(s), maxTold)], "?")
}

// enhancedCode is that of RFC 3463 section 2. Digits alone are none: they may be a password that is said again.
var enhancedCode = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)

// codes answers the code, with the enhanced one if there is one (RFC 2034 section 4: of the same class), and nothing
// that could be a secret.
func (r upstreamReply) codes() string {
	enhanced, _, _ := strings.Cut(r.lines[0], " ")
	if !enhancedCode.MatchString(enhanced) || enhanced[0] != r.code[0] {
		return r.code
	}
	return r.code + " " + enhanced
}
