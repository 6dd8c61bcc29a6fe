package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
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

// told is a bus that counts what is published, and fails while down.
type told struct {
	store.Bus
	down atomic.Bool
	n    atomic.Int64
}

func (b *told) Publish(ctx context.Context, topic string, msg []byte) error {
	if b.down.Load() {
		return store.ErrUnavailable
	}
	b.n.Add(1)
	return b.Bus.Publish(ctx, topic, msg)
}

func message(t *testing.T, bus store.Bus, revision int64, names ...string) {
	t.Helper()
	msg := fmt.Sprintf(`other`+"\n"+`{"partition":"p","revision":%d,"names":["%s"]}`, revision, strings.Join(names, `","`))
	if err := bus.Publish(t.Context(), cache.Topic, []byte(msg)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// What a message makes old is dropped, and nothing else.
func TestMessageDropsWhatIsOlder(t *testing.T) {
	for name, tt := range map[string]struct {
		read     string // before the message; its revision is 3, "absent" has none
		revision int64
		names    []string
		again    int64 // gets of the next read
	}{
		"of the batch held":       {"a", 3, []string{"a"}, 0},
		"of an older batch":       {"a", 2, []string{"a"}, 0},
		"of a newer batch":        {"a", 4, []string{"a"}, 1},
		"of an unknown outcome":   {"a", 0, []string{"a"}, 1},
		"of another name":         {"a", 4, []string{"b"}, 0},
		"of what was not there":   {"absent", 2, []string{"absent"}, 1},
		"of several names":        {"a", 4, []string{"b", "a"}, 1},
		"of a name nobody's held": {"a", 9, []string{"c"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counts, bus := &storetest.Counting{Records: memory.NewRecords(memory.Options{})}, memory.NewBus()
				c := cache.New(counts, bus, cache.Options{Node: "one"})
				defer run(t, c)()
				for range 3 {
					apply(t, counts, put("a", 1))
				}
				read(t, c, tt.read)
				counts.Take()
				message(t, bus, tt.revision, tt.names...)
				if read(t, c, tt.read); counts.Take().Gets != tt.again {
					t.Errorf("read anew: want %d", tt.again)
				}
			})
		})
	}
}

// A message that comes while its key is being read lets nothing of it be kept; one of another key does not matter.
func TestMessageDuringARead(t *testing.T) {
	for name, kept := range map[string]bool{"a": false, "b": true} {
		t.Run("of "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				records, bus := memory.NewRecords(memory.Options{}), memory.NewBus()
				apply(t, records, put("a", 1))
				reading, written := make(chan struct{}), make(chan struct{})
				var once sync.Once
				slow := &slowGet{Records: records, after: func() { once.Do(func() { close(reading); <-written }) }}
				c := cache.New(slow, bus, cache.Options{Node: "one"})
				defer run(t, c)()
				done := make(chan struct{})
				go func() { defer close(done); _, _, _ = cache.Read[number](t.Context(), c, key("a")) }()
				<-reading
				apply(t, records, put(name, 2))
				message(t, bus, 2, name)
				close(written)
				<-done
				hits, _ := c.Counts()
				read(t, c, "a")
				if h, _ := c.Counts(); h > hits != kept {
					t.Errorf("kept: %v", h > hits)
				}
			})
		})
	}
}

// Of a name that is never kept nothing is told, and it is read anew each time.
func TestKept(t *testing.T) {
	counts, bus := &storetest.Counting{Records: memory.NewRecords(memory.Options{})}, &told{Bus: memory.NewBus()}
	c := cache.New(counts, bus, cache.Options{Node: "one", Kept: func(name string) bool { return name != "audit" }})
	apply(t, c, put("audit", 1), store.Op{Kind: store.Check, Name: "a"})
	if n := bus.n.Load(); n != 0 {
		t.Errorf("%d messages of a name that nobody keeps", n)
	}
	for range 3 {
		read(t, c, "audit")
	}
	if got := counts.Take().Gets; got != 3 {
		t.Errorf("%d gets", got)
	}
	apply(t, c, put("audit", 1), put("a", 1))
	if n := bus.n.Load(); n != 1 {
		t.Errorf("%d messages of a batch with a name that is kept", n)
	}
}

