package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		c := s.dial("192.0.2.7:4000")
		c.expect("hello")
		c.say("IN a@new.example wrong")
		c.expect("no bad_credentials")
		c.say("IN a@new.example secret")
		c.expect("ok A B")
		c.say("round and round")
		c.expect("round and round")

		open := s.live.Open(func(proxy.Open) bool { return true })
		if len(open) != 1 || open[0].Member != "a" || open[0].Door != "chat" || open[0].Client.String() != "192.0.2.7:4000" {
			t.Errorf("open sessions: %+v", open)
		}
		_ = c.Close()
		end := s.ended(1)
		want := authcore.End{Cause: "client", Established: true, FromClient: 17, FromUpstream: 17}
		if end != want {
			t.Errorf("End: got %+v, want %+v", end, want)
		}
		if n := s.live.Len(); n != 0 {
			t.Errorf("%d sessions are still registered", n)
		}
		for name, want := range map[string]float64{
			"attempts_total door=chat reason=allowed":               1,
			"attempts_total door=chat reason=bad_credentials":       1,
			"connections_open listener=front":                       0,
			"connections_total listener=front":                      1,
			"sessions_open door=chat":                               0,
			"sessions_total cause=client door=chat":                 1,
			"relayed_bytes_total direction=from_client door=chat":   17,
			"relayed_bytes_total direction=from_upstream door=chat": 17,
		} {
			f := strings.Fields(name)
			if got := s.metric(f[0], f[1:]...); got != want {
				t.Errorf("metric %s: got %v, want %v", name, got, want)
			}
		}
	})
}

func TestOneEventPerConnectionAndNoSecretInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		_ = s.signIn("192.0.2.7:4000").Close()
		_ = s.dial("192.0.2.8:4000").Close()
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines for two connections:\n%s", len(lines), s.log)
		}
		for _, want := range []string{"member=a", "domain=new.example", "upstream=mail", "client=192.0.2.7:4000", "cause=client", "reason=allowed"} {
			if !strings.Contains(lines[0]+lines[1], want) {
				t.Errorf("the log has no %s:\n%s", want, s.log)
			}
		}
		for _, never := range []string{"secret", "a@new.example"} {
			if strings.Contains(s.log.String(), never) {
				t.Errorf("the log has %q:\n%s", never, s.log)
			}
		}
	})
}

func TestSourceLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) { s.options.MaxPerSource = 2 })
		first := s.dial("[2001:db8::1]:1")
		first.expect("hello")
		second := s.dial("[2001:db8::ffff:1]:1") // the same /64
		second.expect("hello")
		third := s.dial("[2001:db8::2]:1")
		third.expect("no too_many_connections: " + proxy.TooManyOfSource)
		third.expectClosed()
		s.dial("[2001:db8:0:1::1]:1").expect("hello") // another /64

		first.say("IN a@new.example secret") // who has signed in is not counted any more
		first.expect("ok A B")
		fourth := s.dial("[2001:db8::4]:1")
		fourth.expect("hello")
		s.dial("[2001:db8::5]:1").expect("no too_many_connections: " + proxy.TooManyOfSource)

		_ = second.Close() // nor is who has left
		synctest.Wait()
		s.dial("[2001:db8::6]:1").expect("hello")
		if got := s.metric("connections_refused_total", "listener=front", "why=too_many_connections"); got != 2 {
			t.Errorf("refused: got %v, want 2", got)
		}
	})
}

func TestSourceLimitIsFiftyByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		for i := range 50 {
			s.dial(fmt.Sprintf("192.0.2.7:%d", 1000+i)).expect("hello")
		}
		s.dial("192.0.2.7:2000").expect("no too_many_connections: " + proxy.TooManyOfSource)
		s.dial("192.0.2.8:2000").expect("hello")
	})
}

func TestTotalLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) { s.options.MaxConnections = 2 })
		s.signIn("192.0.2.7:1") // sessions count
		second := s.dial("192.0.2.8:1")
		second.expect("hello")
		third := s.dial("192.0.2.9:1")
		third.expect("no too_many_connections: " + proxy.TooManyInAll)
		third.expectClosed()
		_ = second.Close()
		synctest.Wait()
		s.dial("192.0.2.9:1").expect("hello")
	})
}

