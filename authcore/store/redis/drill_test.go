package redis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
)

// tally is what a drill counts. A record that was deleted, and the deletion acknowledged, is resurrected when any node
// reads it as present.
type tally struct {
	acknowledged, lost, resurrected atomic.Int64
	noticed                         bool
}

// fleet is several nodes in this process, each with a folder of its own.
type fleet struct {
	nodes []*DB
	tally
}

func openFleet(t *testing.T, n int, o Options) *fleet {
	t.Helper()
	f := &fleet{}
	for i := range n {
		o.StateDir, o.Node = filepath.Join(t.TempDir(), "state"), fmt.Sprint("node", i)
		f.nodes = append(f.nodes, mustOpen(t, o))
	}
	return f
}

// write lets every node put and delete records of its own until ctx ends, and answers those whose last change was
// acknowledged: the name and whether it is there. A change that was not acknowledged is repeated until it was.
func (f *fleet) write(ctx context.Context) map[string]bool {
	var mu sync.Mutex
	there := map[string]bool{}
	var writers sync.WaitGroup
	for n, db := range f.nodes {
		for w := range 4 {
			writers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					name := fmt.Sprintf("n%d w%d %d", n, w, i)
					put := store.Op{Kind: store.Put, Name: name, Value: []byte(name), IfRevision: store.AnyRevision}
					if _, err := db.Records().Apply(context.Background(), part(name), put); err != nil {
						continue
					}
					f.acknowledged.Add(1)
					mu.Lock()
					there[name] = true
					mu.Unlock()
					if i%2 == 0 {
						continue
					}
					mu.Lock()
					delete(there, name) // either way is right while it is not acknowledged
					mu.Unlock()
					gone := store.Op{Kind: store.Delete, Name: name, IfRevision: store.AnyRevision}
					if _, err := db.Records().Apply(context.Background(), part(name), gone); err == nil {
						f.acknowledged.Add(1)
						mu.Lock()
						there[name] = false
						mu.Unlock()
					}
				}
			})
		}
	}
	writers.Wait()
	return there
}

// part spreads the records over partitions, so over groups.
func part(name string) string {
	return fmt.Sprint("p", len(name), name[len(name)-1:], strings.Fields(name)[1])
}

// compare reads everything through every node that answers, and counts.
func (f *fleet) compare(t *testing.T, there map[string]bool) {
	t.Helper()
	for name, want := range there {
		for _, db := range f.nodes {
			_, err := db.Records().Get(t.Context(), store.Key{Partition: part(name), Name: name})
			switch {
			case err == nil && !want:
				f.resurrected.Add(1)
			case errors.Is(err, store.ErrNotFound) && want:
				f.lost.Add(1)
			case errors.Is(err, ErrRolledBack):
				f.noticed = true
				return
			case err != nil && !errors.Is(err, store.ErrNotFound):
				t.Errorf("read %q: %v", name, err)
				return
			}
		}
	}
}

func (f *fleet) report(t *testing.T) {
	t.Helper()
	t.Logf("acknowledged %d, lost %d, noticed %t, resurrected %d", f.acknowledged.Load(), f.lost.Load(), f.noticed, f.resurrected.Load())
	if f.resurrected.Load() > 0 {
		t.Error("a deleted record was read as present")
	}
	if f.acknowledged.Load() < 100 {
		t.Error("hardly anything was written")
	}
}

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

func writeFor(f *fleet, d time.Duration) map[string]bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f.write(ctx)
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

