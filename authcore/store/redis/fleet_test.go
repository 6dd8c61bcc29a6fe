package redis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// fleet is several nodes in this process, each with a folder of its own, and what a drill counts.
type fleet struct {
	nodes []*DB

	mu    sync.Mutex
	there map[string]bool // guarded by mu, as all below: of each name whose last change was acknowledged, whether it is there
	gone  []string        // names whose deletion was acknowledged; none is ever put again

	named, acknowledged, read, resurrected atomic.Int64
	lost                                   int
	noticed                                bool
}

func openFleet(t *testing.T, n int, o Options) *fleet {
	t.Helper()
	f := &fleet{there: map[string]bool{}}
	for i := range n {
		o.StateDir, o.Node = filepath.Join(t.TempDir(), "state"), fmt.Sprint("node", i)
		f.nodes = append(f.nodes, mustOpen(t, o))
	}
	return f
}

// write lets every node put records, and delete every second one again, until ctx ends.
func (f *fleet) write(ctx context.Context) {
	var writers sync.WaitGroup
	for _, db := range f.nodes {
		for range 4 {
			writers.Go(func() {
				for ctx.Err() == nil {
					f.writeOne(db)
				}
			})
		}
	}
	writers.Wait()
}

func (f *fleet) writeOne(db *DB) {
	i := f.named.Add(1)
	name := fmt.Sprint("n", i)
	put := store.Op{Kind: store.Put, Name: name, Value: []byte(name), IfRevision: store.AnyRevision}
	if _, err := db.Records().Apply(context.Background(), part(name), put); err != nil {
		time.Sleep(time.Millisecond)
		return
	}
	f.acknowledge(name, true)
	if i%2 == 0 {
		return
	}
	f.mu.Lock()
	delete(f.there, name) // either way is right until the deletion is acknowledged
	f.mu.Unlock()
	gone := store.Op{Kind: store.Delete, Name: name, IfRevision: store.AnyRevision}
	if _, err := db.Records().Apply(context.Background(), part(name), gone); err == nil {
		f.acknowledge(name, false)
	}
}

func (f *fleet) acknowledge(name string, there bool) {
	f.acknowledged.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.there[name] = there
	if !there {
		f.gone = append(f.gone, name)
	}
}

// writeFor writes for d at least, and until there is enough to be judged by: a busy machine takes longer.
func (f *fleet) writeFor(d time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	enough, began := f.acknowledged.Load()+100, time.Now()
	go func() {
		defer cancel()
		<-time.After(d)
		for f.acknowledged.Load() < enough && time.Since(began) < patience {
			<-time.After(time.Millisecond)
		}
	}()
	f.write(ctx)
}

// part spreads the records over partitions, so over groups.
func part(name string) string { return fmt.Sprint("p", len(name), name[len(name)-1:]) }

// watchDeleted reads through every node what was deleted, the latest first, until the answer is called. A name that is
// read as present was resurrected, by whatever happens meanwhile.
func (f *fleet) watchDeleted() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for n, db := range f.nodes {
		readers.Go(func() {
			for i := n; ctx.Err() == nil; i++ {
				name := f.deleted(i)
				if name == "" {
					time.Sleep(time.Millisecond)
					continue
				}
				_, err := db.Records().Get(ctx, store.Key{Partition: part(name), Name: name})
				switch {
				case err == nil:
					f.resurrected.Add(1)
				case errors.Is(err, store.ErrNotFound):
					f.read.Add(1)
				default:
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for until := time.Now().Add(2 * time.Second); f.read.Load() == 0 && time.Now().Before(until); {
		time.Sleep(time.Millisecond) // so that they have read before whatever comes
	}
	return func() { cancel(); readers.Wait() }
}

// deleted answers one of the last names that were deleted.
func (f *fleet) deleted(i int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := min(len(f.gone), 500)
	if last == 0 {
		return ""
	}
	return f.gone[len(f.gone)-1-i%last]
}

// count compares every acknowledged record with what the server has, asked past the engine and so past its alarm.
func (f *fleet) count(t *testing.T, server goredis.Cmdable) {
	t.Helper()
	k := f.nodes[0].keys
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = 0
	for name, want := range f.there {
		n, err := server.Exists(t.Context(), k.records(part(name))+name).Result()
		if err != nil {
			t.Fatal(err)
		}
		if want != (n == 1) {
			f.lost++
		}
	}
}

// kept is what the promising settings promise.
func (f *fleet) kept(t *testing.T) {
	t.Helper()
	f.report(t)
	if f.lost > 0 {
		t.Errorf("%d acknowledged changes are lost", f.lost)
	}
	if f.noticed {
		t.Error("an alarm without a loss")
	}
}

// told is what holds under every setting.
func (f *fleet) told(t *testing.T) {
	t.Helper()
	f.report(t)
	if f.lost == 0 {
		t.Error("nothing was lost: the drill shows nothing")
	}
	if f.lost > 0 && !f.noticed {
		t.Error("a loss that nobody noticed")
	}
}

func (f *fleet) report(t *testing.T) {
	t.Helper()
	t.Logf("acknowledged %d, lost %d, noticed %t, read as deleted %d times, resurrected %d",
		f.acknowledged.Load(), f.lost, f.noticed, f.read.Load(), f.resurrected.Load())
	if f.resurrected.Load() > 0 {
		t.Error("a deleted record was read as present")
	}
	if f.acknowledged.Load() < 100 {
		t.Error("hardly anything was written")
	}
}

// patience bounds a wait for what comes by itself: a busy machine may take its time.
const patience = 60 * time.Second

// soon waits until what is asked for holds.
func soon(t *testing.T, what string, within time.Duration, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

func (f *fleet) allClosed() bool {
	for _, db := range f.nodes {
		if _, err := db.Records().Get(context.Background(), store.Key{Partition: "x", Name: "x"}); !errors.Is(err, ErrRolledBack) {
			return false
		}
	}
	return true
}

func (f *fleet) allOpen() bool {
	for _, db := range f.nodes {
		if _, err := db.Records().Get(context.Background(), store.Key{Partition: "x", Name: "x"}); !errors.Is(err, store.ErrNotFound) {
			return false
		}
	}
	return true
}

// copyFiles are the data files of a server, as a snapshot of the machine would have them.
func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