// Those who are told why they may not come in are bounded too: a flood is closed without a word.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := proxytest.NewCA(t)
		s := newStage(t, func(s *stage) {
			s.options.MaxConnections = 0
			s.settings.TLS = ca.Server(t, "door.example")
		})
		for i := range 64 { // each waits for a ClientHello
			s.dial(fmt.Sprintf("192.0.2.7:%d", 1000+i))
		}
		within(t, 0, s.dial("192.0.2.8:1").expectClosed)
		<-time.After(11 * time.Second)
		s.dial("192.0.2.8:2").startTLS(ca.Client("door.example")).expect("no too_many_connections: " + proxy.TooManyInAll)
	})
}

func TestHelloDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := proxytest.NewCA(t)
		s := newStage(t, func(s *stage) { s.settings.TLS = ca.Server(t, "door.example") })
		c := s.dial("192.0.2.7:1")
		began := time.Now()
		c.expectClosed()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("a silent client was closed after %v, want 10s", took)
		}
	})
}

func TestImplicitTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := proxytest.NewCA(t)
		s := newStage(t, func(s *stage) { s.settings.TLS = ca.Server(t, "door.example") })
		c := s.dial("192.0.2.7:1").startTLS(ca.Client("door.example"))
		c.expect("hello")
		c.say("IN a@new.example secret")
		c.expect("ok A B")
		c.say("x")
		c.expect("x")
		info := s.auth.Attempts()[0].Conn
		if info.TLSVersion != "TLSv1.3" || info.TLSCipher == "" || info.ServerName != "door.example" || !info.ClientVouched {
			t.Errorf("ConnInfo: %+v", info)
		}
	})
}

// However lively the client, the sign-in ends after a minute.
func TestSignInDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		began := time.Now()
		c := s.dial("192.0.2.7:1")
		c.expect("hello")
		for range 5 {
			<-time.After(10 * time.Second)
			c.say("hm")
			c.expect("what?")
		}
		c.expect("bye")
		c.expectClosed()
		if took := time.Since(began); took != time.Minute {
			t.Errorf("the dialogue ended after %v, want a minute", took)
		}
	})
}

func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		s := newStage(t, nil)
		ln := proxytest.NewListener(doorAddr)
		ln.OnAccept = func() error {
			if failures++; failures <= 3 {
				return fmt.Errorf("accept: %w", syscall.EMFILE)
			}
			return nil
		}
		began := time.Now()
		s.open(ln)
		s.listener = ln
		s.dial("192.0.2.7:1").expect("hello")
		if took, want := time.Since(began), (5+10+20)*time.Millisecond; took != want {
			t.Errorf("accepted after %v, want %v", took, want)
		}
		if got := s.metric("accept_errors_total", "listener=front"); got != 3 {
			t.Errorf("accept errors: got %v, want 3", got)
		}
	})
}

func TestServeTellsABrokenListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		ln := proxytest.NewListener(doorAddr)
		broken := errors.New("the socket is gone")
		ln.OnAccept = func() error { return broken }
		if err := s.server.Serve(context.Background(), ln, func() proxy.Listener { return s.settings }); !errors.Is(err, broken) {
			t.Errorf("Serve: got %v, want %v", err, broken)
		}
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		ln := proxytest.NewListener(doorAddr)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- s.server.Serve(ctx, ln, func() proxy.Listener { return s.settings }) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := ln.Dial("192.0.2.7:1"); err == nil {
			t.Error("the listener is still open")
		}
	})
}

// A bug in one connection ends that connection, is counted, and leaves nothing behind.
func TestPanics(t *testing.T) {
	for at, told := range map[string]int{"dialogue": 0, "login": 1, "reply": 1, "relay": 1} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, func(s *stage) { s.chat.panicAt = at })
				other := s.dial("192.0.2.8:1")
				other.expect("hello")
				c := s.dial("192.0.2.7:1")
				c.expect("hello")
				c.say("IN a@new.example secret")
				if at == "relay" {
					c.expect("ok A B")
				}
				c.expectClosed()
				synctest.Wait() // it is closed before it is counted
				if got := s.metric("panics_total"); got != 1 {
					t.Errorf("panics: got %v, want 1", got)
				}
				if told > 0 {
					if end, want := s.ended(told), (authcore.End{Cause: "error"}); end != want {
						t.Errorf("End: got %+v, want %+v", end, want)
					}
				}
				if n := s.live.Len(); n != 0 {
					t.Errorf("%d sessions are registered", n)
				}
				if got := s.metric("connections_open", "listener=front"); got != 1 {
					t.Errorf("open connections: got %v, want the other one", got)
				}
				_ = other.Close()
			})
		})
	}
}
