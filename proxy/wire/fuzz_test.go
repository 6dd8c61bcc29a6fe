package wire_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"latchkey/proxy/wire"
)

// reference cuts the first line off in, by the book.
func reference(in []byte, max int) (line, rest []byte, err error) {
	max = min(max, wire.MaxLine)
	for i, b := range in {
		switch {
		case b == 0:
			return nil, nil, wire.ErrNUL
		case b == '\n' && (i == 0 || in[i-1] != '\r'):
			return nil, nil, wire.ErrBareLF
		case b != '\n' && i > 0 && in[i-1] == '\r':
			return nil, nil, wire.ErrBareCR
		case b == '\n':
			return in[:i-1], in[i+1:], nil
		case i+1 >= max:
			return nil, nil, wire.ErrLineTooLong
		}
	}
	if len(in) == 0 {
		return nil, nil, io.EOF
	}
	return nil, nil, io.ErrUnexpectedEOF
}

// FuzzRead reads lines, literals and discards in the order that ops says, however the octets were cut into packets,
// compares each with the reference, and looks for the rest behind Detach.
func FuzzRead(f *testing.F) {
	long := bytes.Repeat([]byte("x"), 5000)
	f.Add([]byte("a1 LOGIN {4}\r\nuser {4}\r\npass\r\na2 NOOP\r\n"), []byte{3, 0, 20}, []byte{0, 4, 0, 4, 0}, uint16(100))
	f.Add([]byte("EHLO x\r\nMAIL FROM:<>\n"), []byte{}, []byte{0, 0}, uint16(512))
	f.Add([]byte("a\rb\r\n"), []byte{1, 1}, []byte{0}, uint16(100))
	f.Add([]byte("ok\r\nabc\x00\r\n"), []byte{200}, []byte{0, 0}, uint16(100))
	f.Add(bytes.Join([][]byte{[]byte("b\r\n"), long, []byte("\r\nc\r\n")}, nil), bytes.Repeat([]byte{255}, 64), []byte{0, 0, 0}, uint16(12288))
	f.Add(append(long, long...), bytes.Repeat([]byte{255}, 64), []byte{0}, uint16(6000))
	f.Add(append(long, "\r\nrest of it"...), bytes.Repeat([]byte{255}, 64), []byte{130, 0, 131}, uint16(65535))
	f.Fuzz(func(t *testing.T, in, cuts, ops []byte, max uint16) {
		s := &script{in: in, cuts: cuts, end: io.EOF}
		c := wire.New(s, wire.Options{})
		rest := in
		for _, op := range ops {
			var err error
			if rest, err = step(t, c, rest, op, int(max)); err != nil {
				return
			}
		}
		_, ahead := c.Detach()
		if got := append(ahead, s.in...); !bytes.Equal(got, rest) {
			t.Fatalf("left over: %q, want %q", got, rest)
		}
	})
}

// step is one operation: 0 a line, 1 to 127 a literal of so many times 50 octets, from 128 on a discard.
func step(t *testing.T, c *wire.Conn, in []byte, op byte, max int) (rest []byte, err error) {
	n := 50 * int(op&127)
	switch {
	case op == 0:
		want, rest, wantErr := reference(in, max)
		got, err := c.ReadLine(max)
		if !errors.Is(err, wantErr) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("ReadLine(%d) of %q = %q, %v; want %q, %v", max, in, got, err, want, wantErr)
		}
		return rest, err
	case op < 128:
		p := make([]byte, n)
		err = c.ReadFull(p, op&1 == 0)
		if err == nil && !bytes.Equal(p, in[:min(n, len(in))]) {
			t.Fatalf("ReadFull of %q = %q", in, p)
		}
	default:
		err = c.Discard(int64(n))
	}
	if (err == nil) != (n <= len(in)) {
		t.Fatalf("%d of %d octets: %v", n, len(in), err)
	}
	return in[min(n, len(in)):], err
}
