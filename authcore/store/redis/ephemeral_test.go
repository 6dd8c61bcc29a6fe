package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

var ticket = store.Key{Partition: "p", Name: "ticket"}

// The suite runs on the servers' clock; each engine is a prefix of its own.
func TestPeersEphemeral(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			var opened atomic.Int64
			storetest.RunEphemeral(t, func(t *testing.T) storetest.EphemeralEngine {
				o := o
				o.Prefix = fmt.Sprint("suite", opened.Add(1))
				return storetest.EphemeralEngine{
					Ephemeral: mustOpen(t, o).Ephemeral(),
					Clock:     storetest.Clock{Now: time.Now, Advance: time.Sleep},
				}
			})
		})
	}
}

// Three nodes on a Cluster, 200 racers for each ticket: one gets it.
func TestPeersOneTaker(t *testing.T) {
	o := servers[Cluster](t)
	nodes := []*Ephemeral{mustOpen(t, o).Ephemeral(), mustOpen(t, o).Ephemeral(), mustOpen(t, o).Ephemeral()}
	for round := range 20 {
		k := store.Key{Partition: "p", Name: fmt.Sprint("ticket", round)}
		if err := nodes[0].Put(t.Context(), k, []byte("once"), time.Minute); err != nil {
			t.Fatal(err)
		}
		var winners atomic.Int64
		var racers sync.WaitGroup
		for i := range 200 {
			racers.Go(func() {
				v, err := nodes[i%len(nodes)].Take(t.Context(), k)
				if err == nil && string(v) == "once" {
					winners.Add(1)
				} else if !errors.Is(err, store.ErrNotFound) {
					t.Errorf("got %q, %v, want store.ErrNotFound", v, err)
				}
			})
		}
		racers.Wait()
		if got := winners.Load(); got != 1 {
			t.Errorf("round %d: %d winners, want 1", round, got)
		}
	}
}

// The answer to a call is lost, and go on as if it had come.
func TestPeersLostAnswers(t *testing.T) {
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.ClientAddr()}, limits: unhurried()})
	e, ctx := db.Ephemeral(), t.Context()
	other := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.Addr}, limits: unhurried()}).Ephemeral()
	s.Proxy.CutAnswers(1)
	if err := e.Put(ctx, ticket, []byte("once"), time.Minute); err != nil {
		t.Fatalf("put: %v", err)
	}
	s.Proxy.Heal()
	s.Proxy.CutAnswers(1)
	if v, err := e.Take(ctx, ticket); err != nil || string(v) != "once" {
		t.Errorf("take: got %q, %v", v, err)
	}
	s.Proxy.Heal()
	for name, node := range map[string]*Ephemeral{"this": e, "another": other} {
		if v, err := node.Take(ctx, ticket); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s node takes it again: got %q, %v", name, v, err)
		}
	}
	s.Proxy.CutAnswers(1)
	if n, err := e.Add(ctx, ticket, "a", time.Minute); err != nil || n != 1 {
		t.Errorf("add: got %d, %v, want 1", n, err)
	}
}

// What is no value of ours is corrupt, and one that is gone is never read as an empty one.
func TestPeersForeignValue(t *testing.T) {
	s := redistest.Standalone(t)
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	e := db.Ephemeral()
	for name, c := range map[string]struct {
		args []any
		want error
	}{
		"short": {[]any{"SET", e.place(ticket).value, "short"}, store.ErrCorrupt},
		"list":  {[]any{"LPUSH", e.place(ticket).value, "a"}, store.ErrCorrupt},
		"gone":  {nil, store.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			s.Must(t, "DEL", e.place(ticket).value)
			if c.args != nil {
				s.Must(t, c.args...)
			}
			if v, err := e.Get(t.Context(), ticket); !errors.Is(err, c.want) {
				t.Errorf("got %q, %v, want %v", v, err, c.want)
			}
		})
	}
}

// Values that come and go are read whole or not at all.
func TestPeersReadWhileTaken(t *testing.T) {
	e := mustOpen(t, servers[Standalone](t)).Ephemeral()
	var running sync.WaitGroup
	stop := make(chan struct{})
	running.Go(func() {
		defer close(stop)
		for range 300 {
			if err := e.Put(t.Context(), ticket, []byte("once"), time.Minute); err != nil {
				t.Error(err)
			}
			if _, err := e.Take(t.Context(), ticket); err != nil {
				t.Error(err)
			}
		}
	})
	for range 64 {
		running.Go(func() {
			for !isClosed(stop) {
				if v, err := e.Get(t.Context(), ticket); !errors.Is(err, store.ErrNotFound) && (err != nil || string(v) != "once") {
					t.Errorf("got %q, %v, want it whole or store.ErrNotFound", v, err)
				}
			}
		})
	}
	running.Wait()
}

