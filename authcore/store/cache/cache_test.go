package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

type number struct{ N int64 }

func put(name string, n int64) store.Op {
	return store.Op{Kind: store.Put, Name: name, Value: fmt.Appendf(nil, `{"N":%d}`, n), IfRevision: store.AnyRevision}
}

func key(name string) store.Key { return store.Key{Partition: "p", Name: name} }

func read(t *testing.T, c *cache.Cache, name string) int64 {
	t.Helper()
	v, rev, err := cache.Read[number](t.Context(), c, key(name))
	if err != nil || (v == nil) != (rev == 0) {
		t.Fatalf("read %s: %v, revision %d, %v", name, v, rev, err)
	}
	if v == nil {
		return -1
	}
	return v.N
}

func apply(t *testing.T, r store.Records, ops ...store.Op) {
	t.Helper()
	if _, err := r.Apply(t.Context(), "p", ops...); err != nil {
		t.Fatal(err)
	}
}

// Whoever has seen a number, or knows that it was written, never reads a lower one: hundreds read while some write.
func TestNeverStaleAfterApply(t *testing.T) {
	c := cache.New(memory.NewRecords(memory.Options{}), memory.NewBus(), cache.Options{Node: "one"})
	const names, readers, writes = 4, 300, 400
	var written [names]atomic.Int64 // by an Apply that has returned
	ctx, stop := context.WithCancel(t.Context())
	var reading, writing, begun sync.WaitGroup
	begun.Add(readers)
	for i := range readers {
		reading.Go(func() {
			hasRead := sync.OnceFunc(begun.Done)
			defer hasRead()
			for reads := 0; ctx.Err() == nil; reads++ {
				if reads == 2 {
					hasRead()
				}
				n := i % names
				least := written[n].Load()
				v, _, err := cache.Read[number](t.Context(), c, key(fmt.Sprint(n)))
				if err != nil || least > 0 && (v == nil || v.N < least) {
					t.Errorf("%d was written, %v is read, %v", least, v, err)
					return
				}
			}
		})
	}
	begun.Wait() // each has read twice before anything is written
	for n := range names {
		writing.Go(func() {
			for i := range int64(writes) {
				if _, err := c.Apply(t.Context(), "p", put(fmt.Sprint(n), i+1)); err != nil {
					t.Error(err)
				}
				written[n].Store(i + 1)
			}
		})
	}
	writing.Wait()
	stop()
	reading.Wait()
	if hits, _ := c.Counts(); hits == 0 {
		t.Error("nothing was ever answered from memory")
	}
}

// A read that began before a write and ends after it is not kept.
func TestReadOvertakenByAWriteIsNotKept(t *testing.T) {
	reading, written := make(chan struct{}), make(chan struct{})
	var once sync.Once
	slow := &slowGet{Records: memory.NewRecords(memory.Options{}), after: func() { once.Do(func() { close(reading); <-written }) }}
	c := cache.New(slow, memory.NewBus(), cache.Options{Node: "one"})
	apply(t, slow.Records, put("a", 1))
	done := make(chan int64)
	go func() {
		v, _, _ := cache.Read[number](t.Context(), c, key("a"))
		done <- v.N
	}()
	<-reading
	apply(t, c, put("a", 2))
	close(written)
	if got := <-done; got != 1 {
		t.Errorf("the slow read answers %d", got)
	}
	if got := read(t, c, "a"); got != 2 {
		t.Errorf("afterwards %d is read", got)
	}
}

// slowGet calls after between the read of the record and its answer.
type slowGet struct {
	store.Records
	after func()
}

func (s *slowGet) Get(ctx context.Context, k store.Key) (store.Record, error) {
	r, err := s.Records.Get(ctx, k)
	s.after()
	return r, err
}

