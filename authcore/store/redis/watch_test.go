package redis

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// bench is a watch without a server: the test says what it sees.
type bench struct {
	*watch
	master
	now time.Time
}

func newBench(t *testing.T, g gate) *bench {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"}) // nothing is sent
	all := make([]int, groups)
	for i := range all {
		all[i] = i
	}
	b := &bench{master: master{client, all}, now: time.Now()}
	h := testHeads(t, t.TempDir(), g.replicas == 0)
	b.watch = newWatch(watchOptions{client: client, heads: h, nonce: "me", gate: g, stale: staleAfter, log: slog.New(slog.DiscardHandler)})
	b.watch.now = func() time.Time { return b.now }
	t.Cleanup(func() { client.Close(); h.close() })
	return b
}

// sees is one look at the master of this replication id, where other nodes have written these heartbeats.
func (b *bench) sees(id string, nodes map[string]heartbeat) {
	got := &sight{began: b.now, role: "master", id: id, at: b.now.UnixMilli(), nodes: nodes}
	b.open(b.note(b.master, got), got)
}

// How far the clocks differ is told when it is proven: the time that a look takes proves nothing.
func TestClocksThatDiffer(t *testing.T) {
	for _, c := range []struct {
		there, want time.Duration // the server's clock when the look begins; ours, ahead of it
	}{{0, 0}, {3 * time.Second, 0}, {4*time.Second - time.Millisecond, 0}, {-10 * time.Second, 10 * time.Second}, {10 * time.Second, -6 * time.Second}} {
		b := newBench(t, gate{})
		began := b.now
		b.now = began.Add(4 * time.Second) // the answer is there
		b.note(b.master, &sight{began: began, role: "master", id: "first", at: began.Add(c.there).UnixMilli()})
		if got := b.durability().Ahead.Round(10 * time.Millisecond); got != c.want {
			t.Errorf("%v: %v ahead, want %v", c.there, got, c.want)
		}
	}
}

// A master that was just promoted answers nothing before every node that was alive has found all that it has seen there.
func TestBarrier(t *testing.T) {
	b := newBench(t, gate{})
	alive := func(has string) map[string]heartbeat {
		return map[string]heartbeat{"other": {"n", has, b.now.UnixMilli()}, "long gone": {"n", "first", b.now.Add(-time.Hour).UnixMilli()}}
	}
	if err := b.answering(7, false); !errors.Is(err, errNotYet) {
		t.Errorf("before the first look: %v", err)
	}
	b.sees("first", alive("first"))
	if err := b.answering(7, false); err != nil {
		t.Errorf("all have looked: %v", err)
	}
	b.sees("second", alive("first"))
	if err := b.answering(7, false); !errors.Is(err, errNotYet) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the other node has not looked: %v", err)
	}
	b.sees("second", alive("second"))
	if err := b.answering(7, false); err != nil {
		t.Errorf("both have looked: %v", err)
	}
	b.sees("third", map[string]heartbeat{}) // its replica was behind, and has no heartbeat at all
	if err := b.answering(7, false); !errors.Is(err, errNotYet) {
		t.Errorf("a node that the new master does not know was forgotten: %v", err)
	}
	b.now = b.now.Add(silentFor - time.Millisecond)
	b.sees("third", nil)
	if err := b.answering(7, false); !errors.Is(err, errNotYet) {
		t.Errorf("too soon: %v", err)
	}
	b.now = b.now.Add(time.Millisecond)
	b.sees("third", nil)
	if err := b.answering(7, false); err != nil {
		t.Errorf("a dead node holds up the others: %v", err)
	}
	b.sees("fourth", map[string]heartbeat{"other": {"n", left, b.now.UnixMilli()}})
	if err := b.answering(7, false); err != nil {
		t.Errorf("a node that has ended is waited for: %v", err)
	}
}

// What one node misses closes all others, until the alarm is gone.
func TestAlarmOfAnotherNode(t *testing.T) {
	b := newBench(t, gate{})
	b.sees("m", nil)
	got := &sight{began: b.now, id: "m", at: b.now.UnixMilli(), alarms: map[string]Alarm{"other": parseAlarm("other", "{")}}
	b.note(b.master, got)
	for _, write := range []bool{false, true} {
		if err := b.answering(7, write); !errors.Is(err, ErrRolledBack) || !errors.Is(err, store.ErrDistrusted) || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("write %t: %v", write, err)
		}
	}
	b.sees("m", nil)
	if err := b.answering(7, true); err != nil {
		t.Errorf("accepted: %v", err)
	}
}

// A master whose replicas say nothing is not answered from: another one may have been promoted.
func TestSilentReplicas(t *testing.T) {
	b := newBench(t, gate{replicas: 1})
	b.sees("m", nil)
	b.now = b.now.Add(staleAfter)
	if err := b.answering(7, false); err != nil {
		t.Errorf("too soon: %v", err)
	}
	b.now = b.now.Add(time.Millisecond)
	if err := b.answering(7, false); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	alone := newBench(t, gate{})
	alone.sees("m", nil)
	alone.now = alone.now.Add(time.Hour)
	if err := alone.answering(7, false); err != nil {
		t.Errorf("without replicas: %v", err)
	}
}

