package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

func farewell(cause error) []byte { return fmt.Appendf(nil, "* BYE %v\r\n", cause) }

// upstreamSays lets the client hear s.
func upstreamSays(t *testing.T, r *rig, s string) {
	go says(t, r.upstream, s)
	hears(t, r.client, s)
}

func TestCutFarewell(t *testing.T) {
	tests := []struct {
		name   string
		before func(t *testing.T, r *rig)
		want   string
	}{
		{"nothing was said at all", func(t *testing.T, r *rig) { after(10 * time.Second) }, "* BYE revoked\r\n"},
		{"after a whole line", func(t *testing.T, r *rig) {
			upstreamSays(t, r, "* 3 EXISTS\r\n")
			after(10 * time.Second)
		}, "* BYE revoked\r\n"},
		{"the line's end came alone", func(t *testing.T, r *rig) {
			upstreamSays(t, r, "* 3 EXISTS\r")
			upstreamSays(t, r, "\n")
			after(10 * time.Second)
		}, "* BYE revoked\r\n"},
		{"inside a line", func(t *testing.T, r *rig) {
			upstreamSays(t, r, "* 3 EXI")
			after(time.Minute)
		}, ""},
		{"after a bare LF", func(t *testing.T, r *rig) {
			upstreamSays(t, r, "x\n")
			after(time.Minute)
		}, ""},
		{"something came just now", func(t *testing.T, r *rig) {
			upstreamSays(t, r, "* 3 EXISTS\r\n")
			after(9999 * time.Millisecond)
		}, ""},
		{"the client spoke just now", func(t *testing.T, r *rig) {
			after(time.Minute)
			go says(t, r.client, "a1 NOOP\r\n")
			hears(t, r.upstream, "a1 NOOP\r\n")
			after(9 * time.Second)
		}, ""},
		{"the client has not taken all", func(t *testing.T, r *rig) {
			says(t, r.upstream, "* 3 EXISTS\r\n")
			after(time.Minute)
		}, ""},
		{"the upstream has ended", func(t *testing.T, r *rig) {
			_ = wire.CloseWrite(r.upstream)
			after(20 * time.Second)
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
				tt.before(t, r)
				start := time.Now()
				r.session.Cut(errCut)
				r.session.Cut(errors.New("second"))
				hearsEnd(t, r.client, tt.want)
				hearsEnd(t, r.upstream, "")
				r.endsWith(errCut)
				passed(t, start, 0)
			})
		})
	}
}

func TestCutWithoutFarewell(t *testing.T) {
	for name, f := range map[string]func(error) []byte{"none": nil, "nil": func(error) []byte { return nil }} {
		t.Run(name, func(t *testing.T) {
			bubble(t, relay.Options{Farewell: f}, func(t *testing.T, r *rig) {
				after(time.Minute)
				r.session.Cut(nil)
				hearsEnd(t, r.client, "")
				r.endsWith(relay.ErrCut)
			})
		})
	}
}

// A client that does not take its farewell does not hold the cut up.
func TestCutOfADeafClient(t *testing.T) {
	bubble(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
		after(time.Minute)
		start := time.Now()
		r.session.Cut(errCut)
		r.endsWith(errCut)
		passed(t, start, 300*time.Millisecond)
	})
}

// Nor does one that does not take its close_notify.
func TestCutOfADeafClientUnderTLS(t *testing.T) {
	cert := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		client, upstream := duplexPair(), duplexPair()
		server := tls.Server(client[0], &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
		go tls.Client(client[1], &tls.Config{InsecureSkipVerify: true}).Handshake()
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		r := start(t, relay.Settings{}, over([2]net.Conn{server, client[1]}), over(upstream), relay.Options{})
		start := time.Now()
		r.session.Cut(errCut)
		r.endsWith(errCut)
		passed(t, start, 300*time.Millisecond)
	})
}

func TestCut(t *testing.T) {
	journeys(t, noOptions, func(t *testing.T, r *rig) {
		upstreamSays(t, r, "* OK\r\n")
		r.session.Cut(errCut)
		hearsEnd(t, r.client, "")
		hearsEnd(t, r.upstream, "")
		r.endsWith(errCut)
	})
}