func TestWhatIsKept(t *testing.T) {
	counts := &storetest.Counting{Records: memory.NewRecords(memory.Options{})}
	c := cache.New(counts, memory.NewBus(), cache.Options{Node: "one"})
	later := put("expires", 1)
	later.ExpiresAt = time.Now().Add(time.Hour)
	apply(t, c, put("a", 1), later)
	for _, k := range []struct {
		name string
		want int64
		gets int64 // for ten reads
	}{{"a", 1, 1}, {"absent", -1, 1}, {"expires", 1, 10}} {
		counts.Take()
		for range 10 {
			if got := read(t, c, k.name); got != k.want {
				t.Errorf("%s: got %d, want %d", k.name, got, k.want)
			}
		}
		if got := counts.Take().Gets; got != k.gets {
			t.Errorf("%s: %d gets for ten reads, want %d", k.name, got, k.gets)
		}
	}
	apply(t, c, store.Op{Kind: store.Check, Name: "a", IfRevision: 1}, put("b", 1))
	counts.Take()
	if read(t, c, "a"); counts.Take().Gets > 0 {
		t.Error("a record that was only checked is read anew")
	}
	apply(t, c, store.Op{Kind: store.Delete, Name: "a", IfRevision: store.AnyRevision}, put("absent", 7))
	if a, b := read(t, c, "a"), read(t, c, "absent"); a != -1 || b != 7 {
		t.Errorf("after the batch: %d and %d", a, b)
	}
}

// Whatever the outcome of a batch, what it touched is read anew.
func TestFailedApplyDropsToo(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		faulty := &storetest.Faulty{Records: memory.NewRecords(memory.Options{})}
		c := cache.New(faulty, memory.NewBus(), cache.Options{Node: "one"})
		apply(t, c, put("a", 1))
		read(t, c, "a")
		faulty.OnApply = func(string, []store.Op) storetest.Fault { return fault }
		if _, err := c.Apply(t.Context(), "p", put("a", 2)); !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		want := map[storetest.Fault]int64{storetest.FailBefore: 1, storetest.FailAfter: 2}[fault]
		if got := read(t, c, "a"); got != want {
			t.Errorf("%v: got %d, want %d", fault, got, want)
		}
	}
	records := memory.NewRecords(memory.Options{})
	c := cache.New(records, memory.NewBus(), cache.Options{Node: "one"})
	read(t, c, "a") // absent, and kept so
	apply(t, records, put("a", 3))
	conflict := put("a", 4)
	conflict.IfRevision = 0
	if _, err := c.Apply(t.Context(), "p", conflict); !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	if got := read(t, c, "a"); got != 3 {
		t.Errorf("after a conflict: got %d, what others wrote is 3", got)
	}
}

func TestCorruptIsNeverAbsent(t *testing.T) {
	records := memory.NewRecords(memory.Options{})
	c := cache.New(records, memory.NewBus(), cache.Options{Node: "one"})
	apply(t, records, store.Op{Kind: store.Put, Name: "a", Value: []byte("{"), IfRevision: store.AnyRevision})
	if _, _, err := cache.Read[number](t.Context(), c, key("a")); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestBounded(t *testing.T) {
	const most = 50
	counts := &storetest.Counting{Records: memory.NewRecords(memory.Options{})}
	c := cache.New(counts, memory.NewBus(), cache.Options{Node: "one", Entries: most})
	for i := range 10 * most {
		read(t, c, fmt.Sprint("absent ", i))
	}
	counts.Take()
	for i := range 10 * most {
		read(t, c, fmt.Sprint("absent ", i))
	}
	if got := counts.Take().Gets; got < 9*most {
		t.Errorf("only %d of %d reads went to the records: more than %d are kept", got, 10*most, most)
	}
}

// Two nodes over the same records: what one writes the other reads, also when the client that wrote hung up at once.
func TestOtherNodesHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, bus := memory.NewRecords(memory.Options{}), memory.NewBus()
		one, two := cache.New(records, bus, cache.Options{Node: "one"}), cache.New(records, bus, cache.Options{Node: "two"})
		stop := run(t, two)
		defer stop()
		apply(t, one, put("a", 1))
		synctest.Wait()
		if got := read(t, two, "a"); got != 1 {
			t.Fatal(got)
		}
		ctx, hangUp := context.WithCancel(t.Context())
		hung := cache.New(&hangsUp{records, hangUp}, bus, cache.Options{Node: "one"})
		if _, err := hung.Apply(ctx, "p", put("a", 2)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := read(t, two, "a"); got != 2 {
			t.Errorf("got %d, written is 2", got)
		}
	})
}

