package authcore_test

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/otp"
	"latchkey/authcore/quick"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
)

// What is counted is counted over all nodes together: the same guesses as of one node, spread over three.

func (f *fleetOf) node(i int) *authcore.Core { return f.nodes[i%len(f.nodes)] }

func TestExactlyNWrongPasswordsSuspendOnThreeNodes(t *testing.T) {
	s := newFleet(t, 3, nil)
	s.maxFailures(t, 5)
	name := s.address("account")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			d, err := s.node(i).Authenticate(t.Context(), authtest.AttemptFrom(source(i), []string{"imap", "smtp"}[i%2], name, fmt.Sprint("wrong ", i)))
			if err != nil || d.Reason != authcore.BadCredentials && d.Reason != authcore.Throttled {
				t.Errorf("attempt %d: %q, %v", i, d.Reason, err)
			}
		})
	}
	wg.Wait()
	if f := s.all(t, sample.Old, "failures/"+string(s.MemberID(t, name))); len(f) != 1 || !contains(f[0].Value, `"count":5,`) {
		t.Errorf("the count is not exactly 5: %v", values(f))
	}
	for i, c := range s.nodes {
		if p, err := c.MemberOf(t.Context(), authtest.Operator(), name); err != nil || p.Member.Status != member.Suspended {
			t.Errorf("node %d: %+v, %v", i, p.Member, err)
		}
		if d, err := c.Authenticate(t.Context(), authtest.AttemptFrom(source(210+i), "imap", name, s.account("account"))); err != nil || d.Reason != authcore.BadCredentials {
			t.Errorf("node %d, the right password of the suspended: %q, %v", i, d.Reason, err)
		}
	}
}

func TestWrongCodesAreCountedOnThreeNodes(t *testing.T) {
	s := newFleet(t, 3, nil)
	a := s.asking(t, "account", 1)
	if err := s.ask(t, a); err != nil {
		t.Fatal(err)
	}
	try := func(typed string) func(int) error {
		return func(i int) error {
			return s.node(i).TryCode(t.Context(), a.Ticket, a.Domain, a.Member, secret.New(typed))
		}
	}
	if got := s.guesses(t, 300, try("x")); got[authcore.BadCode] > otp.WrongADay || got[authcore.BadCode] == 0 {
		t.Errorf("got %v, want %d compared at most", got, otp.WrongADay)
	}
}

func TestCodesAreSpentOnceOnThreeNodes(t *testing.T) {
	step := func(s *fleetOf, a authcore.Actor, m signin.Method, typed string) func(int) error {
		return func(i int) error {
			return s.node(i).TrySecondStep(t.Context(), a.Client, "ticket", a.Domain, a.Member, m, secret.New(typed))
		}
	}
	for name, right := range map[string]func(t *testing.T, s *fleetOf) func(int) error{
		"sent": func(t *testing.T, s *fleetOf) func(int) error {
			a := s.asking(t, "opted-in", 1)
			_ = s.ask(t, a)
			code := s.Code(t, sample.Old, a.To)
			return func(i int) error {
				return s.node(i).TryCode(t.Context(), a.Ticket, a.Domain, a.Member, secret.New(code))
			}
		},
		"app": func(t *testing.T, s *fleetOf) func(int) error {
			a := s.Actor(t, "account")
			return step(s, a, signin.ByApp, s.codeNow(t, s.withApp(t, a), 1).Reveal())
		},
		"recovery": func(t *testing.T, s *fleetOf) func(int) error {
			a := s.Actor(t, "account")
			codes, err := s.NewRecoveryCodes(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			return step(s, a, signin.ByRecovery, codes[0].Reveal())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFleet(t, 3, nil)
			if got := s.guesses(t, 100, right(t, s)); got[""] != 1 {
				t.Errorf("got %v, want one that is let in", got)
			}
		})
	}
	t.Run("wrong ones", func(t *testing.T) {
		s := newFleet(t, 3, nil)
		a := s.Actor(t, "account")
		s.withApp(t, a)
		if _, err := s.NewRecoveryCodes(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		got := s.guesses(t, 300, func(i int) error { return step(s, a, []signin.Method{signin.ByApp, signin.ByRecovery}[i%2], "x")(i) })
		if n := got[authcore.BadCode]; n == 0 || n > otp.WrongADay {
			t.Errorf("got %v, want %d compared at most", got, otp.WrongADay)
		}
	})
}

func TestFiveWrongPINsDeleteOnThreeNodes(t *testing.T) {
	s := newFleet(t, 3, nil)
	d := s.registered(t, "account")
	hashes := func() (n int64) {
		for _, c := range s.nodes {
			n += c.Stats().Hashes
		}
		return n
	}
	before := hashes()
	var wait sync.WaitGroup
	begin := make(chan struct{})
	for i := range 120 {
		client := authtest.Client()
		client.Addr = addr(source(i))
		began, err := s.node(i+1).BeginQuickSignIn(t.Context(), client, d.id) // on another node than it goes on
		if err != nil {
			t.Fatal(err)
		}
		p := d.sent(t, began, fmt.Sprintf("58%04d", 2000+7*i))
		wait.Go(func() {
			<-begin
			r, err := s.node(i).SignInQuickPIN(t.Context(), client, p)
			if !denied(err, badLogin) && !denied(err, authcore.DenialReason(authcore.Throttled)) || !r.Token.Empty() {
				t.Errorf("a wrong PIN: %q, %v", r.State, err)
			}
		})
	}
	close(begin)
	wait.Wait()
	if n := hashes() - before; n != quick.MaxWrong {
		t.Errorf("%d PINs were verified, want %d", n, quick.MaxWrong)
	}
	if r := s.quickRecord(t, "account"); len(r.Devices) != 0 {
		t.Errorf("left: %+v", r)
	}
}

// The throttle of a source is one for all nodes: guesses at many names from one place, spread over three.
func TestSourceIsSlowedOnThreeNodes(t *testing.T) {
	refused := func(nodes int) (n int64) {
		s := newFleet(t, nodes, nil)
		var held atomic.Int64
		for i := range 400 {
			a := authtest.Attempt("imap", fmt.Sprintf("nobody%d@old.example", i), "wrong word")
			a.Conn.Client = netip.AddrPortFrom(addr(there), 4000)
			d, err := s.node(i).Authenticate(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			if d.Reason == authcore.Throttled {
				held.Add(1)
			}
		}
		return held.Load()
	}
	if one, three := refused(1), refused(3); one == 0 || one != three {
		t.Errorf("one node held %d of 400 back, three %d", one, three)
	}
}
