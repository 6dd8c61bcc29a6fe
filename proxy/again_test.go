package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"latchkey/authcore"
	"latchkey/proxy"
)

// A sign-in whose leg had gone is begun again on another, once; a refusal stands.
func TestSignInGoesAgain(t *testing.T) {
	hangsUp := func(c net.Conn) { _ = c.Close() }
	hungUp := []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe} // the last is what a pipe says for EPIPE, if it was closed before the sign-in
	for name, tt := range map[string]struct {
		upstreams []func(net.Conn) // of the legs, in turn
		again     error            // what Again answers in place of a leg; nil: a leg
		answer    string
		want      int // legs
	}{
		"the first is well":   {upstreams: []func(net.Conn){echo}, answer: "ok A B", want: 1},
		"the first had gone":  {upstreams: []func(net.Conn){hangsUp, echo}, answer: "ok A B", want: 2},
		"both have":           {upstreams: []func(net.Conn){hangsUp, hangsUp}, answer: "no unavailable", want: 2},
		"nobody to go to":     {upstreams: []func(net.Conn){hangsUp}, again: errors.New("down"), answer: "no unavailable", want: 1},
		"the second refuses":  {upstreams: []func(net.Conn){hangsUp, greets(says("no\r\n"))}, answer: "no unavailable", want: 2},
		"the second is alone": {upstreams: []func(net.Conn){hangsUp, resets, echo}, answer: "no unavailable", want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var speaks atomic.Int32
				legs, told := 0, 0
				s := newStage(t, func(s *stage) {
					s.dialer.Upstream = func(c net.Conn) { tt.upstreams[speaks.Add(1)-1](c) }
					s.dialer.Leg = func(l *proxy.Leg) {
						first := legs == 0
						legs++
						l.Came = func(error) { told++ }
						if !first {
							return
						}
						l.Again = func(ctx context.Context, err error) (*proxy.Leg, error) {
							if !slices.ContainsFunc(hungUp, func(e error) bool { return errors.Is(err, e) }) {
								return nil, err
							}
							if tt.again != nil {
								return nil, tt.again
							}
							return s.dialer.Dial(ctx, authcore.Upstream{Name: "mail"}, authcore.ConnInfo{})
						}
					}
				})
				c := s.dial("192.0.2.7:1")
				c.expect("hello")
				c.say("IN a@new.example secret")
				c.expect(tt.answer)
				if legs != tt.want || told != 1 {
					t.Errorf("%d legs, of which %d were told how it went: want %d, 1", legs, told, tt.want)
				}
			})
		})
	}
}
