package authcore_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
)

// forgetful is an Ephemeral that can lose everything.
type forgetful struct {
	atomic.Pointer[memory.Ephemeral]
	make        func() *memory.Ephemeral
	seats       atomic.Int64 // commands about seats
	unavailable atomic.Bool
	onAdd       func(store.Key) // before a seat is added
}

func (f *forgetful) count(k store.Key) error {
	if strings.HasPrefix(k.Name, "seats/") {
		f.seats.Add(1)
	}
	if f.unavailable.Load() {
		return store.ErrUnavailable
	}
	return nil
}

func newForgetful(now memory.Options) *forgetful {
	f := &forgetful{make: func() *memory.Ephemeral { return memory.NewEphemeral(now) }}
	f.lose()
	return f
}

func (f *forgetful) lose() { f.Store(f.make()) }

// fleetOf is a stage and more nodes over the same stores, each a Core of its own that runs until the test ends.
type fleetOf struct {
	*stage
	nodes []*authcore.Core // the stage's own is the first
	ends  []func()         // has a node die without a word
	away  []*atomic.Bool   // by a node, set: it reaches no Ephemeral, or is stopped
	lossy *forgetful
}

func newFleet(t testing.TB, n int, change func(*authcore.Options)) *fleetOf {
	t.Helper()
	f := &fleetOf{}
	f.stage = newStage(t, func(o *authcore.Options) {
		o.Node, o.Fleet = "n0", &authcore.Fleet{Name: "node-0", Version: "test"}
		f.lossy = newForgetful(memory.Options{Now: o.Now})
		o.Ephemeral = f.lossy
		if change != nil {
			change(o)
		}
	})
	f.nodes = []*authcore.Core{f.Core.Core}
	f.ends, f.away = []func(){func() {}}, []*atomic.Bool{{}}
	for i := 1; i < n; i++ {
		f.add(t, nil)
	}
	return f
}

// add starts one more node.
func (f *fleetOf) add(t testing.TB, change func(*authcore.Options)) *authcore.Core {
	t.Helper()
	o := f.options
	i := len(f.nodes)
	o.Node, o.Fleet = fmt.Sprintf("n%d", i), &authcore.Fleet{Name: fmt.Sprintf("node-%d", i), Version: "test"}
	mute := &mutable{Ephemeral: o.Ephemeral}
	o.Ephemeral = mute
	if change != nil {
		change(&o)
	}
	c := authcore.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	f.nodes, f.away = append(f.nodes, c), append(f.away, &mute.dead)
	f.ends = append(f.ends, func() { mute.dead.Store(true); cancel(); <-done })
	return c
}

// mutable is an Ephemeral whose node is dead to all others from some instant on.
type mutable struct {
	store.Ephemeral
	dead atomic.Bool
}

func (f *forgetful) Add(ctx context.Context, k store.Key, member string, window time.Duration) (int64, error) {
	if err := f.count(k); err != nil {
		return 0, err
	}
	if f.onAdd != nil && strings.HasPrefix(k.Name, "seats/") {
		f.onAdd(k)
	}
	return f.Load().Add(ctx, k, member, window)
}

func (m *mutable) Add(ctx context.Context, k store.Key, member string, window time.Duration) (int64, error) {
	if m.dead.Load() {
		return 0, store.ErrUnavailable
	}
	return m.Ephemeral.Add(ctx, k, member, window)
}

func (f *forgetful) Members(ctx context.Context, k store.Key, window time.Duration, limit int) ([]string, error) {
	if err := f.count(k); err != nil {
		return nil, err
	}
	return f.Load().Members(ctx, k, window, limit)
}

func (m *mutable) Members(ctx context.Context, k store.Key, window time.Duration, limit int) ([]string, error) {
	if m.dead.Load() {
		return nil, store.ErrUnavailable
	}
	return m.Ephemeral.Members(ctx, k, window, limit)
}

func (f *forgetful) Remove(ctx context.Context, k store.Key, member string) error {
	if err := f.count(k); err != nil {
		return err
	}
	return f.Load().Remove(ctx, k, member)
}

func (m *mutable) Remove(ctx context.Context, k store.Key, member string) error {
	if m.dead.Load() {
		return store.ErrUnavailable
	}
	return m.Ephemeral.Remove(ctx, k, member)
}

func (f *forgetful) Put(ctx context.Context, k store.Key, value []byte, ttl time.Duration) error {
	if err := f.count(k); err != nil {
		return err
	}
	return f.Load().Put(ctx, k, value, ttl)
}

func (m *mutable) Put(ctx context.Context, k store.Key, value []byte, ttl time.Duration) error {
	if m.dead.Load() {
		return store.ErrUnavailable
	}
	return m.Ephemeral.Put(ctx, k, value, ttl)
}

func (f *forgetful) Get(ctx context.Context, k store.Key) ([]byte, error) {
	if err := f.count(k); err != nil {
		return nil, err
	}
	return f.Load().Get(ctx, k)
}

func (m *mutable) Get(ctx context.Context, k store.Key) ([]byte, error) {
	if m.dead.Load() {
		return nil, store.ErrUnavailable
	}
	return m.Ephemeral.Get(ctx, k)
}

func (f *forgetful) Take(ctx context.Context, k store.Key) ([]byte, error) {
	if err := f.count(k); err != nil {
		return nil, err
	}
	return f.Load().Take(ctx, k)
}

func (m *mutable) Take(ctx context.Context, k store.Key) ([]byte, error) {
	if m.dead.Load() {
		return nil, store.ErrUnavailable
	}
	return m.Ephemeral.Take(ctx, k)
}

func (f *forgetful) Delete(ctx context.Context, k store.Key) error {
	if err := f.count(k); err != nil {
		return err
	}
	return f.Load().Delete(ctx, k)
}

func (m *mutable) Delete(ctx context.Context, k store.Key) error {
	if m.dead.Load() {
		return store.ErrUnavailable
	}
	return m.Ephemeral.Delete(ctx, k)
}