func TestLossyTakesNoWrites(t *testing.T) {
	b := newBench(t, gate{})
	b.sees("m", nil)
	b.views["m"].verdict.lossy("set this")
	if err := b.answering(7, true); !errors.Is(err, ErrLossy) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a write: %v", err)
	}
	if err := b.answering(7, false); err != nil {
		t.Errorf("a read: %v", err)
	}
	b.o.allowLossy = true
	if err := b.answering(7, true); err != nil {
		t.Errorf("a write that is allowed: %v", err)
	}
}

// A server's clock that is put right jumps by years: no node that lives is taken for removed.
func TestClockOfTheServerJumps(t *testing.T) {
	b := newBench(t, gate{})
	old := heartbeat{"n", "m", b.now.UnixMilli()}
	look := func() bool {
		got := &sight{at: b.now.Add(20 * 365 * 24 * time.Hour).UnixMilli()}
		return b.isGone(b.master, got, "other", old)
	}
	if look() {
		t.Error("removed at the first look after the jump")
	}
	b.now = b.now.Add(pruneWatch - time.Second)
	old.at += 500
	if look() {
		t.Error("a node that lives was removed")
	}
	b.now = b.now.Add(pruneWatch)
	if !look() {
		t.Error("a node that was silent for a month and an hour stays")
	}
}

// Which masters are told of a loss.
func TestFindings(t *testing.T) {
	b := newBench(t, gate{})
	a, c := master{groups: []int{1, 2}}, master{groups: []int{3}}
	_ = b.o.heads.check(3, head{Revision: 9}, 1, 0)
	id := b.o.heads.id()
	standing := map[string]Alarm{id: {}}
	for _, k := range []struct {
		name   string
		sights []*sight
		a, c   bool
	}{
		{"found", []*sight{{asked: a.groups}, {asked: c.groups}}, true, true},
		{"one master could not be asked", []*sight{nil, {asked: c.groups}}, true, true},
		{"the master that misses something could not be asked", []*sight{{asked: a.groups}, nil}, false, false},
		{"accepted, not yet acknowledged", []*sight{{asked: a.groups}, {}}, false, false},
		{"one was accepted, the other is about to be", []*sight{{asked: a.groups}, {asked: c.groups, alarms: standing}}, false, true},
	} {
		t.Run(k.name, func(t *testing.T) {
			f := b.findings(k.sights)
			if f.toldTo(a) != k.a || f.toldTo(c) != k.c {
				t.Errorf("got %t and %t, want %t and %t", f.toldTo(a), f.toldTo(c), k.a, k.c)
			}
		})
	}
}

// What the settings of a server say about it, without one.
func TestVerdict(t *testing.T) {
	durable := map[string]string{
		"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "maxmemory-policy": "noeviction",
		"min-replicas-to-write": "1", "min-replicas-max-lag": "10", "cluster-allow-reads-when-down": "no",
	}
	g := gate{replicas: 1, failover: true, cluster: true}
	judge := func(setting, value string) []string {
		conf := map[string]string{}
		for k, v := range durable {
			conf[k] = v
		}
		conf[setting] = value
		var v verdict
		v.file(conf)
		v.memory(conf)
		v.acknowledgements(g, conf)
		return v.Lossy
	}
	if got := judge("", ""); len(got) != 0 {
		t.Fatalf("a durable server: %q", got)
	}
	for setting, values := range map[string][]string{
		"appendonly": {"no", ""}, "appendfsync": {"everysec", "no", ""}, "no-appendfsync-on-rewrite": {"yes", ""},
		"maxmemory-policy": {"allkeys-lru", "volatile-ttl", ""}, "min-replicas-to-write": {"0", ""},
		"min-replicas-max-lag": {"0", ""}, "cluster-allow-reads-when-down": {"yes", ""},
	} {
		for _, value := range values {
			if got := judge(setting, value); len(got) != 1 || !strings.Contains(got[0], setting) {
				t.Errorf("%s %q: %q", setting, value, got)
			}
		}
	}
}

// A client that fetches a file is no replica; one that is not in step yet can be promoted by nobody.
func TestVerdictReplicas(t *testing.T) {
	one := map[string]string{"connected_slaves": "3", "slave0": "ip=127.0.0.1,port=0,state=send_bulk,offset=0,lag=0",
		"slave1": "ip=127.0.0.1,port=1,state=wait_bgsave,offset=0,lag=0", "slave2": "ip=127.0.0.1,port=2,state=online,offset=9,lag=0", "slave_repl": "state=online"}
	for _, c := range []struct {
		name            string
		gate            gate
		info            map[string]string
		lossy, windowed string
	}{
		{"a file is fetched", gate{}, map[string]string{"connected_slaves": "1", "slave0": one["slave0"]}, "", ""},
		{"one that nobody waits for", gate{}, one, "`replicas: 1`", ""},
		{"as configured", gate{replicas: 1}, one, "", ""},
		{"one is missing", gate{replicas: 2}, one, "", "1 of 2"},
		{"more than are waited for", gate{replicas: 1}, map[string]string{"slave0": one["slave2"], "slave1": one["slave2"]}, "", "2 replicas follow and 1 acknowledge"},
		{"a fail-over without replicas", gate{failover: true}, nil, "", "before one is added"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v verdict
			v.replicas(c.gate, c.info)
			for want, got := range map[string][]string{"lossy: " + c.lossy: v.Lossy, "windows: " + c.windowed: v.Windows} {
				_, want, _ = strings.Cut(want, ": ")
				if (want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, ";"), want) {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}
