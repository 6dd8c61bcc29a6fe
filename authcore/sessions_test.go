package authcore_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// open signs in at a door and answers what Stands is asked.
func (s *stage) open(t *testing.T, door, name, secret string) authcore.Standing {
	t.Helper()
	a := authtest.Attempt(door, name, secret)
	d, err := s.Authenticate(t.Context(), a)
	if err != nil || !d.Allowed() {
		t.Fatalf("open %s at %s: %q, %v", name, door, d.Reason, err)
	}
	return d.Standing(a)
}

func (s *stage) stands(t *testing.T, st authcore.Standing) bool {
	t.Helper()
	ok, err := s.Stands(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// left says which sessions stand: of "account" (account password) at imap and smtp, of "opted-in" (app password) at imap.
type left struct{ imap, smtp, app bool }

type ending struct {
	name string
	do   func(t *testing.T, s *stage) error
	want left
}

func endings() []ending {
	op := authtest.Operator()
	shut, smtp, noIMAP, nobody := true, []string{"smtp"}, []string{"smtp", "pop3", "caldav", "carddav"}, []string{}
	all := left{true, true, true}
	update := func(c authcore.MemberChange, states ...string) func(*testing.T, *stage) error {
		return func(t *testing.T, s *stage) (err error) {
			for _, state := range states {
				if _, e := s.UpdateMember(t.Context(), op, s.address(state), c, 0); e != nil {
					err = e
				}
			}
			return err
		}
	}
	domain := func(c authcore.DomainChange) func(*testing.T, *stage) error {
		return func(t *testing.T, s *stage) error {
			_, err := s.UpdateDomain(t.Context(), op, sample.Old, c)
			return err
		}
	}
	return []ending{
		{"nothing", func(*testing.T, *stage) error { return nil }, all},
		{"suspension", func(t *testing.T, s *stage) error {
			_, err := s.Suspend(t.Context(), op, s.address("account"))
			return err
		}, left{app: true}},
		{"suspension of the other", func(t *testing.T, s *stage) error {
			_, err := s.Suspend(t.Context(), op, s.address("opted-in"))
			return err
		}, left{imap: true, smtp: true}},
		{"suspension by failures", func(t *testing.T, s *stage) error {
			s.maxFailures(t, 3)
			for i := range 3 {
				s.from(t, source(i), "imap", s.address("account"), fmt.Sprint("wrong ", i))
			}
			return nil
		}, left{app: true}},
		{"suspended and lifted", func(t *testing.T, s *stage) error {
			if _, err := s.Suspend(t.Context(), op, s.address("account")); err != nil {
				return err
			}
			_, err := s.Lift(t.Context(), op, s.address("account"))
			return err
		}, left{app: true}},
		{"deletion", func(t *testing.T, s *stage) error { return s.DeleteMember(t.Context(), op, s.address("opted-in")) }, left{imap: true, smtp: true}},
		{"sign-out everywhere", func(t *testing.T, s *stage) error { return s.EndSessions(t.Context(), op, s.address("account")) }, left{app: true}},
		{"app password deleted", func(t *testing.T, s *stage) error {
			return s.DeleteAppPasswordOf(t.Context(), op, s.address("opted-in"), s.People["opted-in"].AppPasswords[0].ID)
		}, left{imap: true, smtp: true}},
		{"new account password, app passwords kept", func(t *testing.T, s *stage) error {
			for _, state := range []string{"account", "opted-in"} {
				if _, _, err := s.ResetPassword(t.Context(), op, s.address(state), true); err != nil {
					return err
				}
			}
			return nil
		}, left{app: true}},
		{"reset that deletes app passwords", func(t *testing.T, s *stage) error {
			_, _, err := s.ResetPassword(t.Context(), op, s.address("opted-in"), false)
			return err
		}, left{imap: true, smtp: true}},
		{"a door closed", domain(authcore.DomainChange{Doors: &noIMAP}), left{smtp: true}},
		{"a door closed and opened", func(t *testing.T, s *stage) error {
			doors := policy.Doors()
			if err := domain(authcore.DomainChange{Doors: &noIMAP})(t, s); err != nil {
				return err
			}
			return domain(authcore.DomainChange{Doors: &doors})(t, s)
		}, left{smtp: true}},
		{"the domain closed", domain(authcore.DomainChange{Closed: &shut}), left{}},
		{"a door closed for the member", update(authcore.MemberChange{ClosedDoors: &smtp}, "account"), left{app: true}},
		{"no door closed for the member", update(authcore.MemberChange{ClosedDoors: &nobody}, "account", "opted-in"), all},
		{"the option switched on", func(t *testing.T, s *stage) error {
			return s.SetAppPasswordOptionFor(t.Context(), op, s.address("account"), true)
		}, left{app: true}},
		{"the option switched on again", func(t *testing.T, s *stage) error {
			return s.SetAppPasswordOptionFor(t.Context(), op, s.address("opted-in"), true)
		}, all},
		{"a policy that requires app passwords", func(t *testing.T, s *stage) error {
			s.policy(t, sample.Old, func(p *policy.Policy) { p.ThirdParty.AppPasswords = policy.Required })
			return nil
		}, all},
		{"another name", update(authcore.MemberChange{Name: new("Ann")}, "account", "opted-in"), all},
		{"one session ended by an administrator", func(t *testing.T, s *stage) error {
			l, err := s.SessionsOf(t.Context(), op, s.address("opted-in"))
			if err != nil {
				return err
			}
			return s.EndSession(t.Context(), op, s.address("opted-in"), l.Doors[0].ID)
		}, left{imap: true, smtp: true}},
	}
}

func TestWhatEndsSessions(t *testing.T) {
	all := left{true, true, true}
	for _, c := range endings() {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, nil)
			imap, smtp := s.open(t, "imap", s.address("account"), s.account("account")), s.open(t, "smtp", s.address("account"), s.account("account"))
			app := s.open(t, "imap", s.address("opted-in"), s.app("opted-in"))
			told, stop := revocations(t, s.Core.Core)
			defer stop()
			if err := c.do(t, s); err != nil {
				t.Fatal(err)
			}
			if got := (left{s.stands(t, imap), s.stands(t, smtp), s.stands(t, app)}); got != c.want {
				t.Errorf("stand %+v, want %+v", got, c.want)
			}
			if c.want != all {
				for matched := false; !matched; { // somebody is told of what ended
					r := next(t, told)
					matched = !c.want.imap && r.Matches(imap) || !c.want.smtp && r.Matches(smtp) || !c.want.app && r.Matches(app)
				}
			}
		})
	}
}

