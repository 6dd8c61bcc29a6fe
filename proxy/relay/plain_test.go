package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// 20 MB both ways at once, in writes and reads of random sizes, then an end in order; 1 MB on routes that differ little.
func TestEveryOctetPasses(t *testing.T) {
	long := []string{"TCP to TCP", "TLS 1.3 to TCP", "TLS 1.3 to TLS 1.3"}
	journeys(t, noOptions, func(t *testing.T, r *rig) {
		size := 1 << 20
		if slices.ContainsFunc(long, func(route string) bool { return strings.HasSuffix(t.Name(), strings.ReplaceAll(route, " ", "_")) }) {
			size = 20 << 20
		}
		var all sync.WaitGroup
		all.Go(func() { send(t, r.client, 1, size) })
		all.Go(func() { send(t, r.upstream, 2, size) })
		all.Go(func() { receive(t, r.upstream, 1, size) })
		all.Go(func() { receive(t, r.client, 2, size) })
		all.Wait()
		e := r.endsWith(nil)
		if e.FromClient != int64(size) || e.FromUpstream != int64(size) {
			t.Errorf("counters %d, %d; want %d", e.FromClient, e.FromUpstream, size)
		}
	})
}

// stream is a sequence of octets that depends on seed alone.
func stream(seed uint64) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{byte(seed)}) }

func send(t *testing.T, c net.Conn, seed uint64, size int) {
	src, sizes := stream(seed), rand.New(rand.NewPCG(seed, 3))
	p := make([]byte, 100<<10)
	for size > 0 {
		n := min(size, 1+sizes.IntN([]int{7, 700, len(p)}[sizes.IntN(3)]))
		_, _ = src.Read(p[:n]) // never fails
		if _, err := c.Write(p[:n]); err != nil {
			t.Error(err)
			return
		}
		size -= n
	}
	if err := wire.CloseWrite(c); err != nil {
		t.Error(err)
	}
}

func receive(t *testing.T, c net.Conn, seed uint64, size int) {
	src, sizes := stream(seed), rand.New(rand.NewPCG(seed, 4))
	p, want := make([]byte, 100<<10), make([]byte, 100<<10)
	got := 0
	for {
		n, err := c.Read(p[:1+sizes.IntN(len(p))])
		_, _ = src.Read(want[:n])
		if !bytes.Equal(p[:n], want[:n]) {
			t.Errorf("other octets after %d", got)
			return
		}
		if got += n; err == io.EOF {
			break
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
	if got != size {
		t.Errorf("%d octets, want %d", got, size)
	}
}

func TestReadAheadComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, upstream := duplexPair(), duplexPair()
		c, u := wire.New(client[0], wire.Options{}), wire.New(upstream[0], wire.Options{})
		go io.WriteString(client[1], "a1 LOGIN\r\na2 SELECT\r\n")
		go io.WriteString(upstream[1], "* OK\r\n* PREFIX\r\n")
		for _, dialogue := range []*wire.Conn{c, u} {
			if _, err := dialogue.ReadLine(100); err != nil {
				t.Fatal(err)
			}
		}
		ends := make(chan relay.End)
		r := relay.New(relay.Settings{})
		r.Start(c, u, relay.Options{Owner: relay.OnEnd(func(e relay.End) { ends <- e })})
		hears(t, upstream[1], "a2 SELECT\r\n")
		hears(t, client[1], "* PREFIX\r\n")
		says(t, client[1], "a3\r\n")
		hears(t, upstream[1], "a3\r\n")
		client[1].Close()
		upstream[1].Close()
		if e := <-ends; e.FromClient != 15 || e.FromUpstream != 10 {
			t.Errorf("end %+v", e)
		}
	})
}

func TestHalfClose(t *testing.T) {
	journeys(t, noOptions, func(t *testing.T, r *rig) {
		says(t, r.client, "a1 LOGOUT\r\n")
		if err := wire.CloseWrite(r.client); err != nil {
			t.Fatal(err)
		}
		hearsEnd(t, r.upstream, "a1 LOGOUT\r\n")
		says(t, r.upstream, "* BYE\r\na1 OK\r\n")
		r.upstream.Close()
		hearsEnd(t, r.client, "* BYE\r\na1 OK\r\n")
		r.endsWith(nil)
	})
}

