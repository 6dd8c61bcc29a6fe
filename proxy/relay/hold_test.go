package relay_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// A side that is held back is not read any further; if nothing moves for the stall limit, it is over.
func TestHoldIsBounded(t *testing.T) {
	for _, who := range []string{"client", "upstream"} {
		t.Run(who, func(t *testing.T) {
			split(t, &lines{}, func(t *testing.T, r *rig) {
				endless := r.client
				if who == "upstream" {
					endless = r.upstream
				}
				start := time.Now()
				n, err := endless.Write(make([]byte, 1<<20))
				if err == nil || n > 100<<10 {
					t.Errorf("%d octets were taken, %v", n, err)
				}
				if took := time.Since(start).Truncate(time.Second); took != 4*time.Minute {
					t.Errorf("it took %v", took)
				}
				r.endsWith(relay.ErrHeld)
			})
		})
	}
}

// A client that pipelines more than can be held is slowed, and loses nothing: not a line, not their order, not its end.
func TestHeldClientIsSlowed(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		const n = 20_000
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			says(t, r.client, "one\n"+strings.Repeat("local 2\n", n)+"three\n")
			after(2 * time.Second) // a pipe whose peer has closed takes no deadline, as a reader in haste sets it
			_ = wire.CloseWrite(r.client)
		}()
		hears(t, r.upstream, "one\n")
		after(3 * time.Minute) // the upstream thinks
		select {
		case <-wrote:
			t.Error("all of it was read before there was room")
		default:
		}
		go says(t, r.upstream, "1\n")
		hears(t, r.client, "1\n"+strings.Repeat("2\n", n))
		hearsEnd(t, r.upstream, "three\n")
		go func() { says(t, r.upstream, "3\n"); r.upstream.Close() }()
		hearsEnd(t, r.client, "3\n")
		r.endsWith(nil)
	})
}

// What was slowed once has the idle limit again when it goes on.
func TestHeldAndGoneOn(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		go says(t, r.client, "one\n"+strings.Repeat("local 2\n", 10_000))
		hears(t, r.upstream, "one\n")
		go says(t, r.upstream, "1\n")
		hears(t, r.client, "1\n"+strings.Repeat("2\n", 10_000))
		start := time.Now()
		hearsEnd(t, r.client, "421 part\n")
		passed(t, start, 31*time.Minute)
		r.endsWith(relay.ErrIdle)
	})
}

func TestCutOfAHeldClient(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		go io.WriteString(r.client, "one\n"+strings.Repeat("local 2\n", 20_000))
		hears(t, r.upstream, "one\n")
		synctest.Wait()
		r.session.Cut(errCut)
		hearsEnd(t, r.upstream, "")
		hears(t, r.client, "421 part\n")
		r.endsWith(errCut)
	})
}

// The client ends while the splitter holds a line of its: the line goes on when it may, and then the end.
func TestEndBehindAHeldLine(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		go says(t, r.client, "one\nlocal 2\nthree\n")
		hears(t, r.upstream, "one\n")
		_ = wire.CloseWrite(r.client)
		synctest.Wait()
		go says(t, r.upstream, "1\n")
		hears(t, r.client, "1\n2\n")
		hearsEnd(t, r.upstream, "three\n")
		go func() { says(t, r.upstream, "3\n"); r.upstream.Close() }()
		hearsEnd(t, r.client, "3\n")
		r.endsWith(nil)
	})
}

// Both ended, and something is still held: no end in order.
func TestEndWithHeldOctets(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		says(t, r.client, "half a li")
		_ = wire.CloseWrite(r.client)
		_ = wire.CloseWrite(r.upstream)
		hearsEnd(t, r.client, "")
		r.endsWith(io.ErrUnexpectedEOF)
	})
}

// The client ends, and what is held of it can go nowhere: the session does not wait for the idle limit.
func TestEndBehindHalfALine(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		start := time.Now()
		says(t, r.client, "half a li")
		_ = wire.CloseWrite(r.client)
		hearsEnd(t, r.upstream, "")
		hearsEnd(t, r.client, "421 part\n")
		passed(t, start, 30*time.Second)
		if e := r.endsWith(relay.ErrIdle); e.Side != relay.Client || e.FromClient != 0 {
			t.Errorf("end %+v", e)
		}
	})
}
