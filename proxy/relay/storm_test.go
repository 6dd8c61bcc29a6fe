package relay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/proxy/relay"
)

// soon is generous: it only tells late from never on a machine that is busy.
const soon = 20 * time.Second

// crowd is many sessions on one relay, and their peers' ends.
type crowd struct {
	relay    *relay.Relay
	sessions []*relay.Session
	clients  []net.Conn
	ups      []net.Conn
	ends     atomic.Int32
}

// gather starts n sessions over all routes.
func gather(t *testing.T, settings relay.Settings, n int) *crowd {
	c := &crowd{relay: relay.New(settings)}
	for i := range n {
		route := routes[i%len(routes)]
		client, upstream := transports[route[0]](t, relay.Client), transports[route[1]](t, relay.Upstream)
		c.clients, c.ups = append(c.clients, client.peer), append(c.ups, upstream.peer)
		o := relay.Options{Owner: relay.OnEnd(func(relay.End) { c.ends.Add(1) })}
		c.sessions = append(c.sessions, c.relay.Start(client.door, upstream.door, o))
	}
	return c
}

func (c *crowd) close() {
	for i := range c.clients {
		c.clients[i].Close()
		c.ups[i].Close()
	}
}

// Hundreds of sessions: who says a word is answered while others stream, and all are cut at once.
func TestManySessions(t *testing.T) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		leavesNothing(t, func() {
			const all, streaming = 220, 4 // of the first routes
			c := gather(t, settings, all)
			defer c.close()
			var busy sync.WaitGroup
			for i := range all {
				if i < streaming {
					busy.Go(func() { flood(c.ups[i]) })
					busy.Go(func() { _, _ = io.Copy(io.Discard, c.clients[i]) })
				} else {
					busy.Go(func() { _, _ = io.Copy(c.ups[i], c.ups[i]) })
				}
			}
			var words sync.WaitGroup
			for i := streaming; i < all; i++ {
				words.Go(func() {
					for n := range 3 {
						began := time.Now()
						line := fmt.Sprintf("a%d NOOP\r\n", n)
						says(t, c.clients[i], line)
						hears(t, c.clients[i], line)
						if took := time.Since(began); took > soon {
							t.Errorf("an answer took %v beside %d streams", took, streaming)
						}
					}
				})
			}
			words.Wait()
			began := time.Now()
			for _, s := range c.sessions {
				s.Cut(errCut)
			}
			if err := c.relay.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			took := time.Since(began)
			t.Logf("%d sessions are cut in %v", all, took)
			if took > soon || c.ends.Load() != all {
				t.Errorf("%d of %d sessions are cut in %v", c.ends.Load(), all, took)
			}
			c.close()
			busy.Wait()
			c.relay.Close(errCut)
		})
	})
}

// Sessions start and speak while the relay closes: each ends once.
func TestCloseWhileTheyRun(t *testing.T) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		leavesNothing(t, func() {
			c := gather(t, settings, 33) // of which every third streams
			defer c.close()
			var busy sync.WaitGroup
			var late [30][2]link // made beforehand, so that they are started fast
			for i := range late {
				route := routes[i%len(routes)]
				late[i] = [2]link{transports[route[0]](t, relay.Client), transports[route[1]](t, relay.Upstream)}
			}
			for i := 0; i < len(c.clients); i += 3 {
				busy.Go(func() { flood(c.ups[i]) })
				busy.Go(func() { _, _ = io.Copy(io.Discard, c.clients[i]) })
			}
			var ends atomic.Int32
			var refused atomic.Int32
			busy.Go(func() {
				for _, l := range late {
					c.relay.Start(l[0].door, l[1].door, relay.Options{Owner: relay.OnEnd(func(e relay.End) {
						ends.Add(1)
						if errors.Is(e.Cause, relay.ErrClosed) {
							refused.Add(1)
						} else if !errors.Is(e.Cause, errCut) {
							t.Errorf("cause = %v", e.Cause)
						}
					})})
				}
			})
			c.relay.Close(errCut)
			c.close()
			busy.Wait()
			for _, l := range late {
				for _, peer := range []net.Conn{l[0].peer, l[1].peer} {
					if n, err := io.Copy(io.Discard, peer); n > 0 {
						t.Errorf("a peer hears %d octets, %v", n, err)
					}
					peer.Close()
				}
			}
			if err := c.relay.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if c.ends.Load() != 33 || ends.Load() != 30 {
				t.Errorf("%d and %d ends, want 33 and 30; %d were refused", c.ends.Load(), ends.Load(), refused.Load())
			}
		})
	})
}

