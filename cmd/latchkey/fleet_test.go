package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/configs"
)

// newFleet is n nodes of one store in Redis, each with its own folder, sockets and servers behind; the people are made
// by the first. The keys are the same file, copied.
func newFleet(t *testing.T, n int, redis string) []*stage {
	t.Helper()
	return newFleetAt(t, n, func(int) string { return redis })
}

// onRedis configures a node.
func (s *stage) onRedis(node, redis string) {
	s.t.Helper()
	s.configure(func(text string) string {
		return text + "node: " + node + "\nstore: {engine: redis, redis: {" + redis + "}}\n"
	})
}

func standalone(r *redistest.Server) string {
	return "addresses: ['" + r.Addr + "'], replicas: 0"
}

func clustered(f *redistest.Fleet) string {
	return "mode: cluster, addresses: ['" + strings.Join(f.Addresses(), "', '") + "'], replicas: " + itoa(len(f.Replicas)/len(f.Masters)) + ", allow_lossy: true"
}

// An app password made at one node signs in at another, is seen by an administrator at the third, and cut there.
func TestPeersFleet(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]func(t *testing.T) string{
		"standalone": func(t *testing.T) string { return standalone(redistest.Standalone(t)) },
		"cluster":    func(t *testing.T) string { return clustered(redistest.Cluster(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := newFleet(t, 3, redis(t))
			likeFirst(t, nodes)
			for _, s := range nodes {
				s.serve()
			}
			acrossNodes(t, nodes)
			resumedAcross(t, nodes)
		})
	}
}

func acrossNodes(t *testing.T, nodes []*stage) {
	t.Helper()
	member, operator := nodes[0].api(), nodes[2].api()
	person := nodes[0].people["app-only"]
	if err := member.signIn(person); err != nil {
		t.Fatal(err)
	}
	if err := operator.signIn(nodes[0].people["operator"]); err != nil {
		t.Fatal(err)
	}
	var made struct{ ID, Password string }
	if status, err := member.do("POST", "/me/app-passwords", map[string]any{"name": "Telephone", "doors": []string{"imap"}}, &made); status != http.StatusCreated || err != nil {
		t.Fatalf("make an app password: %d, %v", status, err)
	}
	k, answer, err := nodes[1].door("imap").enter(nodes[1].tls, person.Address, made.Password)
	if err != nil || !strings.HasPrefix(answer, good["imap"]) {
		t.Fatalf("sign in at the second node: %q, %v", answer, err)
	}
	defer k.Close()
	var sessions struct{ Items []map[string]any }
	if status, err := operator.do("GET", "/members/"+person.Address+"/sessions", nil, &sessions); status != http.StatusOK || err != nil ||
		!slices.ContainsFunc(sessions.Items, func(s map[string]any) bool { return s["door"] == "imap" }) {
		t.Errorf("an administrator at the third node sees %d, %v: %v", status, err, sessions.Items)
	}
	began := time.Now()
	if status, err := operator.do("DELETE", "/members/"+person.Address+"/app-passwords/"+made.ID, nil, nil); status != http.StatusNoContent || err != nil {
		t.Fatalf("delete it at the third node: %d, %v", status, err)
	}
	_ = k.SetReadDeadline(began.Add(patience))
	if _, err := io.Copy(io.Discard, k); err != nil {
		t.Fatalf("the session at the second node lives on: %v", err)
	}
	t.Logf("it was cut after %v", time.Since(began)) // the drill of revocation holds the second that is promised
	for i, s := range nodes {
		if answer, err := s.door("imap").signIn(s.tls, person.Address, made.Password); err != nil || !strings.HasPrefix(answer, wrong["imap"]) {
			t.Errorf("node %d: the deleted app password: %q, %v", i+1, answer, err)
		}
	}
}

