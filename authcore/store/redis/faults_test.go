package redis

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
)

// Under every fault each call ends in its time with store.ErrUnavailable, and at once when the breaker has opened;
// goroutines and connections stay few; after it everything works again within two seconds.
func TestPeersFaults(t *testing.T) {
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.ClientAddr()}})
	for _, c := range []struct {
		name       string
		fault, end func()
	}{
		{"slow", func() { s.Proxy.Latency(3 * time.Second) }, s.Proxy.Heal},
		{"hang", s.Proxy.Hang, s.Proxy.Heal},
		{"partition", s.Proxy.Partition, s.Proxy.Heal},
		{"reset", s.Proxy.Reset, s.Proxy.Heal},
		{"refuse", s.Proxy.Refuse, s.Proxy.Accept},
		{"stopped", func() { s.Pause(t) }, func() { s.Resume(t) }},
		{"killed", func() { s.Kill(t) }, func() { s.Restart(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eventually(t, "each call", func() error { return errors.Join(calls(t, db)...) })
			before := ours()
			c.fault()
			wantUnavailable(t, db, 300, callLimit+300*time.Millisecond)
			// Most of those who come now end at once; a trial takes its time.
			quick, stood := 0, redistest.Standstill(t)
			for range 20 {
				from, before := time.Now(), stood()
				wantUnavailable(t, db, 1, callLimit+300*time.Millisecond)
				if time.Since(from)-(stood()-before) < 50*time.Millisecond {
					quick++
				}
			}
			if quick < 10 {
				t.Errorf("%d of 20 calls ended at once: the breaker is %+v", quick, db.Breakers())
			}
			if now := ours(); now > before+50 {
				t.Errorf("%d goroutines, %d before the fault", now, before)
			}
			if n := db.router.owner(0).client.PoolStats().TotalConns; n > poolSize {
				t.Errorf("%d connections, at most %d", n, poolSize)
			}
			c.end()
			eventually(t, "each call", func() error { return errors.Join(calls(t, db)...) })
		})
	}
}

// A caller's own limit ends his call in time, and tells nothing of the server.
func TestPeersCallersOwnLimit(t *testing.T) {
	const most, late = 5 * time.Second, 2 * time.Second // of any call; what a machine without time adds
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.ClientAddr()}, limits: limits{call: most}})
	eventually(t, "each call", func() error { return errors.Join(calls(t, db)...) })
	s.Proxy.Hang()
	for _, c := range []struct {
		name  string
		limit time.Duration
		want  error
		state string
	}{
		{"over", -time.Second, context.DeadlineExceeded, BreakerClosed},
		{"his own", 200 * time.Millisecond, context.DeadlineExceeded, BreakerClosed},
		{"longer than that of any call", 2 * most, store.ErrUnavailable, BreakerOpen},
	} {
		from, stood := time.Now(), redistest.Standstill(t)
		ctx := store.Within(t.Context(), from.Add(c.limit))
		_, err := db.Records().Get(ctx, store.Key{Partition: "p", Name: "n"})
		ctx.End()
		if took := time.Since(from) - stood(); !errors.Is(err, c.want) || took > min(max(0, c.limit), most)+late {
			t.Errorf("%s: got %v after %v", c.name, err, took)
		}
		if b := db.Breakers()[s.ClientAddr()+" reads"]; b.State != c.state && b.State != BreakerHalfOpen {
			t.Errorf("%s: the breaker is %+v", c.name, b)
		}
	}
}

// One master of a Cluster hangs: what lies on the others is answered as before, while its own calls end at once.
func TestPeersFaultsOfOneShard(t *testing.T) {
	f := redistest.ClusterWith(t, redistest.Options{Proxied: true, Conf: []string{"cluster-node-timeout 60000"}})
	const most = 5 * time.Second // who waits for the one that hangs waits so long
	db := mustOpen(t, Options{Mode: Cluster, Addresses: f.Addresses(), limits: limits{call: most}})
	e, hung := db.Ephemeral(), f.Masters[0]
	var here, elsewhere []store.Key
	for i := range 100 {
		k := store.Key{Partition: "p", Name: fmt.Sprint(i)}
		if db.router.owner(e.place(k).group).name == hung.ClientAddr() {
			here = append(here, k)
		} else {
			elsewhere = append(elsewhere, k)
		}
		if err := e.Put(t.Context(), k, nil, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if len(here) == 0 || len(elsewhere) == 0 {
		t.Fatalf("%d keys on one master, %d on others", len(here), len(elsewhere))
	}
	hung.Proxy.Hang()
	if _, err := e.Get(t.Context(), here[0]); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want store.ErrUnavailable", err)
	}
	stood := redistest.Standstill(t)
	for _, k := range elsewhere {
		from, before := time.Now(), stood()
		_, err := e.Get(t.Context(), k)
		if took := time.Since(from) - (stood() - before); err != nil || took > most/2 {
			t.Errorf("a key of another master: got %v after %v", err, took)
		}
	}
	hung.Proxy.Heal()
	eventually(t, "each key", func() error {
		for _, k := range here {
			if _, err := e.Get(t.Context(), k); err != nil {
				return err
			}
		}
		return nil
	})
}

// calls makes one call of each kind.
func calls(t testing.TB, db *DB) []error {
	e, ctx, k := db.Ephemeral(), t.Context(), store.Key{Partition: "p", Name: "call"}
	_, added := e.Add(ctx, k, "m", time.Minute)
	_, got := e.Get(ctx, k)
	if errors.Is(got, store.ErrNotFound) {
		got = nil
	}
	return []error{added, got, e.Put(ctx, store.Key{Partition: "p", Name: "put"}, []byte("v"), time.Minute)}
}

// wantUnavailable lets so many callers call at once. What the machine stood still counts for none of them.
func wantUnavailable(t *testing.T, db *DB, callers int, limit time.Duration) {
	t.Helper()
	e := db.Ephemeral()
	var wg sync.WaitGroup
	took, stood := make([]time.Duration, callers), redistest.Standstill(t)
	for i := range callers {
		wg.Go(func() {
			k := store.Key{Partition: "p", Name: fmt.Sprint(i)}
			from := time.Now()
			var err error
			if i%2 == 0 {
				_, err = e.Take(t.Context(), k)
			} else {
				_, err = e.Get(t.Context(), k)
			}
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("call %d: got %v, want store.ErrUnavailable", i, err)
			}
			took[i] = time.Since(from)
		})
	}
	wg.Wait()
	still := stood()
	for i, d := range took {
		if d-still > limit {
			t.Errorf("call %d took %v beyond %v of standstill, want at most %v", i, d-still, still, limit)
		}
	}
}

// ours counts the goroutines of this package and of its client; the proxies run in this process too.
func ours() int {
	buf := make([]byte, 16<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "authcore/store/redis.") || strings.Contains(stack, "go-redis") {
			n++
		}
	}
	return n
}