// A pipe cannot end by halves: the session ends with either side.
func TestEndWithoutHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c, d := net.Pipe()
		r := start(t, relay.Settings{}, over([2]net.Conn{a, b}), over([2]net.Conn{c, d}), relay.Options{})
		b.Close()
		hearsEnd(t, d, "")
		r.endsWith(nil)
	})
}

func TestSilenceAfterOneSideEnded(t *testing.T) {
	for _, who := range []string{"client", "upstream"} {
		t.Run(who, func(t *testing.T) {
			bubble(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
				gone, other := r.client, r.upstream
				if who == "upstream" {
					gone, other = other, gone
				}
				after(time.Minute)
				_ = wire.CloseWrite(gone)
				hearsEnd(t, other, "")
				after(29 * time.Second)
				go says(t, other, "late")
				hears(t, gone, "late")
				start := time.Now()
				r.endsWith(relay.ErrIdle)
				passed(t, start, 30*time.Second)
				hearsEnd(t, gone, "")
			})
		})
	}
}

func TestReset(t *testing.T) {
	for _, who := range []relay.Side{relay.Client, relay.Upstream} {
		t.Run(string(who), func(t *testing.T) {
			journeys(t, noOptions, func(t *testing.T, r *rig) {
				gone, other := r.client, r.upstream
				if who == relay.Upstream {
					gone, other = other, gone
				}
				if _, unix := gone.(*net.UnixConn); unix {
					return // has no reset
				}
				if err := wire.Reset(bare(gone)); err != nil {
					t.Fatal(err)
				}
				if p, _ := io.ReadAll(other); len(p) > 0 {
					t.Errorf("the other side read %q", p)
				}
				r.endsWith(syscall.ECONNRESET)
			})
		})
	}
}

func TestSlowSink(t *testing.T) {
	for _, who := range []string{"client", "upstream"} {
		t.Run(who, func(t *testing.T) {
			bubble(t, relay.Options{}, func(t *testing.T, r *rig) {
				source := r.client
				if who == "client" {
					source = r.upstream
				}
				says(t, source, "nobody reads this")
				start := time.Now()
				e := r.endsWith(relay.ErrSlow)
				passed(t, start, 4*time.Minute)
				if e.FromClient != 0 || e.FromUpstream != 0 {
					t.Errorf("counted what was not relayed: %+v", e)
				}
			})
		})
	}
}

// A sink that takes a little all the time is no slow one.
func TestPatientSink(t *testing.T) {
	bubble(t, relay.Options{}, func(t *testing.T, r *rig) {
		for range 20 {
			go io.WriteString(r.upstream, "x")
			after(170 * time.Second)
			hears(t, r.client, "x")
		}
		r.session.Cut(errCut)
		if e := r.endsWith(errCut); e.FromUpstream != 20 {
			t.Errorf("counted %d octets", e.FromUpstream)
		}
	})
}

func TestIdle(t *testing.T) {
	t.Run("default", func(t *testing.T) {
		bubble(t, relay.Options{}, func(t *testing.T, r *rig) {
			start := time.Now()
			r.endsWith(relay.ErrIdle)
			passed(t, start, 31*time.Minute)
		})
	})
	t.Run("either way counts, and the client is told", func(t *testing.T) {
		bubble(t, relay.Options{Idle: time.Minute, Farewell: farewell}, func(t *testing.T, r *rig) {
			for range 5 {
				after(50 * time.Second)
				go says(t, r.upstream, "* OK Still here\r\n")
				hears(t, r.client, "* OK Still here\r\n")
				after(50 * time.Second)
				go says(t, r.client, "DONE\r\n")
				hears(t, r.upstream, "DONE\r\n")
			}
			start := time.Now()
			hearsEnd(t, r.client, "* BYE idle for too long\r\n")
			passed(t, start, time.Minute)
			r.endsWith(relay.ErrIdle)
		})
	})
}