// A Put that is repeated after its value was taken, or deleted, does not bring it back.
func TestPeersPutRepeatedLate(t *testing.T) {
	db := mustOpen(t, servers[Standalone](t))
	e, ctx := db.Ephemeral(), t.Context()
	for name, end := range map[string]func() error{
		"take":   func() error { _, err := e.Take(ctx, ticket); return err },
		"delete": func() error { return e.Delete(ctx, ticket) },
	} {
		t.Run(name, func(t *testing.T) {
			at, id := e.place(ticket), e.call()
			put := func() {
				cmd := putScript.call(ctx, []string{at.value, at.claim}, id, "once", "60000")
				if err := db.do(ctx, at.group, true, cmd); err != nil {
					t.Fatal(err)
				}
			}
			put()
			if err := end(); err != nil {
				t.Fatal(err)
			}
			put()
			if v, err := e.Get(ctx, ticket); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("got %q, %v, want it gone", v, err)
			}
			if err := e.Put(ctx, ticket, []byte("new"), time.Minute); err != nil {
				t.Fatal(err)
			}
			if v, err := e.Take(ctx, ticket); err != nil || string(v) != "new" {
				t.Errorf("another value: got %q, %v", v, err)
			}
		})
	}
}

// Sets end with their windows, keep a bounded number of members, and a narrower window forgets nothing of a wider one.
func TestPeersSetsBounded(t *testing.T) {
	s := redistest.Standalone(t, "appendfsync no")
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.Addr}, AllowLossy: true})
	e, ctx := db.Ephemeral(), t.Context()
	var adding sync.WaitGroup
	var most atomic.Int64
	for i := range 8 {
		adding.Go(func() {
			for j := range maxMembers / 4 {
				n, err := e.Add(ctx, ticket, fmt.Sprint(i, "/", j), time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), n))
			}
		})
	}
	adding.Wait()
	if got := most.Load(); got != maxMembers {
		t.Errorf("at most %d members were counted, want %d", got, maxMembers)
	}
	if n, err := e.Add(ctx, ticket, "narrow", time.Microsecond); err != nil || n != 1 {
		t.Errorf("a narrow window: got %d, %v, want 1", n, err)
	}
	if n, err := e.Add(ctx, ticket, "wide", time.Hour); err != nil || n != maxMembers {
		t.Errorf("a wide window: got %d, %v, want %d", n, err, maxMembers)
	}
	if err := e.Put(ctx, ticket, nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Take(ctx, ticket); err != nil {
		t.Fatal(err)
	}
	at := e.place(ticket)
	for _, key := range []string{at.set, at.claim} {
		if ttl := s.Must(t, "PTTL", key); ttl.(int64) <= 0 {
			t.Errorf("%s stays for ever: PTTL %v", key, ttl)
		}
	}
}

// While Redis is away sets are counted here, and no value is given out.
func TestPeersCountHere(t *testing.T) {
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	db := mustOpen(t, Options{
		Mode: Standalone, Addresses: []string{s.ClientAddr()}, Local: memory.NewEphemeral(memory.Options{}),
	})
	e, ctx := db.Ephemeral(), t.Context()
	add := func(member string, want int64) {
		t.Helper()
		if n, err := e.Add(ctx, ticket, member, time.Minute); err != nil || n != want {
			t.Errorf("add %s: got %d, %v, want %d", member, n, err, want)
		}
	}
	if err := e.Put(ctx, ticket, []byte("once"), time.Minute); err != nil {
		t.Fatal(err)
	}
	add("a", 1)
	s.Proxy.Refuse()
	add("b", 2)
	if l, err := e.Members(ctx, ticket, time.Minute, 10); err != nil || len(l) != 2 {
		t.Errorf("members: got %q, %v, want two", l, err)
	}
	if v, err := e.Take(ctx, ticket); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("take: got %q, %v, want store.ErrUnavailable", v, err)
	}
	if v, err := e.Get(ctx, ticket); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("get: got %q, %v, want store.ErrUnavailable", v, err)
	}
	s.Proxy.Accept()
	eventually(t, "a take", func() error {
		v, err := e.Take(ctx, ticket)
		if err == nil && string(v) != "once" {
			return fmt.Errorf("got %q", v)
		}
		return err
	})
	add("c", 2) // with a: what was counted here is not told
}

// eventually tries until it works again after a fault: within two seconds where the machine has time.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not succeed: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func BenchmarkPeersEphemeral(b *testing.B) {
	s := redistest.Standalone(b)
	db := mustOpen(b, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	e, ctx := db.Ephemeral(), context.Background()
	var n atomic.Int64
	key := func() store.Key { return store.Key{Partition: "p", Name: fmt.Sprint(n.Add(1) % 1024)} }
	taken := func() error {
		at := e.place(key())
		put := goredis.NewStatusCmd(ctx, "set", at.value, e.call()+"x", "px", 60000)
		take := takeScript.call(ctx, []string{at.value, at.claim}, e.call(), claimFor.Milliseconds())
		return db.do(ctx, at.group, true, put, take)
	}
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"Add", func() error { _, err := e.Add(ctx, key(), "member", time.Minute); return err }},
		{"Members", func() error { _, err := e.Members(ctx, key(), time.Minute, 100); return err }},
		{"PutAndTake", taken},
	} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprint(c.name, "/", callers), func(b *testing.B) {
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if err := c.call(); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