// An emptied store closes all nodes within a second, tells what is missing, and goes on when an operator accepts it.
func TestDrillFlushAll(t *testing.T) {
	s := redistest.Standalone(t)
	f := openFleet(t, 3, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	writeFor(f, 300*time.Millisecond)
	id := f.nodes[0].ID()
	s.Must(t, "FLUSHALL")
	took := soon(t, "all nodes are closed", 2*time.Second, f.allClosed)
	t.Logf("closed after %v", took)
	if took > time.Second {
		t.Error("that is too late")
	}
	d := f.nodes[1].Durability()
	if len(d.RolledBack) == 0 || d.RolledBack[0].Groups == 0 || d.RolledBack[0].Revisions == 0 || d.RolledBack[0].Own == 0 {
		t.Errorf("it tells %+v", d.RolledBack)
	}
	// A node that knows nothing, as doctor's may be, sees the alarm, accepts it, and may do so again.
	soon(t, "the alarm stands in the server", time.Second, func() bool {
		n, err := s.Command("EXISTS", f.nodes[0].keys.of(0, "a"))
		return err == nil && n == int64(1)
	})
	fresh := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	if _, err := fresh.Records().Get(t.Context(), store.Key{Partition: "x", Name: "x"}); !errors.Is(err, ErrRolledBack) {
		t.Errorf("a new node: %v", err)
	}
	for range 2 {
		if err := fresh.AcceptRollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "all nodes are open", 5*time.Second, f.allOpen)
	t.Logf("store %s, now %v", id, s.Must(t, "HGET", f.nodes[0].keys.meta(), "id"))
	f.compare(t, writeFor(f, 200*time.Millisecond))
	if f.lost.Load() > 0 || f.noticed {
		t.Error("after the acceptance something is missing again")
	}
	f.report(t)
}

// Old files under a server that starts again: what a restored machine has.
func TestDrillOldFiles(t *testing.T) {
	s := redistest.Standalone(t)
	f := openFleet(t, 3, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	writeFor(f, 300*time.Millisecond)
	old := filepath.Join(t.TempDir(), "old")
	copyFiles(t, filepath.Join(s.Dir, "appendonlydir"), old)
	there := writeFor(f, 300*time.Millisecond)
	s.Kill(t)
	copyFiles(t, old, filepath.Join(s.Dir, "appendonlydir"))
	s.Restart(t)
	// From the first answer on nobody reads what was deleted.
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		for name, want := range there {
			if want {
				continue
			}
			if _, err := f.nodes[0].Records().Get(t.Context(), store.Key{Partition: part(name), Name: name}); err == nil {
				f.resurrected.Add(1)
			}
			break // another one each time
		}
	}
	soon(t, "all nodes are closed", 5*time.Second, f.allClosed)
	f.noticed = true
	// A node that is started again still knows it, and the folder of another one cannot be used beside it.
	o := f.nodes[0].options
	if err := f.nodes[0].Close(); err != nil {
		t.Error(err)
	}
	f.nodes[0] = mustOpen(t, o)
	if !f.allClosed() {
		t.Error("a restart opened it")
	}
	if err := f.nodes[0].AcceptRollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "all nodes are open", 5*time.Second, f.allOpen)
	f.report(t)
}

