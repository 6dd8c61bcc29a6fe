package cache_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

// What was held when the bus had a gap stands in for the lease, but nothing of which it is known since that it is old.
func TestHeldAtAGap(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(t *testing.T, c *cache.Cache)
		stands    bool
	}{
		"nothing is known":           {func(*testing.T, *cache.Cache) {}, true},
		"its partition is forgotten": {func(_ *testing.T, c *cache.Cache) { c.Forget("p") }, false},
		"it is forgotten":            {func(_ *testing.T, c *cache.Cache) { c.Forget("p", "a") }, false},
		"another one is forgotten":   {func(_ *testing.T, c *cache.Cache) { c.Forget("q") }, true},
		"a newer one is read":        {func(t *testing.T, c *cache.Cache) { read(t, c, "a") }, false},
		"a newer one is read past it": {func(t *testing.T, c *cache.Cache) {
			if _, _, err := cache.ReadPast[number](t.Context(), c, key("a")); err != nil {
				t.Fatal(err)
			}
		}, false},
		"it is written here": {func(t *testing.T, c *cache.Cache) { apply(t, c, put("a", 3)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				records := memory.NewRecords(memory.Options{})
				bus := &storetest.LossyBus{Bus: memory.NewBus()}
				c := cache.New(records, bus, cache.Options{Node: "one", Lease: 30 * time.Second})
				defer run(t, c)()
				apply(t, c, put("a", 1))
				read(t, c, "a")
				bus.Deaf.Store(true)
				bus.Gap()
				synctest.Wait()
				apply(t, records, put("a", 2)) // by another node
				tt.meanwhile(t, c)
				_, _, err := cache.Read[number](cache.Held(t.Context()), c, key("a"))
				if stands := err == nil; stands != tt.stands || !stands && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("it stands in: %v (%v)", stands, err)
				}
			})
		})
	}
}

// Forgetting a partition costs by what is held of it: after a start a node does so for thousands, one after the other.
func BenchmarkForgetPartition(b *testing.B) {
	records := memory.NewRecords(memory.Options{})
	c := cache.New(records, memory.NewBus(), cache.Options{Node: "one"})
	for i := range cache.DefaultEntries {
		p := fmt.Sprint(i / 4)
		if _, _, err := cache.Read[number](b.Context(), c, store.Key{Partition: p, Name: fmt.Sprint(i)}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		c.Forget("none")
	}
}

// What a cache holds of a partition goes when it is forgotten, also after others were thrown out for room.
func TestForgetPartition(t *testing.T) {
	records := memory.NewRecords(memory.Options{})
	counts := &storetest.Counting{Records: records}
	c := cache.New(counts, memory.NewBus(), cache.Options{Node: "one", Entries: 8})
	for i := range 30 {
		for _, p := range []string{"p", "q"} {
			if _, _, err := cache.Read[number](t.Context(), c, store.Key{Partition: p, Name: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Forget("p")
	counts.Take()
	for i := range 30 {
		read(t, c, fmt.Sprint(i))
	}
	if got := counts.Take().Gets; got != 30 {
		t.Errorf("%d of 30 were read anew", got)
	}
}
