package authcore_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// storm sends n distinct wrong passwords at once, over two doors and the web, by every name of the member, from as many
// sources, and answers how each ended.
func (s *stage) storm(t *testing.T, n int, names ...string) []authcore.Reason {
	t.Helper()
	got := make([]authcore.Reason, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			name, wrong := names[i%len(names)], fmt.Sprintf("wrong %d", i)
			if i%3 == 2 {
				_, err := s.SignIn(t.Context(), authcore.Client{Addr: addr(source(i))}, name, secret.New(wrong))
				var d *authcore.Denial
				if !errors.As(err, &d) {
					t.Errorf("web: %v, want a denial", err)
					return
				}
				got[i] = authcore.Reason(d.Reason)
				return
			}
			d, err := s.Authenticate(t.Context(), authtest.AttemptFrom(source(i), []string{"imap", "smtp", ""}[i%3], name, wrong))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got[i] = d.Reason
		})
	}
	wg.Wait()
	return got
}

func TestExactlyNWrongPasswordsSuspend(t *testing.T) {
	for _, engine := range []struct {
		name   string
		change func(*authcore.Options)
	}{{"memory", nil}, {"sqlite", onSQLite(t)}} {
		t.Run(engine.name, func(t *testing.T) {
			s := newStage(t, engine.change)
			s.maxFailures(t, 5)
			name := s.address("account")
			s.aliases(t, name, "account.one@old.example", "account.two@old.example")
			before := s.Stats().Hashes
			got := s.storm(t, 100, name, "account.one@old.example", "ACCOUNT.Two@OLD.example")
			for i, r := range got {
				if r != authcore.BadCredentials && r != authcore.Throttled {
					t.Errorf("attempt %d: got %q", i, r)
				}
			}
			if p := s.profile(t, name); p.Member.Status != member.Suspended || p.Member.SuspendedReason != member.BySignInFailures {
				t.Errorf("status %q, reason %q, want suspended by failures", p.Member.Status, p.Member.SuspendedReason)
			}
			if f := s.all(t, sample.Old, "failures/"+string(s.MemberID(t, name))); len(f) != 1 || !contains(f[0].Value, `"count":5,`) {
				t.Errorf("the count is not exactly 5: %v", values(f))
			}
			if n := s.Stats().Hashes - before; n != 100 {
				t.Errorf("%d hashes for 100 attempts, want one each: those after the fifth cost the same", n)
			}
			if r := s.from(t, source(200), "imap", name, s.account("account")).Reason; r != authcore.BadCredentials {
				t.Errorf("the right password of the suspended: got %q", r)
			}
		})
	}
}

func TestOnlyNAreVerifiedAgainstThePassword(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 5)
	name := s.address("account")
	for i := range 4 {
		s.from(t, source(i), "imap", name, fmt.Sprint("wrong ", i))
	}
	again := s.restart()
	if d, err := again.Authenticate(t.Context(), authtest.AttemptFrom(source(7), "pop3", name, "wrong after a restart")); err != nil || d.Reason != authcore.BadCredentials {
		t.Fatal(d.Reason, err)
	}
	if d, err := again.Authenticate(t.Context(), authtest.AttemptFrom(source(8), "pop3", name, s.account("account"))); err != nil || d.Reason != authcore.BadCredentials {
		t.Errorf("after a restart the fifth does not suspend: %q, %v", d.Reason, err)
	}
}

func TestRightPasswordAmongRacingOnesCounts(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 20)
	name, right := s.address("account"), s.account("account")
	var wg sync.WaitGroup
	for i := range 19 {
		wg.Go(func() {
			_, _ = s.Authenticate(t.Context(), authtest.AttemptFrom(source(i), "imap", name, fmt.Sprint("wrong ", i)))
		})
	}
	for i := range 10 {
		wg.Go(func() {
			if d, err := s.Authenticate(t.Context(), authtest.AttemptFrom(source(50+i), "imap", name, right)); err != nil || !d.Allowed() {
				t.Errorf("the right password among 19 wrong ones with N = 20: %q, %v", d.Reason, err)
			}
		})
	}
	wg.Wait()
	if got := s.status(t, name); got != member.Active {
		t.Errorf("status %q", got)
	}
}

