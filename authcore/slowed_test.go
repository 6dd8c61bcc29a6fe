package authcore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

const administratorsPassword = "administrators word 1"

// administrator makes another one of the old domain.
func (s *stage) administrator(t *testing.T, address string) {
	t.Helper()
	n := authcore.NewMember{Address: address, Role: member.RoleAdministrator, Password: secretOf(administratorsPassword)}
	if _, _, err := s.CreateMember(t.Context(), authtest.Operator(), sample.Old, n); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) inbox(t *testing.T, address string, kind notify.Kind) (n int) {
	t.Helper()
	l, _, err := notify.Inbox{Records: s.options.Records}.List(t.Context(), s.domain(t, sample.Old).ID, s.MemberID(t, address), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range l {
		if m.Kind == kind {
			n++
		}
	}
	return n
}

func TestLastAdministratorIsSlowedAndNeverSuspended(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.maxFailures(t, 5)
		name, right := s.address("admin"), s.account("admin")
		s.from(t, here, "imap", name, right)
		time.Sleep(2 * time.Minute) // past the verdict of the last minute
		for i := range 5 {
			if d := s.from(t, source(i), "imap", name, fmt.Sprint("wrong ", i)); d.Reason != authcore.BadCredentials {
				t.Fatalf("wrong %d: %q", i, d.Reason)
			}
		}
		if n := s.inbox(t, name, notify.GuessingSlowed); n != 1 {
			t.Errorf("administrators were told %d times, want once", n)
		}
		hashes := s.Stats().Hashes
		verified := func() int64 { n := s.Stats().Hashes - hashes; hashes += n; return n }
		for i := range 60 { // an hour of guesses from everywhere, one a minute
			s.from(t, source(20+i), "imap", name, fmt.Sprint("guess ", i))
			time.Sleep(time.Minute)
		}
		if n := verified(); n != 4 {
			t.Errorf("%d verifications in an hour for unknown sources, want one in 15 minutes", n)
		}
		for i := range 60 { // and two minutes from his own network, every two seconds
			s.from(t, here, "imap", name, "own mistake")
			if i == 59 {
				break
			}
			time.Sleep(2 * time.Second)
		}
		if n := verified(); n != 2 {
			t.Errorf("%d verifications in two minutes for a known source, want one a minute", n)
		}
		if got := s.status(t, name); got != member.Active {
			t.Errorf("status %q", got)
		}
		time.Sleep(time.Minute)
		if d := s.from(t, here, "imap", name, right); !d.Allowed() {
			t.Errorf("the right password from his own network: %q", d.Reason)
		}
		if d := s.from(t, source(200), "imap", name, "wrong again"); d.Reason != authcore.BadCredentials {
			t.Errorf("after the right one all begins anew: %q", d.Reason)
		}
	})
}

func TestOperatorsAreNeverSuspended(t *testing.T) {
	s := newStage(t, nil)
	s.policy(t, sample.New, func(p *policy.Policy) { p.Password.MaxFailures = 3 })
	name := s.address("operator")
	throttled := 0
	for i := range 10 {
		_, err := s.SignIn(t.Context(), authcore.Client{Addr: addr(source(i))}, name, secretOf(fmt.Sprint("wrong ", i)))
		if denied(err, authcore.DenialReason(authcore.Throttled)) {
			throttled++
		}
	}
	if got := s.status(t, name); got != member.Active || throttled != 6 {
		t.Errorf("status %q, %d of 10 throttled, want all but 3 and one grant", got, throttled)
	}
}

func TestAnAdministratorWithAnotherIsSuspended(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 3)
	s.administrator(t, "second@old.example")
	for i := range 3 {
		s.from(t, source(i), "imap", "second@old.example", fmt.Sprint("wrong ", i))
	}
	if got := s.status(t, "second@old.example"); got != member.Suspended {
		t.Errorf("status %q", got)
	}
	if n := s.inbox(t, s.address("admin"), notify.MemberSuspended); n != 1 {
		t.Errorf("the other one was told %d times", n)
	}
}

// Two administrators, each one wrong password from suspension: whoever comes second is the last and stays.
func TestRacingSuspensionsLeaveAnAdministrator(t *testing.T) {
	for range 20 {
		s := newStage(t, nil)
		s.maxFailures(t, 3)
		s.administrator(t, "second@old.example")
		both := []string{s.address("admin"), "second@old.example"}
		for i := range 2 {
			for _, name := range both {
				s.from(t, source(i), "imap", name, fmt.Sprint("wrong ", i))
			}
		}
		arrived := make(chan struct{}, 2)
		go2 := make(chan struct{})
		s.fail(func(_ string, ops []store.Op) storetest.Fault { // both have read before either writes
			if has(ops, "member/") {
				select {
				case arrived <- struct{}{}:
				default:
				}
				<-go2
			}
			return storetest.NoFault
		})
		var wg sync.WaitGroup
		for _, name := range both {
			wg.Go(func() { _, _ = s.Authenticate(t.Context(), authtest.AttemptFrom(source(9), "imap", name, "wrong 2")) })
		}
		<-arrived
		<-arrived
		close(go2)
		wg.Wait()
		s.fail(nil)
		active := 0
		for _, name := range both {
			if s.status(t, name) == member.Active {
				active++
			}
		}
		if active != 1 {
			t.Fatalf("%d administrators are left, want one", active)
		}
	}
}

// Who gives up while he waits for a hash slot takes the grant of a slowed member from nobody.
func TestGrantIsSpentByTheHashAlone(t *testing.T) {
	inBubble(t, func(o *authcore.Options) { o.HashSlots = 1 }, func(t *testing.T, s *stage) {
		s.maxFailures(t, 3)
		name := s.address("admin")
		for i := range 3 {
			s.from(t, source(i), "imap", name, fmt.Sprint("wrong ", i))
		}
		ctx, give := cancelled(t)
		s.fail(func(_ string, ops []store.Op) storetest.Fault {
			if has(ops, "lease/") {
				give()
			}
			return storetest.NoFault
		})
		if _, err := s.Authenticate(ctx, authtest.AttemptFrom(source(5), "imap", name, "gives up")); err == nil {
			t.Fatal("decided for a client that is gone")
		}
		s.fail(nil)
		if d := s.from(t, source(6), "imap", name, s.account("admin")); !d.Allowed() {
			t.Errorf("the grant was spent: %q", d.Reason)
		}
	})
}