// Cuts from several goroutines at any moment of a lively session: one end, nothing left.
func TestCutAtAnyTime(t *testing.T) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		leavesNothing(t, func() { cutAtAnyTime(t, relay.New(settings)) })
	})
}

func cutAtAnyTime(t *testing.T, r *relay.Relay) {
	var all sync.WaitGroup
	for i := range 60 {
		route := routes[i%len(routes)]
		client, upstream := transports[route[0]](t, relay.Client), transports[route[1]](t, relay.Upstream)
		ends := make(chan relay.End, 2)
		o := relay.Options{Farewell: farewell, Owner: relay.OnEnd(func(e relay.End) { ends <- e })}
		if i%2 == 1 {
			o.Splitter = &lines{}
		}
		s := r.Start(client.door, upstream.door, o)
		for _, c := range []net.Conn{client.peer, upstream.peer} {
			all.Go(func() { _, _ = io.Copy(io.Discard, c); c.Close() })
			all.Go(func() {
				for n := 0; ; n++ {
					if _, err := fmt.Fprintf(c, "line %d\r\n", n); err != nil {
						return
					}
					if n == 5*i {
						all.Go(func() { s.Drain(errCut, time.Millisecond) })
						all.Go(func() { s.Cut(errCut) })
					}
				}
			})
		}
		all.Go(func() {
			if e := <-ends; e.Cause == nil {
				t.Errorf("session %d ended in order", i)
			}
		})
	}
	all.Wait()
	r.Close(errCut)
	if got := r.Counters(); got.Open != 0 || got.Borrowed != 0 || got.Started != 60 {
		t.Errorf("counters %+v", got)
	}
}

func TestDrain(t *testing.T) {
	t.Run("quiet: at once", func(t *testing.T) {
		bubble(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
			after(time.Minute)
			start := time.Now()
			r.session.Drain(errCut, time.Hour)
			hearsEnd(t, r.client, "* BYE revoked\r\n")
			r.endsWith(errCut)
			passed(t, start, 0)
		})
	})
	t.Run("busy: when it is quiet", func(t *testing.T) {
		bubble(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
			start := time.Now()
			r.session.Drain(errCut, time.Hour)
			r.session.Drain(errors.New("second"), 0)
			for range 4 {
				after(5 * time.Second)
				upstreamSays(t, r, "* OK\r\n")
			}
			hearsEnd(t, r.client, "* BYE revoked\r\n")
			r.endsWith(errCut)
			passed(t, start, 30*time.Second)
		})
	})
	t.Run("busy to the end: cut", func(t *testing.T) {
		bubble(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
			start := time.Now()
			r.session.Drain(nil, 12*time.Second)
			for range 2 {
				after(5 * time.Second)
				upstreamSays(t, r, "* OK\r\n")
			}
			hearsEnd(t, r.client, "")
			r.endsWith(relay.ErrCut)
			passed(t, start, 12*time.Second)
		})
	})
	t.Run("ends by itself meanwhile", func(t *testing.T) {
		bubble(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
			r.session.Drain(errCut, time.Hour)
			r.client.Close()
			r.upstream.Close()
			r.endsWith(nil)
		})
	})
}

func TestRelayWaitsAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := relay.New(relay.Settings{Idle: time.Hour})
		if err := r.Wait(t.Context()); err != nil {
			t.Errorf("Wait with no session = %v", err)
		}
		var peers []net.Conn
		var ended atomic.Int32
		for range 3 {
			client, upstream := duplexPair(), duplexPair()
			peers = append(peers, client[1], upstream[1])
			r.Start(wire.New(client[0], wire.Options{}), wire.New(upstream[0], wire.Options{}),
				relay.Options{Owner: relay.OnEnd(func(relay.End) { after(time.Second); ended.Add(1) })})
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errCut)
		defer cancel()
		if err := r.Wait(ctx); err != errCut {
			t.Errorf("Wait = %v", err)
		}
		r.Drain(errCut, time.Minute)
		if err := r.Wait(t.Context()); err != nil || ended.Load() != 3 {
			t.Errorf("Wait = %v after %d ends", err, ended.Load())
		}
		r.Close(errCut)
		for _, c := range peers {
			hearsEnd(t, c, "")
		}
	})
}
