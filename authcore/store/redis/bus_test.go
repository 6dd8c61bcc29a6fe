package redis

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

func TestPeersBus(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			var opened atomic.Int64
			storetest.RunBus(t, func(t *testing.T) store.Bus {
				o := o
				o.Prefix = fmt.Sprint("suite", opened.Add(1))
				return mustOpen(t, o).Bus()
			})
		})
	}
}

func wantHeard(t testing.TB, ch <-chan []byte, want []byte) {
	t.Helper()
	if err := heard(ch, want); err != nil {
		t.Error(err)
	}
}

func heard(ch <-chan []byte, want []byte) error {
	select {
	case got, open := <-ch:
		if !open || !bytes.Equal(got, want) {
			return fmt.Errorf("got %.20q of %d bytes (open: %v), want %.20q of %d", got, len(got), open, want, len(want))
		}
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("no message came, want %.20q", want)
	}
}

// What one node publishes the others hear, up to the largest message, in order.
func TestPeersBusNodes(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			nodes := []*Bus{mustOpen(t, o).Bus(), mustOpen(t, o).Bus(), mustOpen(t, o).Bus()}
			// A gap, which a machine without time has, is told by a closed channel: then once more.
			eventually(t, "hearing all", func() error { return hearEachOther(t, nodes) })
		})
	}
}

func hearEachOther(t *testing.T, nodes []*Bus) error {
	var all []<-chan []byte
	for _, b := range nodes {
		ch, err := b.Subscribe(t.Context(), "topic")
		if err != nil {
			return err
		}
		all = append(all, ch)
	}
	for _, size := range []int{0, 1, 100, store.MaxValue} {
		for i, b := range nodes {
			msg := bytes.Repeat([]byte{byte('a' + i)}, size)
			if err := b.Publish(t.Context(), "topic", msg); err != nil {
				return err
			}
			for _, ch := range all {
				if err := heard(ch, msg); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// While the server kills the connections of all subscribers every 50 ms, nobody misses a message without being told:
// from the Subscribe on every message that was published comes, one after the other, until the channel is closed.
func TestPeersBusKilled(t *testing.T) {
	s := redistest.Standalone(t)
	o := Options{Mode: Standalone, Addresses: []string{s.Addr}}
	speaker, listener := mustOpen(t, o).Bus(), mustOpen(t, o).Bus()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	var published atomic.Uint64 // the last number whose Publish succeeded
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := uint64(1); ctx.Err() == nil; n++ {
			for speaker.Publish(ctx, "topic", binary.BigEndian.AppendUint64(nil, n)) != nil && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			published.Store(n)
		}
	}()
	go func() {
		for ctx.Err() == nil {
			_, _ = s.Command("CLIENT", "KILL", "TYPE", "pubsub") // at the end the server may be gone
			time.Sleep(50 * time.Millisecond)
		}
	}()
	lives, messages := 0, 0
	for ctx.Err() == nil {
		ch, err := listener.Subscribe(ctx, "topic")
		if err != nil {
			continue
		}
		next := uint64(0)
		before := published.Load()
		for m := range ch {
			n := binary.BigEndian.Uint64(m)
			switch {
			case next == 0 && n > before+2: // before+1 was perhaps under way, the next one had not begun
				t.Errorf("the first message is %d, want at most %d", n, before+2)
			case next != 0 && n != next && n != next-1: // a Publish that failed is repeated
				t.Errorf("got message %d, want %d", n, next)
			}
			next = n + 1
			messages++
		}
		lives++
	}
	<-ended
	if lives < 10 || messages < 100 {
		t.Errorf("%d gaps and %d messages prove nothing", lives, messages)
	}
	t.Logf("%d gaps, %d messages heard of %d", lives, messages, published.Load())
}

// Each fault is told within a second, and after it the bus works again.
func TestPeersBusFaults(t *testing.T) {
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	b := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.ClientAddr()}}).Bus()
	for _, c := range []struct {
		name       string
		fault, end func()
	}{
		{"hang", s.Proxy.Hang, s.Proxy.Heal},
		{"partition", s.Proxy.Partition, s.Proxy.Heal},
		{"reset", s.Proxy.Reset, s.Proxy.Heal},
		{"refuse", s.Proxy.Refuse, s.Proxy.Accept},
		{"slow", func() { s.Proxy.Latency(2 * time.Second) }, s.Proxy.Heal},
		{"stopped", func() { s.Pause(t) }, func() { s.Resume(t) }},
		{"killed", func() { s.Kill(t) }, func() { s.Restart(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ch <-chan []byte
			eventually(t, "a subscription", func() (err error) { ch, err = b.Subscribe(t.Context(), "topic"); return err })
			c.fault()
			from, stood := time.Now(), redistest.Standstill(t)
			select {
			case _, open := <-ch:
				if open {
					t.Error("got a message from nowhere")
				}
			case <-time.After(patience):
				t.Error("the channel stays open")
			}
			if took := time.Since(from) - stood(); took > 3*time.Second { // a second, where the machine has time
				t.Errorf("the gap was told after %v", took)
			}
			for range 3 {
				from, stood = time.Now(), redistest.Standstill(t)
				if err := b.Publish(t.Context(), "topic", nil); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("publish: got %v, want store.ErrUnavailable", err)
				}
				if took := time.Since(from) - stood(); took > 2*callLimit {
					t.Errorf("publish took %v", took)
				}
			}
			c.end()
			eventually(t, "a subscription", func() (err error) { ch, err = b.Subscribe(t.Context(), "topic"); return err })
			if err := b.Publish(t.Context(), "topic", []byte("again")); err != nil {
				t.Error(err)
			}
			wantHeard(t, ch, []byte("again"))
		})
	}
}

