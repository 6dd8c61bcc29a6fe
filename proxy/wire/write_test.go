package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"latchkey/proxy/wire"
)

func TestOneWritePerReply(t *testing.T) {
	s := &script{}
	c := wire.New(s, wire.Options{})
	_ = c.WriteString("* CAPABILITY IMAP4rev1\r\n")
	_ = c.Printf("* %d EXISTS\r\n", 3)
	_ = c.WriteSecret("hush\r\n")
	if len(s.writes) != 0 {
		t.Fatalf("written before Flush: %q", s.writes)
	}
	if err := c.Reply("%s OK\r\n", "a1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil { // nothing to send
		t.Fatal(err)
	}
	want := "* CAPABILITY IMAP4rev1\r\n* 3 EXISTS\r\nhush\r\na1 OK\r\n"
	if len(s.writes) != 1 || string(s.writes[0]) != want {
		t.Errorf("writes = %q, want one of %q", s.writes, want)
	}
}

func TestGatheredIsBounded(t *testing.T) {
	s := &script{}
	c := wire.New(s, wire.Options{})
	var want bytes.Buffer
	for _, n := range []int{1, 16 << 10, 3000, 14000, 40000, 7} {
		p := strings.Repeat("r", n)
		want.WriteString(p)
		if err := c.WriteString(p); err != nil {
			t.Fatal(err)
		}
		if got := c.Held(); got > 32<<10 {
			t.Errorf("after %d more %d octets are held", n, got)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := bytes.Join(s.writes, nil); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d octets arrived, want %d in their order", len(got), want.Len())
	}
}

func TestWriteErrorsAreSticky(t *testing.T) {
	s := &script{refuse: syscall.EPIPE}
	c := wire.New(s, wire.Options{})
	for range 2 {
		if err := c.Reply("hello\r\n"); !errors.Is(err, syscall.EPIPE) {
			t.Fatalf("Reply = %v", err)
		}
		s.refuse = nil // half a reply may be out: nothing may follow it
	}
	if err := c.Printf("more\r\n"); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Printf = %v", err)
	}
	if err := c.Bye("bye\r\n"); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Bye = %v", err)
	}
	if len(s.writes) != 0 || !s.closed {
		t.Errorf("after the error: writes %q, closed %v", s.writes, s.closed)
	}
}

func TestTraceHidesSecrets(t *testing.T) {
	var trace []string
	s := &script{in: []byte("a AUTHENTICATE PLAIN\r\nAGEAc2VjcmV0\r\nsesamehello\r\n"), end: io.EOF}
	c := wire.New(s, wire.Options{Trace: func(d wire.Direction, line []byte) {
		trace = append(trace, d.String()+" "+string(line))
	}})
	line(t, c, "a AUTHENTICATE PLAIN")
	if err := c.Reply("* one\r\n+ \r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ReadSecretLine(100); err != nil || string(got) != "AGEAc2VjcmV0" {
		t.Fatalf("ReadSecretLine = %q, %v", got, err)
	}
	if err := c.ReadFull(make([]byte, 6), true); err != nil {
		t.Fatal(err)
	}
	literal(t, c, "hello")
	_ = c.WriteSecret("AHRoZSBtYXN0ZXI=\r\n")
	want := []string{"in a AUTHENTICATE PLAIN", "out * one", "out + ", "in [secret]", "in [secret]", "in hello", "out [secret]"}
	if got := strings.Join(trace, "|"); got != strings.Join(want, "|") {
		t.Errorf("trace = %q, want %q", trace, want)
	}
}

// The peer has sent far more than is ever read; a plain Close would reset the connection and lose the reply.
func TestByeReachesAPeerThatWasRefused(t *testing.T) {
	ours, theirs := tcpPair(t)
	c := wire.New(ours, wire.Options{})
	if _, err := theirs.Write(bytes.Repeat([]byte("x"), 50<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadLine(512); !errors.Is(err, wire.ErrLineTooLong) {
		t.Fatalf("ReadLine = %v", err)
	}
	done := make(chan error)
	go func() { done <- c.Bye("500 5.5.2 %s\r\n", "Line too long") }()
	got, err := io.ReadAll(theirs)
	if err != nil || string(got) != "500 5.5.2 Line too long\r\n" {
		t.Errorf("the peer read %q, %v", got, err)
	}
	theirs.Close()
	if err := <-done; err != nil {
		t.Errorf("Bye = %v", err)
	}
	if err := c.Reply("more\r\n"); err == nil {
		t.Error("Reply after Bye worked")
	}
}
