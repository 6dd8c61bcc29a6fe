package memory_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

func TestRecords(t *testing.T) {
	storetest.RunRecords(t, func(*testing.T) storetest.RecordsEngine {
		clock := storetest.ManualClock()
		return storetest.RecordsEngine{Records: memory.NewRecords(memory.Options{Now: clock.Now}), Clock: clock}
	})
}

func TestEphemeral(t *testing.T) {
	storetest.RunEphemeral(t, func(*testing.T) storetest.EphemeralEngine {
		clock := storetest.ManualClock()
		return storetest.EphemeralEngine{Ephemeral: memory.NewEphemeral(memory.Options{Now: clock.Now}), Clock: clock}
	})
}

func TestBus(t *testing.T) {
	storetest.RunBus(t, func(t *testing.T) store.Bus {
		b := memory.NewBus()
		t.Cleanup(func() { b.Close() })
		return b
	})
}

func TestBusClose(t *testing.T) {
	b := memory.NewBus()
	ch, err := b.Subscribe(t.Context(), "topic")
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, open := <-ch; open {
		t.Error("the channel is open after Close")
	}
	if _, err := b.Subscribe(t.Context(), "topic"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("subscribe after Close: got %v, want ErrUnavailable", err)
	}
}

func key(i int) store.Key { return store.Key{Partition: "p", Name: fmt.Sprint(i)} }

func there(t *testing.T, e *memory.Ephemeral, i int) bool {
	t.Helper()
	_, err := e.Get(t.Context(), key(i))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestEphemeralEvictsWhatWasUsedLongestAgo(t *testing.T) {
	e := memory.NewEphemeral(memory.Options{Entries: 3})
	put := func(i int) {
		t.Helper()
		if err := e.Put(t.Context(), key(i), []byte("v"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	put(2)
	put(3)
	there(t, e, 1) // used now
	put(4)
	for i, want := range map[int]bool{1: true, 2: false, 3: true, 4: true} {
		if got := there(t, e, i); got != want {
			t.Errorf("value %d: got there %v, want %v", i, got, want)
		}
	}
}

func TestEphemeralBytesAreBounded(t *testing.T) {
	const kept = 10
	e := memory.NewEphemeral(memory.Options{Bytes: kept*10_000 + kept*1_000})
	for i := range 10 * kept {
		if err := e.Put(t.Context(), key(i), make([]byte, 10_000), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for i := range 10 * kept {
		if there(t, e, i) {
			n++
		}
	}
	if n != kept {
		t.Errorf("got %d values kept, want %d", n, kept)
	}
}

func TestEphemeralSetsAreBounded(t *testing.T) {
	e := memory.NewEphemeral(memory.Options{Entries: 2 * memory.MaxMembers})
	var last int64
	for i := range memory.MaxMembers + 100 {
		n, err := e.Add(t.Context(), key(0), fmt.Sprint(i), time.Hour)
		if err != nil || n < last {
			t.Fatalf("member %d: got %d, %v, want %d or more", i, n, err, last)
		}
		last = n
	}
	if last != memory.MaxMembers {
		t.Errorf("got %d members, want %d", last, memory.MaxMembers)
	}
	for i := 1; i <= 2; i++ { // two more such sets push the first one out
		for m := range memory.MaxMembers {
			if _, err := e.Add(t.Context(), key(i), fmt.Sprint(m), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, err := e.Members(t.Context(), key(0), time.Hour, 1); err != nil || len(got) != 0 {
		t.Errorf("the oldest set: got %q, %v, want it gone", got, err)
	}
}

// A narrower window counts less and forgets nothing that a wider one asks for.
func TestEphemeralWindowsOfOneSet(t *testing.T) {
	clock := storetest.ManualClock()
	e := memory.NewEphemeral(memory.Options{Now: clock.Now})
	for i, c := range []struct {
		member string
		window time.Duration
		want   int64
	}{{"a", time.Hour, 1}, {"b", time.Minute, 1}, {"c", time.Hour, 3}} {
		if got, err := e.Add(t.Context(), key(0), c.member, c.window); err != nil || got != c.want {
			t.Errorf("add %d: got %d, %v, want %d", i, got, err, c.want)
		}
		clock.Advance(2 * time.Minute)
	}
}

func BenchmarkEphemeralAdd(b *testing.B) {
	e := memory.NewEphemeral(memory.Options{})
	keys := make([]store.Key, 1024)
	for i := range keys {
		keys[i] = key(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := e.Add(b.Context(), keys[i%len(keys)], "member", time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEphemeralGet(b *testing.B) {
	e := memory.NewEphemeral(memory.Options{})
	if err := e.Put(b.Context(), key(0), make([]byte, 100), time.Hour); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Get(b.Context(), key(0)); err != nil {
			b.Fatal(err)
		}
	}
}
