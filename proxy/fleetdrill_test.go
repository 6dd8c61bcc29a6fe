package proxy_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/store/redis"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// A revocation reaches the last of 3 000 idle sessions on three nodes over a real Redis, also while the bus loses its
// connections every two seconds, and while it loses every message. What the machine stood still counts for none;
// the figures, with it, are in the log, and in docs/fleet.md.
func TestDrillRevocationOverRedis(t *testing.T) {
	redistest.Need(t, "redis-server")
	sessions, rounds := 300, 2
	if os.Getenv("LATCHKEY_DRILLS") == "long" {
		sessions, rounds = 3000, 10
	}
	for name, harm := range map[string]func(ctx context.Context, s *redistest.Server, buses []*storetest.LossyBus){
		"the bus is well": func(context.Context, *redistest.Server, []*storetest.LossyBus) {},
		"its connections are killed every 2 s": func(ctx context.Context, s *redistest.Server, _ []*storetest.LossyBus) {
			for ctx.Err() == nil {
				_, _ = s.Command("client", "kill", "type", "pubsub")
				sleep(ctx, 2*time.Second)
			}
		},
		"every message is lost": func(_ context.Context, _ *redistest.Server, buses []*storetest.LossyBus) {
			for _, b := range buses {
				b.Drops.Store(true)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Standalone(t, "appendonly yes", "appendfsync always")
			f, buses, stop := overRedis(t, server)
			defer stop()
			ctx, cancel := context.WithCancel(t.Context())
			harmed := make(chan struct{})
			go func() { defer close(harmed); harm(ctx, server, buses) }()
			defer func() { cancel(); <-harmed }()
			var l []time.Duration
			stood := redistest.Standstill(t)
			for round := range rounds {
				l = append(l, f.endAll(t, sessions, time.Duration(round)*237*time.Millisecond, stood)...)
			}
			slices.Sort(l)
			t.Logf("%s, %d rounds\n%s", name, rounds, histogram(l))
		})
	}
}

// overRedis is a fleet of three whose nodes have an engine each: connections, breakers and a bus of their own.
func overRedis(t *testing.T, server *redistest.Server) (f *fleet, buses []*storetest.LossyBus, stop func()) {
	f, stop = newFleet(t, 3, func(o *authcore.Options) {
		db, err := redis.Open(t.Context(), redis.Options{Mode: redis.Standalone, Addresses: []string{server.Addr},
			StateDir: filepath.Join(t.TempDir(), "state"), Node: o.Node, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		buses = append(buses, &storetest.LossyBus{Bus: db.Bus()})
		o.Now, o.Records, o.Bus = time.Now, db.Records(), buses[len(buses)-1]
	})
	return f, buses, stop
}

// endAll opens sessions, lets them idle a while and signs their member out everywhere. The last one has two seconds, and what
// the machine stood still.
func (f *fleet) endAll(t *testing.T, sessions int, while time.Duration, stood func() time.Duration) []time.Duration {
	t.Helper()
	all := f.open(t, "app-only", sessions)
	time.Sleep(1500*time.Millisecond + while)
	began, before := time.Now(), stood()
	err := patiently(func() error {
		_, err := f.SignOutEverywhere(t.Context(), authtest.Operator(), f.People["app-only"].Address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := began.Add(time.Minute); time.Now().Before(deadline) && !allCut(all); {
		time.Sleep(10 * time.Millisecond)
	}
	still, l := stood()-before, spent(t, all, began)
	if last := l[len(l)-1]; last-still > 2*time.Second {
		t.Errorf("the last one was cut after %v, of which the machine stood still for %v", last, still)
	}
	return l
}

func allCut(all []*idle) bool {
	return !slices.ContainsFunc(all, func(s *idle) bool { return s.cut() == nil })
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