// When another server becomes the master the gap is told, and all meet again there.
func TestDrillBusFailover(t *testing.T) {
	for name, start := range map[string]func() (*redistest.Fleet, Options){
		Sentinel: func() (*redistest.Fleet, Options) {
			f := redistest.Sentinel(t)
			return f, Options{Mode: Sentinel, Addresses: f.Addresses(), MasterName: redistest.MasterName, Replicas: 1, AllowLossy: true}
		},
		Cluster: func() (*redistest.Fleet, Options) {
			f := redistest.ClusterWith(t, redistest.Options{Replicas: 1})
			return f, Options{Mode: Cluster, Addresses: f.Addresses(), Replicas: 1, AllowLossy: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, o := start()
			one, two := mustOpen(t, o), mustOpen(t, o)
			var ch <-chan []byte
			eventually(t, "a subscription", func() (err error) { ch, err = two.Bus().Subscribe(t.Context(), "topic"); return err })
			killed := false
			for _, s := range f.Masters {
				if name == Sentinel || s.Addr == one.router.owner(metaGroup).name {
					s.Kill(t)
					killed = true
				}
			}
			if !killed {
				t.Fatal("nobody keeps the channel")
			}
			if _, open := <-ch; open {
				t.Error("got a message from nowhere")
			}
			deadline := time.Now().Add(30 * time.Second)
			for {
				var err error
				if ch, err = two.Bus().Subscribe(t.Context(), "topic"); err == nil {
					if err = one.Bus().Publish(t.Context(), "topic", []byte("again")); err == nil {
						break
					}
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
			wantHeard(t, ch, []byte("again"))
		})
	}
}

// A missing message of another node is noticed at its next one, or its next beat.
func TestBusNoticesMissing(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []envelope
		want error
	}{
		{"from the start", []envelope{{"a", 0, "", ""}, {"a", 1, "t", ""}, {"b", 0, "", ""}, {"a", 2, "t", ""}, {"a", 2, "", ""}}, nil},
		{"from the middle", []envelope{{"a", 7, "t", ""}, {"a", 8, "t", ""}}, nil},
		{"told by a message", []envelope{{"a", 1, "t", ""}, {"a", 3, "t", ""}}, errMissing},
		{"told by a beat", []envelope{{"a", 1, "t", ""}, {"a", 2, "", ""}}, errMissing},
		{"twice", []envelope{{"a", 1, "t", ""}, {"a", 1, "t", ""}}, errMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &hearing{publishers: map[string]*publisher{}}
			var err error
			for _, e := range c.got {
				e.from = fmt.Sprintf("%-16s", e.from)
				read, readErr := parseEnvelope(string(e.bytes()))
				if readErr != nil || read != e {
					t.Fatalf("got %+v, %v, want %+v", read, readErr, e)
				}
				err = errors.Join(err, h.follows(read))
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add(string(envelope{"0123456789abcdef", 1, "topic", "message"}.bytes()))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := parseEnvelope(s); err == nil && string(e.bytes()) != s {
			t.Errorf("%q became %q", s, e.bytes())
		}
	})
}

func BenchmarkPeersBus(b *testing.B) {
	s := redistest.Standalone(b)
	o := Options{Mode: Standalone, Addresses: []string{s.Addr}}
	speaker, listener := mustOpen(b, o).Bus(), mustOpen(b, o).Bus()
	ch, err := listener.Subscribe(b.Context(), "topic")
	if err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, 200)
	for b.Loop() {
		if err := speaker.Publish(b.Context(), "topic", msg); err != nil {
			b.Fatal(err)
		}
		if _, open := <-ch; !open {
			b.Fatal("a gap")
		}
	}
}
