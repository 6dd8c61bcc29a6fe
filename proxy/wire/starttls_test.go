package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/wire"
)

func TestSTARTTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			ours, theirs := tcpPair(t)
			serverTLS, clientTLS := certificate(t)
			clientTLS.MaxVersion = version
			done := make(chan string)
			go func() { done <- startTLSClient(wire.New(theirs, wire.Options{}), clientTLS) }()
			c := wire.New(ours, wire.Options{})
			line(t, c, "STARTTLS")
			if c.TLS() != nil || c.Buffered() != 0 {
				t.Fatalf("before TLS: %v, %d octets", c.TLS(), c.Buffered())
			}
			_ = c.WriteString("OK\r\n") // the handshake sends it
			if err := c.ServerTLS(t.Context(), serverTLS, time.Minute); err != nil {
				t.Fatal(err)
			}
			if got := c.Held(); got != 0 {
				t.Errorf("%d octets of buffer outlived the plaintext", got)
			}
			if got := c.TLS().Version; got != version {
				t.Errorf("version = %x", got)
			}
			line(t, c, "secret")
			if err := c.Reply("hello\r\nrest"); err != nil {
				t.Fatal(err)
			}
			if got := <-done; got != "hello, ahead: rest" {
				t.Errorf("the client got %q", got)
			}
			if err := c.ServerTLS(t.Context(), serverTLS, time.Minute); err == nil {
				t.Error("TLS inside TLS worked")
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func startTLSClient(c *wire.Conn, cfg *tls.Config) string {
	_ = c.Reply("STARTTLS\r\n")
	if ok, err := c.ReadLine(10); err != nil {
		return string(ok) + err.Error()
	}
	if err := c.ClientTLS(context.Background(), cfg, time.Minute); err != nil {
		return err.Error()
	}
	_ = c.Reply("secret\r\n")
	got, err := c.ReadLine(10)
	if err != nil {
		return err.Error()
	}
	s := string(got)
	if err := c.Discard(1); err != nil {
		return err.Error()
	}
	conn, ahead := c.Detach()
	if _, isTLS := conn.(*tls.Conn); !isTLS {
		return "not the TLS connection"
	}
	return s + ", ahead: r" + string(ahead)
}

// Bytes behind STARTTLS or behind its reply came in the clear; they may be an attacker's.
func TestBytesBeforeTLS(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	for name, handshake := range map[string]func(*wire.Conn) error{
		"client's, behind STARTTLS": func(c *wire.Conn) error { return c.ServerTLS(t.Context(), serverTLS, time.Minute) },
		"upstream's, behind its OK": func(c *wire.Conn) error { return c.ClientTLS(t.Context(), clientTLS, time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
				go io.WriteString(peer, "STARTTLS\r\na1 OK injected\r\n")
				line(t, c, "STARTTLS")
				if got := c.Buffered(); got == 0 {
					t.Fatal("nothing is buffered")
				}
				_ = c.WriteString("OK\r\n")
				if err := handshake(c); !errors.Is(err, wire.ErrBytesBeforeTLS) {
					t.Fatalf("handshake = %v", err)
				}
				if got, err := c.ReadLine(100); !errors.Is(err, wire.ErrBytesBeforeTLS) {
					t.Errorf("ReadLine after it = %q, %v", got, err)
				}
				if conn, ahead := c.Detach(); len(ahead) != 0 {
					t.Errorf("Detach = %v, %q", conn, ahead)
				}
			})
		})
	}
}

// The same bytes in a packet of their own reach the handshake and break it.
func TestBytesBeforeTLSInTheSystem(t *testing.T) {
	ours, theirs := tcpPair(t)
	serverTLS, _ := certificate(t)
	c := wire.New(ours, wire.Options{})
	if _, err := io.WriteString(theirs, "a1 LOGIN x y\r\n"); err != nil {
		t.Fatal(err)
	}
	var header tls.RecordHeaderError
	if err := c.ServerTLS(t.Context(), serverTLS, time.Minute); !errors.As(err, &header) {
		t.Fatalf("ServerTLS = %v", err)
	}
	if err := c.Reply("OK\r\n"); err == nil {
		t.Error("went on in the clear")
	}
}

func TestHandshakeEnds(t *testing.T) {
	serverTLS, _ := certificate(t)
	t.Run("timeout", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
			start := time.Now()
			if err := c.ServerTLS(t.Context(), serverTLS, 10*time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ServerTLS = %v", err)
			}
			passed(t, start, 10*time.Second)
		})
	})
	t.Run("deadline of the dialogue", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
			start := time.Now()
			c.SetDialogueDeadline(start.Add(time.Second))
			if err := c.ServerTLS(t.Context(), serverTLS, 10*time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ServerTLS = %v", err)
			}
			passed(t, start, time.Second)
		})
	})
	t.Run("context", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(errDrained) })
			if err := c.ServerTLS(ctx, serverTLS, 10*time.Second); !errors.Is(err, errDrained) {
				t.Errorf("ServerTLS = %v", err)
			}
		})
	})
	t.Run("closed meanwhile", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
			time.AfterFunc(time.Second, func() { c.Close() })
			if err := c.ServerTLS(t.Context(), serverTLS, 10*time.Second); err == nil {
				t.Error("the handshake went on")
			}
		})
	})
}

// A peer that takes nothing holds Close up for a second at most.
func TestCloseUnderTLSIsShort(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := wire.New(ours, wire.Options{})
		peer := tls.Client(theirs, clientTLS)
		go peer.Handshake()
		serverTLS := serverTLS.Clone()
		serverTLS.SessionTicketsDisabled = true // nobody would read them
		if err := c.ServerTLS(t.Context(), serverTLS, time.Minute); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_ = c.Close()
		passed(t, start, time.Second)
		theirs.Close()
	})
}

func TestReset(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	for name, overTLS := range map[string]bool{"in the clear": false, "under TLS": true} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := tcpPair(t)
			c := wire.New(ours, wire.Options{})
			peer := net.Conn(theirs)
			if overTLS {
				shaken := make(chan error)
				client := tls.Client(theirs, clientTLS)
				go func() { shaken <- client.Handshake() }()
				if err := errors.Join(c.ServerTLS(t.Context(), serverTLS, time.Minute), <-shaken); err != nil {
					t.Fatal(err)
				}
				peer = client
			}
			if err := c.Reset(); err != nil {
				t.Fatal(err)
			}
			if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the peer's Read = %v", err)
			}
			if err := c.Reply("x"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Reply = %v", err)
			}
		})
	}
}

// wrapped is how a PROXY header's reader lies over a connection.
type wrapped struct{ net.Conn }

func (w wrapped) Raw() net.Conn { return w.Conn }

func TestResetLooksThroughWrappers(t *testing.T) {
	ours, theirs := tcpPair(t)
	if err := wire.Reset(tls.Server(wrapped{ours}, &tls.Config{})); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer's Read = %v", err)
	}
	pipe, other := net.Pipe()
	if err := wire.Reset(pipe); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Read(make([]byte, 1)); !strings.Contains(err.Error(), "EOF") {
		t.Errorf("the pipe's Read = %v", err)
	}
}
