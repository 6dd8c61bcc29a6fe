package relay_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// corked keeps what is written until it is let go, so that several records come in one packet, or half a one.
type corked struct {
	net.Conn
	on   bool
	held []byte
}

func (c *corked) Raw() net.Conn { return c.Conn }

func (c *corked) Write(p []byte) (int, error) {
	if !c.on {
		return c.Conn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

// release lets all go but the last octets.
func (c *corked) release(t *testing.T, butLast int) {
	t.Helper()
	n := len(c.held) - butLast
	if _, err := c.Conn.Write(c.held[:n]); err != nil {
		t.Fatal(err)
	}
	c.held = c.held[n:]
}

// What came in one packet with a side's last line, decrypted or not, is the first that passes, and half a record at the
// end of it is no harm.
func TestWhatCameWithTheLastLine(t *testing.T) {
	for _, side := range []relay.Side{relay.Client, relay.Upstream} {
		for name, version := range map[string]uint16{"TCP": 0, "TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
			t.Run(string(side)+" "+name, func(t *testing.T) {
				engines(t, func(t *testing.T, settings relay.Settings) {
					cork := &corked{}
					early := withCork(t, side, cork, version)
					rest := "second\r\n" + strings.Repeat("x", 60_000)
					cork.on = true
					for _, part := range []string{"first\r\n", "second\r\n", rest[8:]} {
						says(t, early.peer, part)
					}
					cork.release(t, 10)
					if line, err := early.door.ReadLine(100); err != nil || string(line) != "first" {
						t.Fatalf("the dialogue reads %q, %v", line, err)
					}
					other := over(tcpPair(t))
					client, upstream := early, other
					if side == relay.Upstream {
						client, upstream = other, early
					}
					r := start(t, settings, client, upstream, relay.Options{})
					got := make([]byte, len(rest)-16<<10)
					if n, err := io.ReadFull(other.peer, got); err != nil || string(got) != rest[:len(got)] {
						t.Fatalf("%d octets pass, %v", n, err)
					}
					cork.release(t, 0)
					hears(t, other.peer, rest[len(got):])
					r.client.Close()
					r.upstream.Close()
					r.end()
				})
			})
		}
	}
}

func withCork(t *testing.T, side relay.Side, cork *corked, version uint16) link {
	pair := tcpPair(t)
	cork.Conn = pair[1]
	pair[1] = cork
	if version == 0 {
		return over(pair)
	}
	return tlsOver(t, side, pair, version)
}

// An upstream that has said all and closed before the session starts, and one whose client is slow to take it: nothing
// is lost, and the client may answer.
func TestEverythingBeforeTheEnd(t *testing.T) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		for _, route := range routes {
			t.Run(route[0]+" to "+route[1], func(t *testing.T) {
				client, upstream := transports[route[0]](t, relay.Client), transports[route[1]](t, relay.Upstream)
				const all = 50_000
				says(t, upstream.peer, strings.Repeat("x", all))
				upstream.peer.Close()
				r := start(t, settings, client, upstream, relay.Options{})
				hearsEnd(t, r.client, strings.Repeat("x", all))
				r.client.Close()
				if e := r.endsWith(nil); e.FromUpstream != all || e.Side != relay.Upstream {
					t.Errorf("end %+v", e)
				}
			})
		}
	})
}

func TestEndBehindASlowSink(t *testing.T) {
	for _, slow := range []relay.Side{relay.Client, relay.Upstream} {
		t.Run(string(slow), func(t *testing.T) {
			journeys(t, noOptions, func(t *testing.T, r *rig) {
				sink, source := r.client, r.upstream
				if slow == relay.Upstream {
					sink, source = source, sink
				}
				const all = 3 << 20
				var said sync.WaitGroup
				said.Go(func() { send(t, source, 7, all) })
				time.Sleep(20 * time.Millisecond) // lets it get stuck
				receive(t, sink, 7, all)
				said.Wait()
				says(t, sink, "thanks\r\n")
				hears(t, source, "thanks\r\n")
				if err := wire.CloseWrite(sink); err != nil {
					t.Error(err)
				}
				hearsEnd(t, source, "")
				r.endsWith(nil)
			})
		})
	}
}

// Bursts about as large as the buffers on the way.
func TestBursts(t *testing.T) {
	journeys(t, noOptions, func(t *testing.T, r *rig) {
		for _, size := range []int{1, 511, 512, 513, 16<<10 - 1, 16 << 10, 32 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200 << 10} {
			burst := strings.Repeat("x", size-1) + "\n"
			upstreamSays(t, r, burst)
			go says(t, r.client, burst)
			hears(t, r.upstream, burst)
		}
		r.client.Close()
		hearsEnd(t, r.upstream, "")
		r.upstream.Close()
		r.endsWith(nil)
	})
}

// A client that asks for new keys without end and takes no answer is not read any more.
func TestNewKeysWithoutEnd(t *testing.T) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		pair := tcpPair(t)
		for _, c := range pair {
			if err := errors.Join(c.(*net.TCPConn).SetReadBuffer(16<<10), c.(*net.TCPConn).SetWriteBuffer(16<<10)); err != nil {
				t.Fatal(err)
			}
		}
		r := start(t, settings, recordsOver(t, relay.Client, pair), over(tcpPair(t)), relay.Options{})
		c := r.client.(*records)
		go func() { _, _ = io.Copy(io.Discard, r.upstream) }()
		for n := 0; ; n++ {
			if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			if c.renew(true) != nil || c.send(application, []byte("x")) != nil {
				break // stuck
			}
			if n > 1e5 {
				t.Fatal("the relay has taken all, and keeps the answers")
			}
		}
		if got := r.relay.Counters().Borrowed; got > 10 {
			t.Errorf("%d buffers are borrowed", got)
		}
		r.session.Cut(errCut)
		r.endsWith(errCut)
	})
}
