package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

func ping(t *testing.T) []goredis.Cmder {
	return []goredis.Cmder{goredis.NewStatusCmd(t.Context(), "ping")}
}

// Who gives up in line is not served, whatever ended his patience.
func TestWhoGivesUpInLineIsNotServed(t *testing.T) {
	for name, ends := range map[string]func(ctx context.Context) (context.Context, context.CancelFunc){
		"the caller's time": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
		"that of any call": context.WithCancel,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := ends(t.Context())
				defer cancel()
				l, began := newLane(), time.Now()
				err := l.send(ctx, began.Add(callLimit), ping(t))
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > callLimit {
					t.Errorf("got %v after %v", err, time.Since(began))
				}
				if taken := l.take(nil); len(taken) != 0 {
					t.Errorf("%d are served", len(taken))
				}
			})
		})
	}
}

// Every caller has an answer of his own pipeline, however many share requests that are used again, and whoever gives up.
func TestLaneAnswersEveryCaller(t *testing.T) {
	l := newLane()
	stop, worked := make(chan struct{}), sync.WaitGroup{}
	for range laneWorkers {
		worked.Go(func() {
			for {
				select {
				case <-l.wake:
				case <-stop:
					l.close(errClosed)
					return
				}
				for _, req := range l.take(nil) {
					req.end(req.cmds[0].Err())
				}
			}
		})
	}
	var callers sync.WaitGroup
	for i := range 200 {
		callers.Go(func() {
			for n := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				cmds, want := ping(t), errors.New("mine")
				cmds[0].SetErr(want)
				if (i+n)%7 == 0 {
					cancel()
				}
				if err := l.send(ctx, time.Now().Add(callLimit), cmds); err != want && !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want my own answer", err)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	close(stop)
	worked.Wait()
	if err := l.send(t.Context(), time.Now().Add(callLimit), ping(t)); !errors.Is(err, errClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// Values that are large are few in a pipeline: the first one shows it, and small ones let them be many again.
func TestPipelineOfLargeValues(t *testing.T) {
	l := newLane()
	get := func(bytes int) []goredis.Cmder {
		c := goredis.NewStringCmd(t.Context(), "get", "k")
		c.SetVal(strings.Repeat("x", bytes))
		return []goredis.Cmder{c}
	}
	taken := func() int {
		for range 2 * pipeCommands {
			if err := l.put(l.request(get(0))); err != nil {
				t.Fatal(err)
			}
		}
		n := len(l.take(nil))
		for len(l.take(nil)) > 0 { // nobody is left
		}
		return n
	}
	for _, c := range []struct {
		name        string
		read, times int
		want        int
	}{
		{"small", 1000, 1, pipeCommands},
		{"a megabyte, once", 1 << 20, 1, pipeBytes >> 20},
		{"small again, once", 1000, 1, 10},
		{"small again", 1000, 60, pipeCommands},
	} {
		for range c.times {
			l.learn(get(c.read))
		}
		if got := taken(); got != c.want {
			t.Errorf("%s: got %d in a pipeline, want %d", c.name, got, c.want)
		}
	}
	none := get(0)
	none[0].SetErr(goredis.Nil)
	before := l.answer
	if l.learn(none); l.answer != before {
		t.Errorf("what is not there changed the expectation from %d to %d", before, l.answer)
	}
}

// A node of a Cluster that keeps nothing any more leaves nothing behind, and who comes to it is sent on.
func TestVanishedShardIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &DB{options: Options{Mode: Cluster}, closing: make(chan struct{})}
		db.router = &router{db: db, shards: map[string]*shard{}, unowned: newBreaker()}
		tell := func(first, second string) {
			db.router.place("127.0.0.1:1", []goredis.ClusterSlot{
				{Start: 0, End: 8191, Nodes: []goredis.ClusterNode{{Addr: first}}},
				{Start: 8192, End: 16383, Nodes: []goredis.ClusterNode{{Addr: second}}},
			})
			synctest.Wait()
		}
		tell("127.0.0.1:1", "127.0.0.1:2")
		stays, goes := db.router.shards["127.0.0.1:1"], db.router.shards["127.0.0.1:2"]
		for n := range 50 { // nodes come and go
			tell("127.0.0.1:1", fmt.Sprint("127.0.0.1:", 3+n))
		}
		if l := db.router.shards; len(l) != 2 || l["127.0.0.1:1"] != stays || stays.working.Load() != 2*laneWorkers {
			t.Errorf("%d shards are known, want 2; the one that stays has %d workers", len(l), stays.working.Load())
		}
		if n := goes.working.Load(); n != 0 {
			t.Errorf("the one that is gone has %d workers", n)
		}
		for _, l := range []*lane{goes.reads, goes.writes} {
			err := l.send(t.Context(), time.Now().Add(callLimit), ping(t))
			if !errors.Is(err, errGone) {
				t.Errorf("who comes to it hears %v", err)
			}
			if _, again := db.mend(t.Context(), 0, nil, err); !again {
				t.Error("who comes to it is not sent on")
			}
		}
		if err := goes.client.Close(); err == nil {
			t.Error("its client was not closed")
		}
		tell("127.0.0.1:1", "127.0.0.1:2")
		if s := db.router.shards["127.0.0.1:2"]; s == goes || db.router.owner(groups-1).working.Load() == 0 {
			t.Error("one that is back is not served")
		}
		close(db.closing)
		db.workers.Wait()
	})
}

func TestPeersRemoveSoon(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			db := mustOpen(t, start(t))
			e, k := db.Ephemeral(), store.Key{Partition: "p", Name: "n"}
			members := make([]string, 300)
			for i := range members {
				members[i] = randomID()
				if _, err := e.Add(t.Context(), k, members[i], time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			var told atomic.Int64
			for _, m := range members[1:] {
				e.RemoveSoon(k, m, func(err error) {
					if err != nil {
						t.Errorf("remove: %v", err)
					}
					told.Add(1)
				})
			}
			soon(t, "all were told", 5*time.Second, func() bool { return told.Load() == int64(len(members)-1) })
			if left, err := e.Members(t.Context(), k, time.Minute, 10); err != nil || len(left) != 1 || left[0] != members[0] {
				t.Errorf("left: %v, %v", left, err)
			}
			e.RemoveSoon(k, "", func(err error) { told.Store(-1) })
			if told.Load() != -1 {
				t.Error("a member that cannot be was removed")
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			e.RemoveSoon(k, members[0], func(err error) {
				if told.Store(-2); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("after the end: %v", err)
				}
			})
			if told.Load() != -2 {
				t.Error("after the end nobody was told")
			}
		})
	}
}

// What a caller that gave up has written may still be sent: nobody else writes there.
func TestWordsOfADesertedCallAreLeft(t *testing.T) {
	for _, test := range []struct {
		name   string
		served bool
	}{{"answered", true}, {"given up", false}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, pool := newLane(), &wordsPool{}
				w := pool.get()
				w.add("a", "b")
				w.number(7)
				call := addScript.run(t.Context(), 1, w)
				if test.served {
					go func() {
						<-l.wake
						l.take(nil)[0].end(nil)
					}()
				}
				err := l.send(t.Context(), time.Now().Add(callLimit), []goredis.Cmder{call})
				if (err == nil) != test.served || w.left == test.served {
					t.Errorf("%v, left %v", err, w.left)
				}
				pool.put(w)
				if emptied := len(w.ends) == 0; emptied != test.served {
					t.Errorf("words %q are used again: %v", w.text, emptied)
				}
				sent := call.Args()
				w.behind("evalsha")
				if first := sent[3].(*word); !test.served && string(*first) != "ab" {
					t.Errorf("what may be sent is now %q", *first)
				}
			})
		})
	}
}

