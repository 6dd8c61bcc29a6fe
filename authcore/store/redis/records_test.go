package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// The connection dies between the script and its answer: the batch is repeated, found done, and answered as it was.
func TestPeersBatchRepeated(t *testing.T) {
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	r := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.ClientAddr()}, limits: unhurried()}).Records()
	for i := int64(1); i <= 20; i++ {
		s.Proxy.CutAnswers(1)
		got, err := r.Apply(t.Context(), "p", storetest.PutNew(fmt.Sprint("n", i), "once"))
		s.Proxy.Heal()
		if err != nil || got != i {
			t.Fatalf("batch %d: got revision %d, %v", i, got, err)
		}
		if rec, err := r.Get(t.Context(), store.Key{Partition: "p", Name: fmt.Sprint("n", i)}); err != nil || rec.Revision != i {
			t.Errorf("record %d: got revision %d, %v", i, rec.Revision, err)
		}
	}
}

func TestPeersScriptsForgotten(t *testing.T) {
	db, s, _ := standalone(t)
	var writers sync.WaitGroup
	for w := range 32 {
		writers.Go(func() {
			for i := range 20 {
				if w == 0 {
					s.Must(t, "SCRIPT", "FLUSH")
				}
				if _, err := db.Records().Apply(t.Context(), fmt.Sprint("p", w), storetest.PutNew(fmt.Sprint(i), "v")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
}

// While slots move from node to node nothing is lost, written twice or seen in part.
func TestPeersSlotMoves(t *testing.T) {
	f := redistest.Cluster(t, "cluster-node-timeout 60000")
	db := mustOpen(t, Options{Mode: Cluster, Addresses: f.Addresses(), limits: unhurried()})
	r := db.Records()
	group := groupOf("counter")
	for i := range 200 { // keys that take a while to move
		mustApply(t, r, "counter", storetest.Put(fmt.Sprint("filler", i), strings.Repeat("v", 1000)))
	}
	mustApply(t, r, "counter", storetest.Put("n", "0"))
	ctx, stop := context.WithCancel(t.Context())
	var counted atomic.Int64
	var writers sync.WaitGroup
	for range 100 {
		writers.Go(func() {
			for ctx.Err() == nil {
				if countUp(t, r) {
					counted.Add(1)
				}
			}
		})
	}
	for i := range 4 {
		moveSlot(t, f, db.keys.group(group), slotOf(group), f.Masters[i%3])
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	writers.Wait()
	got, err := r.Get(t.Context(), store.Key{Partition: "counter", Name: "n"})
	if want := strconv.FormatInt(counted.Load(), 10); err != nil || string(got.Value) != want || counted.Load() == 0 {
		t.Errorf("got %q, %v, want %s, what the writers counted", got.Value, err, want)
	}
}

// countUp adds one by compare-and-set and answers whether it did. It runs to its end also when the writers are stopped.
func countUp(t *testing.T, r *Records) bool {
	rec, err := r.Get(context.Background(), store.Key{Partition: "counter", Name: "n"})
	if err != nil {
		t.Errorf("get while the slot moves: %v", err)
		return false
	}
	n, _ := strconv.Atoi(string(rec.Value))
	_, err = r.Apply(context.Background(), "counter", storetest.PutAt(rec.Revision, "n", strconv.Itoa(n+1)))
	if err != nil && !errors.Is(err, store.ErrConflict) {
		t.Errorf("apply while the slot moves: %v", err)
	}
	return err == nil
}

// moveSlot does what redis-cli --cluster reshard does.
func moveSlot(t *testing.T, f *redistest.Fleet, prefix string, slot int, to *redistest.Server) {
	t.Helper()
	var from *redistest.Server
	for _, s := range f.Masters {
		if keys, _ := s.Must(t, "CLUSTER", "COUNTKEYSINSLOT", slot).(int64); keys > 0 {
			from = s
		}
	}
	if from == to {
		return
	}
	source, target := from.Must(t, "CLUSTER", "MYID"), to.Must(t, "CLUSTER", "MYID")
	to.Must(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	from.Must(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	host, port, _ := net.SplitHostPort(to.Addr)
	for {
		keys, _ := from.Must(t, "CLUSTER", "GETKEYSINSLOT", slot, 50).([]any)
		if len(keys) == 0 {
			break
		}
		from.Must(t, append([]any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}, keys...)...)
	}
	to.Must(t, "CLUSTER", "SETSLOT", slot, "NODE", target)
	for _, s := range f.Masters {
		s.Must(t, "CLUSTER", "SETSLOT", slot, "NODE", target)
	}
}

// A replica takes over while writers write: what was acknowledged is there, and the store answers again.
func TestPeersReplicaPromoted(t *testing.T) {
	f := redistest.SentinelWith(t, redistest.Options{Sentinel: []string{"sentinel down-after-milliseconds latchkey 500"}})
	r := mustOpen(t, Options{Mode: Sentinel, Addresses: f.Addresses(), MasterName: redistest.MasterName, Replicas: 1, AllowLossy: true}).Records()
	var mu sync.Mutex
	written := make(map[string]int64)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 50 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("w%d n%d", w, i)
				if revision, err := r.Apply(ctx, fmt.Sprint("p", w%7), storetest.PutNew(name, "v")); err == nil {
					mu.Lock()
					written[fmt.Sprint("p", w%7)+"/"+name] = revision
					mu.Unlock()
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	f.Masters[0].Kill(t)
	until := time.Now().Add(20 * time.Second)
	for time.Now().Before(until) && f.MasterAddr(t) == f.Masters[0].Addr {
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	writers.Wait()
	var err error
	for time.Now().Before(until) { // the breaker, and the client, find the new master
		if _, err = r.Get(t.Context(), store.Key{Partition: "p0", Name: "absent"}); errors.Is(err, store.ErrNotFound) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(written) == 0 {
		t.Fatal("nothing was written")
	}
	for at, revision := range written {
		partition, name, _ := strings.Cut(at, "/")
		if rec, err := r.Get(t.Context(), store.Key{Partition: partition, Name: name}); err != nil || rec.Revision != revision {
			t.Fatalf("%s, acknowledged: got revision %d, %v", at, rec.Revision, err)
		}
	}
}

// Hundreds of writers on three nodes count exactly.
func TestPeersRacingNodes(t *testing.T) {
	db, _, o := standalone(t)
	nodes := []*Records{db.Records()}
	for range 2 {
		o.StateDir = filepath.Join(t.TempDir(), "state")
		nodes = append(nodes, mustOpen(t, o).Records())
	}
	mustApply(t, nodes[0], "counter", storetest.PutNew("n", "0"))
	const writers, each = 300, 3
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for done := 0; done < each && !t.Failed(); {
				if countUp(t, nodes[w%len(nodes)]) {
					done++
				}
			}
		})
	}
	running.Wait()
	got, err := nodes[0].Get(t.Context(), store.Key{Partition: "counter", Name: "n"})
	if err != nil || string(got.Value) != strconv.Itoa(writers*each) {
		t.Errorf("got %q, %v, want %d", got.Value, err, writers*each)
	}
}

// Whatever somebody put under a record's key is corrupt, named, and never absent.
func TestPeersCorruptRecord(t *testing.T) {
	db, s, _ := standalone(t)
	r := db.Records()
	key := db.keys.records("dom") + "beta"
	for name, damage := range map[string]func(){
		"text":  func() { s.Must(t, "SET", key, "value-of-nobody") },
		"empty": func() { s.Must(t, "SET", key, "") },
		"value": func() { s.Must(t, "SETRANGE", key, valueAt, "VALUE") },
		"stamp": func() { s.Must(t, "SETRANGE", key, 8, "\x77") },
		"kind":  func() { s.Must(t, "DEL", key); s.Must(t, "HSET", key, "a", "b") },
	} {
		t.Run(name, func(t *testing.T) {
			mustApply(t, r, "dom", storetest.Put("alpha", "value-of-alpha"), storetest.Put("beta", "value-of-beta"))
			damage()
			_, err := r.Get(t.Context(), store.Key{Partition: "dom", Name: "beta"})
			wantCorrupt(t, "get", err)
			_, err = r.List(t.Context(), "dom", store.Query{})
			wantCorrupt(t, "list", err)
			skipped := 0
			for _, err := range r.Snapshot(t.Context()) {
				if err != nil {
					wantCorrupt(t, "snapshot", err)
					skipped++
				}
			}
			if skipped != 1 {
				t.Errorf("snapshot: got %d errors, want 1", skipped)
			}
			if name != "value" { // what no header tells a script
				_, err = r.Apply(t.Context(), "dom", storetest.PutNew("beta", ""))
				wantCorrupt(t, "apply", err)
			}
			mustApply(t, r, "dom", storetest.Put("beta", "mended"))
			if _, err := r.Get(t.Context(), store.Key{Partition: "dom", Name: "beta"}); err != nil {
				t.Errorf("after it was written anew: %v", err)
			}
		})
	}
}

func wantCorrupt(t *testing.T, doing string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), `"beta"`) || strings.Contains(err.Error(), "value-of") {
		t.Errorf("%s: got %v, want ErrCorrupt that names the record and not its value", doing, err)
	}
}

func TestPeersBounds(t *testing.T) {
	db, _, _ := standalone(t)
	r := db.Records()
	ops := make([]store.Op, store.MaxOps)
	for i := range ops {
		ops[i] = store.Op{Kind: store.Put, Name: fmt.Sprint("n", i), Value: bytes.Repeat([]byte{byte(i)}, 64<<10), IfRevision: store.AnyRevision}
	}
	ops[0].Value = bytes.Repeat([]byte{0xff}, store.MaxValue)
	ops[1].Name = strings.Repeat("\xff", store.MaxName)
	var list []store.Record
	var err error
	for _, do := range []func(){ // each in less than callLimit, unless the machine is busy
		func() { _, err = r.Apply(t.Context(), strings.Repeat("p", store.MaxName), ops...) },
		func() { list, err = r.List(t.Context(), strings.Repeat("p", store.MaxName), store.Query{}) }, // over 9 MiB: several scripts
	} {
		soon(t, "it is done", patience, func() bool { do(); return !errors.Is(err, store.ErrUnavailable) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(list) != len(ops) {
		t.Fatalf("got %d records", len(list))
	}
	for _, op := range ops {
		rec, err := r.Get(t.Context(), store.Key{Partition: strings.Repeat("p", store.MaxName), Name: op.Name})
		if err != nil || !bytes.Equal(rec.Value, op.Value) {
			t.Errorf("%.8q: got %d bytes, %v, want %d", op.Name, len(rec.Value), err, len(op.Value))
		}
	}
}

// What expired is in no index once it was swept; what was written anew stays.
func TestPeersSweep(t *testing.T) {
	db, s, _ := standalone(t)
	r := db.Records()
	soon := time.Now().Add(100 * time.Millisecond)
	for i := range 600 {
		mustApply(t, r, "p", store.Op{Kind: store.Put, Name: fmt.Sprint("n", i), IfRevision: store.AnyRevision, ExpiresAt: soon})
	}
	mustApply(t, r, "p", storetest.Put("n7", "stays"))
	time.Sleep(time.Until(soon) + 1200*time.Millisecond)
	if err := db.sweepGroup(t.Context(), groupOf("p")); err != nil {
		t.Fatal(err)
	}
	if got := s.Must(t, "ZCARD", db.keys.index("p")); got != int64(1) {
		t.Errorf("the index: got %v names, want 1", got)
	}
	if got := s.Must(t, "EXISTS", db.keys.expiring(groupOf("p"))); got != int64(0) {
		t.Errorf("what expires: got %v, want nothing", got)
	}
}

// No two pairs of partition and name share a key or a checksum's input.
func FuzzKeys(f *testing.F) {
	f.Add("a", "b", "a:b", "")
	f.Add("1:a", "b", "1", "a:b")
	f.Add("p", "q:r", "p:q", "r")
	f.Fuzz(func(t *testing.T, p1, n1, p2, n2 string) {
		k := keys{prefix: "latchkey"}
		if (p1 != p2 || n1 != n2) && k.records(p1)+n1 == k.records(p2)+n2 {
			t.Errorf("%q %q and %q %q share %q", p1, n1, p2, n2, k.records(p1)+n1)
		}
		if p1 != p2 && k.index(p1) == k.index(p2) {
			t.Errorf("%q and %q share an index", p1, p2)
		}
	})
}

// Whatever lies under a key is a whole record or corrupt.
func FuzzParse(f *testing.F) {
	whole := string(stamped(7, body("p", "n", 5, []byte("v"))))
	f.Add(whole)
	f.Add(whole[:valueAt])
	f.Fuzz(func(t *testing.T, raw string) {
		rec, err := parse("p", "n", raw)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
			return
		}
		again := string(stamped(rec.Revision, body("p", "n", store.Milliseconds(rec.ExpiresAt), rec.Value)))
		if again != raw {
			t.Errorf("got %q again, want %q", again, raw)
		}
	})
}

// A user with the rights that the manual names may do all that records need, and one with a wrong secret hears why not.
func TestPeersUser(t *testing.T) {
	s := redistest.Standalone(t)
	rights := []any{"ACL", "SETUSER", "latchkey", "on", ">of-this-test", "~latchkey:*", "&latchkey:*",
		"+@read", "+@write", "+@scripting", "+@connection", "+@pubsub", "+wait", "+time", "+info", "+config|get", "+cluster|slots"}
	s.Must(t, rights...)
	o := Options{Mode: Standalone, Addresses: []string{s.Addr}, User: "latchkey", Password: secret.New("of-this-test")}
	r := mustOpen(t, o).Records()
	mustApply(t, r, "p", storetest.PutNew("a", "v"), storetest.PutNew("b", "v"))
	if list, err := r.List(t.Context(), "p", store.Query{}); err != nil || len(list) != 2 {
		t.Errorf("list: got %d records, %v", len(list), err)
	}
	for _, err := range r.Snapshot(t.Context()) {
		if err != nil {
			t.Errorf("snapshot: %v", err)
		}
	}
	o.Password, o.StateDir = secret.New("of-nobody"), filepath.Join(t.TempDir(), "state")
	_, err := Open(t.Context(), o)
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "of-nobody") {
		t.Errorf("a wrong secret: got %v, want ErrUnavailable that says so and does not show it", err)
	}
}

// A server that was emptied is no store without records: nothing is answered from it.
func TestPeersFlushed(t *testing.T) {
	for name, call := range map[string]func(r *Records) error{
		"get":   func(r *Records) error { _, err := r.Get(t.Context(), store.Key{Partition: "p", Name: "a"}); return err },
		"list":  func(r *Records) error { _, err := r.List(t.Context(), "p", store.Query{}); return err },
		"apply": func(r *Records) error { _, err := r.Apply(t.Context(), "p", storetest.PutNew("a", "v")); return err },
	} {
		t.Run(name, func(t *testing.T) {
			db, s, _ := standalone(t)
			mustApply(t, db.Records(), "p", storetest.Put("a", "v"))
			s.Must(t, "FLUSHALL")
			if err := call(db.Records()); !errors.Is(err, ErrRolledBack) {
				t.Errorf("got %v, want ErrRolledBack", err)
			}
			if got := s.Must(t, "EXISTS", db.keys.records("p")+"a"); got != int64(0) {
				t.Errorf("got %v records, want none", got)
			}
		})
	}
}