// The master dies in the middle of it: what was acknowledged is kept, tokens and sessions go on, and are cut as before.
func TestPeersFleetPromotion(t *testing.T) {
	t.Parallel()
	r := redistest.Sentinel(t)
	nodes := newFleetAt(t, 3, sentinels(r, "replicas: 1"))
	for _, s := range nodes {
		s.serve()
	}
	acrossNodes(t, nodes)
	person := nodes[0].people["app-only"]
	member, operator := nodes[0].api(), nodes[2].api()
	if err := errors.Join(member.signIn(person), operator.signIn(nodes[0].people["operator"])); err != nil {
		t.Fatal(err)
	}
	type appPassword struct{ ID, Password string }
	var kept, gone appPassword
	for name, made := range map[string]*appPassword{"Kept": &kept, "Gone": &gone} {
		if status, err := member.do("POST", "/me/app-passwords", map[string]any{"name": name, "doors": []string{"imap"}}, made); status != http.StatusCreated || err != nil {
			t.Fatalf("make an app password: %d, %v", status, err)
		}
	}
	if status, err := member.do("DELETE", "/me/app-passwords/"+gone.ID, nil, nil); status != http.StatusNoContent || err != nil {
		t.Fatalf("delete one: %d, %v", status, err)
	}
	k, answer, err := nodes[1].door("imap").enter(nodes[1].tls, person.Address, kept.Password)
	if err != nil || !strings.HasPrefix(answer, good["imap"]) {
		t.Fatalf("sign in at the second node: %q, %v", answer, err)
	}
	defer k.Close()

	began := time.Now()
	promote(t, r.Masters[0], r.Replicas[0])
	for i, s := range nodes {
		waitFor(t, fmt.Sprintf("a sign-in at node %d with what was kept", i+1), patience, func() bool {
			answer, err := s.door("imap").signIn(s.tls, person.Address, kept.Password)
			if strings.HasPrefix(answer, wrong["imap"]) {
				t.Fatalf("node %d after the promotion: %q, %v", i+1, answer, err)
			}
			return err == nil && strings.HasPrefix(answer, good["imap"])
		})
		if answer, err := s.door("imap").signIn(s.tls, person.Address, gone.Password); err != nil || !strings.HasPrefix(answer, wrong["imap"]) {
			t.Errorf("node %d after the promotion: the deleted one: %q, %v", i+1, answer, err)
		}
	}
	if took := time.Since(began); took < 20*time.Second { // beyond the lease, of 30 s, a session may be cut
		if answer, err := k.ask("b NOOP", "b "); err != nil || !strings.HasPrefix(answer, "b OK") {
			t.Errorf("the session of before, after %v: %q, %v", took, answer, err)
		}
	}
	if status, err := member.do("GET", "/me", nil, nil); status != http.StatusOK || err != nil {
		t.Errorf("the token of before: %d, %v", status, err)
	}
	if status, err := operator.do("DELETE", "/members/"+person.Address+"/app-passwords/"+kept.ID, nil, nil); status != http.StatusNoContent || err != nil {
		t.Fatalf("delete it at the third node: %d, %v", status, err)
	}
	_ = k.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, k); err != nil {
		t.Errorf("the session of before lives on: %v", err)
	}
	acrossNodes(t, nodes)
}

// Every command works beside a running node, beside another one and with none.
func TestPeersFleetCommands(t *testing.T) {
	t.Parallel()
	nodes := newFleet(t, 2, standalone(redistest.Standalone(t)))
	for when, start := range map[string]func(){"none runs": func() {}, "the first one runs": func() { nodes[0].serve() }} {
		start()
		for i, s := range nodes {
			where := fmt.Sprintf("%s, at node %d", when, i+1)
			if c := well(t, "operator", "create", "-config", s.file, fmt.Sprintf("ops%d-%d@fresh.example", i, len(when))); !strings.Contains(c.out, "is an operator now") {
				t.Errorf("%s: operator: %q", where, c.out)
			}
			if c := well(t, "keys", "list", "-config", s.file); !strings.Contains(c.out, "current") {
				t.Errorf("%s: keys: %q", where, c.out)
			}
			if c := well(t, "backup", "-config", s.file, "-out", s.path("backup"+itoa(len(when)))); !strings.Contains(c.err, "verified") {
				t.Errorf("%s: backup: %q", where, c.err)
			}
			if c := callWith(t, fmt.Sprintf(`{"address":"new%d-%d@old.example"}`, i, len(when)), "import", "-config", s.file, "-domain", "old.example", "-format", "jsonl", "-"); c.code != 0 {
				t.Errorf("%s: import: %s", where, c.err)
			}
		}
	}
}

