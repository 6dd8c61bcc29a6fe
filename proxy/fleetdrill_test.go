package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/store"
	"latchkey/authcore/store/redis"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// pubsub is a bus over the server's own publishing, that knows of a gap when its connection ends.
type pubsub struct{ client *goredis.Client }

func (p pubsub) Publish(ctx context.Context, topic string, msg []byte) error {
	if err := p.client.Publish(ctx, topic, msg).Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

func (p pubsub) Subscribe(ctx context.Context, topic string) (<-chan []byte, error) {
	sub := p.client.Subscribe(ctx, topic)
	if _, err := sub.Receive(ctx); err != nil {
		_ = sub.Close()
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	ch := make(chan []byte, 512)
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() }) // which ends the read
	go func() {
		defer close(ch)
		defer sub.Close()
		defer stop()
		for {
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			select {
			case ch <- []byte(m.Payload):
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch, nil
}

// A revocation reaches the last of 3 000 idle sessions on three nodes over a real Redis, also while the bus loses its
// connections every two seconds, and while it loses every message. The assertion leaves a busy machine its time; the
// figures are in the log, and in docs/fleet.md.
func TestDrillRevocationOverRedis(t *testing.T) {
	redistest.Need(t, "redis-server")
	sessions, rounds := 300, 2
	if os.Getenv("LATCHKEY_DRILLS") == "long" {
		sessions, rounds = 3000, 10
	}
	for name, harm := range map[string]func(ctx context.Context, s *redistest.Server, bus *storetest.LossyBus){
		"the bus is well": func(context.Context, *redistest.Server, *storetest.LossyBus) {},
		"its connections are killed every 2 s": func(ctx context.Context, s *redistest.Server, _ *storetest.LossyBus) {
			for ctx.Err() == nil {
				_, _ = s.Command("client", "kill", "type", "pubsub")
				sleep(ctx, 2*time.Second)
			}
		},
		"every message is lost": func(_ context.Context, _ *redistest.Server, bus *storetest.LossyBus) { bus.Drops.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Standalone(t, "appendonly yes", "appendfsync always")
			client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
			defer client.Close()
			bus := &storetest.LossyBus{Bus: pubsub{client}}
			f, stop := overRedis(t, server, bus)
			defer stop()
			ctx, cancel := context.WithCancel(t.Context())
			harmed := make(chan struct{})
			go func() { defer close(harmed); harm(ctx, server, bus) }()
			defer func() { cancel(); <-harmed }()
			var l []time.Duration
			for round := range rounds {
				l = append(l, f.endAll(t, sessions, time.Duration(round)*237*time.Millisecond)...)
			}
			slices.Sort(l)
			t.Logf("%s, %d rounds\n%s", name, rounds, histogram(l))
			if last := l[len(l)-1]; last > 2*time.Second {
				t.Errorf("the last one was cut after %v", last)
			}
		})
	}
}

// overRedis is a fleet of three whose nodes have a connection pool each.
func overRedis(t *testing.T, server *redistest.Server, bus store.Bus) (f *fleet, stop func()) {
	return newFleet(t, 3, func(o *authcore.Options) {
		db, err := redis.Open(t.Context(), redis.Options{Mode: redis.Standalone, Addresses: []string{server.Addr},
			StateDir: filepath.Join(t.TempDir(), "state"), Node: o.Node, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		o.Now, o.Records, o.Bus = time.Now, db.Records(), bus
	})
}

// endAll opens sessions, lets them idle a while and signs their member out everywhere.
func (f *fleet) endAll(t *testing.T, sessions int, while time.Duration) []time.Duration {
	t.Helper()
	all := f.open(t, "app-only", sessions)
	time.Sleep(1500*time.Millisecond + while)
	began := time.Now()
	if _, err := f.SignOutEverywhere(t.Context(), authtest.Operator(), f.People["app-only"].Address); err != nil {
		t.Fatal(err)
	}
	for deadline := began.Add(5 * time.Second); time.Now().Before(deadline) && !allCut(all); {
		time.Sleep(10 * time.Millisecond)
	}
	return spent(t, all, began)
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
