package redis

import (
	"errors"
	"io"
	"testing"

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