// A verdict of the last minute must not stand in for the verification that begins the count anew.
func TestRightPasswordResetsTheCount(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 5)
	name, right := s.address("account"), s.account("account")
	for round := range 4 {
		if r := s.try(t, name, right); r != authcore.Allowed {
			t.Fatalf("round %d: the right password: %q", round, r)
		}
		for i := range 4 {
			s.from(t, source(round*4+i), "imap", name, fmt.Sprintf("wrong %d/%d", round, i))
		}
	}
	if got := s.status(t, name); got != member.Active {
		t.Errorf("suspended by 4 wrong passwords in a row, N is 5: %q", got)
	}
}

func TestAppPasswordDoesNotResetTheCount(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 3)
	name := s.address("opted-in")
	web := func(i int) {
		_, _ = s.SignIn(t.Context(), authcore.Client{Addr: addr(source(i))}, name, secret.New(fmt.Sprint("wrong ", i)))
	}
	web(1)
	web(2)
	if r := s.try(t, name, s.app("opted-in")); r != authcore.Allowed {
		t.Fatal(r)
	}
	web(3)
	if got := s.status(t, name); got != member.Suspended {
		t.Errorf("status %q, want suspended by the third on the web", got)
	}
}

func TestDoorsThatTakeOnlyAppPasswordsNeverSuspend(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 3)
	s.policy(t, sample.New, func(p *policy.Policy) { p.Password.MaxFailures = 3 })
	for _, state := range []string{"app-only", "opted-in", "two-step"} {
		for i := range 12 {
			s.from(t, source(i), "imap", s.address(state), fmt.Sprint("wrong ", i))
		}
		if got := s.status(t, s.address(state)); got != member.Active {
			t.Errorf("%s: %q", state, got)
		}
	}
}

// Programs that still send app passwords after the option was switched off are stale, they do not guess.
func TestAppPasswordsWithTheOptionOffSuspendNobody(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 3)
	name := s.address("opted-in")
	var apps []string
	for i := range 4 {
		_, plain, err := s.CreateAppPasswordFor(t.Context(), authtest.Operator(), name, wish(fmt.Sprint("program ", i)))
		if err != nil {
			t.Fatal(err)
		}
		apps = append(apps, plain.Reveal())
	}
	if err := s.SetAppPasswordOptionFor(t.Context(), authtest.Operator(), name, false); err != nil {
		t.Fatal(err)
	}
	for _, app := range apps {
		if r := s.try(t, name, app); r != authcore.BadCredentials {
			t.Errorf("app password with the option off: %q", r)
		}
	}
	if r := s.try(t, name, s.account("opted-in")); r != authcore.Allowed {
		t.Errorf("the account password: %q", r)
	}
}

func TestRepeatsOfOneWrongPasswordNeverCount(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 3)
	name := s.address("account")
	before := s.Stats().Hashes
	for i := range 50 {
		s.from(t, source(i), "imap", name, "the one of last year")
	}
	if got := s.status(t, name); got != member.Active {
		t.Errorf("status %q", got)
	}
	if n := s.Stats().Hashes - before; n != 50 {
		t.Errorf("%d hashes for 50 repeats: they must cost the same", n)
	}
}

func TestSixtyDaysOfAStalePasswordSuspendNobody(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.maxFailures(t, 3)
		name, right := s.address("account"), s.account("account")
		s.from(t, here, "imap", name, right)
		for i := range 60 * 24 * 12 {
			time.Sleep(5 * time.Minute)
			if d := s.from(t, there, "imap", name, "stale"); d.Reason != authcore.BadCredentials {
				t.Fatalf("stale attempt %d: %q", i, d.Reason)
			}
			if i%100 == 0 {
				if d := s.from(t, here, "imap", name, right); !d.Allowed() {
					t.Fatalf("the right password beside it, attempt %d: %q", i, d.Reason)
				} else {
					s.Ended(t.Context(), d.Session, authcore.End{})
				}
			}
		}
		if got := s.status(t, name); got != member.Active {
			t.Errorf("status %q", got)
		}
	})
}

