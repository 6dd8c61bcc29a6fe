package redis

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
)

// An emptied store closes all nodes within a second, tells what is missing, and goes on when an operator accepts it.
func TestDrillFlushAll(t *testing.T) {
	s := redistest.Standalone(t)
	f := openFleet(t, 3, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	f.writeFor(300 * time.Millisecond)
	stop := f.watchDeleted()
	s.Must(t, "FLUSHALL")
	took := soon(t, "all nodes are closed", 20*time.Second, f.allClosed)
	f.noticed = true
	f.count(t, testClient(t, s.Addr))
	stop()
	f.told(t)
	t.Logf("closed after %v", took)
	if took > 3*time.Second { // a second, where the machine has time
		t.Error("that is too late")
	}
	d := f.nodes[1].Durability()
	if len(d.RolledBack) == 0 || d.RolledBack[0].Groups == 0 || d.RolledBack[0].Revisions == 0 || d.RolledBack[0].Own == 0 {
		t.Errorf("it tells %+v", d.RolledBack)
	}
	// A node that knows nothing, as doctor's may be, sees the alarm, accepts it, and may do so again.
	soon(t, "the alarm stands in the server", patience, func() bool {
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
	soon(t, "all nodes are open", patience, f.allOpen)
	if id := s.Must(t, "HGET", f.nodes[0].keys.meta(), "id"); id != f.nodes[0].ID() || id != fresh.ID() {
		t.Errorf("the store was %s and is now %v, for a new node %s", f.nodes[0].ID(), id, fresh.ID())
	}
	f.noticed, f.there = false, map[string]bool{}
	f.writeFor(200 * time.Millisecond)
	f.count(t, testClient(t, s.Addr))
	f.noticed = !f.allOpen()
	f.kept(t)
	o := f.nodes[2].options
	f.nodes[2].Close()
	if again := mustOpen(t, o); again.ID() != f.nodes[0].ID() {
		t.Errorf("started again it is store %s, not %s", again.ID(), f.nodes[0].ID())
	}
}

// Old files under a server that starts again: what a restored machine has.
func TestDrillOldFiles(t *testing.T) {
	s := redistest.Standalone(t)
	f := openFleet(t, 3, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	f.writeFor(300 * time.Millisecond)
	old := filepath.Join(t.TempDir(), "old")
	copyFiles(t, filepath.Join(s.Dir, "appendonlydir"), old)
	f.writeFor(300 * time.Millisecond)
	stop := f.watchDeleted()
	s.Kill(t)
	copyFiles(t, old, filepath.Join(s.Dir, "appendonlydir"))
	s.Restart(t)
	took := soon(t, "all nodes are closed", 20*time.Second, f.allClosed)
	t.Logf("closed %v after it answered again", took)
	f.noticed = true
	f.count(t, testClient(t, s.Addr))
	stop()
	f.told(t)
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
	soon(t, "all nodes are open", patience, f.allOpen)
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
	stop := f.watchDeleted()
	f.write(ctx)
	killer.Wait()
	stop()
	soon(t, "all nodes are open", patience, f.allOpen)
	f.count(t, testClient(t, s.Addr))
	f.kept(t)
}

// Without fsync a restart over files that lack the end is noticed, or nothing was lost.
func TestDrillKillLossy(t *testing.T) {
	for _, fsync := range []string{"everysec", "no"} {
		t.Run(fsync, func(t *testing.T) {
			s := redistest.Standalone(t, "appendfsync "+fsync)
			f := openFleet(t, 3, Options{Mode: Standalone, Addresses: []string{s.Addr}, AllowLossy: true})
			f.writeFor(time.Second)
			stop := f.watchDeleted()
			s.Kill(t)
			cutTail(t, filepath.Join(s.Dir, "appendonlydir")) // what a power cut takes of what was not synced
			s.Restart(t)
			soon(t, "all nodes are closed", patience, f.allClosed)
			f.noticed = true
			f.count(t, testClient(t, s.Addr))
			stop()
			f.told(t)
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
	soon(t, "it is read again", patience, func() bool { return read() == nil })
	if err := put(); err != nil {
		t.Errorf("repeated: %v", err)
	}
}

// staleReplica starts a fleet whose master has a replica that misses what is written after cut, and sentinels that
// promote it all the same.
func staleReplica(t *testing.T) (f0 *redistest.Fleet, o Options, cut func()) {
	f0 = redistest.SentinelWith(t, redistest.Options{
		Conf: []string{"min-replicas-to-write 0"}, Sentinel: []string{"sentinel down-after-milliseconds latchkey 500"},
	})
	o = Options{Mode: Sentinel, Addresses: f0.Addresses(), MasterName: redistest.MasterName, AllowLossy: true}
	return f0, o, func() { cutOff(t, f0.Masters[0], f0.Replicas[0]) }
}

func cutOff(t *testing.T, master, replica *redistest.Server) {
	t.Helper()
	replica.Must(t, "CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")
	master.Must(t, "CLIENT", "KILL", "TYPE", "replica")
}

// A replica that was cut off is promoted while others write: whatever it lacks is noticed before anybody reads or writes
// there.
func TestDrillStaleReplica(t *testing.T) {
	f0, o, cut := staleReplica(t)
	f := openFleet(t, 3, o)
	f.writeFor(500 * time.Millisecond)
	cut()
	f.writeFor(300 * time.Millisecond)
	stop := f.watchDeleted()
	f0.Masters[0].Kill(t)
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	writers.Go(func() { f.write(ctx) }) // others race past what was lost
	took := soon(t, "all nodes are closed", 20*time.Second, f.allClosed)
	t.Logf("closed %v after the master was killed", took)
	f.noticed = true
	time.Sleep(time.Second)
	cancel()
	writers.Wait()
	f.count(t, testClient(t, f0.Replicas[0].Addr))
	stop()
	f.told(t)
	if err := f.nodes[2].AcceptRollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "all nodes are open", patience, f.allOpen)
}

// Only the writer knows of its last deletion when the master dies, and it looks later than another node: that one waits
// for it, and does not read on the new master what was deleted.
func TestDrillBarrier(t *testing.T) {
	f0, o, cut := staleReplica(t)
	f := openFleet(t, 2, o)
	reader, writer := f.nodes[0], f.nodes[1]
	f.writeOne(writer)
	key := store.Key{Partition: "alone", Name: "member"}
	apply(t, writer, key, store.Put)
	cut()
	reader.watch.rounds.Lock() // it has not seen what comes now
	apply(t, writer, key, store.Delete)
	f0.Masters[0].Kill(t)
	writer.watch.rounds.Lock()
	lookOn := sync.OnceFunc(writer.watch.rounds.Unlock)
	defer lookOn()
	reader.watch.rounds.Unlock()
	promoted := func() bool {
		info, err := f0.Replicas[0].Info("replication")
		return err == nil && info["role"] == "master"
	}
	read := func() error {
		_, err := reader.Records().Get(t.Context(), key)
		return err
	}
	soon(t, "the replica is promoted", patience, promoted)
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if err := read(); err == nil {
			t.Fatal("what was deleted was read")
		} else if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("read: %v", err)
		}
	}
	lookOn()
	took := soon(t, "both are closed", patience, f.allClosed)
	t.Logf("closed %v after the writer could look", took)
	if err := read(); !errors.Is(err, ErrRolledBack) {
		t.Errorf("read: %v", err)
	}
}

func apply(t *testing.T, db *DB, k store.Key, kind store.Kind) {
	t.Helper()
	if _, err := db.Records().Apply(t.Context(), k.Partition, store.Op{Kind: kind, Name: k.Name, IfRevision: store.AnyRevision}); err != nil {
		t.Fatal(err)
	}
}

// Two processes with copies of one folder: the second is refused while the first lives.
func TestPeersCopiedFolder(t *testing.T) {
	s := redistest.Standalone(t)
	o := Options{Mode: Standalone, Addresses: []string{s.Addr}, StateDir: filepath.Join(t.TempDir(), "a")}
	mustOpen(t, o)
	copied := filepath.Join(t.TempDir(), "b")
	b, err := os.ReadFile(filepath.Join(o.StateDir, notesName)) // what it writes beside, it may be renaming now
	if err == nil {
		err = errors.Join(os.Mkdir(copied, 0o700), os.WriteFile(filepath.Join(copied, notesName), b, 0o600))
	}
	if err != nil {
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
