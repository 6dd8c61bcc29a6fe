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
			if err := c.Await(aLine); err != nil {
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
		want error
	}{
		"an end before":      {func(p *net.TCPConn) { _ = p.Close() }, io.ErrUnexpectedEOF},
		"an end within":      {func(p *net.TCPConn) { _, _ = io.WriteString(p, "hel"); _ = p.Close() }, io.ErrUnexpectedEOF},
		"more than a reader": {func(p *net.TCPConn) { _, _ = io.WriteString(p, strings.Repeat("x", 5<<10)) }, wire.ErrLineTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := tcpPair(t)
			w := wire.New(ours, wire.Options{})
			defer w.Close()
			go c.do(theirs)
			err := w.Await(aLine)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if _, again := w.ReadLine(100); again == nil {
				t.Error("it goes on afterwards")
			}
		})
	}
}

// What TLS has read of the socket and not given yet cannot be seen there: it must be nothing.
func TestAwaitMeetsWhatTLSHolds(t *testing.T) {
	server, client := certificate(t)
	ours, theirs := tcpPair(t)
	c := wire.New(ours, wire.Options{})
	defer c.Close()
	once := &gathering{TCPConn: theirs}
	peer := tls.Server(once, server)
	go func() { _ = peer.Handshake() }()
	if err := c.ClientTLS(t.Context(), client, time.Minute); err != nil {
		t.Fatal(err)
	}
	once.gather = true
	_, _ = io.WriteString(peer, "hello\r\n")
	_, _ = io.WriteString(peer, "goodbye\r\n")
	_, _ = theirs.Write(once.gathered) // two records in one packet
	if err := c.Await(func(ahead []byte) bool { return bytes.HasPrefix(ahead, []byte("hello\r\n")) }); err == nil || !strings.Contains(err.Error(), "more came") {
		t.Errorf("got %v", err)
	}
}

// gathering keeps what is written for later.
type gathering struct {
	*net.TCPConn
	gather   bool
	gathered []byte
}

func (g *gathering) Write(p []byte) (int, error) {
	if !g.gather {
		return g.TCPConn.Write(p)
	}
	g.gathered = append(g.gathered, p...)
	return len(p), nil
}
