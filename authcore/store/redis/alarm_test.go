package redis

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// looks lets the watch look twice: what it finds it tells at the first, and sees at the second.
func looks(t *testing.T, db *DB) {
	t.Helper()
	for range 2 {
		if err := db.watch.round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A restore that is undone is no loss for those who have seen it, and keeps the leave given after a rollback before it.
func TestPeersRestoreUndone(t *testing.T) {
	s := redistest.Standalone(t)
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	other := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	for g := range groups {
		s.Must(t, "HSET", db.keys.head(g), "inc", time.Now().UnixMilli())
	}
	looks(t, db)
	r := &restore{db: db, token: randomID()}
	if err := errors.Join(r.enter(t.Context()), r.claim(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := db.restoreStep(t.Context(), 7, "", "rise", r.token, 99); err != nil {
		t.Fatal(err)
	}
	looks(t, db)
	looks(t, other)
	if err := r.undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	looks(t, db)
	looks(t, other)
	if d := db.Durability(); len(d.RolledBack) > 0 {
		t.Errorf("an alarm: %v", d.RolledBack)
	}
}

// What was accepted stays accepted for a node that reads it a moment before the replicas have it.
func TestPeersAcceptedUnacknowledged(t *testing.T) {
	f0 := redistest.SentinelWith(t, redistest.Options{Sentinel: []string{"sentinel down-after-milliseconds latchkey 60000"}})
	f := openFleet(t, 2, Options{Mode: Sentinel, Addresses: f0.Addresses(), MasterName: redistest.MasterName, Replicas: 1})
	f.writeFor(100 * time.Millisecond)
	f0.Masters[0].Must(t, "FLUSHALL")
	soon(t, "both are closed", patience, f.allClosed)
	late := f.nodes[1].watch
	soon(t, "both have told", patience, func() bool { return len(f.nodes[0].watch.alarmsNow()) > 0 })
	late.rounds.Lock()
	lookOn := sync.OnceFunc(late.rounds.Unlock)
	defer lookOn()
	if err := f.nodes[0].AcceptRollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	f0.Replicas[0].Pause(t)
	lookOn()
	_ = late.round(t.Context()) // reads what is not acknowledged
	f0.Replicas[0].Resume(t)
	soon(t, "both are open", patience, f.allOpen)
}

// While a slot is on its way from one master to another, both are looked at, also when what the nodes tell each other moves.
func TestPeersSlotMovesUnderTheWatch(t *testing.T) {
	f := redistest.Cluster(t)
	db := mustOpen(t, Options{Mode: Cluster, Addresses: f.Addresses()})
	shards, err := db.watch.masters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, group := range map[string]int{"the anchor": shards[0].anchor(), "another group": shards[0].groups[1]} {
		t.Run(name, func(t *testing.T) {
			s := shards[0]
			var from, to *redistest.Server
			for _, m := range f.Masters {
				if m.Addr == s.client.Options().Addr {
					from = m
				} else {
					to = m
				}
			}
			from.Must(t, "HSET", db.keys.head(group), "rev", 5)
			looks(t, db)
			finish := moveKeys(t, from, to, slotOf(group))
			looks(t, db)
			if got := db.State(); len(got.Failing)+len(got.RolledBack) > 0 {
				t.Errorf("%q, %v", got.Failing, got.RolledBack)
			}
			for _, m := range f.Masters {
				finish(m)
			}
			soon(t, "the watch follows", patience, func() bool { return db.watch.round(t.Context()) == nil })
			if err := db.watch.answering(group, true); err != nil {
				t.Error(err)
			}
		})
	}
}

// moveKeys takes all keys of a slot to another master, and answers what tells a master of it.
func moveKeys(t *testing.T, from, to *redistest.Server, slot int) (finish func(*redistest.Server)) {
	t.Helper()
	source, target := from.Must(t, "CLUSTER", "MYID"), to.Must(t, "CLUSTER", "MYID")
	to.Must(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	from.Must(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	host, port, _ := strings.Cut(to.Addr, ":")
	for {
		keys, _ := from.Must(t, "CLUSTER", "GETKEYSINSLOT", slot, 50).([]any)
		if len(keys) == 0 {
			return func(m *redistest.Server) { m.Must(t, "CLUSTER", "SETSLOT", slot, "NODE", target) }
		}
		from.Must(t, append([]any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}, keys...)...)
	}
}

// Whatever loses nothing raises no alarm.
func TestPeersNoAlarm(t *testing.T) {
	for name, happens := range map[string]func(t *testing.T, s *redistest.Server, f *fleet){
		"scripts forgotten": func(t *testing.T, s *redistest.Server, _ *fleet) { s.Must(t, "SCRIPT", "FLUSH") },
		"restarted while its file is rewritten": func(t *testing.T, s *redistest.Server, _ *fleet) {
			s.Must(t, "BGREWRITEAOF")
			s.Restart(t)
		},
		"restarted twice": func(t *testing.T, s *redistest.Server, _ *fleet) { s.Restart(t); s.Restart(t) },
		"a hung server": func(t *testing.T, s *redistest.Server, _ *fleet) {
			s.Pause(t)
			time.Sleep(2 * time.Second)
			s.Resume(t)
		},
		"a node that does not look": func(t *testing.T, s *redistest.Server, f *fleet) {
			f.nodes[1].watch.rounds.Lock()
			defer f.nodes[1].watch.rounds.Unlock()
			s.Restart(t)
			soon(t, "the other one goes on", patience, func() bool {
				_, err := f.nodes[0].Records().Get(t.Context(), store.Key{Partition: "x", Name: "x"})
				return errors.Is(err, store.ErrNotFound)
			})
		},
		"a node that lost its folder": func(t *testing.T, s *redistest.Server, f *fleet) {
			o := f.nodes[1].options
			f.nodes[1].Close()
			if err := os.RemoveAll(o.StateDir); err != nil {
				t.Fatal(err)
			}
			f.nodes[1] = mustOpen(t, o)
		},
		"a disk that is full": func(t *testing.T, s *redistest.Server, f *fleet) {
			aside := filepath.Join(f.nodes[1].options.StateDir, notesName+".new")
			if err := os.Mkdir(aside, 0o700); err != nil { // so that nothing can be written there
				t.Fatal(err)
			}
			f.writeFor(50 * time.Millisecond)
			soon(t, "it is told", patience, func() bool { return f.nodes[1].State().Unwritten != nil })
			if err := os.Remove(aside); err != nil {
				t.Fatal(err)
			}
			soon(t, "it is written again", patience, func() bool { return f.nodes[1].State().Unwritten == nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Standalone(t)
			f := openFleet(t, 2, Options{Mode: Standalone, Addresses: []string{s.Addr}})
			f.writeFor(50 * time.Millisecond)
			happens(t, s, f)
			soon(t, "all nodes are open", patience, f.allOpen)
			f.writeFor(50 * time.Millisecond)
			f.count(t, testClient(t, s.Addr))
			if alarms := f.nodes[0].watch.alarmsNow(); f.lost > 0 || len(alarms) > 0 {
				t.Errorf("%d lost, alarms %v", f.lost, alarms)
			}
		})
	}
}

// Nodes that start at the same instant on an empty store agree on what it is.
func TestPeersStartedTogether(t *testing.T) {
	s := redistest.Standalone(t)
	ids := make([]string, 4)
	var starts sync.WaitGroup
	for i := range ids {
		o := Options{Mode: Standalone, Addresses: []string{s.Addr}, StateDir: filepath.Join(t.TempDir(), fmt.Sprint(i))}
		starts.Go(func() {
			db, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			ids[i] = db.ID()
			if _, err := db.Records().Apply(t.Context(), "p", storetest.Put(fmt.Sprint(i), "v")); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("they are of the stores %q", ids)
		}
	}
}

// A master without the replicas it asks for refuses; that is told, and nothing else comes of it.
func TestPeersNoReplicas(t *testing.T) {
	master, replicas := redistest.Replicated(t, 1, "min-replicas-to-write 1", "min-replicas-max-lag 1")
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{master.Addr}, Replicas: 1})
	put := func() error {
		_, err := db.Records().Apply(t.Context(), "p", storetest.Put("a", "v"))
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	replicas[0].Kill(t)
	soon(t, "the master refuses", patience, func() bool {
		_, err := master.Command("SET", "x", 1)
		return err != nil && strings.HasPrefix(errors.Unwrap(err).Error(), "NOREPLICAS")
	})
	if err := put(); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, ErrRolledBack) {
		t.Errorf("got %v", err)
	}
	replicas[0].Restart(t)
	soon(t, "it writes again", patience, func() bool { return put() == nil })
}

// A replica of a Cluster that was cut off takes over: what it lacks is noticed.
func TestDrillStaleReplicaOfACluster(t *testing.T) {
	f0 := redistest.ClusterWith(t, redistest.Options{Replicas: 1, Conf: []string{"cluster-allow-reads-when-down no"}})
	f := openFleet(t, 2, Options{Mode: Cluster, Addresses: f0.Addresses(), AllowLossy: true})
	f.writeFor(200 * time.Millisecond)
	cutOff(t, f0.Masters[0], f0.Replicas[0])
	f.writeFor(300 * time.Millisecond)
	stop := f.watchDeleted()
	f0.Masters[0].Kill(t)
	took := soon(t, "all nodes are closed", 20*time.Second, f.allClosed)
	t.Logf("closed %v after the master was killed", took)
	f.noticed = true
	stop()
	c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: f0.Addresses()[1:], Protocol: 2, DisableIdentity: true})
	defer c.Close()
	f.count(t, c)
	f.told(t)
	soon(t, "it is accepted", patience, func() bool { return f.nodes[1].AcceptRollback(t.Context()) == nil })
	soon(t, "all nodes are open", patience, f.allOpen)
}