func TestExpiryByTimeEndsNoSession(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		st := s.open(t, "imap", s.address("account"), s.account("account"))
		time.Sleep(366 * 24 * time.Hour)
		if got := s.try(t, s.address("account"), s.account("account")); got != authcore.PasswordExpired {
			t.Fatalf("got %q", got)
		}
		if !s.stands(t, st) {
			t.Error("the session of a password that expired meanwhile is ended")
		}
	})
}

func TestSessionStandsUntilItsCredentialExpires(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		_, plain, err := s.CreateAppPasswordFor(t.Context(), authtest.Operator(), s.address("app-only"), apppass.Wish{Name: "hour", ExpiresAt: s.options.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		st := s.open(t, "imap", s.address("app-only"), plain.Reveal())
		time.Sleep(time.Hour - time.Nanosecond)
		if !s.stands(t, st) {
			t.Error("ended before its time")
		}
		time.Sleep(time.Nanosecond)
		if s.stands(t, st) {
			t.Error("stands after its time")
		}
	})
}

func TestEndedSessionsStandNoMore(t *testing.T) {
	s := newStage(t, nil)
	st := s.open(t, "imap", s.address("app-only"), s.app("app-only"))
	s.Ended(t.Context(), st.Session, authcore.End{Cause: "client"})
	if s.stands(t, st) || s.stands(t, authcore.Standing{}) {
		t.Error("a session that ended, or none, stands")
	}
}

// Stands reads the records and no cache: a change that this node was not told of ends the session.
func TestStandsReadsTheRecords(t *testing.T) {
	s := newStage(t, nil)
	st := s.open(t, "imap", s.address("account"), s.account("account"))
	s.edit(t, sample.Old, "member/"+string(st.Member), func(v map[string]any) { v["epoch"] = v["epoch"].(float64) + 1 })
	if s.stands(t, st) {
		t.Error("stands by what the cache holds")
	}
}

