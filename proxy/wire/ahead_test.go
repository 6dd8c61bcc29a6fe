package wire_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"latchkey/proxy/wire"
)

func aLine(ahead []byte) bool { return bytes.HasSuffix(ahead, []byte("\r\n")) }

// What Await has read stays to be read, in the clear and under TLS, and Heard begins anew.
func TestAwaitLeavesIt(t *testing.T) {
	for name, under := range map[string]bool{"in the clear": false, "under TLS": true} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := tcpPair(t)
			c := wire.New(ours, wire.Options{})
			defer c.Close()
			var peer net.Conn = theirs
			if under {
				server, client := certificate(t)
				peer = tls.Server(theirs, server)
				go func() { _ = peer.(*tls.Conn).Handshake() }()
				if err := c.ClientTLS(t.Context(), client, time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			go func() {
				_, _ = io.WriteString(peer, "hel")
				_, _ = io.WriteString(peer, "lo\r\n")
			}()
			if err := c.Await(aLine, time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if c.Heard() {
				t.Error("heard something since")
			}
			for _, want := range []string{"hello", "more"} {
				line, err := c.ReadLine(100)
				if err != nil || string(line) != want {
					t.Fatalf("read %q, %v, want %q", line, err, want)
				}
				if want == "hello" {
					_, _ = io.WriteString(peer, "more\r\n")
				}
			}
			if !c.Heard() {
				t.Error("heard nothing since")
			}
		})
	}
}

func TestAwaitFails(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(peer *net.TCPConn)
		want error // nil: any
	}{
		"an end before":      {func(p *net.TCPConn) { _ = p.Close() }, io.ErrUnexpectedEOF},
		"an end within":      {func(p *net.TCPConn) { _, _ = io.WriteString(p, "hel"); _ = p.Close() }, io.ErrUnexpectedEOF},
		"an end behind":      {func(p *net.TCPConn) { _, _ = io.WriteString(p, "hello\r\n"); _ = p.Close() }, io.ErrUnexpectedEOF},
		"more than a reader": {func(p *net.TCPConn) { _, _ = io.WriteString(p, strings.Repeat("x", 5<<10)) }, wire.ErrLineTooLong},
		"more than was wanted": {func(p *net.TCPConn) {
			_, _ = io.WriteString(p, "hello\r\n")
			time.Sleep(20 * time.Millisecond)
			_, _ = io.WriteString(p, "more\r\n")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := tcpPair(t)
			w := wire.New(ours, wire.Options{})
			defer w.Close()
			go c.do(theirs)
			err := w.Await(aLine, 10*time.Second)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if _, again := w.ReadLine(100); again == nil {
				t.Error("it goes on afterwards")
			}
		})
	}
}
