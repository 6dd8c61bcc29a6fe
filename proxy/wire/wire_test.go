package wire_test

import (
	"net"
	"testing"

	"latchkey/proxy/wire"
)

func TestDialogue(t *testing.T) {
	ours, theirs := net.Pipe()
	c := wire.New(ours, wire.Options{})
	go func() { _, _ = theirs.Write([]byte("a1 NOOP\r\na2 X {5}\r\nhello\r\nrest")) }()
	for _, want := range []string{"a1 NOOP", "a2 X {5}"} {
		got, err := c.ReadLine(100)
		if err != nil || string(got) != want {
			t.Fatalf("ReadLine = %q, %v; want %q", got, err, want)
		}
	}
	lit := make([]byte, 5)
	if err := c.ReadFull(lit, false); err != nil || string(lit) != "hello" {
		t.Fatalf("ReadFull = %q, %v", lit, err)
	}
	if got, err := c.ReadLine(2); err != nil || len(got) != 0 {
		t.Fatalf("ReadLine = %q, %v; want the empty line", got, err)
	}
	if _, ahead := c.Detach(); string(ahead) != "rest" {
		t.Fatalf("ahead = %q", ahead)
	}
}
