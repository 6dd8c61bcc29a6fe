package relay_test

import (
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// What split_test.go, hold_test.go and part_test.go say in fake time, on the sockets of both engines.

func TestSplitterOrderOnSockets(t *testing.T) {
	journeys(t, withLines, func(t *testing.T, r *rig) {
		says(t, r.client, "one\ndrop this\ntwo\nlocal 3\nfour\ninject FIVE\nlocal 6\nseven\nlocal 8\n")
		hears(t, r.upstream, "one\ntwo\n")
		says(t, r.upstream, "1\n")
		hears(t, r.client, "1\n")
		says(t, r.upstream, "2")
		says(t, r.upstream, "\n")
		hears(t, r.client, "2\n3\n")
		hears(t, r.upstream, "four\nFIVE\n")
		says(t, r.upstream, "4\n5\n")
		hears(t, r.client, "4\n5\n6\n")
		hears(t, r.upstream, "seven\n")
		says(t, r.upstream, "7\n")
		hears(t, r.client, "7\n8\n")
		r.client.Close()
		hearsEnd(t, r.upstream, "")
		r.upstream.Close()
		if e := r.endsWith(nil); e.FromClient != 65 || e.FromUpstream != 10 {
			t.Errorf("counters %d, %d", e.FromClient, e.FromUpstream)
		}
	})
}

// More is pipelined than may be held and than sockets take, and the client ends behind it: nothing is lost.
func TestHeldClientOnSockets(t *testing.T) {
	journeys(t, withLines, func(t *testing.T, r *rig) {
		const n = 10_000
		var said sync.WaitGroup
		said.Go(func() {
			_, _ = io.WriteString(r.client, "one\n"+strings.Repeat("local 2\n", n)+"three\n") // what is lost is missed below
			_ = wire.CloseWrite(r.client)
		})
		hears(t, r.upstream, "one\n")
		says(t, r.upstream, "1\n")
		hears(t, r.client, "1\n"+strings.Repeat("2\n", n))
		hearsEnd(t, r.upstream, "three\n")
		says(t, r.upstream, "3\n")
		r.upstream.Close()
		hearsEnd(t, r.client, "3\n")
		said.Wait()
		r.endsWith(nil)
	})
}

func TestShortHold(t *testing.T) {
	t.Parallel()
	shortened(t, relay.Options{Splitter: &lines{}}, func(t *testing.T, r *rig) {
		go flood(r.client) // not one end of a line
		e := r.endsWith(relay.ErrHeld)
		if notBefore(t, e, e.Started, 8*tick); e.FromClient != 0 {
			t.Errorf("%d octets were taken", e.FromClient)
		}
		if p, _ := io.ReadAll(r.upstream); len(p) > 0 {
			t.Errorf("the upstream hears %d octets", len(p))
		}
	})
}

// A reply in flight is awaited by a cut, for a moment, and by a drain.
func TestReplyInFlightOnSockets(t *testing.T) {
	for name, leave := range map[string]func(s *relay.Session){
		"cut":   func(s *relay.Session) { s.Cut(errCut) },
		"drain": func(s *relay.Session) { s.Drain(errCut, time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			o := func() relay.Options { return relay.Options{Splitter: &lines{part: afterReplies(time.Hour)}} }
			journeys(t, o, func(t *testing.T, r *rig) {
				says(t, r.client, ".\n")
				hears(t, r.upstream, ".\n")
				began := time.Now()
				leave(r.session)
				says(t, r.upstream, "250 queued\n")
				got, err := io.ReadAll(r.client)
				hearsEnd(t, r.upstream, "")
				r.client.Close()
				late := r.endsWith(errCut).Ended.Sub(began) > 800*time.Millisecond && name == "cut"
				if !late && (err != nil || string(got) != "250 queued\n421 closing\n") {
					t.Errorf("the client hears %q, %v", got, err)
				}
			})
		})
	}
}

// Nor does a client that takes nothing hold a cut up, whatever waits for it.
func TestCutOfADeafClientOnSockets(t *testing.T) {
	t.Parallel()
	for _, splitter := range []bool{false, true} {
		engines(t, func(t *testing.T, settings relay.Settings) {
			for _, name := range []string{"TCP", "TLS 1.2", "TLS 1.3"} {
				client := part{side: relay.Client, transport: name, buffers: 16 << 10}.link(t, 0)
				o := relay.Options{Farewell: farewell}
				if splitter {
					o.Splitter = &lines{}
				}
				upstream := part{side: relay.Upstream, transport: "TCP", buffers: 16 << 10}.link(t, 0)
				r := start(t, settings, client, upstream, o)
				line := []byte(strings.Repeat("x", 1000) + "\n")
				for stuck := false; !stuck; {
					_ = r.upstream.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
					_, err := r.upstream.Write(line)
					stuck = err != nil
				}
				began := time.Now()
				r.session.Cut(errCut)
				r.endsWith(errCut)
				if took := time.Since(began); took > soon {
					t.Errorf("%s: the cut takes %v", name, took)
				}
			}
		})
	}
}

// closer is a splitter that leaves when the upstream has said anything.
type closer struct{ gate }

func (closer) FromClient(p []byte) relay.Action { return relay.Action{Kind: relay.Forward, N: len(p)} }

func (closer) FromUpstream([]byte) relay.Action {
	return relay.Action{Kind: relay.Close, Bytes: []byte("421 bye\n")}
}

// An upstream that has been left is not heard any more, though its end came with what it said last: the client has its
// time for the last word.
func TestEndOfAnUpstreamThatWasLeft(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one shard
	engines(t, func(t *testing.T, settings relay.Settings) {
		for _, name := range []string{"TCP", "TLS 1.2", "TLS 1.3"} {
			engine := relay.New(settings)
			first := newGate()
			a := startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{Splitter: first})
			upstream := transports[name](t, relay.Upstream)
			r := startOn(t, engine, over(tcpPair(t)), upstream, relay.Options{Splitter: closer{}})
			says(t, r.client, "x")
			hears(t, r.upstream, "x") // it has begun
			says(t, a.client, "x")
			<-first.entered // and nothing is read until all is there
			says(t, r.upstream, "421 I leave\n")
			if err := wire.CloseWrite(r.upstream); err != nil {
				t.Error(err)
			}
			began := time.Now()
			first.leave <- struct{}{}
			hearsEnd(t, r.client, "421 bye\n")
			select {
			case e := <-r.ends:
				if e.Ended.Sub(began) < time.Second {
					t.Errorf("%s: the client has no time: %+v", name, e)
				}
				continue
			case <-time.After(50 * time.Millisecond):
			}
			r.client.Close()
			if e := <-r.ends; e.Cause != nil {
				t.Errorf("%s: end %+v", name, e)
			}
		}
	})
}
