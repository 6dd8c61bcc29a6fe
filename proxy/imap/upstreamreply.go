package imap

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"latchkey/proxy"
)

// response is a line of the upstream: as much of it as matters to us.
type response struct {
	tag    string // "*", "+", or one of ours
	status string // OK, NO, BAD, BYE, PREAUTH; empty: it is data or a challenge
	code   string // the word of a response code, if there is one
	text   string // of a challenge
}

// String is for errors. The upstream's own words stay out of them: it may have repeated a secret.
func (r response) String() string {
	switch {
	case r.code != "":
		return r.status + " [" + r.code + "]"
	case r.status != "":
		return r.status
	case r.tag == "+":
		return "a challenge"
	}
	return "something else"
}

var (
	errEndless = errors.New("upstream says too much before sign-in")
	errReply   = errors.New("upstream says what is not IMAP")
)

// read takes one response, with its literals, and keeps the capabilities that it tells.
func (u *upstream) read() (response, error) {
	line, err := u.line()
	if err != nil {
		return response{}, err
	}
	tag, rest, _ := strings.Cut(string(line), " ")
	switch {
	case tag == "+":
		return response{tag: tag, text: rest}, nil
	case tag == "" || len(tag) > maxTag:
		return response{}, errReply
	}
	r := response{tag: tag}
	word, rest, _ := strings.Cut(rest, " ")
	switch word = strings.ToUpper(word); word {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		r.status = word
		r.code = u.code(rest)
	case "CAPABILITY":
		u.tell(rest)
	default:
		if err := u.skipLiterals(line); err != nil {
			return response{}, err
		}
	}
	if r.status == "BYE" {
		return r, fmt.Errorf("upstream says %s: %w", r, proxy.ErrBye)
	}
	if tag != "*" && r.status == "" {
		return response{}, errReply
	}
	return r, nil
}

// line takes a line within the bounds. One that passes the octets left is too long.
func (u *upstream) line() ([]byte, error) {
	if u.lines == 0 {
		return nil, errEndless
	}
	line, err := u.leg.ReadLine(min(maxReplyLine, u.octets+len("\r\n")))
	u.lines--
	u.octets -= len(line)
	return line, err
}

// skipLiterals drops the literals of untagged data that we do not know, and the lines behind them.
func (u *upstream) skipLiterals(line []byte) error {
	for {
		i := bytes.LastIndexByte(line, '{')
		if i < 0 {
			return nil
		}
		n, _, ok := announced(line[i:])
		if !ok {
			return nil
		}
		if n > int64(u.octets) {
			return errEndless
		}
		u.octets -= int(n)
		if err := u.leg.Discard(n); err != nil {
			return err
		}
		var err error
		if line, err = u.line(); err != nil {
			return err
		}
	}
}

// code answers the word of a response code at the front of s, and keeps capabilities that stand there.
func (u *upstream) code(s string) string {
	inner, found := strings.CutPrefix(s, "[")
	if !found {
		return ""
	}
	inner, _, found = strings.Cut(inner, "]")
	word, rest, _ := strings.Cut(inner, " ")
	if word = strings.ToUpper(word); !found || !isAtom(word) || len(word) > maxCode {
		return ""
	}
	if word == "CAPABILITY" {
		u.tell(rest)
	}
	return word
}

// maxCode is far above the longest code of the registry.
const maxCode = 40

// tell takes a list of capabilities in place of the old one. What is no atom could not be repeated to a client.
func (u *upstream) tell(list string) {
	u.caps = make([]string, 0, strings.Count(list, " ")+1)
	for name := range strings.SplitSeq(list, " ") {
		if isAtom(name) {
			u.caps = append(u.caps, name)
		}
	}
}
