package authcore_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/session"
	"latchkey/authcore/store/memory"
)

// inFleet runs f with n nodes and simulated time.
func inFleet(t *testing.T, n int, f func(t *testing.T, s *fleetOf)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ahead := time.Until(sampleDay)
		now := func() time.Time { return time.Now().Add(ahead) }
		s := newFleet(t, n, func(o *authcore.Options) {
			o.Now = now
			o.Records = memory.NewRecords(memory.Options{Now: now})
		})
		s.lossy.make = func() *memory.Ephemeral { return memory.NewEphemeral(memory.Options{Now: now}) }
		s.lossy.lose()
		time.Sleep(3 * time.Second) // a heartbeat of each
		synctest.Wait()
		f(t, s)
	})
}

func (f *fleetOf) at(t testing.TB, node int, a authcore.Attempt) authcore.Decision {
	t.Helper()
	d, err := f.nodes[node].Authenticate(t.Context(), a)
	if err != nil {
		t.Fatalf("node %d: %v", node, err)
	}
	return d
}

// live answers how many sessions all nodes together have.
func (f *fleetOf) live(except ...int) (n int64) {
next:
	for i, c := range f.nodes {
		for _, e := range except {
			if i == e {
				continue next
			}
		}
		n += c.Stats().DoorSessions
	}
	return n
}

func TestSessionsOfAMemberAreCountedOverAllNodes(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, s *fleetOf) {
		name, secret := s.address("opted-in"), s.app("opted-in")
		var in atomic.Int64
		var mu sync.Mutex
		var ids []authcore.Decision
		storm := func() {
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() {
					d, err := s.nodes[i%3].Authenticate(t.Context(), authtest.Attempt("imap", name, secret))
					switch {
					case err != nil:
						t.Errorf("%v", err)
					case d.Allowed():
						if n := in.Add(1); n > session.DefaultPerDoor {
							t.Errorf("%d live", n)
						}
						mu.Lock()
						ids = append(ids, d)
						mu.Unlock()
					case d.Reason != authcore.TooManyConnections:
						t.Errorf("got %q", d.Reason)
					}
				})
			}
			wg.Wait()
		}
		storm()
		if n := s.live(); in.Load() != session.DefaultPerDoor || n != session.DefaultPerDoor {
			t.Fatalf("%d were let in, %d live, want %d", in.Load(), n, session.DefaultPerDoor)
		}
		for _, d := range ids[:7] {
			in.Add(-1)
			for _, c := range s.nodes {
				c.Ended(t.Context(), d.Session, authcore.End{})
			}
		}
		storm()
		if n := s.live(); in.Load() != session.DefaultPerDoor || n != session.DefaultPerDoor {
			t.Fatalf("after seven left: %d in, %d live, want %d", in.Load(), n, session.DefaultPerDoor)
		}
	})
}

func TestIdleCalendarMakesRoomOnAnotherNode(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, s *fleetOf) {
		name, secret := s.address("opted-in"), s.app("opted-in")
		dav := func(agent string) authcore.Attempt {
			a := authtest.Attempt("caldav", name, secret)
			a.Conn.Agent = agent
			return a
		}
		var first authcore.Standing
		for i := range session.DefaultPerDoor {
			a := dav(fmt.Sprint("program ", i))
			d := s.at(t, i%3, a)
			if !d.Allowed() {
				t.Fatalf("session %d: %q", i, d.Reason)
			}
			if i == 0 {
				first = d.Standing(a)
			}
			time.Sleep(time.Second)
		}
		d := s.at(t, 1, dav("newcomer"))
		if !d.Allowed() {
			t.Fatalf("the newcomer: %q", d.Reason)
		}
		synctest.Wait()
		if ok, err := s.nodes[0].Stands(t.Context(), first); ok || err != nil {
			t.Errorf("the one that was idle longest stands: %v, %v", ok, err)
		}
	})
}

func TestSessionsOfADeadNodeDoNotCount(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, s *fleetOf) {
		name, secret := s.address("opted-in"), s.app("opted-in")
		for range session.DefaultPerDoor {
			if d := s.at(t, 2, authtest.Attempt("imap", name, secret)); !d.Allowed() {
				t.Fatalf("%q", d.Reason)
			}
		}
		if d := s.at(t, 0, authtest.Attempt("imap", name, secret)); d.Reason != authcore.TooManyConnections {
			t.Fatalf("one too many: %q", d.Reason)
		}
		s.ends[2]()
		time.Sleep(5 * time.Second)
		if d := s.at(t, 0, authtest.Attempt("imap", name, secret)); d.Reason != authcore.TooManyConnections {
			t.Errorf("while it may live: %q", d.Reason)
		}
		time.Sleep(6 * time.Second)
		if d := s.at(t, 0, authtest.Attempt("imap", name, secret)); !d.Allowed() {
			t.Errorf("ten seconds after its death: %q", d.Reason)
		}
		l, err := s.nodes[1].SessionsOf(t.Context(), authtest.Operator(), name)
		if err != nil || len(l.Doors) != 1 || l.Doors[0].Node != "node-0" {
			t.Errorf("listed: %+v, %v", l.Doors, err)
		}
		nodes, err := s.nodes[1].Nodes(t.Context(), authtest.Operator())
		if err != nil || len(nodes) != 2 {
			t.Errorf("nodes: %+v, %v", nodes, err)
		}
	})
}

