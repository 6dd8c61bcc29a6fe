package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/wire"
)

func TestWatch(t *testing.T) {
	t.Run("the peer hangs up", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
			ctx, stop := c.Watch(t.Context())
			time.AfterFunc(time.Hour, func() { peer.Close() })
			<-ctx.Done()
			if err := context.Cause(ctx); !errors.Is(err, wire.ErrGone) {
				t.Errorf("cause = %v", err)
			}
			stop()
			if _, err := c.ReadLine(10); !errors.Is(err, io.EOF) {
				t.Errorf("ReadLine = %v", err)
			}
		})
	})
	t.Run("nothing happens", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
			ctx, stop := c.Watch(t.Context())
			<-time.After(time.Hour)
			if err := ctx.Err(); err != nil {
				t.Errorf("the context ended: %v", context.Cause(ctx))
			}
			go io.CopyN(io.Discard, peer, 4)
			if err := c.Reply("OK\r\n"); err != nil {
				t.Errorf("Reply while watching = %v", err)
			}
			stop()
			stop()
			go io.WriteString(peer, "a\r\n")
			line(t, c, "a")
		})
	})
	t.Run("the peer goes on, then hangs up", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
			go func() { io.WriteString(peer, "a\r\nb\r\n"); peer.Close() }()
			line(t, c, "a") // the rest is buffered: there is nothing to watch for
			ctx, stop := c.Watch(t.Context())
			synctest.Wait()
			if ctx.Err() != nil {
				t.Errorf("the context ended: %v", context.Cause(ctx))
			}
			stop()
			line(t, c, "b")
		})
	})
	t.Run("what comes meanwhile is kept", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
			ctx, stop := c.Watch(t.Context())
			go io.WriteString(peer, "a\r\nb")
			synctest.Wait()
			if ctx.Err() != nil {
				t.Errorf("the context ended: %v", context.Cause(ctx))
			}
			stop()
			line(t, c, "a")
			if _, ahead := c.Detach(); string(ahead) != "b" {
				t.Errorf("ahead = %q", ahead)
			}
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer c.CloseOn(ctx)()
			watched, stop := c.Watch(ctx)
			cancel(errDrained)
			<-watched.Done()
			if err := context.Cause(watched); err != errDrained {
				t.Errorf("cause = %v", err)
			}
			stop()
			if _, err := c.ReadLine(10); !errors.Is(err, errDrained) {
				t.Errorf("ReadLine = %v", err)
			}
			watched, stop = c.Watch(t.Context())
			defer stop()
			if watched.Err() != nil {
				t.Error("nothing is watched, and the context ended")
			}
		})
	})
	t.Run("to the end of the dialogue", func(t *testing.T) {
		in(t, wire.Options{Deadline: time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
			_, stop := c.Watch(t.Context())
			<-time.After(2 * time.Minute)
			stop()
			if _, err := c.ReadLine(10); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ReadLine = %v", err)
			}
		})
	})
}

func TestWatchUnderTLS(t *testing.T) {
	ours, theirs := tcpPair(t)
	serverTLS, clientTLS := certificate(t)
	c, peer := wire.New(ours, wire.Options{}), wire.New(theirs, wire.Options{})
	shaken := make(chan error)
	go func() { shaken <- peer.ClientTLS(context.Background(), clientTLS, time.Minute) }()
	if err := errors.Join(c.ServerTLS(t.Context(), serverTLS, time.Minute), <-shaken); err != nil {
		t.Fatal(err)
	}
	_, stop := c.Watch(t.Context())
	time.Sleep(2 * wire.WatchAfter) // no fake time over TCP
	stop()                          // the read that is broken off must not break TLS
	if err := peer.Reply("a\r\n"); err != nil {
		t.Fatal(err)
	}
	line(t, c, "a")
	ctx, stop := c.Watch(t.Context())
	defer stop()
	peer.Close()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, wire.ErrGone) {
		t.Errorf("cause = %v", err)
	}
}
