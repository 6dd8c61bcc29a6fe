package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitedEndsAtItsInstant(t *testing.T) {
	cause := errors.New("gone")
	for _, test := range []struct {
		name   string
		after  time.Duration
		gone   bool // the context beneath
		ended  bool
		want   error
		closed bool // Done
	}{
		{name: "before it", after: time.Second - 1},
		{name: "at it", after: time.Second, want: context.DeadlineExceeded, closed: true},
		{name: "the one beneath ends first", gone: true, want: context.Canceled, closed: true},
		{name: "the call has returned", ended: true, want: context.Canceled, closed: true},
	} {
		for _, waited := range []bool{false, true} {
			t.Run(test.name+map[bool]string{true: ", somebody waits"}[waited], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					beneath, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					l := Within(beneath, time.Now().Add(time.Second))
					defer l.End()
					if waited {
						l.Done()
					}
					if test.gone {
						cancel(cause)
					}
					if test.ended {
						l.End()
					}
					time.Sleep(test.after)
					synctest.Wait()
					if err := l.Err(); !errors.Is(err, test.want) {
						t.Errorf("err %v, want %v", err, test.want)
					}
					select {
					case <-l.Done():
						if !test.closed {
							t.Error("it is done")
						}
					default:
						if test.closed {
							t.Error("it is not done")
						}
					}
					if err := l.Err(); !errors.Is(err, test.want) {
						t.Errorf("asked for Done, err %v, want %v", err, test.want)
					}
				})
			})
		}
	}
}

func TestUntilTakesApart(t *testing.T) {
	at := time.Now().Add(time.Hour)
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := Within(soon, at)
	defer l.End()
	if beneath, until := Until(l); beneath != soon || !until.Equal(at) {
		t.Errorf("got %v, %v", beneath, until)
	}
	if d, is := l.Deadline(); !is || !d.Before(at) {
		t.Errorf("the earlier deadline is beneath, got %v", d)
	}
	if beneath, until := Until(soon); beneath != soon || !until.IsZero() {
		t.Errorf("of another one: %v, %v", beneath, until)
	}
	child, end := context.WithCancel(l) // takes it for any context
	end()
	<-child.Done()
}