// Without anybody who signs in right, the stale one alone suspends nobody either.
func TestAStalePasswordAloneNeverSuspends(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.maxFailures(t, 3)
		for range 60 * 24 {
			time.Sleep(time.Hour)
			s.from(t, here, "imap", s.address("account"), "stale")
		}
		if r := s.try(t, s.address("account"), s.account("account")); r != authcore.Allowed {
			t.Errorf("after 60 days: %q", r)
		}
	})
}

func TestNoLimitSuspendsNobody(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 0)
	for i := range 40 {
		s.from(t, source(i), "imap", s.address("account"), fmt.Sprint("wrong ", i))
	}
	if got := s.status(t, s.address("account")); got != member.Active {
		t.Errorf("status %q", got)
	}
}

func TestLiftClearsTheCount(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 3)
	name := s.address("account")
	for i := range 3 {
		s.from(t, source(i), "imap", name, fmt.Sprint("wrong ", i))
	}
	if _, err := s.Lift(t.Context(), authtest.Operator(), name); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		s.from(t, source(10+i), "imap", name, fmt.Sprint("other ", i))
	}
	if r := s.try(t, name, s.account("account")); r != authcore.Allowed {
		t.Errorf("after lifting and two more: %q", r)
	}
}

// Hanging up at the n-th step of the records gains nothing: before the hash nothing is left, after it the failure counts.
func TestHangingUpGainsNothing(t *testing.T) {
	for step := range 6 {
		t.Run(fmt.Sprint("at write ", step), func(t *testing.T) {
			s := newStage(t, nil)
			s.maxFailures(t, 5)
			name := s.address("account")
			for i := range 4 {
				s.from(t, source(i), "imap", name, fmt.Sprint("wrong ", i))
			}
			hashes := s.Stats().Hashes
			ctx, hangUp := context.WithCancel(t.Context())
			n := 0
			s.fail(func(string, []store.Op) storetest.Fault {
				if n == step {
					hangUp()
				}
				n++
				return storetest.NoFault
			})
			d, err := s.Authenticate(ctx, authtest.AttemptFrom(source(9), "imap", name, "wrong at last"))
			s.fail(nil)
			hangUp()
			hashed := s.Stats().Hashes > hashes
			if want := map[bool]member.Status{true: member.Suspended, false: member.Active}[hashed]; s.status(t, name) != want {
				t.Errorf("hashed %v, status %q, want %q (%q, %v)", hashed, s.status(t, name), want, d.Reason, err)
			}
			if left := s.all(t, sample.Old, "lease/"); len(left) > 0 {
				t.Errorf("a lease is left: %v", left)
			}
			if !hashed && s.try(t, name, s.account("account")) != authcore.Allowed {
				t.Error("the next one is not let in")
			}
		})
	}
}

func TestCancelledBeforeItBeganLeavesNoTrace(t *testing.T) {
	s := newStage(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hashes := s.Stats().Hashes
	for i := range 20 {
		if d, err := s.Authenticate(ctx, authtest.AttemptFrom(source(i), "imap", s.address("account"), fmt.Sprint("wrong ", i))); err == nil {
			t.Fatalf("decided %q for a client that is gone", d.Reason)
		}
	}
	if s.Stats().Hashes != hashes || len(s.all(t, sample.Old, "failures/")) > 0 || len(s.all(t, sample.Old, "lease/")) > 0 {
		t.Error("a trace is left")
	}
}

func TestLeaseHeldIsThrottledAndNotCounted(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name, release := s.address("account"), make(chan struct{})
		held := make(chan struct{})
		var once sync.Once
		s.fail(func(_ string, ops []store.Op) storetest.Fault {
			if has(ops, "failures/") {
				once.Do(func() { close(held); <-release })
			}
			return storetest.NoFault
		})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = s.Authenticate(t.Context(), authtest.AttemptFrom(source(1), "imap", name, "wrong 1")) })
		<-held
		start := time.Now()
		d, err := s.Authenticate(t.Context(), authtest.AttemptFrom(source(2), "imap", name, "wrong 2"))
		if err != nil || d.Reason != authcore.Throttled || d.RetryAfter <= 0 {
			t.Errorf("got %q, retry after %v, %v, want throttled", d.Reason, d.RetryAfter, err)
		}
		if waited := time.Since(start); waited < 2*time.Second || waited > 2100*time.Millisecond {
			t.Errorf("waited %v, want 2s", waited)
		}
		close(release)
		wg.Wait()
		s.fail(nil)
		if f := s.all(t, sample.Old, "failures/"); len(f) != 1 || !contains(f[0].Value, `"count":1,`) {
			t.Errorf("the throttled one was counted: %v", values(f))
		}
	})
}

