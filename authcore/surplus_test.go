package authcore_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// A node that others took for dead comes back with its sessions: those that are too many then are cut, and no other.
func TestSessionsOfANodeThatComesBackStayWithinTheLimit(t *testing.T) {
	for name, away := range map[string]time.Duration{"after 20 seconds": 20 * time.Second, "after a minute": time.Minute} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 3, func(t *testing.T, s *fleetOf) {
				a := authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in"))
				for range session.DefaultPerDoor {
					if d := s.at(t, 2, a); !d.Allowed() {
						t.Fatalf("%q", d.Reason)
					}
				}
				told, stop := revocations(t, s.nodes[2])
				defer stop()
				s.away[2].Store(true)
				time.Sleep(11 * time.Second)
				const came = 5
				var fresh []authcore.Decision
				for range came {
					d := s.at(t, 0, a)
					if !d.Allowed() {
						t.Fatalf("while the node is away: %q", d.Reason)
					}
					fresh = append(fresh, d)
				}
				time.Sleep(away - 11*time.Second)
				s.away[2].Store(false)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if n := s.live(); n != session.DefaultPerDoor {
					t.Errorf("%d live, want %d", n, session.DefaultPerDoor)
				}
				for _, d := range fresh {
					if ok, err := s.nodes[0].Stands(t.Context(), d.Standing(a)); !ok || err != nil {
						t.Errorf("one that came meanwhile stands: %v, %v", ok, err)
					}
				}
				for range came {
					select {
					case r := <-told:
						if r.Session == "" {
							t.Errorf("told %+v", r)
						}
					case <-time.After(time.Second):
						t.Error("the doors are not told whom to cut")
					}
				}
				if d := s.at(t, 1, a); d.Reason != authcore.TooManyConnections {
					t.Errorf("one too many: %q", d.Reason)
				}
			})
		})
	}
}

// Whoever tries again and again when all seats are taken ends nobody's session, whenever it is told again.
func TestAttemptsAtTheLimitEndNobodysSession(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, s *fleetOf) {
		a := authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in"))
		for i := range session.DefaultPerDoor {
			s.at(t, i%2, a)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var trying sync.WaitGroup
		for i := range 8 {
			trying.Go(func() {
				for ctx.Err() == nil {
					_, _ = s.nodes[i%2].Authenticate(ctx, a)
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		time.Sleep(10 * time.Second)
		s.lossy.lose()
		time.Sleep(10 * time.Second)
		cancel()
		trying.Wait()
		if n := s.live(); n != session.DefaultPerDoor {
			t.Errorf("%d live, want %d", n, session.DefaultPerDoor)
		}
	})
}

// A seat of a session that is not there, which a lost answer left, keeps nobody out of the node that has told it.
func TestSeatWithoutSessionIsTakenOff(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, s *fleetOf) {
		a := authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in"))
		first := s.at(t, 1, a)
		k := session.SeatsKey(first.Domain, first.Member, "imap")
		seats, err := s.lossy.Members(t.Context(), k, session.SeatFor, 100)
		if err != nil || len(seats) != 1 {
			t.Fatalf("%v, %v", seats, err)
		}
		one, err := session.ParseSeat(seats[0], first.Domain, first.Member, "imap")
		must(t, err)
		for range session.DefaultPerDoor {
			d := one.Door
			d.ID = session.NewID()
			_, err := s.lossy.Add(t.Context(), k, session.SeatOf(one.Process, d), session.SeatFor)
			must(t, err)
		}
		if d := s.at(t, 0, a); d.Reason != authcore.TooManyConnections {
			t.Errorf("at another node: %q", d.Reason)
		}
		if d := s.at(t, 1, a); !d.Allowed() {
			t.Errorf("at the node itself: %q", d.Reason)
		}
		if ok, err := s.nodes[1].Stands(t.Context(), first.Standing(a)); !ok || err != nil {
			t.Errorf("the session that is there stands: %v, %v", ok, err)
		}
	})
}

// A session that is cut while its seat is being taken is not let in, and leaves no seat.
func TestSessionCutWhileItBegins(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, s *fleetOf) {
		a := authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in"))
		op, name := authtest.Operator(), s.address("opted-in")
		s.lossy.onAdd = func(k store.Key) {
			s.lossy.onAdd = nil
			l, err := s.nodes[1].SessionsOf(t.Context(), op, name)
			if err != nil || len(l.Doors) != 1 {
				t.Errorf("%+v, %v", l.Doors, err)
				return
			}
			must(t, s.nodes[1].EndSession(t.Context(), op, name, l.Doors[0].ID))
		}
		if d, err := s.nodes[1].Authenticate(t.Context(), a); d.Allowed() {
			t.Errorf("%q, %v", d.Reason, err)
		}
		l, err := s.nodes[0].SessionsOf(t.Context(), op, name)
		if err != nil || len(l.Doors) != 0 {
			t.Errorf("%+v, %v", l.Doors, err)
		}
	})
}