func TestLostSeatsAreToldAgain(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, s *fleetOf) {
		name, secret := s.address("opted-in"), s.app("opted-in")
		for i := range session.DefaultPerDoor {
			if d := s.at(t, i%3, authtest.Attempt("imap", name, secret)); !d.Allowed() {
				t.Fatalf("%q", d.Reason)
			}
		}
		s.lossy.lose()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if d := s.at(t, 0, authtest.Attempt("imap", name, secret)); d.Reason != authcore.TooManyConnections {
			t.Errorf("after all was lost and told again: %q", d.Reason)
		}
		l, err := s.nodes[1].SessionsOf(t.Context(), authtest.Operator(), name)
		if err != nil || len(l.Doors) != session.DefaultPerDoor {
			t.Errorf("%d listed, %v", len(l.Doors), err)
		}
		time.Sleep(3 * time.Hour) // a seat is told again before it is forgotten
		if d := s.at(t, 0, authtest.Attempt("imap", name, secret)); d.Reason != authcore.TooManyConnections {
			t.Errorf("three hours later: %q", d.Reason)
		}
	})
}

func TestSessionIsCutOnAnotherNode(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, s *fleetOf) {
		name, secret := s.address("opted-in"), s.app("opted-in")
		a := authtest.Attempt("imap", name, secret)
		d := s.at(t, 2, a)
		time.Sleep(time.Second)
		other := s.at(t, 2, a)
		op := authtest.Operator()
		l, err := s.nodes[0].SessionsOf(t.Context(), op, name)
		if err != nil || len(l.Doors) != 2 || l.Doors[0].Node != "node-2" || l.Doors[0].ID != d.Session {
			t.Fatalf("listed: %+v, %v", l.Doors, err)
		}
		told, stop := revocations(t, s.nodes[2])
		defer stop()
		if err := s.nodes[0].EndSession(t.Context(), op, name, d.Session); err != nil {
			t.Fatal(err)
		}
		if r := <-told; !r.Matches(d.Standing(a)) {
			t.Errorf("told: %+v", r)
		}
		for st, want := range map[*authcore.Decision]bool{&d: false, &other: true} {
			if ok, err := s.nodes[2].Stands(t.Context(), st.Standing(a)); ok != want || err != nil {
				t.Errorf("%s stands: %v, %v, want %v", st.Session, ok, err, want)
			}
		}
		if err := s.nodes[1].EndSession(t.Context(), op, name, d.Session); !denied(err, authcore.NotFound) {
			t.Errorf("ended once more: %v", err)
		}
		s.ends[2]()
		time.Sleep(11 * time.Second)
		if err := s.nodes[1].EndSession(t.Context(), op, name, other.Session); !denied(err, authcore.NotFound) {
			t.Errorf("on a node that died: %v", err)
		}
	})
}

func TestCostOfASeat(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, s *fleetOf) {
		a := authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in"))
		s.at(t, 0, a)
		s.lossy.seats.Store(0)
		d := s.at(t, 0, a)
		if n := s.lossy.seats.Load(); n != 1 {
			t.Errorf("%d commands about seats at a sign-in, want 1", n)
		}
		s.nodes[0].Ended(t.Context(), d.Session, authcore.End{})
		if n := s.lossy.seats.Load(); n != 2 {
			t.Errorf("%d at its end too, want 2", n)
		}
	})
}

func TestSessionsOfADomainOnAllNodes(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, s *fleetOf) {
		op := authtest.Operator()
		var want []session.ID
		for i := range 7 {
			d := s.at(t, i%3, authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in")))
			want = append([]session.ID{d.Session}, want...)
			time.Sleep(time.Second)
		}
		var got []session.ID
		for after := ""; ; {
			p, err := s.nodes[1].DomainSessions(t.Context(), op, sample.Old, authcore.DoorSessions{}, after, 3)
			if err != nil || len(p.Sessions) > 3 || len(p.Silent) > 0 {
				t.Fatalf("%+v, %v", p, err)
			}
			for _, d := range p.Sessions {
				got = append(got, d.ID)
				if i := 7 - len(got); d.Node != fmt.Sprint("node-", i%3) || d.Address != s.address("opted-in") {
					t.Errorf("session %d: %+v", i, d)
				}
			}
			if after = p.Next; after == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		s.ends[2]()
		p, err := s.nodes[1].DomainSessions(t.Context(), op, sample.Old, authcore.DoorSessions{}, "", 50)
		if err != nil || len(p.Sessions) != 5 || !slices.Equal(p.Silent, []string{"node-2"}) {
			t.Errorf("with a node that just died: %d, silent %v, %v", len(p.Sessions), p.Silent, err)
		}
		time.Sleep(11 * time.Second)
		if p, err = s.nodes[1].DomainSessions(t.Context(), op, sample.Old, authcore.DoorSessions{}, "", 50); err != nil || len(p.Sessions) != 5 || len(p.Silent) > 0 {
			t.Errorf("once it is known to be dead: %d, silent %v, %v", len(p.Sessions), p.Silent, err)
		}
	})
}