func TestRevocationsAskForAllAfterAGap(t *testing.T) {
	bus := memory.NewBus()
	s := newStage(t, func(o *authcore.Options) { o.Bus = bus })
	told, stop := revocations(t, s.Core.Core)
	defer stop()
	if err := bus.Publish(t.Context(), "revocations", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if r := next(t, told); !r.Resync {
		t.Errorf("after what nobody can read: %+v", r)
	}
	for range 2000 { // nobody reads that fast: the subscription is cut
		_ = bus.Publish(t.Context(), "revocations", []byte(`{"Member":"x"}`))
	}
	for r := next(t, told); !r.Resync; r = next(t, told) {
	}
}

func TestRevocationOfAFailedWriteIsTold(t *testing.T) {
	s := newStage(t, nil)
	st := s.open(t, "imap", s.address("account"), s.account("account"))
	told, stop := revocations(t, s.Core.Core)
	defer stop()
	s.fail(func(string, []store.Op) storetest.Fault { return storetest.FailAfter })
	if _, err := s.Suspend(t.Context(), authtest.Operator(), s.address("account")); err == nil {
		t.Error("no error")
	}
	s.fail(nil)
	if r := next(t, told); !r.Matches(st) {
		t.Errorf("told %+v", r)
	}
	if s.stands(t, st) {
		t.Error("written, and the session stands")
	}
}

func (s *stage) audited(t *testing.T, domain string, reason authcore.Reason) (n int) {
	t.Helper()
	for _, r := range s.all(t, domain, "audit/") {
		var e struct{ Reason string }
		if err := json.Unmarshal(r.Value, &e); err != nil {
			t.Fatal(err)
		}
		if e.Reason == string(reason) {
			n++
		}
	}
	return n
}

func TestDAVRequestsShareASession(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name, app := s.address("app-only"), s.app("app-only")
		first := s.open(t, "caldav", name, app)
		for range 30 {
			time.Sleep(10 * time.Minute)
			if got := s.open(t, "caldav", name, app); got.Session != first.Session {
				t.Fatal("a new session for each request")
			}
		}
		if n := s.audited(t, sample.New, authcore.Allowed); n != 1 {
			t.Errorf("%d audit records of one session", n)
		}
		other := authtest.Attempt("caldav", name, app)
		other.Conn.Agent = "another program"
		if d, err := s.Authenticate(t.Context(), other); err != nil || d.Session == first.Session {
			t.Errorf("another program shares the session: %v", err)
		}
		if d := s.from(t, there, "caldav", name, app); d.Session == first.Session {
			t.Error("another network shares the session")
		}
		if err := s.EndSessions(t.Context(), authtest.Operator(), name); err != nil {
			t.Fatal(err)
		}
		second := s.open(t, "caldav", name, app)
		if second.Session == first.Session || s.stands(t, first) || !s.stands(t, second) {
			t.Error("the session is not ended by its epoch")
		}
		time.Sleep(15 * time.Minute)
		if third := s.open(t, "caldav", name, app); third.Session == second.Session {
			t.Error("the session goes on after 15 idle minutes")
		}
	})
}

// Of two requests that both find no session one may have been decided before a revocation, and the other after it. They
// share none: the one would go on as the other.
func TestRevocationBetweenRacingDAVRequests(t *testing.T) {
	var turns atomic.Pointer[chan chan struct{}] // of who is about to open a session; nil: nobody waits for his
	inBubble(t, func(o *authcore.Options) {
		now := o.Now
		o.Now = func() time.Time {
			if l := turns.Load(); l != nil && calledBy("doorSession") {
				turn := make(chan struct{})
				*l <- turn
				<-turn
			}
			return now()
		}
	}, func(t *testing.T, s *stage) {
		a := authtest.Attempt("caldav", s.address("app-only"), s.app("app-only"))
		l := make(chan chan struct{})
		turns.Store(&l)
		begin := func() (turn chan struct{}, decided chan authcore.Decision) {
			decided = make(chan authcore.Decision, 1)
			go func() {
				d, _ := s.Authenticate(t.Context(), a) // may be told to come again
				decided <- d
			}()
			return <-l, decided
		}
		before, early := begin()
		if err := s.EndSessions(t.Context(), authtest.Operator(), s.address("app-only")); err != nil {
			t.Fatal(err)
		}
		after, late := begin()
		turns.Store(nil)
		close(before)
		old := <-early
		close(after)
		if d := <-late; d.Session == old.Session && d.Epochs != old.Epochs {
			t.Errorf("one session of %+v and of %+v", old.Epochs, d.Epochs)
		}
		if next := s.open(t, "caldav", s.address("app-only"), s.app("app-only")); !s.stands(t, next) || s.stands(t, old.Standing(a)) {
			t.Error("what was decided before the revocation stands, or what comes after it does not")
		}
	})
}

