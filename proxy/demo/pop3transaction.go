package demo

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// transaction does a command of the TRANSACTION state, RFC 1939 section 5.
func (sess *pop3Session) transaction(verb, rest string) error {
	args := strings.Fields(rest)
	switch verb {
	case "NOOP":
		return sess.reply("+OK")
	case "RSET":
		sess.drop.reset()
		return sess.reply("+OK")
	case "STAT":
		count, size := sess.drop.total()
		return sess.reply(fmt.Sprintf("+OK %d %d", count, size))
	case "LIST":
		return sess.list(args, func(m *popMessage) string { return strconv.FormatInt(m.size, 10) })
	case "UIDL":
		return sess.list(args, sess.drop.uniqueID)
	case "RETR":
		return sess.retrieve(args, 1, func(text []byte, _ int) []byte { return text })
	case "TOP":
		return sess.retrieve(args, 2, top)
	case "DELE":
		m, refusal := sess.message(args, 1)
		if m == nil {
			return sess.reply(refusal)
		}
		m.deleted = true
		return sess.reply("+OK Message deleted")
	}
	return sess.reply("-ERR Unknown command")
}

const (
	noSuchMessage = "-ERR No such message"
	badArguments  = "-ERR Malformed arguments"
)

// message answers the message that the first of want arguments names, or nil and what to say: it must not be deleted.
func (sess *pop3Session) message(args []string, want int) (*popMessage, string) {
	if len(args) != want {
		return nil, badArguments
	}
	n, err := strconv.ParseUint(args[0], 10, 31)
	if err != nil {
		return nil, badArguments
	}
	if n == 0 || n > uint64(len(sess.drop.messages)) || sess.drop.messages[n-1].deleted {
		return nil, noSuchMessage
	}
	return sess.drop.messages[n-1], ""
}

// list answers LIST and UIDL, for one message or for all.
func (sess *pop3Session) list(args []string, say func(*popMessage) string) error {
	if len(args) > 0 {
		m, refusal := sess.message(args, 1)
		if m == nil {
			return sess.reply(refusal)
		}
		return sess.reply(fmt.Sprintf("+OK %d %s", m.number, say(m)))
	}
	var rest []string
	for _, m := range sess.drop.messages {
		if !m.deleted {
			rest = append(rest, fmt.Sprintf("%d %s", m.number, say(m)))
		}
	}
	return sess.lines("+OK", rest)
}

// retrieve answers RETR and TOP; cut answers what of a message is sent, given the second argument.
func (sess *pop3Session) retrieve(args []string, want int, cut func(text []byte, lines int) []byte) error {
	m, refusal := sess.message(args, want)
	if m == nil {
		return sess.reply(refusal)
	}
	lines, err := strconv.ParseUint(args[want-1], 10, 31)
	if err != nil {
		return sess.reply(badArguments)
	}
	text, err := sess.drop.fetch(m)
	if errors.Is(err, errGone) {
		return sess.reply("-ERR Another program removed the message")
	}
	if err != nil {
		return errors.Join(err, sess.reply("-ERR [SYS/TEMP] The message cannot be read now"))
	}
	return sess.body("+OK Message follows", cut(text, int(lines)))
}

// top is the header, the empty line and so many lines of the body.
func top(text []byte, lines int) []byte {
	head := bytes.Index(text, []byte("\r\n\r\n"))
	if head < 0 {
		return text
	}
	end := head + len("\r\n\r\n")
	for ; lines > 0 && end < len(text); lines-- {
		next := bytes.IndexByte(text[end:], '\n')
		if next < 0 {
			return text
		}
		end += next + 1
	}
	return text[:end]
}
