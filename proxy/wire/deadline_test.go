package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/wire"
)

// in runs f in a bubble of fake time, with a dialogue over a pipe.
func in(t *testing.T, o wire.Options, f func(t *testing.T, c *wire.Conn, peer net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := wire.New(ours, o)
		defer c.Close()
		f(t, c, theirs)
	})
}

func passed(t *testing.T, since time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(since); got != want {
		t.Errorf("after %v, want %v", got, want)
	}
}

func TestReadTimeout(t *testing.T) {
	for _, tt := range []struct {
		name      string
		set, want time.Duration
	}{{"default", 0, time.Minute}, {"set", 3 * time.Second, 3 * time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, wire.Options{ReadTimeout: tt.set}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
				start := time.Now()
				if _, err := c.ReadLine(10); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("ReadLine = %v", err)
				}
				passed(t, start, tt.want)
			})
		})
	}
}

func TestWriteTimeout(t *testing.T) {
	in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
		start := time.Now()
		if err := c.Reply("hello\r\n"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Reply = %v", err)
		}
		passed(t, start, 10*time.Second)
	})
}

// One octet every 50 seconds never runs into the read time-out.
func TestDialogueDeadlineEndsALivelyPeer(t *testing.T) {
	in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
		start := time.Now()
		c.SetDialogueDeadline(start.Add(3 * time.Minute))
		lively := time.NewTicker(50 * time.Second)
		done := make(chan struct{})
		defer close(done)
		go func() {
			for {
				select {
				case <-lively.C:
					_, _ = io.WriteString(peer, "x")
				case <-done:
					return
				}
			}
		}()
		if _, err := c.ReadLine(1000); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ReadLine = %v", err)
		}
		passed(t, start, 3*time.Minute)
		if err := c.Reply("x"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Reply after the deadline = %v", err)
		}
	})
}

var errDrained = errors.New("drained")

func TestContextEndsARead(t *testing.T) {
	in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer c.CloseOn(ctx)()
		start := time.Now()
		time.AfterFunc(time.Second, func() { cancel(errDrained) })
		if _, err := c.ReadLine(10); !errors.Is(err, errDrained) {
			t.Errorf("ReadLine = %v", err)
		}
		passed(t, start, time.Second)
		if err := c.Reply("x"); !errors.Is(err, errDrained) {
			t.Errorf("Reply = %v", err)
		}
		got := make(chan string)
		go func() { p, _ := io.ReadAll(peer); got <- string(p) }()
		if err := c.Bye("* BYE going down\r\n"); err != nil {
			t.Errorf("Bye = %v", err)
		}
		if s := <-got; s != "x* BYE going down\r\n" {
			t.Errorf("the peer got %q", s)
		}
	})
}

func TestContextEndsAWrite(t *testing.T) {
	in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer c.CloseOn(ctx)()
		start := time.Now()
		time.AfterFunc(time.Second, func() { cancel(errDrained) })
		if err := c.Reply("hello\r\n"); !errors.Is(err, errDrained) {
			t.Errorf("Reply = %v", err)
		}
		passed(t, start, time.Second)
		if err := c.Bye("* BYE\r\n"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Bye after half a reply = %v", err)
		}
	})
}

func TestStoppedContextHasNoEffect(t *testing.T) {
	in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
		ctx, cancel := context.WithCancelCause(t.Context())
		if !c.CloseOn(ctx)() {
			t.Fatal("stop came too late")
		}
		cancel(errDrained)
		synctest.Wait()
		go io.WriteString(peer, "a\r\n")
		line(t, c, "a")
	})
}

func TestByeIsShort(t *testing.T) {
	in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, _ net.Conn) {
		start := time.Now()
		if err := c.Bye("x\r\n"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Bye = %v", err)
		}
		passed(t, start, time.Second)
	})
}

// half is a pipe whose writing side may end, so that there is something to wait for.
type half struct{ net.Conn }

func (half) CloseWrite() error { return nil }

// A peer that goes on sending is listened to for a second, so that it gets to its reply.
func TestByeSwallowsWhatStillComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := wire.New(half{ours}, wire.Options{})
		start := time.Now()
		done := make(chan error)
		go func() { done <- c.Bye("500 no\r\n") }()
		if _, err := io.ReadFull(theirs, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		if n, err := theirs.Write(make([]byte, 10000)); err != nil {
			t.Errorf("only %d octets were taken: %v", n, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		passed(t, start, time.Second)
	})
}

func TestDetach(t *testing.T) {
	in(t, wire.Options{Deadline: time.Now().Add(time.Hour)}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
		c.SetDialogueDeadline(time.Now().Add(time.Second))
		ctx, cancel := context.WithCancelCause(t.Context())
		defer c.CloseOn(ctx)()
		go io.WriteString(peer, "a\r\nb\r\n")
		line(t, c, "a")
		_ = c.WriteString("ok\r\n")
		go io.CopyN(io.Discard, peer, 4)
		conn, ahead := c.Detach()
		if string(ahead) != "b\r\n" {
			t.Errorf("ahead = %q", ahead)
		}
		cancel(errDrained)
		<-time.After(time.Hour) // no deadline is left
		go io.WriteString(peer, "c")
		if n, err := conn.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("Read = %d, %v", n, err)
		}
		_, err := c.ReadLine(10)
		for what, err := range map[string]error{"ReadLine": err, "Reply": c.Reply("x"), "Discard": c.Discard(1), "Bye": c.Bye("x")} {
			if !errors.Is(err, wire.ErrDetached) {
				t.Errorf("%s = %v", what, err)
			}
		}
		if err := errors.Join(c.Close(), c.Reset()); err != nil {
			t.Errorf("Close, Reset = %v", err)
		}
		go io.WriteString(peer, "d")
		if n, err := conn.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("Read after Close = %d, %v", n, err)
		}
		if conn, _ := c.Detach(); conn != nil {
			t.Error("detached twice")
		}
	})
}

// What may not go on is handed over dead.
func TestDetachOfTheUnfit(t *testing.T) {
	tests := map[string]func(ctx context.Context, c *wire.Conn, cancel context.CancelCauseFunc){
		"interrupted": func(_ context.Context, _ *wire.Conn, cancel context.CancelCauseFunc) {
			cancel(errDrained)
			synctest.Wait()
		},
		"half a reply": func(_ context.Context, c *wire.Conn, _ context.CancelCauseFunc) { _ = c.Reply("nobody reads") },
		"refused":      func(_ context.Context, c *wire.Conn, _ context.CancelCauseFunc) { _, _ = c.ReadLine(1) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer c.CloseOn(ctx)()
				go io.WriteString(peer, strings.Repeat("x", 10))
				spoil(ctx, c, cancel)
				conn, ahead := c.Detach()
				if conn == nil || len(ahead) != 0 {
					t.Fatalf("Detach = %v, %q", conn, ahead)
				}
				if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("Write = %v", err)
				}
			})
		})
	}
}

// A deadline that is moved between two reads holds for the second, earlier or later than the one that the socket has.
func TestDeadlineMovedBetweenReads(t *testing.T) {
	for name, second := range map[string]time.Duration{"earlier": 3 * time.Second, "later": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			in(t, wire.Options{}, func(t *testing.T, c *wire.Conn, peer net.Conn) {
				start := time.Now()
				c.SetDialogueDeadline(start.Add(10 * time.Second))
				go func() { _, _ = io.WriteString(peer, "one\r\n") }()
				line(t, c, "one")
				c.SetDialogueDeadline(start.Add(second))
				if _, err := c.ReadLine(10); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("ReadLine = %v", err)
				}
				passed(t, start, second)
			})
		})
	}
}
