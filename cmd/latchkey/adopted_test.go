package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/authcore/session"
	"latchkey/proxy"
)

// talkers are the two ends of a conversation.
func talkers(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	end := func(fd int) *net.UnixConn {
		f := os.NewFile(uintptr(fd), "talk")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c.(*net.UnixConn)
	}
	return end(fds[0]), end(fds[1])
}

// A session may expire, or be revoked, between the moment in which it is taken and the one in which this process serves.
// The elder waits for "serving" then, and would take "cut" for a failure.
func TestNoCutIsToldBeforeServing(t *testing.T) {
	our, their := talkers(t)
	e := &elder{conversation: conversation{c: our, r: bufio.NewReaderSize(our, maxNote)}, told: make(chan struct{})}
	theirs := &conversation{c: their, r: bufio.NewReaderSize(their, maxNote)}
	a := &adopted{elder: e, entries: map[session.ID]*proxy.Entry{}, cuts: make(chan note, 1)}
	a.cuts <- note{Say: sayCut, Session: "s", Cause: "expired"}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.attend(ctx) }()
	if n, err := theirs.hear(200 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("before it serves it says %q (%v)", n.Say, err)
	}
	e.serving()
	for _, want := range []string{sayServing, sayCut} {
		if n, err := theirs.hear(patience); err != nil || n.Say != want {
			t.Errorf("got %q (%v), want %s", n.Say, err, want)
		}
	}
	stop()
	<-done
}
