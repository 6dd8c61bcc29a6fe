package imap

import (
	"bytes"
	"strconv"
	"strings"

	"latchkey/proxy/wire"
)

const (
	// maxLine bounds a command line: a token of an OpenID provider fits, and so it is at the other doors.
	maxLine = 12 << 10
	// maxContinued bounds what literals and the lines behind them bring to one command: an ID with thirty longest pairs,
	// every one a literal.
	maxContinued = 36 << 10
	// maxTag is far above what programs use.
	maxTag = 64
	// maxName is that of AUTHENTICATE, and then some.
	maxName = 32
)

// complaint is what the client did wrong and may do better: the command is answered with it, and the dialogue goes on.
type complaint struct{ answer string }

func (c *complaint) Error() string { return c.answer }

var (
	errSyntax  = &complaint{"BAD Syntax error"}
	errTooLong = &complaint{"NO [LIMIT] String too long"}
	// errFlood: octets are on their way that nobody will read. RFC 7888 section 4 leaves this to the server.
	errFlood = ending("Literal too long")
)

// command is one command: its tag and name, then its arguments, read one after another. Strings that it answers are
// copies.
type command struct {
	c      *wire.Conn
	tag    string // what an answer begins with: "*" if the command had none
	name   string // in capital letters
	rest   []byte // of the line; valid until the next read
	budget int    // octets that may still come with literals
}

// readCommand reads a tag and a name. With a complaint the command can be skipped and answered.
func readCommand(c *wire.Conn) (*command, error) {
	cmd := &command{c: c, tag: "*", budget: maxContinued}
	if err := cmd.readLine(); err != nil {
		return nil, err
	}
	tag := cmd.take(maxTag, func(b byte) bool { return isAStringChar(b) && b != '+' })
	if tag == "" || cmd.sp() != nil {
		return cmd, &complaint{"BAD Each command begins with a tag"}
	}
	cmd.tag = tag
	cmd.name = strings.ToUpper(cmd.take(maxName, isAtomChar))
	if cmd.name == "" || len(cmd.rest) > 0 && cmd.rest[0] != ' ' {
		return cmd, errSyntax
	}
	return cmd, nil
}

// readLine reads the command's line, or the next one behind a literal. Any may hold a password.
func (cmd *command) readLine() error {
	line, err := cmd.c.ReadSecretLine(maxLine)
	cmd.rest = line
	return err
}

// take answers the front of the rest as far as its octets match; empty if there are none, or more than max.
func (cmd *command) take(max int, match func(byte) bool) string {
	n := 0
	for n < len(cmd.rest) && match(cmd.rest[n]) {
		n++
	}
	if n > max {
		return ""
	}
	s := string(cmd.rest[:n])
	cmd.rest = cmd.rest[n:]
	return s
}

// sp takes one space.
func (cmd *command) sp() error { return cmd.char(' ') }

// end makes sure that there is no further argument.
func (cmd *command) end() error {
	if len(cmd.rest) > 0 {
		return errSyntax
	}
	return nil
}

// char takes one octet.
func (cmd *command) char(want byte) error {
	if !cmd.at(want) {
		return errSyntax
	}
	cmd.rest = cmd.rest[1:]
	return nil
}

// at says whether b comes next.
func (cmd *command) at(b byte) bool { return len(cmd.rest) > 0 && cmd.rest[0] == b }

// astring takes an atom, a quoted string or a literal of at most max octets.
func (cmd *command) astring(max int) (string, error) {
	if cmd.at('"') || cmd.at('{') {
		return cmd.string(max)
	}
	n := len(cmd.rest)
	s := cmd.take(max, isAStringChar)
	switch {
	case s != "":
		return s, nil
	case n > 0 && isAStringChar(cmd.rest[0]):
		return "", errTooLong
	}
	return "", errSyntax
}

// string takes a quoted string or a literal of at most max octets.
func (cmd *command) string(max int) (string, error) {
	if cmd.at('{') {
		return cmd.literal(max)
	}
	return cmd.quoted(max)
}