// calledBy says whether a function of that name is among those that led here.
func calledBy(name string) bool {
	var at [8]uintptr
	frames := runtime.CallersFrames(at[:runtime.Callers(2, at[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "."+name) {
			return true
		}
		if !more {
			return false
		}
	}
}

// Of racing first requests none goes on before the one audit record is written; if it cannot be, none goes on.
func TestRacingDAVRequestsWaitForTheAudit(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.NoFault, storetest.FailBefore} {
		inBubble(t, nil, func(t *testing.T, s *stage) {
			release, results := make(chan struct{}), make(chan error, 10)
			var once sync.Once
			s.fail(func(_ string, ops []store.Op) storetest.Fault {
				if !has(ops, "audit/") {
					return storetest.NoFault
				}
				once.Do(func() { <-release })
				return fault
			})
			for range 10 {
				go func() {
					d, err := s.Authenticate(t.Context(), authtest.Attempt("caldav", s.address("app-only"), s.app("app-only")))
					if err == nil && !d.Allowed() {
						err = fmt.Errorf("refused: %s", d.Reason)
					}
					results <- err
				}()
			}
			synctest.Wait()
			if n := len(results); n > 0 {
				t.Errorf("%d requests went on before the audit was written", n)
			}
			close(release)
			for range 10 {
				if err := <-results; (err == nil) != (fault == storetest.NoFault) {
					t.Errorf("%v: %v", fault, err)
				}
			}
			if n := s.audited(t, sample.New, authcore.Allowed); fault == storetest.NoFault && n != 1 {
				t.Errorf("%d audit records", n)
			}
		})
	}
}

func TestTwentySessionsAtADoor(t *testing.T) {
	s := newStage(t, nil)
	name, app := s.address("app-only"), s.app("app-only")
	for range 20 {
		s.open(t, "imap", name, app)
	}
	d, err := s.Authenticate(t.Context(), authtest.Attempt("imap", name, app))
	if err != nil || d.Reason != authcore.TooManyConnections || d.RetryAfter <= 0 {
		t.Errorf("the 21st: %q, %v, %v", d.Reason, d.RetryAfter, err)
	}
	s.open(t, "smtp", name, app) // another door is another limit
	l, err := s.SessionsOf(t.Context(), authtest.Operator(), name)
	if err != nil || len(l.Doors) != 21 {
		t.Fatal(len(l.Doors), err)
	}
	s.Ended(t.Context(), l.Doors[0].ID, authcore.End{})
	s.open(t, "imap", name, app)
}

func TestLongestIdleDAVSessionMakesRoom(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name, app := s.address("app-only"), s.app("app-only")
		told, stop := revocations(t, s.Core.Core)
		defer stop()
		request := func(i int) authcore.Standing {
			a := authtest.Attempt("caldav", name, app)
			a.Conn.Agent = fmt.Sprint("program ", i)
			d, err := s.Authenticate(t.Context(), a)
			if err != nil || !d.Allowed() {
				t.Fatal(i, d.Reason, err)
			}
			return d.Standing(a)
		}
		var sessions []authcore.Standing
		for i := range 20 {
			sessions = append(sessions, request(i))
			time.Sleep(time.Second)
		}
		request(0) // used again: the second is the longest idle now
		request(20)
		if r := next(t, told); r.Session != sessions[1].Session {
			t.Errorf("told %+v, want the session that had to go", r)
		}
		if s.stands(t, sessions[1]) || !s.stands(t, sessions[0]) || !s.stands(t, sessions[2]) {
			t.Error("not the longest idle one made room")
		}
	})
}