// A burst borrows a buffer; a second of silence gives it back, and the session goes on.
func TestBuffersAreBorrowedForABurst(t *testing.T) {
	bubble(t, relay.Options{}, func(t *testing.T, r *rig) {
		for _, size := range []int{9, 600, 5000, 512, 100 << 10} {
			burst := strings.Repeat("x", size)
			upstreamSays(t, r, burst)
			go says(t, r.client, burst)
			hears(t, r.upstream, burst)
			after(1001 * time.Millisecond)
			synctest.Wait()
			if got := r.relay.Counters().Borrowed; got != 0 {
				t.Errorf("after %d octets each way and a silence %d buffers are borrowed", size, got)
			}
			after(time.Minute)
		}
		r.session.Cut(errCut)
		r.endsWith(errCut)
	})
}

func TestIdleTCPBorrowsNothing(t *testing.T) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		r := start(t, settings, over(tcpPair(t)), over(tcpPair(t)), relay.Options{})
		upstreamSays(t, r, "* OK\r\n")
		for r.relay.Counters().Borrowed != 0 { // the time-out of the test is the failure
			runtime.Gosched()
		}
		r.session.Cut(errCut)
		r.endsWith(errCut)
	})
}

func TestStartOfTheUnfit(t *testing.T) {
	tests := map[string]struct {
		spoil func(r *relay.Relay, client, upstream *wire.Conn)
		want  error
	}{
		"client handed over before":   {func(_ *relay.Relay, c, _ *wire.Conn) { conn, _ := c.Detach(); conn.Close() }, wire.ErrDetached},
		"upstream handed over before": {func(_ *relay.Relay, _, u *wire.Conn) { conn, _ := u.Detach(); conn.Close() }, wire.ErrDetached},
		"both closed before":          {func(_ *relay.Relay, c, u *wire.Conn) { c.Close(); u.Close() }, wire.ErrDetached},
		"relay closed":                {func(r *relay.Relay, _, _ *wire.Conn) { r.Close(errCut) }, relay.ErrClosed},
		"client interrupted": {func(_ *relay.Relay, c, _ *wire.Conn) {
			ctx, cancel := context.WithCancel(context.Background())
			c.CloseOn(ctx)
			cancel()
			synctest.Wait()
		}, io.ErrClosedPipe},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := relay.New(relay.Settings{})
				client, upstream := duplexPair(), duplexPair()
				c, u := wire.New(client[0], wire.Options{}), wire.New(upstream[0], wire.Options{})
				tt.spoil(r, c, u)
				ends := make(chan relay.End, 2)
				s := r.Start(c, u, relay.Options{Owner: relay.OnEnd(func(e relay.End) { ends <- e })})
				s.Cut(errCut)
				if e := <-ends; !errors.Is(e.Cause, tt.want) && !errors.Is(e.Cause, errCut) {
					t.Errorf("cause = %v, want %v", e.Cause, tt.want)
				}
				hearsEnd(t, client[1], "")
				hearsEnd(t, upstream[1], "")
			})
		})
	}
}

// An end names the side that it came from.
func TestSideOfAnEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		do    func(r *rig) // after which both peers close
		cause error
		want  relay.Side
	}{
		"client ends":     {func(r *rig) { _ = wire.CloseWrite(r.client); _, _ = io.ReadAll(r.upstream) }, nil, relay.Client},
		"upstream ends":   {func(r *rig) { _ = wire.CloseWrite(r.upstream); _, _ = io.ReadAll(r.client) }, nil, relay.Upstream},
		"client breaks":   {func(r *rig) { _ = wire.Reset(bare(r.client)); _, _ = io.ReadAll(r.upstream) }, syscall.ECONNRESET, relay.Client},
		"upstream breaks": {func(r *rig) { _ = wire.Reset(bare(r.upstream)); _, _ = io.ReadAll(r.client) }, syscall.ECONNRESET, relay.Upstream},
		"cut":             {func(r *rig) { r.session.Cut(errCut) }, errCut, ""},
	} {
		for _, splitter := range []relay.Splitter{nil, &lines{}} {
			t.Run(fmt.Sprintf("%s split=%v", name, splitter != nil), func(t *testing.T) {
				engines(t, func(t *testing.T, settings relay.Settings) {
					r := start(t, settings, over(tcpPair(t)), over(tcpPair(t)), relay.Options{Splitter: splitter})
					tt.do(r)
					r.client.Close()
					r.upstream.Close()
					if e := r.endsWith(tt.cause); e.Side != tt.want {
						t.Errorf("side %q, want %q", e.Side, tt.want)
					}
				})
			})
		}
	}
}
