package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// cutter remembers how it was cut.
type cutter struct {
	mu     sync.Mutex
	causes []error
	when   time.Time
}

func (c *cutter) Cut(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.causes = append(c.causes, cause)
	c.when = time.Now()
}

func (c *cutter) cut() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.causes) == 0 {
		return nil
	}
	return c.causes[0]
}

// enter registers a session of a member.
func enter(l *proxy.Live, id string, m member.ID, until time.Time) (*proxy.Entry, *cutter) {
	d := authcore.Decision{Reason: authcore.Allowed, Session: session.ID(id), Domain: "d", Member: m, Until: until}
	a := authcore.Attempt{Door: "imap"}
	c := &cutter{}
	return l.Enter(proxy.OpenOf(a, d), d.Standing(a), c), c
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := proxy.NewLive()
		defer l.Close()
		now := time.Now()
		in := func(d time.Duration) time.Time { return now.Add(d) }
		_, late := enter(l, "late", "a", in(3*time.Hour))
		_, soon := enter(l, "soon", "a", in(time.Minute))
		_, never := enter(l, "never", "a", time.Time{})
		left, gone := enter(l, "gone", "a", in(2*time.Minute))
		_, past := enter(l, "past", "a", in(-time.Second))
		left.Leave()
		<-time.After(4 * time.Hour)
		for name, tt := range map[string]struct {
			c    *cutter
			want error
			when time.Time
		}{
			"late":  {late, proxy.ErrExpired, in(3 * time.Hour)},
			"soon":  {soon, proxy.ErrExpired, in(time.Minute)},
			"never": {never, nil, time.Time{}},
			"gone":  {gone, nil, time.Time{}},
			"past":  {past, proxy.ErrExpired, now},
		} {
			if got := tt.c.cut(); got != tt.want || !tt.c.when.Equal(tt.when) {
				t.Errorf("%s: cut with %v at %v, want %v at %v", name, got, tt.c.when, tt.want, tt.when)
			}
		}
	})
}

func TestCutBeforeHand(t *testing.T) {
	l := proxy.NewLive()
	defer l.Close()
	e, before := enter(l, "1", "a", time.Time{})
	if n := l.Cut(func(o proxy.Open) bool { return o.Member == "a" }, proxy.ErrRevoked); n != 1 {
		t.Fatalf("%d were cut, want 1", n)
	}
	e.Cut(errors.New("another cause"))
	after := &cutter{}
	e.Hand(after)
	for name, c := range map[string]*cutter{"before": before, "after": after} {
		if len(c.causes) != 1 || c.causes[0] != proxy.ErrRevoked {
			t.Errorf("%s the hand-over: cut with %v, want once with %v", name, c.causes, proxy.ErrRevoked)
		}
	}
	if !errors.Is(e.Cause(), proxy.ErrRevoked) {
		t.Errorf("Cause: %v", e.Cause())
	}
}

func TestLeave(t *testing.T) {
	l := proxy.NewLive()
	defer l.Close()
	e, c := enter(l, "1", "a", time.Now().Add(time.Hour))
	e.Leave()
	e.Leave()
	e.Hand(c)
	e.Cut(proxy.ErrRevoked)
	if got := l.Cut(func(proxy.Open) bool { return true }, proxy.ErrRevoked); got != 0 || c.cut() != nil {
		t.Errorf("a session that has left was cut: %d, %v", got, c.cut())
	}
}

// watched runs Watch over a stream of revocations; revoke puts one on it.
type watched struct {
	live   *proxy.Live
	auth   *proxytest.Authenticator
	revoke chan authcore.Revocation
	stop   func()
}

func watch(live *proxy.Live, stands func(ctx context.Context, s authcore.Standing) (bool, error)) *watched {
	w := &watched{live: live, auth: proxytest.NewAuthenticator(), revoke: make(chan authcore.Revocation)}
	w.auth.OnStands = stands
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { live.Watch(ctx, w.auth, w.stream(ctx)) })
	w.stop = func() {
		cancel()
		wg.Wait()
		live.Close()
	}
	return w
}

func (w *watched) stream(ctx context.Context) iter.Seq[authcore.Revocation] {
	return func(yield func(authcore.Revocation) bool) {
		for {
			select {
			case r := <-w.revoke:
				if !yield(r) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func TestWatch(t *testing.T) {
	for name, tt := range map[string]struct {
		r      authcore.Revocation
		judged int
		cut    []string // of a1, a2, b1; a1 and b1 do not stand any more
	}{
		"a member":              {authcore.Revocation{Domain: "d", Member: "a"}, 2, []string{"a1"}},
		"a session":             {authcore.Revocation{Domain: "d", Member: "a", Session: "a2"}, 1, nil},
		"a domain":              {authcore.Revocation{Domain: "d"}, 3, []string{"a1", "b1"}},
		"another domain":        {authcore.Revocation{Domain: "e"}, 0, nil},
		"everything, after gap": {authcore.Revocation{Resync: true}, 3, []string{"a1", "b1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(proxy.NewLive(), func(_ context.Context, s authcore.Standing) (bool, error) { return s.Session == "a2", nil })
				defer w.stop()
				cutters := map[string]*cutter{}
				for _, id := range []string{"a1", "a2", "b1"} {
					_, cutters[id] = enter(w.live, id, member.ID(id[:1]), time.Time{})
				}
				w.revoke <- tt.r
				synctest.Wait()
				if got := len(w.auth.Judged()); got != tt.judged {
					t.Errorf("%d sessions were judged, want %d", got, tt.judged)
				}
				for id, c := range cutters {
					want := error(nil)
					for _, is := range tt.cut {
						if is == id {
							want = proxy.ErrRevoked
						}
					}
					if got := c.cut(); got != want {
						t.Errorf("%s: cut with %v, want %v", id, got, want)
					}
				}
			})
		})
	}
}

func TestWatchCutsThousandsWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(proxy.NewLive(), func(context.Context, authcore.Standing) (bool, error) {
			<-time.After(5 * time.Millisecond) // a store that has to be asked over a network
			return false, nil
		})
		defer w.stop()
		var all []*cutter
		for i := range 5000 {
			_, c := enter(w.live, fmt.Sprint(i), "a", time.Time{})
			all = append(all, c)
		}
		began := time.Now()
		w.revoke <- authcore.Revocation{Domain: "d"}
		<-time.After(time.Second)
		for i, c := range all {
			if c.cut() == nil || c.when.Sub(began) >= time.Second {
				t.Fatalf("session %d: cut with %v after %v", i, c.cut(), c.when.Sub(began))
			}
		}
	})
}

func TestWatchAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		down := true
		w := watch(proxy.NewLive(), func(context.Context, authcore.Standing) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return false, errors.New("storage is down") // the bool of an error means nothing
			}
			return false, nil
		})
		defer w.stop()
		_, c := enter(w.live, "1", "a", time.Time{})
		w.revoke <- authcore.Revocation{Resync: true}
		<-time.After(20 * time.Second)
		if got := c.cut(); got != nil {
			t.Fatalf("cut with %v while the records could not be asked", got)
		}
		mu.Lock()
		down = false
		mu.Unlock()
		<-time.After(2 * time.Second)
		if got := c.cut(); got != proxy.ErrRevoked {
			t.Errorf("cut with %v, want %v", got, proxy.ErrRevoked)
		}
	})
}

// A session never outlives a revocation by more than the lease, whether the records fail or hang, however many there are.
func TestWatchEndsWithTheLease(t *testing.T) {
	for name, stands := range map[string]func(context.Context, authcore.Standing) (bool, error){
		"fails": func(context.Context, authcore.Standing) (bool, error) { return true, errors.New("storage is down") },
		"hangs": func(ctx context.Context, _ authcore.Standing) (bool, error) { <-ctx.Done(); return true, ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(proxy.NewLive(), stands)
				defer w.stop()
				var all []*cutter
				for i := range 1000 {
					_, c := enter(w.live, fmt.Sprint(i), "a", time.Time{})
					all = append(all, c)
				}
				began := time.Now()
				w.revoke <- authcore.Revocation{Resync: true}
				<-time.After(time.Minute)
				for i, c := range all {
					if after := c.when.Sub(began); c.cut() != proxy.ErrUnjudged || after > 30*time.Second || after < 25*time.Second {
						t.Fatalf("session %d: cut with %v after %v, want %v by the end of 30 s", i, c.cut(), after, proxy.ErrUnjudged)
					}
				}
			})
		})
	}
}

// A revocation that comes while the session is being judged by older records is judged anew.
func TestWatchJudgesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan bool)
		w := watch(proxy.NewLive(), func(context.Context, authcore.Standing) (bool, error) { return <-answers, nil })
		defer w.stop()
		_, c := enter(w.live, "1", "a", time.Time{})
		w.revoke <- authcore.Revocation{Resync: true}
		synctest.Wait()
		w.revoke <- authcore.Revocation{Resync: true}
		synctest.Wait()
		answers <- true
		answers <- false
		synctest.Wait()
		if got := c.cut(); got != proxy.ErrRevoked {
			t.Errorf("cut with %v, want %v", got, proxy.ErrRevoked)
		}
	})
}

// Whatever ends first, the revocations or the context, Watch returns with all its goroutines. The judges once missed a
// context that ended while they were about to wait.
func TestWatchReturns(t *testing.T) {
	none := func(func(authcore.Revocation) bool) {}
	one := func(yield func(authcore.Revocation) bool) { yield(authcore.Revocation{Resync: true}) }
	for name, revocations := range map[string]iter.Seq[authcore.Revocation]{"none": none, "one": one} {
		t.Run(name, func(t *testing.T) {
			for _, cancelled := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					if cancelled {
						cancel()
					}
					l := proxy.NewLive()
					defer l.Close()
					enter(l, "1", "a", time.Time{})
					l.Watch(ctx, proxytest.NewAuthenticator(), revocations)
				})
			}
		})
	}
}

// A real session, from the revocation to the closed connection.
func TestWatchCutsASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		var mu sync.Mutex
		stands := true
		w := watch(s.live, func(context.Context, authcore.Standing) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			return stands, nil
		})
		defer w.stop()
		c := s.signIn("192.0.2.7:1")
		w.revoke <- authcore.Revocation{Domain: "new.example"}
		synctest.Wait()
		c.say("still here")
		c.expect("still here")
		mu.Lock()
		stands = false
		mu.Unlock()
		within(t, time.Second, func() {
			w.revoke <- authcore.Revocation{Domain: "new.example", Member: "a"}
			c.expectClosed()
		})
		if end := s.ended(1); end.Cause != "revoked" {
			t.Errorf("End: %+v", end)
		}
	})
}
