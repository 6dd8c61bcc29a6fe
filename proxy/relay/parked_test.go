//go:build linux

package relay_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// A burst goes through a pipe, of whose end the relay knows nothing but what it takes out itself: after it, a client is
// told of the end if it ended with a line, and only then.
func TestFarewellAfterABurst(t *testing.T) {
	for end, want := range map[string]string{"\r\n": "* BYE revoked\r\n", "\rn": ""} {
		r := &rig{t: t, relay: relay.New(relay.Settings{}), ends: make(chan relay.End, 2)}
		r.relay.SetLimits(0, time.Minute, time.Minute, time.Second)
		client, upstream := over(tcpPair(t)), over(tcpPair(t))
		o := relay.Options{Farewell: farewell, Owner: relay.OnEnd(func(e relay.End) { r.ends <- e })}
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

// A shard that cannot wait any more ends the sessions that it carries, and gets no other.
func TestBrokenShardCarriesNobody(t *testing.T) {
	engine := relay.New(relay.Settings{})
	defer engine.Close(errCut)
	another := func() *rig { return startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{}) }
	r := another()
	upstreamSays(t, r, "* OK\r\n")
	engine.BreakShard()
	if e := <-r.ends; e.Cause == nil || !strings.Contains(e.Cause.Error(), "wait for octets") {
		t.Errorf("got %v, want that the wait failed", e.Cause)
	}
	for range 2 * runtime.GOMAXPROCS(0) {
		r := another()
		upstreamSays(t, r, "* OK\r\n")
		r.client.Close()
		r.upstream.Close()
		if e := <-r.ends; e.Cause != nil {
			t.Errorf("another: %v", e.Cause)
		}
	}
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

// An urgent octet of TCP in a burst looks like the end to splice. What follows on it passes all the same.
func TestUrgentOctetInABurst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one shard
	engine := relay.New(relay.Settings{})
	first := newGate()
	a := startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{Splitter: first})
	r := startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{})
	says(t, a.client, "x")
	<-first.entered // and nothing is read until all is there
	says(t, r.client, strings.Repeat("x", 64<<10))
	raw, err := r.client.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	const rest = "and this\r\n"
	says(t, r.client, rest)
	if err := wire.CloseWrite(r.client); err != nil {
		t.Fatal(err)
	}
	first.leave <- struct{}{}
	if p, err := io.ReadAll(r.upstream); err != nil || !bytes.HasSuffix(p, []byte(rest)) {
		t.Errorf("the upstream hears %d octets, %v, without the rest", len(p), err)
	}
	r.upstream.Close()
	if e := <-r.ends; e.Cause != nil {
		t.Errorf("end %+v", e)
	}
}

// A cut waits for the session that is being looked at, not for the others that have something to say.
func TestCutBetweenOthers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one shard
	engine := relay.New(relay.Settings{})
	var gates [3]gate
	var others [3]*rig
	for i := range gates {
		gates[i] = newGate()
		others[i] = startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{Splitter: gates[i]})
	}
	r := startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{})
	says(t, others[0].client, "x")
	<-gates[0].entered
	says(t, others[1].client, "x") // these are looked at next, in this order
	says(t, others[2].client, "x")
	gates[0].leave <- struct{}{}
	<-gates[1].entered
	r.session.Cut(errCut)
	gates[1].leave <- struct{}{}
	<-gates[2].entered
	select {
	case <-r.ends:
	case <-time.After(soon):
		t.Error("the cut waits for all of them")
	}
	gates[2].leave <- struct{}{}
}