// isNil takes NIL, in any letter case, where a string could stand.
func (cmd *command) isNil() bool {
	if len(cmd.rest) < 3 || !bytes.EqualFold(cmd.rest[:3], []byte("NIL")) {
		return false
	}
	if len(cmd.rest) > 3 && isAStringChar(cmd.rest[3]) {
		return false
	}
	cmd.rest = cmd.rest[3:]
	return true
}

// quoted is RFC 9051 section 9: any character but CR, LF and NUL, with \" and \\ alone escaped.
func (cmd *command) quoted(max int) (string, error) {
	if err := cmd.char('"'); err != nil {
		return "", err
	}
	var s []byte
	for i := 0; i < len(cmd.rest); i++ {
		b := cmd.rest[i]
		switch {
		case b == '"':
			cmd.rest = cmd.rest[i+1:]
			return string(s), nil
		case b == '\\':
			if i++; i == len(cmd.rest) || cmd.rest[i] != '"' && cmd.rest[i] != '\\' {
				return "", errSyntax
			}
			b = cmd.rest[i]
		}
		if len(s) == max {
			return "", errTooLong
		}
		s = append(s, b)
	}
	return "", errSyntax
}

// literal takes {n}, which waits for an invitation (RFC 9051 section 4.3), or {n+} (RFC 7888), and goes on with the line
// behind it.
func (cmd *command) literal(max int) (string, error) {
	n, sync, ok := announced(cmd.rest)
	switch {
	case !ok:
		return "", errSyntax
	case n > int64(max), n > int64(cmd.budget):
		return "", errTooLong // without an invitation nothing more comes; what comes unasked is for skip
	}
	if sync {
		if err := cmd.c.Reply("+ Go on\r\n"); err != nil {
			return "", err
		}
	}
	p := make([]byte, n)
	if err := cmd.c.ReadFull(p, true); err != nil {
		return "", err
	}
	s := string(p)
	clear(p)
	if err := cmd.goOn(n); err != nil {
		return "", err
	}
	if strings.ContainsRune(s, 0) { // RFC 9051 section 9: CHAR8
		return "", errSyntax
	}
	return s, nil
}

// goOn reads the line behind a literal of n octets.
func (cmd *command) goOn(n int64) error {
	if err := cmd.readLine(); err != nil {
		return err
	}
	cmd.budget -= int(n) + len(cmd.rest) + len("\r\n") // below zero not even an empty literal fits
	return nil
}

// skip drops what still comes of a refused command: its last line, and literals that need no invitation, within the
// budget. Without that a literal's octets would be read as commands.
func (cmd *command) skip() error {
	for {
		i := bytes.LastIndexByte(cmd.rest, '{')
		if i < 0 {
			break
		}
		n, sync, ok := announced(cmd.rest[i:])
		if !ok || sync {
			break
		}
		if n > int64(cmd.budget) {
			return errFlood
		}
		if err := cmd.c.Discard(n); err != nil {
			return err
		}
		if err := cmd.goOn(n); err != nil {
			return err
		}
	}
	cmd.rest = nil
	return nil
}

// announced reads {n} or {n+}, which ends a line.
func announced(p []byte) (n int64, sync, ok bool) {
	s, found := strings.CutPrefix(string(p[:min(len(p), maxAnnounced)]), "{")
	if !found || len(p) > maxAnnounced {
		return 0, false, false
	}
	if s, found = strings.CutSuffix(s, "}"); !found {
		return 0, false, false
	}
	s, plus := strings.CutSuffix(s, "+")
	for _, b := range []byte(s) {
		if b < '0' || b > '9' {
			return 0, false, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, !plus, err == nil
}

// maxAnnounced is the length of the longest number of 63 bits with its braces and plus.
const maxAnnounced = len("{9223372036854775807+}")

// isAtomChar is ATOM-CHAR of RFC 9051 section 9.
func isAtomChar(b byte) bool {
	switch b {
	case '(', ')', '{', '%', '*', '"', '\\', ']':
		return false
	}
	return b > ' ' && b < 0x7f
}

// isAStringChar is ASTRING-CHAR.
func isAStringChar(b byte) bool { return isAtomChar(b) || b == ']' }

// isAtom says whether s can stand in a list of capabilities.
func isAtom(s string) bool {
	for i := range len(s) {
		if !isAtomChar(s[i]) {
			return false
		}
	}
	return s != ""
}
