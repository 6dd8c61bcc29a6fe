package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/store/redistest"
)

// Promotions, and what loses acknowledged changes: it has to be noticed before anybody is judged by what is left.

// losing drives all while something is lost; the doors have to close, and stay closed until the loss is accepted.
func (f *fleetDrill) losing(t *testing.T, name string, lose func()) {
	t.Helper()
	f.now.Store(name)
	was := f.figures()
	f.slowest.Store(0)
	over := make(chan struct{})
	var all sync.WaitGroup
	for _, s := range f.subjects {
		all.Go(func() {
			for !ended(over) {
				s.change(t, f.ledger, over)
			}
		})
	}
	for i, n := range f.nodes {
		all.Go(func() { f.probe(t, n, fmt.Sprintf("127.200.0.%d", i+1), over) })
	}
	for deadline := time.Now().Add(10 * time.Second); f.acknowledged.Load() < 30 && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	lose()
	began := time.Now()
	for _, n := range f.nodes {
		f.closed(t, n)
	}
	t.Logf("%s: all nodes closed after %v", name, time.Since(began).Round(time.Millisecond))
	<-time.After(time.Second)
	close(over)
	all.Wait()
	for _, n := range f.nodes {
		if got := f.try(t, f.steady, n, "127.200.1.1"); got != later {
			t.Errorf("%s: %s answers %v before the loss was accepted", name, n.name, got)
		}
	}
	f.accepted.Store(true)
	f.accept(t)
	began = time.Now()
	for _, n := range f.nodes {
		for f.try(t, f.steady, n, "127.200.1.1") == later {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%s: %s answers nobody after the loss was accepted:\n%s", name, n.name, f.ready(t, n))
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	back := time.Since(began)
	f.countLost(t)
	f.line(t, name, was, back)
	if f.noticed.Load() == 0 {
		t.Errorf("%s: nothing was lost, so the drill says nothing", name)
	}
}

// countLost counts what was acknowledged, is not there any more, and was noticed.
func (f *fleetDrill) countLost(t *testing.T) {
	t.Helper()
	for _, s := range f.subjects {
		for _, c := range s.claims() {
			w, _ := c.now()
			got := f.try(t, c, f.nodes[0], f.fresh())
			if w == enters && got != letIn || w == shutOut && got == letIn {
				f.noticed.Add(1)
			}
		}
		if m, ok := s.(*newcomers); ok {
			for _, address := range m.made {
				if status, err := f.nodes[0].call(m.token, "GET", "/members/"+address, "", nil, nil); err == nil && status != http.StatusOK {
					f.noticed.Add(1)
				}
			}
		}
	}
}

// closed waits until the node says that something is lost.
func (f *fleetDrill) closed(t *testing.T, n *drilled) {
	t.Helper()
	for began := time.Now(); ; {
		said := f.ready(t, n)
		if strings.Contains(said, "accept-rollback") {
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%v: %s noticed nothing in 30 s: %s", f.now.Load(), n.name, said)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (f *fleetDrill) ready(t *testing.T, n *drilled) string {
	t.Helper()
	resp, err := n.http.Get("http://" + n.addr["ops"] + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// accept is what an operator does, at one of the nodes.
func (f *fleetDrill) accept(t *testing.T) {
	t.Helper()
	well(t, "doctor", "-config", f.nodes[0].file, "-accept-rollback", "-yes")
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := os.RemoveAll(to)
	if err == nil {
		err = os.CopyFS(to, os.DirFS(from))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// cutTail takes the second half of what was written since old: a power failure takes what was not synced, and all of this
// is of the last second or two.
func cutTail(t *testing.T, dir, old string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.incr.aof"))
	if err != nil || len(names) != 1 {
		t.Fatalf("not one file to cut in %s: %v, %v", dir, names, err)
	}
	is, err := os.Stat(names[0])
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(filepath.Join(old, filepath.Base(names[0])))
	if err != nil {
		t.Fatal(err)
	}
	if is.Size() <= was.Size() {
		t.Fatalf("nothing to cut: %d bytes, then %d", was.Size(), is.Size())
	}
	if err := os.Truncate(names[0], (was.Size()+is.Size())/2); err != nil {
		t.Fatal(err)
	}
}

// Whatever is lost is noticed: an emptied server, old files, a tail that never reached the disk.
func TestDrillFleetLoss(t *testing.T) {
	t.Log(tableHead)
	for _, c := range []struct {
		name, more, fsync string
		lose              func(t *testing.T, s *redistest.Server, old string)
		short             bool
	}{
		{"emptied", "", "always", func(t *testing.T, s *redistest.Server, _ string) { s.Must(t, "FLUSHALL") }, true},
		{"old files", "", "always", func(t *testing.T, s *redistest.Server, old string) {
			s.Kill(t)
			copyDir(t, old, filepath.Join(s.Dir, "appendonlydir"))
			s.Restart(t)
		}, true},
		{"everysec and a power failure", ", allow_lossy: true", "everysec", powerFails, false},
		{"no fsync and a power failure", ", allow_lossy: true", "no", powerFails, false},
	} {
		if !c.short && !longDrills() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			f, s := standaloneDrill(t, c.more, "appendfsync "+c.fsync)
			old := filepath.Join(t.TempDir(), "old")
			copyDir(t, filepath.Join(s.Dir, "appendonlydir"), old)
			f.losing(t, c.name, func() { c.lose(t, s, old) })
		})
	}
}

func powerFails(t *testing.T, s *redistest.Server, old string) {
	t.Helper()
	s.Kill(t)
	cutTail(t, filepath.Join(s.Dir, "appendonlydir"), old)
	s.Restart(t)
}

func sentinels(f *redistest.Fleet, more string) func(int) string {
	return func(int) string {
		return "mode: sentinel, master_name: " + redistest.MasterName + ", addresses: ['" + strings.Join(f.Addresses(), "', '") + "'], " + more
	}
}

// A replica that has everything takes over when the master dies.
func TestDrillFleetPromotion(t *testing.T) {
	r := redistest.SentinelWith(t, redistest.Options{Sentinel: []string{"sentinel down-after-milliseconds latchkey 3000"}})
	f := newFleetDrill(t, sentinels(r, "replicas: 1"))
	t.Log(tableHead)
	master, other := r.Masters[0], r.Replicas[0]
	for range rounds(3) {
		f.under(t, "the replica promoted", func() { promote(t, master, other) })
		master, other = other, master
	}
	f.sum(t)
}

// promote kills the master, and starts it again as the replica of what was promoted.
func promote(t *testing.T, master, other *redistest.Server) {
	t.Helper()
	master.Kill(t)
	for began := time.Now(); ; <-time.After(50 * time.Millisecond) {
		if info, err := other.Info("replication"); err == nil && info["role"] == "master" {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal("nobody was promoted")
		}
	}
	master.Restart(t)
	redistest.WaitInSync(t, other, 1)
}

// Each master of a Cluster dies in turn; its replica takes over.
func TestDrillFleetCluster(t *testing.T) {
	r := redistest.ClusterWith(t, redistest.Options{Replicas: 1, Conf: []string{"min-replicas-to-write 1"}})
	f := newFleetDrill(t, func(int) string {
		return "mode: cluster, addresses: ['" + strings.Join(r.Addresses(), "', '") + "'], replicas: 1"
	})
	t.Log(tableHead)
	for i := range rounds(3) {
		f.under(t, "a replica of the Cluster promoted", func() { promote(t, r.Masters[i], r.Replicas[i]) })
	}
	f.sum(t)
}

// A replica that lacks what was acknowledged takes over, where the settings allow it.
func TestDrillFleetStaleReplica(t *testing.T) {
	r := redistest.SentinelWith(t, redistest.Options{
		Conf: []string{"min-replicas-to-write 0"}, Sentinel: []string{"sentinel down-after-milliseconds latchkey 1000"},
	})
	f := newFleetDrill(t, sentinels(r, "replicas: 0, allow_lossy: true"))
	t.Log(tableHead)
	f.losing(t, "a stale replica promoted", func() {
		r.Replicas[0].Must(t, "CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")
		r.Masters[0].Must(t, "CLIENT", "KILL", "TYPE", "replica")
		<-time.After(time.Second)
		r.Masters[0].Kill(t)
	})
}