// Callers that give up at any moment, and others that come after them, write and count what they said and nothing else.
func TestPeersWordsAreTheCallersOwn(t *testing.T) {
	db := mustOpen(t, servers[Standalone](t))
	r, e := db.Records(), db.Ephemeral()
	var callers sync.WaitGroup
	for i := range 48 {
		callers.Go(func() {
			for n := range 40 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+n)%3 == 0 {
					time.AfterFunc(time.Duration(n%8)*100*time.Microsecond, cancel)
				}
				name := fmt.Sprintf("%02d/%02d", i, n)
				_, _ = r.Apply(ctx, "p"+name, storetest.Put(name, strings.Repeat(name, 1+n)))
				_, _ = e.Add(ctx, store.Key{Partition: "p" + name, Name: name}, name, time.Minute)
				cancel()
				if n%2 == 0 {
					e.RemoveSoon(store.Key{Partition: "p" + name, Name: name}, "none/"+name, func(error) {})
				}
				got, err := r.List(t.Context(), "p"+name, store.Query{Limit: 10})
				for _, record := range got {
					if record.Name != name || string(record.Value) != strings.Repeat(name, 1+n) {
						t.Errorf("%s: got %s, %q", name, record.Name, record.Value)
					}
				}
				in, inErr := e.Members(t.Context(), store.Key{Partition: "p" + name, Name: name}, time.Minute, 10)
				if err != nil || inErr != nil || len(got) > 1 || len(in) > 1 || len(in) == 1 && in[0] != name {
					t.Errorf("%s: %d records, members %q: %v, %v", name, len(got), in, err, inErr)
				}
			}
		})
	}
	callers.Wait()
}
