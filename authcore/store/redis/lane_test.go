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
					l.close()
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