// What could not be told is told as soon as the bus can be told; what may be written after it was told is told once more.
func TestToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty, bus := &storetest.Faulty{Records: memory.NewRecords(memory.Options{})}, &told{Bus: memory.NewBus()}
		c := cache.New(faulty, bus, cache.Options{Node: "one"})
		defer run(t, c)()
		bus.down.Store(true)
		apply(t, c, put("a", 1))
		time.Sleep(5 * time.Second)
		bus.down.Store(false)
		time.Sleep(2 * time.Second)
		if n := bus.n.Swap(0); n != 1 {
			t.Errorf("told %d times once the bus was there", n)
		}
		faulty.OnApply = func(string, []store.Op) storetest.Fault { return storetest.FailBefore }
		if _, err := c.Apply(t.Context(), "p", put("a", 2)); !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		if read(t, c, "a") != 1 {
			t.Fatal("it was written")
		}
		apply(t, faulty.Records, put("a", 2)) // late, and nobody says so
		time.Sleep(10 * time.Second)
		if n := bus.n.Load(); n != 2 {
			t.Errorf("an unknown outcome was told %d times", n)
		}
		if got := read(t, c, "a"); got != 2 {
			t.Errorf("here %d is read", got)
		}
	})
}

// However much cannot be told, it takes a bounded memory, and the others end with nothing that is old.
func TestUntoldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, bus := memory.NewRecords(memory.Options{}), &told{Bus: memory.NewBus()}
		one := cache.New(records, bus, cache.Options{Node: "one"})
		two := cache.New(records, bus, cache.Options{Node: "two"})
		defer run(t, one)()
		defer run(t, two)()
		read(t, two, "0")
		bus.down.Store(true)
		for i := range 5000 {
			apply(t, one, put(fmt.Sprint(i), 1))
		}
		bus.down.Store(false)
		time.Sleep(5 * time.Second)
		if n := bus.n.Load(); n > 2048 {
			t.Errorf("%d messages of what could not be told", n)
		}
		if got := read(t, two, "0"); got != 1 {
			t.Errorf("the other node reads %d", got)
		}
	})
}

// A message that is lost without a trace: the entry goes when it is old, or when somebody reads past it.
func TestLostMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := memory.NewRecords(memory.Options{})
		c := cache.New(records, memory.NewBus(), cache.Options{Node: "one", MaxAge: time.Minute})
		defer run(t, c)()
		apply(t, records, put("a", 1))
		read(t, c, "a")
		apply(t, records, put("a", 2))
		time.Sleep(time.Minute - time.Second)
		if got := read(t, c, "a"); got != 1 {
			t.Fatalf("got %d: nothing was kept", got)
		}
		time.Sleep(time.Second)
		if got := read(t, c, "a"); got != 2 {
			t.Errorf("after its age: %d", got)
		}
		for _, op := range []store.Op{put("a", 3), {Kind: store.Delete, Name: "a", IfRevision: store.AnyRevision}} {
			apply(t, records, op)
			want, _, err := cache.ReadPast[number](t.Context(), c, key("a"))
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, c, "a"); got == 2 || (want == nil) != (got == -1) {
				t.Errorf("after a read past it: %d", got)
			}
		}
	})
}

// Three nodes over one store, each reading the members of its own day while all of them write a thousand times a second
// to others: what is kept is worth keeping, and never older than a message.
func TestHitsUnderForeignWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes, members, reads, perSecond, seconds = 3, 1000, 2000, 333, 5
		records, bus := memory.NewRecords(memory.Options{}), memory.NewBus()
		slow := &slowGet{Records: records, after: func() { time.Sleep(time.Millisecond) }} // a store over a network
		var all []*cache.Cache
		for i := range nodes {
			c := cache.New(slow, bus, cache.Options{Node: fmt.Sprint(i)})
			defer run(t, c)()
			all = append(all, c)
		}
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() {
				for range perSecond * seconds {
					apply(t, c, put(fmt.Sprint("m", rand.IntN(10*members)), 1))
					time.Sleep(time.Second / perSecond)
				}
			})
			for range 8 {
				wg.Go(func() {
					for range reads * seconds / 8 {
						read(t, c, fmt.Sprint("m", rand.IntN(members)))
						time.Sleep(time.Second * 8 / reads)
					}
				})
			}
		}
		wg.Wait()
		for i, c := range all {
			hits, misses := c.Counts()
			rate := float64(hits) / float64(hits+misses)
			t.Logf("node %d: %d hits, %d misses: %.2f", i, hits, misses, rate)
			// A tenth of the 1 000 writes a second is of what is read, each read costs one miss to a node, and the first
			// read of each member is one: 1 500 of 10 000.
			if rate < 0.8 {
				t.Errorf("node %d: %.2f of the reads are hits", i, rate)
			}
		}
	})
}