// With appendfsync always nothing that was acknowledged is lost by kill -9, and nobody cries wolf.
func TestDrillKillDurable(t *testing.T) {
	s := redistest.Standalone(t)
	f := openFleet(t, 3, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var killer sync.WaitGroup
	killer.Go(func() {
		for range 3 {
			time.Sleep(700 * time.Millisecond)
			s.Restart(t)
		}
	})
	there := f.write(ctx)
	killer.Wait()
	soon(t, "all nodes are open", 10*time.Second, f.allOpen)
	f.compare(t, there)
	f.report(t)
	if f.lost.Load() > 0 || f.noticed {
		t.Error("something is missing")
	}
}

// Without fsync a restart over files that lack the end is noticed, or nothing was lost.
func TestDrillKillLossy(t *testing.T) {
	for _, fsync := range []string{"everysec", "no"} {
		t.Run(fsync, func(t *testing.T) {
			s := redistest.Standalone(t, "appendfsync "+fsync)
			f := openFleet(t, 3, Options{Mode: Standalone, Addresses: []string{s.Addr}, AllowLossy: true})
			there := writeFor(f, time.Second)
			s.Kill(t)
			cutTail(t, filepath.Join(s.Dir, "appendonlydir")) // what a power cut takes of what was not synced
			s.Restart(t)
			soon(t, "all nodes are closed", 10*time.Second, f.allClosed)
			f.compare(t, there)
			f.report(t)
			if !f.noticed {
				t.Error("nobody noticed")
			}
		})
	}
}

// cutTail takes the last tenth of the newest file.
func cutTail(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.incr.aof"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no file to cut in %s: %v", dir, err)
	}
	last := names[len(names)-1]
	info, err := os.Stat(last)
	if err == nil {
		err = os.Truncate(last, info.Size()*9/10)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A write that its replica does not acknowledge is answered as unavailable, and may be repeated; soon nothing is read
// from a master whose replicas are silent.
func TestDrillReplicaSilent(t *testing.T) {
	f0 := redistest.SentinelWith(t, redistest.Options{Sentinel: []string{"sentinel down-after-milliseconds latchkey 60000"}})
	f := openFleet(t, 1, Options{Mode: Sentinel, Addresses: f0.Addresses(), MasterName: redistest.MasterName, Replicas: 1})
	db := f.nodes[0]
	put := func() error {
		_, err := db.Records().Apply(t.Context(), "p", store.Op{Kind: store.Put, Name: "a", Value: []byte("1"), IfRevision: store.AnyRevision})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	f0.Replicas[0].Pause(t)
	if err := put(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without an acknowledgement: %v", err)
	}
	read := func() error {
		_, err := db.Records().Get(t.Context(), store.Key{Partition: "p", Name: "a"})
		return err
	}
	took := soon(t, "nothing is read", 2*staleAfter, func() bool { return errors.Is(read(), store.ErrUnavailable) })
	t.Logf("reads ended after %v", took)
	f0.Replicas[0].Resume(t)
	soon(t, "it is read again", 5*time.Second, func() bool { return read() == nil })
	if err := put(); err != nil {
		t.Errorf("repeated: %v", err)
	}
}

// A replica that was cut off is promoted by hand while others write: whatever it lacks is noticed before anybody reads
// or writes there.
func TestDrillStaleReplica(t *testing.T) {
	f0 := redistest.SentinelWith(t, redistest.Options{
		Conf: []string{"min-replicas-to-write 0"}, Sentinel: []string{"sentinel down-after-milliseconds latchkey 500"},
	})
	master, replica := f0.Masters[0], f0.Replicas[0]
	f := openFleet(t, 3, Options{Mode: Sentinel, Addresses: f0.Addresses(), MasterName: redistest.MasterName, AllowLossy: true})
	writeFor(f, 500*time.Millisecond)
	replica.Must(t, "CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")
	master.Must(t, "CLIENT", "KILL", "TYPE", "replica") // it misses what follows
	there := writeFor(f, 300*time.Millisecond)
	master.Kill(t)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	readers.Go(func() { f.readDeleted(ctx, there) })
	var writers sync.WaitGroup
	writers.Go(func() { f.write(ctx) }) // others race past what was lost
	took := soon(t, "all nodes are closed", 30*time.Second, f.allClosed)
	t.Logf("closed %v after the master was killed", took)
	time.Sleep(time.Second)
	cancel()
	readers.Wait()
	writers.Wait()
	f.noticed = true
	f.report(t)
	if err := f.nodes[2].AcceptRollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "all nodes are open", 10*time.Second, f.allOpen)
}

// readDeleted reads through every node what was deleted for good, until ctx ends.
func (f *fleet) readDeleted(ctx context.Context, there map[string]bool) {
	var readers sync.WaitGroup
	for _, db := range f.nodes {
		readers.Go(func() {
			for ctx.Err() == nil {
				for name, want := range there {
					if want || ctx.Err() != nil {
						continue
					}
					if _, err := db.Records().Get(ctx, store.Key{Partition: part(name), Name: name}); err == nil {
						f.resurrected.Add(1)
					} else if !errors.Is(err, store.ErrNotFound) {
						time.Sleep(time.Millisecond)
					}
				}
			}
		})
	}
	readers.Wait()
}

// Two processes with copies of one folder: the second is refused while the first lives.
func TestPeersCopiedFolder(t *testing.T) {
	s := redistest.Standalone(t)
	o := Options{Mode: Standalone, Addresses: []string{s.Addr}, StateDir: filepath.Join(t.TempDir(), "a")}
	mustOpen(t, o)
	copied := filepath.Join(t.TempDir(), "b")
	copyFiles(t, o.StateDir, copied)
	if err := os.Chmod(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	o.StateDir = copied
	if db, err := Open(t.Context(), o); !errors.Is(err, errTwin) {
		t.Errorf("got %v", err)
		if err == nil {
			db.Close()
		}
	}
}
