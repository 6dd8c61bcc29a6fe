package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/relay"
)

// shutDown calls Shutdown with a time limit and answers how long it took.
func (s *stage) shutDown(limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := time.Now()
	err := s.server.Shutdown(ctx)
	return time.Since(began), err
}

type shutdown struct {
	took time.Duration
	err  error
}

// shuttingDown does the same while the test goes on: a pipe takes a farewell only when it is read.
func (s *stage) shuttingDown(limit time.Duration) <-chan shutdown {
	done := make(chan shutdown, 1)
	go func() {
		took, err := s.shutDown(limit)
		done <- shutdown{took, err}
	}()
	return done
}

func TestDrainIdleSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		c := s.signIn("192.0.2.7:1")
		<-time.After(time.Minute)
		done := s.shuttingDown(30 * time.Second)
		c.expect("bye")
		c.expectClosed()
		if r := <-done; r.err != nil || r.took > 2*time.Second {
			t.Errorf("Shutdown: %v after %v, want at once", r.err, r.took)
		}
		if end := s.ended(1); end.Cause != "drain" || !end.Established {
			t.Errorf("End: %+v", end)
		}
		if _, err := s.listener.Dial("192.0.2.7:2"); err == nil {
			t.Error("the listener is still open")
		}
	})
}

// A client that never pauses is cut before the limit, and Shutdown still says that all is well.
func TestDrainBusySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		c := s.signIn("192.0.2.7:1")
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-time.After(time.Second):
					if _, err := c.Write([]byte("x\r\n")); err != nil {
						return
					}
				case <-stop:
					return
				}
			}
		}()
		go func() {
			_, _ = c.r.WriteTo(&bytes.Buffer{})
		}()
		took, err := s.shutDown(20 * time.Second)
		if err != nil || took < 14*time.Second || took > 20*time.Second {
			t.Errorf("Shutdown: %v after %v, want between 14 s and 20 s", err, took)
		}
		if end := s.ended(1); end.Cause != "drain" {
			t.Errorf("End: %+v", end)
		}
	})
}

// patient is a splitter of lines that lets a message in flight, up to a lone dot, end before a drain.
type patient struct{ inMessage bool }

func (p *patient) FromClient(b []byte) relay.Action {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return relay.Action{Kind: relay.Hold}
	}
	p.inMessage = strings.TrimSpace(string(b[:i])) != "."
	return relay.Action{Kind: relay.Forward, N: i + 1}
}

func (p *patient) FromUpstream(b []byte) relay.Action {
	return relay.Action{Kind: relay.Forward, N: len(b)}
}

func (p *patient) Part(drain bool) (relay.Action, time.Duration) {
	how := relay.Action{Kind: relay.Close, Bytes: []byte("421 later\r\n")}
	if p.inMessage && drain {
		return how, time.Hour
	}
	return how, 0
}

func TestDrainWaitsForAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) { s.chat.splitter = func() relay.Splitter { return &patient{} } })
		c := s.signIn("192.0.2.7:1")
		c.say("a message")
		c.expect("a message")
		done := s.shuttingDown(30 * time.Second)
		<-time.After(5 * time.Second)
		c.say("goes on")
		c.expect("goes on")
		c.say(".")
		c.expect("421 later")
		c.expectClosed()
		if r := <-done; r.err != nil {
			t.Errorf("Shutdown: %v", r.err)
		}
	})
}

// A sign-in that was under way finishes; the session that it becomes is drained too.
func TestShutdownFinishesSignIns(t *testing.T) {
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
		synctest.Wait()
		done := s.shuttingDown(30 * time.Second)
		c.expect("ok A B")
		c.expect("bye")
		c.expectClosed()
		if r := <-done; r.err != nil || r.took > 15*time.Second {
			t.Errorf("Shutdown: %v after %v", r.err, r.took)
		}
		if end := s.ended(1); end.Cause != "drain" || !end.Established {
			t.Errorf("End: %+v", end)
		}
	})
}

// After two seconds a sign-in gets the temporary answer, and a client that has not begun one its bye.
func TestShutdownEndsSlowSignIns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) {
			s.dialer.OnDial = func(ctx context.Context, _ authcore.Upstream, _ authcore.ConnInfo) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}
		})
		signing := s.dial("192.0.2.7:1")
		signing.expect("hello")
		signing.say("IN a@new.example secret")
		waiting := s.dial("192.0.2.8:1")
		waiting.expect("hello")
		synctest.Wait()
		done := s.shuttingDown(30 * time.Second)
		signing.expect("no unavailable")
		signing.expectClosed()
		waiting.expect("bye")
		waiting.expectClosed()
		if r := <-done; r.err != nil || r.took < 2*time.Second || r.took > 3*time.Second {
			t.Errorf("Shutdown: %v after %v, want after 2 s", r.err, r.took)
		}
		if end, want := s.ended(1), (authcore.End{Cause: "drain"}); end != want {
			t.Errorf("End: got %+v, want %+v", end, want)
		}
	})
}

