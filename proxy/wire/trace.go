package wire

import "bytes"

// Direction says which way a traced line went.
type Direction bool

// The directions of a trace, seen from here.
const (
	In  Direction = false // the peer said it
	Out Direction = true  // we said it
)

func (d Direction) String() string {
	if d == Out {
		return "out"
	}
	return "in"
}

// Tracer is told every line without its CRLF, and every literal, in order. It must not keep line. What was read or
// written as a secret reaches it as one fixed word, the same for every length.
type Tracer func(dir Direction, line []byte)

const hidden = "[secret]"

// trace tells the tracer what passed; p may hold several lines.
func (c *Conn) trace(d Direction, p []byte, secret bool) {
	switch {
	case c.o.Trace == nil:
	case secret:
		c.o.Trace(d, []byte(hidden))
	default:
		for line := range bytes.SplitSeq(bytes.TrimSuffix(p, crlf), crlf) {
			c.o.Trace(d, line)
		}
	}
}
