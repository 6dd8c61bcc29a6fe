package relay_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// The limits in real time, on sockets: shortened, and never taken to be exact. What must not happen before its time is
// measured; what must happen at all may be late.

// tick is the unit of these tests.
const tick = 100 * time.Millisecond

// shortened runs f on a few routes of each engine, all at once; the limits are quiet 3 ticks, linger 5, stall 8.
func shortened(t *testing.T, o relay.Options, f func(t *testing.T, r *rig)) {
	t.Helper()
	var all sync.WaitGroup
	defer all.Wait()
	for _, goroutines := range []bool{false, true} {
		for _, route := range [][2]string{{"TCP", "TCP"}, {"TLS 1.3", "TCP"}, {"TLS 1.2", "TLS 1.3"}} {
			all.Go(func() {
				t.Run(fmt.Sprintf("%s to %s, goroutines %v", route[0], route[1], goroutines), func(t *testing.T) {
					client := part{side: relay.Client, transport: route[0], buffers: 32 << 10}.link(t, 0)
					upstream := part{side: relay.Upstream, transport: route[1], buffers: 32 << 10}.link(t, 0)
					engine := relay.New(relay.Settings{Goroutines: goroutines})
					engine.SetLimits(3*tick, 5*tick, 8*tick, tick)
					f(t, startOn(t, engine, client, upstream, o))
				})
			})
		}
	}
}

// notBefore looks that the session has not ended sooner than d after since.
func notBefore(t *testing.T, e relay.End, since time.Time, d time.Duration) {
	t.Helper()
	if got := e.Ended.Sub(since); got < d-tick { // what began it may have been before since
		t.Errorf("ended after %v, want at least %v", got, d-tick)
	}
}

func TestShortIdle(t *testing.T) {
	t.Parallel()
	shortened(t, relay.Options{Idle: 6 * tick, Farewell: farewell}, func(t *testing.T, r *rig) {
		hearsEnd(t, r.client, "* BYE idle for too long\r\n")
		hearsEnd(t, r.upstream, "")
		e := r.endsWith(relay.ErrIdle)
		notBefore(t, e, e.Started, 6*tick)
	})
}

// What moves either way puts the end off.
func TestShortIdleOfALively(t *testing.T) {
	t.Parallel()
	shortened(t, relay.Options{Idle: 20 * tick}, func(t *testing.T, r *rig) {
		var moved time.Time
		for range 5 {
			if time.Sleep(3 * tick); !moved.IsZero() && time.Since(moved) > 8*tick {
				return // a machine so busy tells nothing
			}
			moved = time.Now()
			upstreamSays(t, r, "* OK\r\n")
			says(t, r.client, "DONE\r\n")
			hears(t, r.upstream, "DONE\r\n")
		}
		notBefore(t, r.endsWith(relay.ErrIdle), moved, 20*tick)
	})
}

func TestShortFarewell(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		said  string
		quiet time.Duration
		want  string
	}{
		"after a line":          {"* 3 EXISTS\r\n", 20 * tick, "* BYE revoked\r\n"}, // longer: a pump may note late that octets moved
		"inside a line":         {"* 3 EXI", 3 * tick, ""},
		"after a bare LF":       {"x\n", 3 * tick, ""},
		"something came by now": {"* 3 EXISTS\r\n", 0, ""},
		"a literal's end":       {"abc\r", 3 * tick, ""},
	} {
		t.Run(name, func(t *testing.T) {
			shortened(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
				began := time.Now()
				upstreamSays(t, r, tt.said)
				time.Sleep(tt.quiet)
				r.session.Cut(errCut)
				got, err := io.ReadAll(r.client)
				if e := r.endsWith(errCut); tt.quiet == 0 && e.Ended.Sub(began) > 3*tick {
					return // a machine so busy tells nothing
				}
				if err != nil || string(got) != tt.want {
					t.Errorf("the client hears %q, %v; want %q", got, err, tt.want)
				}
			})
		})
	}
}