// Who does not let go in time is named, and nothing waits for ever.
// A client that has not said hello is no reason to wait: its handshake ends with the sign-ins' grace.
func TestShutdownEndsHandshakes(t *testing.T) {
	ca := proxytest.NewCA(t)
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) { s.settings.TLS = ca.Server(t, "door.example") })
		s.dial("192.0.2.7:1")
		synctest.Wait()
		if took, err := s.shutDown(30 * time.Second); err != nil || took > 2*time.Second {
			t.Errorf("Shutdown: %v after %v, want two seconds", err, took)
		}
		if !strings.Contains(s.log.String(), "cause=drain") {
			t.Errorf("the log: %s", s.log)
		}
	})
}

func TestShutdownTellsWhoIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newStage(t, func(s *stage) {
			s.dialer.OnDial = func(context.Context, authcore.Upstream, authcore.ConnInfo) error {
				<-release // a bug: it ignores its context
				return nil
			}
		})
		c := s.dial("192.0.2.7:1")
		c.expect("hello")
		c.say("IN a@new.example secret")
		synctest.Wait()
		took, err := s.shutDown(10 * time.Second)
		if err == nil || !strings.Contains(err.Error(), "1 sessions open") || took != 10*time.Second {
			t.Errorf("Shutdown: %v after %v, want an error that counts 1 session after 10 s", err, took)
		}
		close(release)
	})
}

// Finish ends what has not signed in and leaves sessions alone, until Shutdown drains them.
func TestFinishLeavesSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		c := s.signIn("192.0.2.7:1")
		waiting := s.dial("192.0.2.8:1")
		waiting.expect("hello")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		finished := make(chan struct{})
		go func() { s.server.Finish(ctx); close(finished) }()
		waiting.expect("bye")
		waiting.expectClosed()
		<-finished
		if took := time.Since(began); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("Finish took %v, want 2 s for the client that did not sign in", took)
		}
		if _, err := s.listener.Dial("192.0.2.7:2"); err == nil {
			t.Error("the listener is still open")
		}
		c.say("still here")
		c.expect("still here")
		<-time.After(10 * time.Second)
		done := s.shuttingDown(15 * time.Second)
		c.expect("bye")
		c.expectClosed()
		if r := <-done; r.err != nil {
			t.Errorf("Shutdown: %v", r.err)
		}
	})
}

// leaver is a session that leaves when it is asked to, and notes when.
type leaver struct {
	mu *sync.Mutex
	at *[]time.Time
}

func (l leaver) Cut(error) {}

func (l leaver) Drain(error, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.at = append(*l.at, time.Now())
}

// The clients of a node that stops come back to the others, 200 a second, or as fast as half of the time asks for.
func TestDrainIsSpread(t *testing.T) {
	for name, c := range map[string]struct {
		sessions int
		limit    time.Duration
		most     int           // in any second
		last     time.Duration // when the last one leaves, at most
	}{
		"a few leave at once":      {3, 30 * time.Second, 3, 20 * time.Millisecond},
		"2 000 in 30 s":            {2000, 30 * time.Second, 201, 10 * time.Second},
		"20 000 in 30 s":           {20_000, 30 * time.Second, 2000, 15 * time.Second},
		"2 000 in a second's time": {2000, time.Second, 2000, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				var mu sync.Mutex
				var at []time.Time
				for i := range c.sessions {
					defer s.live.Enter(proxy.Open{Session: session.ID(fmt.Sprint(i))}, authcore.Standing{}, leaver{&mu, &at}).Leave()
				}
				began := time.Now()
				if _, err := s.shutDown(c.limit); err != nil {
					t.Fatal(err)
				}
				if len(at) != c.sessions || at[len(at)-1].Sub(began) > c.last {
					t.Fatalf("%d have left, the last after %v", len(at), at[len(at)-1].Sub(began))
				}
				most := 0
				for i, j := 0, 0; i < len(at); i++ {
					for at[i].Sub(at[j]) > time.Second {
						j++
					}
					most = max(most, i-j+1)
				}
				if t.Logf("%d in the worst second, the last after %v", most, at[len(at)-1].Sub(began)); most > c.most {
					t.Errorf("%d in one second, want %d at most", most, c.most)
				}
			})
		})
	}
}
