package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
)

// greets and reads the sign-in, then does the rest.
func greets(then func(c net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		_, _ = io.WriteString(c, "ready\r\n")
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			then(c)
		}
	}
}

func says(word string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, word)
		_, _ = io.Copy(io.Discard, c)
	}
}

func endless(c net.Conn) {
	for {
		if _, err := io.WriteString(c, strings.Repeat("more of it\r\n", 100)); err != nil {
			return
		}
		<-time.After(time.Millisecond) // fake time stands still while anybody is busy
	}
}

func slowly(c net.Conn) {
	for {
		<-time.After(time.Second)
		if _, err := io.WriteString(c, "."); err != nil {
			return
		}
	}
}

func resets(c net.Conn) {
	_ = c.(interface{ SetLinger(int) error }).SetLinger(0)
	_ = c.Close()
}

// Whatever the upstream does, the client has the temporary answer within five seconds, and nothing is left behind.
func TestUpstreamFails(t *testing.T) {
	for name, tt := range map[string]struct {
		upstream func(c net.Conn)
		dial     func(ctx context.Context) error
		step     string
	}{
		"refuses the connection": {dial: func(context.Context) error { return errors.New("connection refused") }, step: "dial"},
		"is not reached": {
			dial: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, step: "dial",
		},
		"is silent":                 {upstream: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, step: "sign_in"},
		"closes":                    {upstream: func(c net.Conn) { _ = c.Close() }, step: "sign_in"},
		"resets":                    {upstream: resets, step: "sign_in"},
		"talks garbage":             {upstream: says("\x00\xff\n\r\n"), step: "sign_in"},
		"sends an endless line":     {upstream: says(strings.Repeat("x", 1<<20)), step: "sign_in"},
		"drips":                     {upstream: slowly, step: "sign_in"},
		"refuses the sign-in":       {upstream: greets(says("no\r\n")), step: "sign_in"},
		"greets and is silent":      {upstream: greets(says("")), step: "sign_in"},
		"greets and resets":         {upstream: greets(resets), step: "sign_in"},
		"never comes to its answer": {upstream: greets(endless), step: "sign_in"},
		"drips its answer":          {upstream: greets(slowly), step: "sign_in"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var came error
				s := newStage(t, func(s *stage) {
					s.dialer.Leg = func(l *proxy.Leg) { l.Came = func(err error) { came = err } }
					s.dialer.Upstream = tt.upstream
					if tt.dial != nil {
						s.dialer.OnDial = func(ctx context.Context, _ authcore.Upstream, _ authcore.ConnInfo) error { return tt.dial(ctx) }
					}
				})
				c := s.dial("192.0.2.7:1")
				c.expect("hello")
				c.say("IN a@new.example secret")
				within(t, 5*time.Second, func() { c.expect("no unavailable") })
				c.expectClosed()
				if end, want := s.ended(1), (authcore.End{Cause: "unavailable"}); end != want {
					t.Errorf("End: got %+v, want %+v", end, want)
				}
				silent := errors.Is(came, context.DeadlineExceeded) || errors.Is(came, os.ErrDeadlineExceeded)
				if want := strings.Contains(name, "silent") || strings.Contains(name, "drips") || strings.Contains(name, "never"); silent != want {
					t.Errorf("the dialer hears of it: %v, want silence: %v", came, want)
				}
				s.dialer.Wait() // its connection was closed
				if n := s.live.Len(); n != 0 {
					t.Errorf("%d sessions are registered", n)
				}
				if n := strings.Count(s.log.String(), "mail"); n != 1 {
					t.Errorf("the log names the upstream %d times:\n%s", n, s.log)
				}
				if got := s.metric("upstream_failures_total", "step="+tt.step, "upstream=mail"); got != 1 {
					t.Errorf("upstream failures at %s: got %v, want 1", tt.step, got)
				}
				if got := s.metric("connections_open", "listener=front"); got != 0 {
					t.Errorf("open connections: got %v", got)
				}
			})
		})
	}
}

