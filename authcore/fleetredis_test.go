package authcore_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/session"
	"latchkey/authcore/store/redis"
	"latchkey/authcore/store/redistest"
)

// onRedis gives each node an engine of its own on one real server.
func onRedis(t *testing.T, n int) *fleetOf {
	t.Helper()
	redistest.Need(t, "redis-server")
	addr, dir := redistest.Standalone(t).Addr, t.TempDir()
	own := func(i int) func(*authcore.Options) {
		return func(o *authcore.Options) {
			db, err := redis.Open(t.Context(), redis.Options{Mode: redis.Standalone, Addresses: []string{addr}, AllowLossy: true,
				StateDir: filepath.Join(dir, fmt.Sprint("node", i)), Node: fmt.Sprint("node-", i)})
			must(t, err)
			t.Cleanup(func() { _ = db.Close() })
			o.Records, o.Ephemeral, o.Bus = db.Records(), db.Ephemeral(), db.Bus()
		}
	}
	f := newFleet(t, 1, own(0))
	for i := 1; i < n; i++ {
		f.add(t, own(i))
	}
	return f
}

func TestPeersCountsOverThreeNodesOnRedis(t *testing.T) {
	s := onRedis(t, 3)
	s.maxFailures(t, 5)
	name := s.address("account")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			d, err := s.node(i).Authenticate(t.Context(), authtest.AttemptFrom(source(i), "imap", name, fmt.Sprint("wrong ", i)))
			if err != nil || d.Allowed() {
				t.Errorf("attempt %d: %q, %v", i, d.Reason, err)
			}
		})
	}
	wg.Wait()
	if f := s.all(t, sample.Old, "failures/"+string(s.MemberID(t, name))); len(f) != 1 || !contains(f[0].Value, `"count":5,`) {
		t.Errorf("the count is not exactly 5: %v", values(f))
	}
	a := s.asking(t, "opted-in", 1)
	_ = s.ask(t, a)
	code := secretOf(s.Code(t, sample.Old, a.To))
	if got := s.guesses(t, 60, func(i int) error { return s.node(i).TryCode(t.Context(), a.Ticket, a.Domain, a.Member, code) }); got[""] != 1 {
		t.Errorf("one code: %v, want one that is let in", got)
	}
}

func TestPeersSessionsOverThreeNodesOnRedis(t *testing.T) {
	s := onRedis(t, 3)
	name, word := s.address("opted-in"), s.app("opted-in")
	a := authtest.Attempt("imap", name, word)
	first := s.at(t, 2, a)
	var in atomic.Int64
	in.Add(1)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			d, err := s.node(i).Authenticate(t.Context(), a)
			if err != nil || !d.Allowed() && d.Reason != authcore.TooManyConnections {
				t.Errorf("attempt %d: %q, %v", i, d.Reason, err)
			}
			if d.Allowed() {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != session.DefaultPerDoor {
		t.Fatalf("%d were let in, want %d", in.Load(), session.DefaultPerDoor)
	}
	for _, c := range s.nodes {
		l, err := c.SessionsOf(t.Context(), authtest.Operator(), name)
		if err != nil || len(l.Doors) != session.DefaultPerDoor {
			t.Errorf("%d listed, %v", len(l.Doors), err)
		}
	}
	must(t, s.nodes[0].EndSession(t.Context(), authtest.Operator(), name, first.Session))
	if ok, err := s.nodes[2].Stands(t.Context(), first.Standing(a)); ok || err != nil {
		t.Errorf("cut from another node: stands %v, %v", ok, err)
	}
}