// entriesOf are all records of the store that a configuration names, without heads.
func (s *stage) entriesOf() map[string]string {
	s.t.Helper()
	cfg, err := configs.Load(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	h := &house{log: newLog(configs.Log{Level: "error", Format: "text"}, io.Discard, newLevel())}
	db, err := h.openEngine(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	all := map[string]string{}
	for e, err := range db.Snapshot(s.t.Context()) {
		if err != nil {
			s.t.Fatal(err)
		}
		if !e.IsHead() {
			all[e.Partition+" "+e.Record.Name] = fmt.Sprintf("%d %v %x", e.Record.Revision, e.Record.ExpiresAt, e.Record.Value)
		}
	}
	return all
}

// moveTo restores a backup at another stage, which has the same keys.
func (s *stage) moveTo(to *stage) {
	s.t.Helper()
	file := s.path("moving")
	_ = os.Remove(file)
	if c := well(s.t, "backup", "-config", s.file, "-out", file); !strings.Contains(c.err, "records a second") {
		s.t.Errorf("backup tells no rate: %q", c.err)
	}
	to.copyFrom(s, "keys.json", "keys.json")
	to.people = s.people
	c := well(s.t, "restore", "-config", to.file, file)
	if !strings.Contains(c.out, "Each was compared") || !strings.Contains(c.err, "records a second") {
		s.t.Errorf("restore says %q and %q", c.out, c.err)
	}
	refused(s.t, []string{"not empty"}, "restore", "-config", to.file, file)
}

// A whole installation moves to Redis and back: every record, revision and expiry is there, app passwords let in, and
// sessions of the API go on.
func TestPeersMoveToRedisAndBack(t *testing.T) {
	t.Parallel()
	home := newStage(t)
	p := home.serve()
	api := home.api()
	if err := api.signIn(home.people["app-only"]); err != nil {
		t.Fatal(err)
	}
	p.stop()
	there := bareStage(t)
	there.onRedis("mx1", standalone(redistest.Standalone(t)))
	home.moveTo(there)
	same(t, "in Redis", there.entriesOf(), home.entriesOf())
	p = there.serve()
	there.wantAll("in Redis", "app-only", good)
	moved := there.api()
	moved.token = api.token
	if status, err := moved.do("GET", "/me", nil, nil); status != http.StatusOK || err != nil {
		t.Errorf("the session of the API: %d, %v", status, err)
	}
	p.stop()
	back := bareStage(t)
	there.moveTo(back)
	same(t, "back", back.entriesOf(), there.entriesOf())
	back.serve()
	back.wantAll("back", "app-only", good)
}

func same(t *testing.T, when string, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%s: %d records, want %d", when, len(got), len(want))
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %s is %.60s, want %.60s", when, name, got[name], value)
		}
	}
}

// A restore that is killed leaves no store that anybody starts on; restoring again begins anew.
func TestPeersMoveKilled(t *testing.T) {
	t.Parallel()
	home := newStage(t)
	home.inStore(manyRecords)
	file := home.path("backup")
	well(t, "backup", "-config", home.file, "-out", file)
	there, way := bareStage(t), redistest.NewProxy(t, redistest.Standalone(t).Addr)
	there.onRedis("mx1", "addresses: ['"+way.Addr+"'], replicas: 0")
	there.copyFrom(home, "keys.json", "keys.json")
	way.Latency(100 * time.Millisecond) // it lasts until it is killed
	p := start{args: []string{"restore", "-config", there.file, file}}.begin(t)
	p.says("restore: ")
	p.kill()
	way.Heal()
	refused(t, []string{"interrupted: restore again"}, "serve", "-config", there.file)
	refused(t, []string{"interrupted: restore again"}, "operator", "create", "-config", there.file, "ops@fresh.example")
	well(t, "restore", "-config", there.file, file)
	same(t, "the second time", there.entriesOf(), home.entriesOf())
}

// Redis that is empty is not begun beside an embedded installation, and the embedded one is not gone back to.
func TestPeersNotBesideAnother(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	r := redistest.Standalone(t)
	s.onRedis("mx1", standalone(r))
	refused(t, []string{"store.engine", "is redis, where nothing is yet", "docs/fleet.md"}, "serve", "-config", s.file)
	mine := s.database()
	if err := os.Rename(mine, s.path("kept.db")); err != nil {
		t.Fatal(err)
	}
	well(t, "operator", "create", "-config", s.file, "ops@fresh.example")
	if err := os.Rename(s.path("kept.db"), mine); err != nil {
		t.Fatal(err)
	}
	s.configure(nil)
	refused(t, []string{"store.engine", "this node has served store"}, "serve", "-config", s.file)
}

