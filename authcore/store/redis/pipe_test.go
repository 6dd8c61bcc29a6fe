package redis

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// What was answered to a write says nothing while the replicas' answer is missing: it is sent again as a whole, for a
// WAIT alone on another connection, or to another master, waits for nothing.
func TestFollow(t *testing.T) {
	lost := errors.New("wait for replicas: EOF")
	for name, c := range map[string]struct {
		err  error // of the pipeline
		cmds []error
		left int
		want error
	}{
		"all answered":                  {nil, []error{nil, goredis.Nil}, 0, nil},
		"the second is not":             {nil, []error{nil, io.EOF}, 1, io.EOF},
		"answered, not acknowledged":    {errNotAcknowledged, []error{nil}, 1, errNotAcknowledged},
		"answered, the WAIT was lost":   {lost, []error{nil, nil}, 2, lost},
		"half answered, and WAIT lost":  {lost, []error{nil, io.EOF}, 2, lost},
		"nothing was sent: the dialing": {errNotSent, []error{io.EOF}, 1, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			var cmds []goredis.Cmder
			for _, err := range c.cmds {
				cmd := goredis.NewCmd(t.Context(), "ping")
				cmd.SetErr(err)
				cmds = append(cmds, cmd)
			}
			left, err := new(DB).follow(t.Context(), true, cmds, c.err)
			if len(left) != c.left || !errors.Is(err, c.want) {
				t.Errorf("got %d commands left and %v, want %d and %v", len(left), err, c.left, c.want)
			}
		})
	}
}

// Lists are few in a pipeline, for each may answer a megabyte, and what reads single records waits behind them.
func TestGather(t *testing.T) {
	list := listScript.call(t.Context(), []string{"i", "h"}, "[", "+", "", 1000, "w", "r", listBytes)
	get := goredis.NewStringCmd(t.Context(), "get", "k")
	for name, c := range map[string]struct {
		cmd  goredis.Cmder
		most int
	}{
		"reads": {get, pipeCommands},
		"lists": {list, pipeBytes / listBytes},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLane()
			for range 2 * pipeCommands {
				l.put(l.request([]goredis.Cmder{c.cmd}))
			}
			if got := len(l.take(nil)); got != c.most {
				t.Errorf("got %d in a pipeline, want %d", got, c.most)
			}
		})
	}
}

// What its caller has given up does not arrive when the way is whole again.
func TestGivenUpIsNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	client := goredis.NewClient(Options{}.server(l.Addr().String(), nil))
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	const sent = 32 << 20 // more than the kernel holds for both
	if err := client.Set(ctx, "k", make([]byte, sent), 0).Err(); err == nil {
		t.Fatal("it was answered by nobody")
	}
	var c net.Conn
	select {
	case c = <-accepted:
	case <-time.After(patience):
		t.Fatal("nobody connected")
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := io.Copy(io.Discard, c); err == nil || n >= sent {
		t.Errorf("the server got %d bytes and then %v, want a reset before the end", n, err)
	}
}