// hangsUp ends the client's context as soon as its batch is written.
type hangsUp struct {
	store.Records
	hangUp func()
}

func (h *hangsUp) Apply(ctx context.Context, p string, ops ...store.Op) (int64, error) {
	defer h.hangUp()
	return h.Records.Apply(ctx, p, ops...)
}

func run(t *testing.T, c *cache.Cache) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

// A bus that cannot be heard: the cache is emptied and keeps nothing, until it is heard again.
func TestGapEmptiesAndABrokenBusBlinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := memory.NewRecords(memory.Options{})
		bus := &brokenBus{Bus: memory.NewBus(), gap: make(chan []byte)}
		c := cache.New(records, bus, cache.Options{Node: "one"})
		stop := run(t, c)
		defer stop()
		apply(t, records, put("a", 1))
		if read(t, c, "a") != 1 {
			t.Fatal("not read")
		}
		bus.broken.Store(true)
		apply(t, records, put("a", 2)) // by another node, which nobody hears
		close(bus.gap)
		synctest.Wait()
		for want := int64(2); want < 5; want++ {
			if got := read(t, c, "a"); got != want {
				t.Errorf("while the bus is broken: got %d, want %d", got, want)
			}
			apply(t, records, put("a", want+1))
		}
		bus.gap = make(chan []byte)
		bus.broken.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		hits, _ := c.Counts()
		read(t, c, "a")
		if got := read(t, c, "a"); got != 5 {
			t.Errorf("got %d", got)
		}
		if h, _ := c.Counts(); h == hits {
			t.Error("the cache keeps nothing though the bus is heard again")
		}
	})
}

type brokenBus struct {
	store.Bus
	gap    chan []byte
	broken atomic.Bool
}

func (b *brokenBus) Subscribe(ctx context.Context, _ string) (<-chan []byte, error) {
	if b.broken.Load() {
		return nil, store.ErrUnavailable
	}
	ch, gap := make(chan []byte), b.gap
	go func() {
		defer close(ch)
		select {
		case <-gap:
		case <-ctx.Done():
		}
	}()
	return ch, nil
}

func TestUnreadableMessageEmpties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, bus := memory.NewRecords(memory.Options{}), memory.NewBus()
		c := cache.New(records, bus, cache.Options{Node: "one"})
		stop := run(t, c)
		defer stop()
		apply(t, records, put("a", 1))
		read(t, c, "a")
		apply(t, records, put("a", 2))
		if err := bus.Publish(t.Context(), cache.Topic, []byte("{")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := read(t, c, "a"); got != 2 {
			t.Errorf("got %d", got)
		}
	})
}

// setBack are records that were set back and count anew: a revision comes a second time, with other bytes.
type setBack struct {
	store.Records
	value string
}

func (s *setBack) Get(context.Context, store.Key) (store.Record, error) {
	return store.Record{Value: []byte(s.value), Revision: 7}, nil
}

// What the records answer counts, also where they answer a revision that is held: then it is decoded once.
func TestReadPastDecodesOnce(t *testing.T) {
	r := &setBack{value: `{"N":1}`}
	c := cache.New(r, memory.NewBus(), cache.Options{})
	held, _, err := cache.Read[number](t.Context(), c, key("a"))
	if err != nil || held.N != 1 {
		t.Fatal(held, err)
	}
	if got, rev, err := cache.ReadPast[number](t.Context(), c, key("a")); got != held || rev != 7 || err != nil {
		t.Errorf("got %v, %d, %v, want what is held", got, rev, err)
	}
	r.value = `{"N":2}`
	if got, _, err := cache.ReadPast[number](t.Context(), c, key("a")); err != nil || got.N != 2 {
		t.Errorf("got %v, %v, want what the records say", got, err)
	}
}