// What ends a session between the decision and OK is not missed: the client never hears OK.
func TestRevokedBeforeOK(t *testing.T) {
	everything := func(proxy.Open) bool { return true }
	for name, tt := range map[string]struct {
		change func(s *stage)
		cause  string
	}{
		"the records say no": {func(s *stage) {
			s.auth.OnStands = func(context.Context, authcore.Standing) (bool, error) { return false, nil }
		}, "revoked"},
		"the records cannot be asked": {func(s *stage) {
			s.auth.OnStands = func(context.Context, authcore.Standing) (bool, error) { return true, errors.New("storage is down") }
		}, "unavailable"},
		"the records do not answer": {func(s *stage) {
			s.auth.OnStands = func(ctx context.Context, _ authcore.Standing) (bool, error) { <-ctx.Done(); return true, ctx.Err() }
		}, "unavailable"},
		"cut while dialling": {func(s *stage) {
			s.dialer.OnDial = func(context.Context, authcore.Upstream, authcore.ConnInfo) error {
				if n := s.live.Cut(everything, proxy.ErrRevoked); n != 1 {
					s.t.Errorf("%d sessions are registered while dialling, want 1", n)
				}
				return nil
			}
		}, "revoked"},
		"cut while dialling in vain": {func(s *stage) {
			s.dialer.OnDial = func(ctx context.Context, _ authcore.Upstream, _ authcore.ConnInfo) error {
				s.live.Cut(everything, proxy.ErrRevoked)
				<-ctx.Done()
				return ctx.Err()
			}
		}, "revoked"},
		"cut while signing in": {func(s *stage) {
			s.dialer.Upstream = greets(func(c net.Conn) {
				s.live.Cut(everything, proxy.ErrRevoked)
				says("ok A B\r\n")(c)
			})
		}, "revoked"},
		"cut while the records are asked": {func(s *stage) {
			s.auth.OnStands = func(context.Context, authcore.Standing) (bool, error) {
				s.live.Cut(everything, proxy.ErrRevoked)
				return true, nil
			}
		}, "revoked"},
		"the credential expires while signing in": {func(s *stage) {
			s.auth.Person("a@new.example", "secret", authcore.Decision{Reason: authcore.Allowed, Until: time.Now().Add(2 * time.Second)})
			s.dialer.Upstream = greets(func(c net.Conn) {
				<-time.After(3 * time.Second)
				says("ok A B\r\n")(c)
			})
		}, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, tt.change)
				c := s.dial("192.0.2.7:1")
				c.expect("hello")
				c.say("IN a@new.example secret")
				within(t, 5*time.Second, func() { c.expect("no unavailable") })
				c.expectClosed()
				if end, want := s.ended(1), (authcore.End{Cause: tt.cause}); end != want {
					t.Errorf("End: got %+v, want %+v", end, want)
				}
				s.dialer.Wait()
				if n := s.live.Len(); n != 0 {
					t.Errorf("%d sessions are registered", n)
				}
				if got := s.metric("upstream_failures_total", "step=dial", "upstream=mail") +
					s.metric("upstream_failures_total", "step=sign_in", "upstream=mail"); got != 0 {
					t.Errorf("the upstream is blamed %v times", got)
				}
			})
		})
	}
}

func TestCutAfterOK(t *testing.T) {
	for name, tt := range map[string]struct {
		quiet    time.Duration
		farewell bool
	}{
		"in use": {0, false},
		"idle":   {time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				c, other := s.signIn("192.0.2.7:1"), s.signIn("192.0.2.8:1")
				<-time.After(tt.quiet)
				within(t, time.Second, func() {
					n := s.live.Cut(func(o proxy.Open) bool { return o.Client.Addr().String() == "192.0.2.7" }, proxy.ErrRevoked)
					if n != 1 {
						t.Errorf("%d sessions were cut, want 1", n)
					}
					if tt.farewell {
						c.expect("bye")
					}
					c.expectClosed()
				})
				if end := s.ended(1); end.Cause != "revoked" || !end.Established {
					t.Errorf("End: got %+v, want an established one, revoked", end)
				}
				other.say("still here")
				other.expect("still here")
			})
		})
	}
}

// The client leaves while its upstream is dialled: the attempt ends as usual.
func TestClientGoneBeforeOK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) {
			s.dialer.OnDial = func(context.Context, authcore.Upstream, authcore.ConnInfo) error {
				<-time.After(time.Second)
				return nil
			}
		})
		c := s.dial("192.0.2.7:1")
		c.expect("hello")
		c.say("IN a@new.example secret")
		_ = c.Close()
		<-time.After(2 * time.Second)
		if end, want := s.ended(1), (authcore.End{Cause: "client"}); end != want {
			t.Errorf("End: got %+v, want %+v", end, want)
		}
		s.dialer.Wait()
	})
}