const othersLease = `{"of":"another"}`

// takeAway puts another's lease in the place of one.
func (s *stage) takeAway(t testing.TB, k store.Key) {
	t.Helper()
	op := store.Op{Kind: store.Put, Name: k.Name, Value: []byte(othersLease), IfRevision: store.AnyRevision}
	if _, err := s.options.Records.Apply(context.Background(), k.Partition, op); err != nil {
		t.Error(err)
	}
}

// What was verified under a lease that was lost decides and counts nothing, at once: no time runs out over it.
func TestLeaseLostCountsForNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name := s.address("account")
		for _, secret := range []string{s.account("account"), "wrong"} {
			var once sync.Once
			var lease store.Key
			s.fail(func(partition string, ops []store.Op) storetest.Fault {
				i := slices.IndexFunc(ops, func(op store.Op) bool { return strings.HasPrefix(op.Name, "lease/") })
				if len(ops) > 1 && i >= 0 { // between verify and settle it runs out, and is another's
					once.Do(func() { lease = store.Key{Partition: partition, Name: ops[i].Name}; s.takeAway(t, lease) })
				}
				return storetest.NoFault
			})
			d, err := s.Authenticate(t.Context(), authtest.Attempt("imap", name, secret))
			if err == nil || d.Allowed() || d.Reason == authcore.BadCredentials {
				t.Errorf("decided %q, %v after the lease was lost", d.Reason, err)
			}
			s.fail(nil)
			if r, err := s.options.Records.Get(t.Context(), lease); err != nil || string(r.Value) != othersLease {
				t.Errorf("the other's lease is %q, %v", r.Value, err)
			}
			if _, err := s.options.Records.Apply(t.Context(), lease.Partition, store.Op{Kind: store.Delete, Name: lease.Name, IfRevision: store.AnyRevision}); err != nil {
				t.Fatal(err)
			}
		}
		if f := s.all(t, sample.Old, "failures/"); len(f) > 0 {
			t.Errorf("counted: %v", values(f))
		}
		if r := s.try(t, name, s.account("account")); r != authcore.Allowed {
			t.Errorf("afterwards: %q", r)
		}
	})
}

// A lease whose holder died stops others until it runs out, and no longer.
func TestLeaseOfADeadProcessRunsOut(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name := s.address("account")
		s.fail(func(_ string, ops []store.Op) storetest.Fault {
			if has(ops, "lease/") && len(ops) == 1 && ops[0].Kind == store.Put {
				return storetest.FailAfter
			}
			return storetest.NoFault
		})
		if _, err := s.Authenticate(t.Context(), authtest.Attempt("imap", name, "x")); err == nil {
			t.Fatal("no error")
		}
		s.fail(nil)
		if r := s.try(t, name, s.account("account")); r != authcore.Throttled {
			t.Errorf("while the lease stands: %q", r)
		}
		time.Sleep(13 * time.Second) // its time, and the room for a store whose clock is ahead
		if r := s.try(t, name, s.account("account")); r != authcore.Allowed {
			t.Errorf("after it ran out: %q", r)
		}
	})
}