func TestShortLinger(t *testing.T) {
	t.Parallel()
	for _, who := range []relay.Side{relay.Client, relay.Upstream} {
		t.Run(string(who), func(t *testing.T) {
			shortened(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
				gone, other := r.client, r.upstream
				if who == relay.Upstream {
					gone, other = other, gone
				}
				began := time.Now()
				_ = wire.CloseWrite(gone)
				hearsEnd(t, other, "")
				hearsEnd(t, gone, "")
				e := r.endsWith(relay.ErrIdle)
				if notBefore(t, e, began, 5*tick); e.Side != who {
					t.Errorf("side %q", e.Side)
				}
			})
		})
	}
}

// A side that takes nothing is gone after the stall limit; one that takes a buffer in that time is not.
func TestShortStall(t *testing.T) {
	t.Parallel()
	for _, who := range []relay.Side{relay.Client, relay.Upstream} {
		t.Run(string(who), func(t *testing.T) {
			shortened(t, relay.Options{}, func(t *testing.T, r *rig) {
				sink, source := r.client, r.upstream
				if who == relay.Upstream {
					sink, source = source, sink
				}
				go flood(source)
				last, moved, all := time.Time{}, time.Now(), int64(0)
				for range 3 {
					time.Sleep(3 * tick)
					last = time.Now()
					n, err := io.CopyN(io.Discard, sink, 1<<20)
					if time.Since(moved) > 5*tick { // a write has three quarters of the limit at least
						return // a machine so busy tells nothing
					}
					if all += n; err != nil {
						t.Fatalf("after %d octets: %v", all, err)
					}
					moved = time.Now()
				}
				e := r.endsWith(relay.ErrSlow)
				if notBefore(t, e, last, 8*tick*3/4); e.Side != who {
					t.Errorf("side %q", e.Side)
				}
				if got := e.FromClient + e.FromUpstream; got < all-mostUncounted {
					t.Errorf("%d octets counted, %d heard", got, all)
				}
			})
		})
	}
}

func flood(c net.Conn) {
	p := make([]byte, 64<<10)
	for {
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}

func TestShortDrain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lively time.Duration // for how long the upstream speaks on
		grace  time.Duration
		want   string
	}{
		"quiet":            {0, time.Minute, "* BYE revoked\r\n"},
		"lively, then not": {6 * tick, time.Minute, "* BYE revoked\r\n"},
		"to the end":       {time.Minute, 6 * tick, ""},
	} {
		t.Run(name, func(t *testing.T) {
			shortened(t, relay.Options{Farewell: farewell}, func(t *testing.T, r *rig) {
				began := time.Now()
				r.session.Drain(errCut, tt.grace)
				r.session.Drain(errors.New("second"), 0)
				listening := listen(r.client)
				said, spoke := "", time.Time{}
				for time.Since(began) < tt.lively {
					at := time.Now()
					if _, err := io.WriteString(r.upstream, "* OK\r\n"); err != nil {
						break
					}
					said, spoke = said+"* OK\r\n", at
					time.Sleep(tick / 2)
				}
				got := <-listening
				e := r.endsWith(errCut)
				if e.Ended.Sub(got.last) < 2*tick { // else the machine stood still for so long that the session was quiet
					notBefore(t, e, began, min(tt.lively, tt.grace))
				}
				all := e.Ended.Sub(began) > tt.lively && e.Ended.Sub(spoke) > 3*tick // has passed
				if tt.grace == time.Minute && all && got.words != said+tt.want {
					t.Errorf("the client hears %q, want %q and a farewell", got.words, said)
				}
			})
		})
	}
}

// heard is what a client has heard until its end.
type heard struct {
	words string
	last  time.Time // when the last of it came, but for a farewell
}

func listen(c net.Conn) <-chan heard {
	all := make(chan heard, 1)
	go func() {
		h := heard{last: time.Now()}
		for p := make([]byte, 1024); ; {
			n, err := c.Read(p)
			if h.words += string(p[:n]); n > 0 && !strings.Contains(h.words, "BYE") {
				h.last = time.Now()
			}
			if err != nil {
				all <- h
				return
			}
		}
	}()
	return all
}