// A node that is not configured as the others is refused, and told why.
func TestPeersNodesThatDoNotFit(t *testing.T) {
	t.Parallel()
	r := redistest.Standalone(t)
	nodes := newFleet(t, 1, standalone(r))
	other := bareStage(t)
	other.onRedis("mx2", standalone(r))
	t.Run("no keys", func(t *testing.T) {
		refused(t, []string{other.path("keys.json"), "copy the file from another node"}, "serve", "-config", other.file)
	})
	t.Run("other keys", func(t *testing.T) {
		stranger := newStage(t)
		other.copyFrom(stranger, "keys.json", "keys.json")
		refused(t, []string{"server keys", other.path("keys.json")}, "serve", "-config", other.file)
	})
	t.Run("two processes in one folder", func(t *testing.T) {
		nodes[0].serve()
		twin := bareStage(t)
		twin.configure(func(text string) string {
			return strings.Replace(text, "data: "+filepath.Join(twin.dir, "data"), "data: "+nodes[0].path("data"), 1) + "store: {engine: redis, redis: {" + standalone(r) + "}}\n"
		})
		twin.copyFrom(nodes[0], "keys.json", "keys.json")
		refused(t, []string{"the store is in use: process"}, "serve", "-config", twin.file)
	})
}

// manyRecords make a restore take a while.
func manyRecords(ctx context.Context, w works) error {
	for i := range 500 {
		var ops []store.Op
		for j := range store.MaxOps {
			ops = append(ops, store.Op{Kind: store.Put, Name: fmt.Sprintf("trial/%d", j), Value: []byte("a value of some length, as records have"), IfRevision: store.AnyRevision})
		}
		if _, err := w.db.Apply(ctx, fmt.Sprintf("many-%d", i), ops...); err != nil {
			return err
		}
	}
	return nil
}

// Keys are rotated over three processes: the new one is used when the last of them has it, none is dropped while others
// run, and a node with another file is refused.
func TestPeersFleetKeys(t *testing.T) {
	t.Parallel()
	nodes := newFleet(t, 3, standalone(redistest.Standalone(t)))
	var run []*process
	for _, s := range nodes {
		run = append(run, s.serve())
	}
	old, _ := nodes[0].keyIDs("mac")
	for range 2 { // nothing will ever hang on the first of them
		if c := well(t, "keys", "rotate", "-mac", "-config", nodes[0].file); !strings.Contains(c.out, "not used yet") {
			t.Errorf("rotate: %q", c.out)
		}
	}
	listed(t, nodes[0], "waits for all nodes; missing on mx2, mx3 ")
	macs, list := nodes[0].keyIDs("mac")
	if len(macs) != 3 || macs[2] != old[0] {
		t.Fatalf("after the rotation:\n%s", list)
	}
	nodes[1].copyFrom(nodes[0], "keys.json", "keys.json")
	run[1].signal(syscall.SIGHUP)
	listed(t, nodes[0], "waits for all nodes; missing on mx3 ")
	nodes[0].wantAll("while one lacks the key", "app-only", good)
	nodes[2].copyFrom(nodes[0], "keys.json", "keys.json")
	run[2].signal(syscall.SIGHUP)
	for i, s := range nodes {
		listed(t, s, " former ")
		if ids, list := s.keyIDs("mac"); ids[0] != macs[0] || strings.Contains(list, "waits") {
			t.Errorf("node %d:\n%s", i+1, list)
		}
		s.wantAll(fmt.Sprint("with the new key, at node ", i+1), "app-only", good)
	}
	refused(t, []string{old[0], "is needed: "}, "keys", "drop", old[0], "-config", nodes[0].file)
	refused(t, []string{"while other nodes run", "stop mx2, mx3"}, "keys", "drop", macs[1], "-config", nodes[0].file)
	before, err := os.ReadFile(nodes[2].path("keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	run[2].stop()
	nodes[2].copyFrom(newStage(t), "keys.json", "keys.json")
	refused(t, []string{"server keys", "lacks " + old[0]}, "serve", "-config", nodes[2].file)
	nodes[2].write("keys.json", string(before), 0o600)
	nodes[2].serve()
	nodes[2].wantAll("when it is back", "app-only", good)
}

// listed waits until the list of keys says it, with one space between columns.
func listed(t *testing.T, s *stage, words string) {
	t.Helper()
	var list string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		_, list = s.keyIDs("mac")
		if strings.Contains(strings.Join(strings.Fields(list), " "), words) {
			return
		}
	}
	t.Fatalf("the list of keys never says %q:\n%s", words, list)
}
