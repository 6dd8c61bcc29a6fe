package authcore_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// waiting is an attempt of a door that asks Stands before its client hears OK. Its source is known already.
func (s *stage) waiting(t *testing.T, state string) authcore.Attempt {
	t.Helper()
	a := authtest.Attempt("imap", s.address(state), s.app(state))
	if d := s.from(t, here, "imap", s.address(state), s.app(state)); d.Allowed() {
		s.Ended(t.Context(), d.Session, authcore.End{})
	}
	a.StandsFollows = true
	return a
}

// heldAudit has batches with audit entries wait until free is closed, and counts them.
func (s *stage) heldAudit(free chan struct{}, fault storetest.Fault) *atomic.Int64 {
	var begun atomic.Int64
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		if !has(ops, "audit/") {
			return storetest.NoFault
		}
		begun.Add(1)
		<-free
		return fault
	})
	return &begun
}

func (s *stage) wantOnRecord(t *testing.T, d authcore.Decision) {
	t.Helper()
	l := s.log(t, s.People["app-only"].Domain, audit.Filter{Actions: []audit.Action{audit.SignIn}})
	if !slices.ContainsFunc(l, func(e audit.Entry) bool { return e.Session == string(d.Session) }) || len(l) != 2 {
		t.Errorf("session %s is not on record: %+v", d.Session, l)
	}
}

// The record is written while the upstream is dialled. Until it is durable the session does not stand, and nobody hears OK.
func TestAllowWaitsForItsRecordInStands(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.waiting(t, "app-only")
		free := make(chan struct{})
		begun := s.heldAudit(free, storetest.NoFault)
		d, err := s.Authenticate(t.Context(), a)
		if err != nil || !d.Allowed() {
			t.Fatal(d.Reason, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if ok, err := s.Stands(ctx, d.Standing(a)); ok || !errors.Is(err, context.DeadlineExceeded) || begun.Load() != 1 {
			t.Fatalf("before it is on record: %v, %v, %d writes", ok, err, begun.Load())
		}
		stood := make(chan error, 1)
		go func() {
			ok, err := s.Stands(t.Context(), d.Standing(a))
			if err == nil && !ok {
				err = errors.New("it does not stand")
			}
			stood <- err
		}()
		synctest.Wait()
		close(free)
		if err := <-stood; err != nil {
			t.Error(err)
		}
		s.wantOnRecord(t, d)
		if ok, err := s.Stands(t.Context(), d.Standing(a)); !ok || err != nil {
			t.Errorf("later: %v, %v", ok, err)
		}
	})
}

// An allow whose record failed, written or not, never stands, however often it is asked about.
func TestAllowWithoutRecordNeverStands(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		for _, answered := range []bool{true, false} { // the store fails before Stands asks, and after
			inBubble(t, nil, func(t *testing.T, s *stage) {
				a := s.waiting(t, "app-only")
				free := make(chan struct{})
				s.heldAudit(free, fault)
				d, err := s.Authenticate(t.Context(), a)
				if err != nil || !d.Allowed() {
					t.Fatal(d.Reason, err)
				}
				if answered {
					close(free)
					synctest.Wait()
				} else {
					time.AfterFunc(time.Second, func() { close(free) })
				}
				for range 2 {
					if ok, err := s.Stands(t.Context(), d.Standing(a)); ok || !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%v, answered %v: %v, %v", fault, answered, ok, err)
					}
				}
				s.Ended(t.Context(), d.Session, authcore.End{})
				s.fail(nil)
				if ok, err := s.Stands(t.Context(), d.Standing(a)); ok || err != nil {
					t.Errorf("%v: after its end: %v, %v", fault, ok, err)
				}
			})
		}
	}
}

// A session that never came to Stands, because its upstream was down, leaves its record and nothing else; who hangs up
// does not keep it from being written.
func TestAllowThatEndsEarlyIsOnRecord(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.waiting(t, "app-only")
		free := make(chan struct{})
		s.heldAudit(free, storetest.NoFault)
		ctx, hangUp := context.WithCancel(t.Context())
		d, err := s.Authenticate(ctx, a)
		if err != nil || !d.Allowed() {
			t.Fatal(d.Reason, err)
		}
		hangUp()
		s.Ended(t.Context(), d.Session, authcore.End{})
		close(free)
		synctest.Wait()
		s.wantOnRecord(t, d)
		if n := s.Stats().DoorSessions; n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

// Who does not ask Stands first, as DAV, hears of an allow when it is on record.
func TestAllowOfOthersIsOnRecordAtOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.waiting(t, "app-only")
		free := make(chan struct{})
		s.heldAudit(free, storetest.NoFault)
		var decided atomic.Bool
		go func() {
			_, _ = s.Authenticate(t.Context(), authtest.Attempt("caldav", s.address("app-only"), s.app("app-only")))
			decided.Store(true)
		}()
		synctest.Wait()
		if decided.Load() {
			t.Error("decided before it was on record")
		}
		close(free)
		synctest.Wait()
		if !decided.Load() {
			t.Error("not decided")
		}
	})
}

// Many at once over the embedded engine, where they share commits: each is on record when it stands, and nothing is left.
func TestManyAllowsAtOnce(t *testing.T) {
	p := newPrograms(t, 40, false, onSQLite(t))
	for range 5 {
		errs := make(chan error, len(p.attempts))
		for _, a := range p.attempts {
			a.StandsFollows = true
			go func() {
				d, err := p.Authenticate(t.Context(), a)
				if err == nil {
					time.Sleep(time.Millisecond) // the upstream is dialled
					_, err = p.Stands(t.Context(), d.Standing(a))
				}
				p.Ended(t.Context(), d.Session, authcore.End{})
				errs <- err
			}()
		}
		for range p.attempts {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	if n := p.OnTheirWay(); n != 0 {
		t.Errorf("%d are still on their way", n)
	}
}

// A session that ends while somebody asks whether it stands does not stand on a record that is not there yet.
func TestAllowThatEndsMeanwhileDoesNotStand(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.waiting(t, "app-only")
		free := make(chan struct{})
		s.heldAudit(free, storetest.NoFault)
		defer close(free)
		for range 2000 {
			d, err := s.Authenticate(t.Context(), a)
			if err != nil || !d.Allowed() {
				t.Fatal(d.Reason, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			ended := make(chan struct{})
			go func() {
				s.Ended(t.Context(), d.Session, authcore.End{})
				close(ended)
			}()
			ok, _ := s.Stands(ctx, d.Standing(a))
			<-ended
			cancel()
			if ok {
				t.Fatal("it stands before it is on record")
			}
		}
	})
}