// gate is a splitter that holds up who asks it.
type gate struct{ entered, leave chan struct{} }

func newGate() gate { return gate{make(chan struct{}), make(chan struct{})} }

func (g gate) FromClient(p []byte) relay.Action {
	g.entered <- struct{}{}
	<-g.leave
	return relay.Action{Kind: relay.Forward, N: len(p)}
}

func (g gate) FromUpstream(p []byte) relay.Action {
	return relay.Action{Kind: relay.Forward, N: len(p)}
}

func (g gate) Part(bool) (relay.Action, time.Duration) { return relay.Action{Kind: relay.Close}, 0 }

// A session is cut when it is the next to be looked at, behind one that begins, and says something more: that passes
// nowhere.
func TestNothingPassesAfterACut(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one shard
	engines(t, func(t *testing.T, settings relay.Settings) {
		for _, name := range []string{"TCP", "TLS 1.3", "records"} {
			t.Run(name, func(t *testing.T) {
				engine := relay.New(settings)
				first, second := newGate(), newGate()
				a := startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{Splitter: first})
				b := startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{Splitter: second})
				r := startOn(t, engine, transports[name](t, relay.Client), over(tcpPair(t)), relay.Options{})
				upstreamSays(t, r, "* OK\r\n") // it has begun
				says(t, a.client, "x")
				<-first.entered        // and nothing else is looked at
				says(t, b.client, "x") // these are looked at next, in this order
				says(t, r.client, "a1 NOOP\r\n")
				first.leave <- struct{}{}
				<-second.entered
				third := newGate()
				client := over(tcpPair(t))
				says(t, client.peer, "line\r\nx")
				if _, err := client.door.ReadLine(100); err != nil {
					t.Fatal(err)
				}
				startOn(t, engine, client, over(tcpPair(t)), relay.Options{Splitter: third})
				second.leave <- struct{}{}
				<-third.entered // c begins before the others are looked at
				r.session.Cut(errCut)
				says(t, r.client, "this was said after the cut")
				says(t, r.upstream, "and so was this")
				third.leave <- struct{}{}
				for _, c := range []net.Conn{r.upstream, r.client} {
					if p, _ := io.ReadAll(c); bytes.Contains(p, []byte("this")) {
						t.Errorf("the cut session passes %q", p)
					}
				}
				if e := <-r.ends; !errors.Is(e.Cause, errCut) {
					t.Errorf("end %+v", e)
				}
			})
		}
	})
}

// Nor while it streams.
func TestNothingPassesAfterManyCuts(t *testing.T) {
	word := []byte("this was said after the cut")
	engines(t, func(t *testing.T, settings relay.Settings) {
		leavesNothing(t, func() {
			c := gather(t, settings, 55)
			defer c.close()
			var busy sync.WaitGroup
			for i := range c.clients {
				var cut atomic.Bool
				after := rand.IntN(300)
				for _, way := range [][2]net.Conn{{c.clients[i], c.ups[i]}, {c.ups[i], c.clients[i]}} {
					busy.Go(func() { sayUntil(way[0], &cut, word) })
					busy.Go(func() {
						if lookFor(way[1], word) {
							t.Errorf("session %d passes what was said after its cut", i)
						}
					})
				}
				busy.Go(func() {
					time.Sleep(time.Duration(after) * time.Millisecond)
					c.sessions[i].Cut(errCut)
					cut.Store(true)
				})
			}
			busy.Wait()
			c.relay.Close(errCut)
		})
	})
}

