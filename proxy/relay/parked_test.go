//go:build linux

package relay_test

import (
	"bytes"
	"io"
	"syscall"
	"testing"
	"time"

	"latchkey/proxy/relay"
)

// A burst goes through a pipe, of whose end the relay knows nothing but what it takes out itself: after it, a client is
// told of the end if it ended with a line, and only then.
func TestFarewellAfterABurst(t *testing.T) {
	for end, want := range map[string]string{"\r\n": "* BYE revoked\r\n", "\rn": ""} {
		r := &rig{t: t, relay: relay.New(relay.Settings{}), ends: make(chan relay.End, 2)}
		r.relay.SetLimits(0, time.Minute, time.Minute, time.Second)
		client, upstream := over(tcpPair(t)), over(tcpPair(t))
		o := relay.Options{Farewell: farewell, OnEnd: func(e relay.End) { r.ends <- e }}
		r.client, r.upstream, r.session = client.peer, upstream.peer, r.relay.Start(client.door, upstream.door, o)
		burst := string(append(bytes.Repeat([]byte("x"), 3<<20), end...))
		go says(t, r.upstream, burst)
		hears(t, r.client, burst)
		r.session.Cut(errCut)
		hearsEnd(t, r.client, want)
		r.endsWith(errCut)
		r.relay.Close(errCut)
	}
}

// When descriptors are short, sessions do without those that parking takes.
func TestNoDescriptorForParking(t *testing.T) {
	leavesNothing(t, func() {
		client, upstream := over(tcpPair(t)), over(tcpPair(t))
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		none := limit
		none.Cur = 3
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		r := start(t, relay.Settings{}, client, upstream, relay.Options{})
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		upstreamSays(t, r, "* OK\r\n")
		says(t, r.client, "a1\r\n")
		hears(t, r.upstream, "a1\r\n")
		r.client.Close()
		r.upstream.Close()
		r.end()
		r.relay.Close(errCut)
	})
}

// A client that reads nothing for a while holds its upstream up, and loses nothing, whatever is on its way for it: in a
// pipe, as records, or as they came.
func TestSlowClientGetsAll(t *testing.T) {
	for _, name := range []string{"TCP", "TLS 1.3"} {
		t.Run(name, func(t *testing.T) {
			r := start(t, relay.Settings{}, transports[name](t, relay.Client), over(tcpPair(t)), relay.Options{})
			const size = 32 << 20
			sent := make(chan struct{})
			go func() { send(t, r.upstream, 1, size); close(sent) }()
			time.Sleep(50 * time.Millisecond) // all buffers on the way are full
			select {
			case <-sent:
				t.Error("all of it was taken before the client read")
			default:
			}
			receive(t, r.client, 1, size)
			r.client.Close()
			r.endsWith(nil)
		})
	}
}

// A cut in the middle of a burst that nobody takes leaves nothing: no pipe, no buffer.
func TestCutOfABurst(t *testing.T) {
	for _, name := range []string{"TCP", "TLS 1.3"} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t, func() {
				r := start(t, relay.Settings{}, transports[name](t, relay.Client), over(tcpPair(t)), relay.Options{})
				go func() { _, _ = r.upstream.Write(make([]byte, 64<<20)) }()
				time.Sleep(20 * time.Millisecond)
				r.session.Cut(errCut)
				_, _ = io.Copy(io.Discard, r.client)
				r.endsWith(errCut)
				r.client.Close()
				r.upstream.Close()
				r.relay.Close(errCut)
			})
		})
	}
}
