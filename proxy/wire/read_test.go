package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"latchkey/proxy/wire"
)

func TestReadLine(t *testing.T) {
	long := strings.Repeat("x", 10000)
	tests := []struct {
		name, in string
		max      int
		want     []string
		err      error
	}{
		{"lines, then the end", "a\r\n\r\nb c\r\n", 10, []string{"a", "", "b c"}, io.EOF},
		{"the end inside a line", "a\r\nb", 10, []string{"a"}, io.ErrUnexpectedEOF},
		{"the end after CR", "a\r", 10, nil, io.ErrUnexpectedEOF},
		{"the limit counts the CRLF", "1234\r\n12345\r\n", 6, []string{"1234"}, wire.ErrLineTooLong},
		{"a CR at the limit", "12345\r\n", 6, nil, wire.ErrLineTooLong},
		{"endless", strings.Repeat("x", 1<<20), 1 << 30, nil, wire.ErrLineTooLong},
		{"longer than the resident reader", "a\r\n" + long + "\r\nb\r\n", 12288, []string{"a", long, "b"}, io.EOF},
		{"as long as may be", long + long[:wire.MaxLine-10002] + "\r\n", 1 << 20, []string{long + long[:wire.MaxLine-10002]}, io.EOF},
		{"bare LF", "a\r\nb\nc\r\n", 10, []string{"a"}, wire.ErrBareLF},
		{"LF alone", "\n", 10, nil, wire.ErrBareLF},
		{"bare CR", "a\rb\r\n", 10, nil, wire.ErrBareCR},
		{"two CR", "a\r\r\n", 10, nil, wire.ErrBareCR},
		{"NUL", "a\x00b\r\n", 10, nil, wire.ErrNUL},
		{"NUL after CR", "a\r\x00\n", 10, nil, wire.ErrNUL},
		{"eight bit", "\xff\x80\r\n", 10, []string{"\xff\x80"}, io.EOF},
		{"a good line behind a bad one is not read", "a\nb\r\n", 10, nil, wire.ErrBareLF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := wire.New(&script{in: []byte(tt.in), cuts: bytes.Repeat([]byte{255}, 1<<14), end: io.EOF}, wire.Options{})
			for _, want := range tt.want {
				got, err := c.ReadLine(tt.max)
				if err != nil || string(got) != want {
					t.Fatalf("ReadLine = %.40q, %v; want %.40q", got, err, want)
				}
			}
			for range 2 { // an error is final
				if got, err := c.ReadLine(tt.max); !errors.Is(err, tt.err) {
					t.Fatalf("ReadLine = %.40q, %v; want %v", got, err, tt.err)
				}
			}
			if err := c.ReadFull(make([]byte, 1), false); err == nil {
				t.Error("a literal was read after the end")
			}
			if err := c.Discard(1); err == nil {
				t.Error("an octet was read after the end")
			}
		})
	}
}

func TestLiteralsBetweenLines(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := wire.New(ours, wire.Options{})
	big := strings.Repeat("\x00\r\n", 5000)
	go io.WriteString(theirs, "a {5}\r\nh\nll\x00 {15000}\r\n"+big+" end\r\nskip me\r\nrest")
	line(t, c, "a {5}")
	literal(t, c, "h\nll\x00")
	line(t, c, " {15000}")
	literal(t, c, big)
	line(t, c, " end")
	if err := c.Discard(int64(len("skip me\r\n"))); err != nil {
		t.Fatal(err)
	}
	literal(t, c, "")
	literal(t, c, "r")
	if got := c.Buffered(); got != len("est") {
		t.Errorf("Buffered = %d, want 3", got)
	}
	if _, ahead := c.Detach(); string(ahead) != "est" {
		t.Errorf("ahead = %q, want %q", ahead, "est")
	}
}

func TestDiscardToTheEnd(t *testing.T) {
	c := wire.New(&script{in: make([]byte, 100), end: io.EOF}, wire.Options{})
	if err := c.Discard(101); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Discard = %v", err)
	}
}

func TestReaderWithoutProgress(t *testing.T) {
	c := wire.New(&script{}, wire.Options{})
	if _, err := c.ReadLine(10); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("ReadLine = %v", err)
	}
}

// A sender of long lines, pipelined commands and an endless one, whose replies are gathered all the while.
func TestBuffersAreBounded(t *testing.T) {
	const resident, most = 4 << 10, 40 << 10
	long := strings.Repeat("x", 12000) + "\r\n"
	in := long + long + strings.Repeat("y\r\n", 3000) + strings.Repeat("x", 1<<20)
	c := wire.New(&script{in: []byte(in), cuts: bytes.Repeat([]byte{255}, 1<<14), end: io.EOF}, wire.Options{})
	if got := c.Held(); got != 0 {
		t.Errorf("before the first read %d octets are held", got)
	}
	var err error
	for n := 1; err == nil; n++ {
		_, err = c.ReadLine(12288)
		_ = c.Printf("* %s\r\n", strings.Repeat("z", 100))
		if got := c.Held(); got > most {
			t.Fatalf("after line %d %d octets are held", n, got)
		}
		if n == 3000 {
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := c.Held(); got != resident {
				t.Errorf("between short lines %d octets are held, want %d", got, resident)
			}
		}
	}
	if !errors.Is(err, wire.ErrLineTooLong) {
		t.Errorf("the end is %v", err)
	}
}

func line(t *testing.T, c *wire.Conn, want string) {
	t.Helper()
	if got, err := c.ReadLine(12288); err != nil || string(got) != want {
		t.Fatalf("ReadLine = %q, %v; want %q", got, err, want)
	}
}

func literal(t *testing.T, c *wire.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if err := c.ReadFull(got, false); err != nil || string(got) != want {
		t.Fatalf("ReadFull = %.40q, %v; want %.40q", got, err, want)
	}
}