// sayUntil streams until it knows of the cut, and says one word more.
func sayUntil(c net.Conn, cut *atomic.Bool, word []byte) {
	p := make([]byte, 8<<10)
	for !cut.Load() {
		if _, err := c.Write(p); err != nil {
			return
		}
	}
	_, _ = c.Write(word) // if it fails, it was not said
}

// lookFor reads to the end and says whether word came.
func lookFor(c net.Conn, word []byte) bool {
	p, kept := make([]byte, 64<<10), 0
	for {
		n, err := c.Read(p[kept:])
		if bytes.Contains(p[:kept+n], word) {
			return true
		}
		if err != nil {
			return false
		}
		kept = copy(p, p[max(0, kept+n-len(word)):kept+n])
	}
}

// What a session leaves behind when it is cut in the middle of a burst reaches no other one.
func TestNothingReachesAnotherSession(t *testing.T) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		leavesNothing(t, func() {
			r := relay.New(settings)
			for round := range 6 {
				stuckThenCut(t, r, "secret of another one ")
				for _, name := range []string{"TCP", "TLS 1.3"} {
					client, upstream := transports[name](t, relay.Client), over(tcpPair(t))
					s := r.Start(client.door, upstream.door, relay.Options{})
					var all sync.WaitGroup
					all.Go(func() { send(t, upstream.peer, uint64(round), 2<<20) })
					receive(t, client.peer, uint64(round), 2<<20)
					all.Wait()
					s.Cut(errCut)
					client.peer.Close()
					upstream.peer.Close()
				}
			}
			r.Close(errCut)
		})
	})
}

// stuckThenCut cuts sessions whose clients take nothing, when nothing moves any more.
func stuckThenCut(t *testing.T, r *relay.Relay, word string) {
	var all sync.WaitGroup
	for _, name := range []string{"TCP", "TCP", "TLS 1.3", "TLS 1.3"} {
		client := part{side: relay.Client, transport: name, buffers: 16 << 10}.link(t, 0)
		upstream := over(tcpPair(t)) // large enough for a burst
		s := r.Start(client.door, upstream.door, relay.Options{})
		all.Go(func() {
			p := bytes.Repeat([]byte(word), 16<<10)
			for stuck := false; !stuck; {
				_ = upstream.peer.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				_, err := upstream.peer.Write(p)
				stuck = err != nil
			}
			s.Cut(errCut)
			client.peer.Close()
			upstream.peer.Close()
		})
	}
	all.Wait()
}

// stayer is a splitter that takes its time to leave.
type stayer struct{ gate }

func (stayer) Part(bool) (relay.Action, time.Duration) {
	return relay.Action{Kind: relay.Close}, 200 * time.Millisecond
}

// Sessions that come when the relay has just been closed are refused. Each ends once, whoever cuts it besides, and those
// that are leaving do not suffer by it.
func TestCutOfTheRefused(t *testing.T) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		for range 4 {
			engine := relay.New(settings)
			var ends [64]atomic.Int32
			session := func(i int, sp relay.Splitter) func() *relay.Session {
				client, upstream := over(tcpPair(t)), over(tcpPair(t))
				o := relay.Options{Splitter: sp, Owner: relay.OnEnd(func(relay.End) { ends[i].Add(1) })}
				return func() *relay.Session { return engine.Start(client.door, upstream.door, o) }
			}
			const there = 8
			var late []func() *relay.Session
			for i := range ends {
				if i < there {
					session(i, stayer{})()
				} else {
					late = append(late, session(i, nil))
				}
			}
			var busy sync.WaitGroup
			for i, start := range late {
				if i == len(late)/2 {
					busy.Go(func() { engine.Close(errCut) })
				}
				busy.Go(func() { start().Cut(errCut) })
			}
			busy.Wait() // those that are there leave
			if err := engine.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i := range ends {
				if n := ends[i].Load(); n != 1 {
					t.Fatalf("session %d has ended %d times", i, n)
				}
			}
		}
	})
}