// Whatever write of an attempt fails, written or not: the client gets an error, never a wrong verdict.
func TestFaultAtEveryWrite(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		for step := range 5 {
			for _, c := range []struct {
				name   string
				state  string
				secret func(*stage) string
			}{
				{"right account password", "account", func(s *stage) string { return s.account("account") }},
				{"wrong account password", "account", func(*stage) string { return "wrong" }},
				{"right app password", "app-only", func(s *stage) string { return s.app("app-only") }},
				{"wrong app password", "app-only", func(*stage) string { return "wrong" }},
			} {
				t.Run(fmt.Sprintf("%s/%v at write %d", c.name, fault, step), func(t *testing.T) {
					s := newStage(t, nil)
					n := 0
					s.fail(func(string, []store.Op) storetest.Fault {
						if n++; n == step+1 {
							return fault
						}
						return storetest.NoFault
					})
					right := c.secret(s) != "wrong"
					d, err := s.Authenticate(t.Context(), authtest.Attempt("imap", s.address(c.state), c.secret(s)))
					s.fail(nil)
					hit := n > step
					switch {
					case err == nil && right && !d.Allowed():
						t.Errorf("a right password got %q", d.Reason)
					case d.Allowed() && !right:
						t.Error("a wrong password is allowed")
					case err == nil && hit && audited(s, t) == 0:
						t.Errorf("decided %q and nothing is on record", d.Reason)
					case err != nil && (d.Reason != authcore.Unavailable || !errors.Is(err, store.ErrUnavailable)):
						t.Errorf("broken is told as %q, %v", d.Reason, err)
					}
				})
			}
		}
	}
}

func audited(s *stage, t *testing.T) int {
	return len(s.all(t, sample.Old, "audit/")) + len(s.all(t, sample.New, "audit/"))
}

func TestFaultAtASuspensionStillTellsTheDoors(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 3)
	name := s.address("account")
	for i := range 2 {
		s.from(t, source(i), "imap", name, fmt.Sprint("wrong ", i))
	}
	told, stop := revocations(t, s.Core.Core)
	defer stop()
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		if has(ops, "member/") {
			return storetest.FailAfter
		}
		return storetest.NoFault
	})
	if _, err := s.Authenticate(t.Context(), authtest.AttemptFrom(source(5), "imap", name, "wrong 2")); err == nil {
		t.Error("no error")
	}
	s.fail(nil)
	if got := s.status(t, name); got != member.Suspended {
		t.Fatalf("status %q", got)
	}
	if r := next(t, told); r.Member != s.MemberID(t, name) {
		t.Errorf("told %+v", r)
	}
}

func TestDistinctWrongPasswordsOfADayThrottleUnknownSourcesOnly(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.maxFailures(t, 0)
		name, right := s.address("account"), s.account("account")
		if d := s.from(t, here, "imap", name, right); !d.Allowed() {
			t.Fatal(d.Reason)
		}
		for i := range 100 {
			if d := s.from(t, source(i), "imap", name, fmt.Sprint("wrong ", i)); d.Reason != authcore.BadCredentials {
				t.Fatalf("%d: %q", i, d.Reason)
			}
		}
		if r := s.try(t, name, right); r != authcore.Allowed { // resets the count, not the day's
			t.Errorf("a known source: %q", r)
		}
		hashes := s.Stats().Hashes
		d := s.from(t, source(300), "imap", name, "wrong 100")
		if d.Reason != authcore.Throttled || d.RetryAfter <= 0 || s.Stats().Hashes != hashes {
			t.Errorf("the 101st of the day: %q, retry after %v, %d hashes", d.Reason, d.RetryAfter, s.Stats().Hashes-hashes)
		}
		time.Sleep(2 * time.Minute)
		if d := s.from(t, source(301), "imap", name, right); d.Reason != authcore.Throttled {
			t.Errorf("the right one from an unknown source: %q", d.Reason)
		}
		if r := s.try(t, name, right); r != authcore.Allowed {
			t.Errorf("the right one from a known source: %q", r)
		}
		time.Sleep(24 * time.Hour)
		if d := s.from(t, source(301), "imap", name, right); !d.Allowed() {
			t.Errorf("a day later: %q", d.Reason)
		}
	})
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestBubbleClockIsTheSampleDay(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		synctest.Wait()
		if got := s.options.Now(); got.Year() != sampleDay.Year() {
			t.Errorf("simulated time is %v", got)
		}
	})
}
