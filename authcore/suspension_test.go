package authcore_test

import (
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/store/redistest"
)

// "Suspend an account with several sign-in attempts with wrong passwords": 100 attempts race over doors and web, five of
// them count, none is let in after, whoever was signed in is out within a second, administrators are told, and only they
// lift it.
func TestSuspensionFromEndToEnd(t *testing.T) {
	onEngines(t, func(t *testing.T, s *stage) {
		s.maxFailures(t, 5)
		name := s.address("account")
		if _, err := s.UpdateMember(t.Context(), authtest.Operator(), name, authcore.MemberChange{Contacts: &[]member.Contact{{Kind: member.Email, Value: "me@home.example"}}}, 0); err != nil {
			t.Fatal(err)
		}
		s.administrator(t, "second@old.example")
		begun, err := s.ForgotPassword(t.Context(), authtest.Client(), name, member.Email) // before the storm
		if err != nil {
			t.Fatal(err)
		}
		web := s.signIn(t, "account", s.People["account"].Account)
		sessions := []authcore.Standing{s.open(t, "imap", name, s.account("account")), s.open(t, "caldav", name, s.account("account"))}
		for range 20 { // repeats of one that was wrong before never count
			s.from(t, source(240), "imap", name, "the phone's old password")
		}
		if got := s.status(t, name); got != member.Active {
			t.Fatalf("repeats: %q", got)
		}
		told, stop := revocations(t, s.Core.Core)
		defer stop()
		for i, r := range s.storm(t, 100, name) {
			if r != authcore.BadCredentials && r != authcore.Throttled {
				t.Errorf("attempt %d: %q", i, r)
			}
		}
		after, stood := time.Now(), redistest.Standstill(t)
		for r := next(t, told); r.Member != s.MemberID(t, name); r = next(t, told) {
		}
		for _, st := range sessions {
			if s.stands(t, st) {
				t.Errorf("the session at %s stands", st.Door)
			}
		}
		if s.signedIn(t, web.Token) {
			t.Error("the web session stands")
		}
		if d := time.Since(after) - stood(); d > 3*time.Second { // a second, where the machine has time
			t.Errorf("out after %v", d)
		}
		if f := s.all(t, sample.Old, "failures/"+string(s.MemberID(t, name))); len(f) != 1 || !contains(f[0].Value, `"count":5,`) {
			t.Errorf("counted: %v", values(f))
		}
		for _, admin := range []string{s.address("admin"), "second@old.example"} {
			if n := s.inbox(t, admin, notify.MemberSuspended); n != 1 {
				t.Errorf("%s was told %d times", admin, n)
			}
		}
		s.staysOut(t, name, begun)
		a := s.Actor(t, "admin")
		if _, err := s.Lift(t.Context(), s.Actor(t, "opted-in"), name); !denied(err, authcore.Forbidden) {
			t.Errorf("lifted by a member: %v", err)
		}
		if _, err := s.Lift(t.Context(), a, name); err != nil {
			t.Fatal(err)
		}
		if f := s.all(t, sample.Old, "failures/"+string(s.MemberID(t, name))); len(f) != 0 {
			t.Errorf("lifting leaves the count: %v", values(f))
		}
	})
}

// staysOut tries everything that could let a suspended member in again, but lifting.
func (s *stage) staysOut(t *testing.T, name string, begun authcore.Asked) {
	t.Helper()
	out := func(after, password string) {
		t.Helper()
		if got := s.status(t, name); got != member.Suspended {
			t.Errorf("after %s: %q", after, got)
		}
		if d := s.from(t, source(230), "imap", name, password); d.Reason != authcore.BadCredentials {
			t.Errorf("after %s, at a door: %q", after, d.Reason)
		}
		if _, err := s.SignIn(t.Context(), authcore.Client{Addr: addr(source(231))}, name, secretOf(password)); !denied(err, authcore.DenialReason(authcore.BadCredentials)) {
			t.Errorf("after %s, on the web: %v", after, err)
		}
	}
	out("nothing", s.account("account"))
	code := s.Code(t, sample.Old, "me@home.example")
	if k, err := s.ForgotPasswordCode(t.Context(), authtest.Client(), begun.Ticket, secretOf(code)); err == nil {
		err = s.SetForgottenPassword(t.Context(), authtest.Client(), k.Ticket, secretOf(nextPassword), false)
		if err == nil {
			t.Error("a forgotten password was set while suspended")
		}
	}
	out("a forgotten password that began before", nextPassword)
	sent := len(s.Sent(t, sample.Old, "me@home.example"))
	if _, err := s.ForgotPassword(t.Context(), authcore.Client{Addr: addr(source(232))}, name, member.Email); err != nil {
		t.Error(err)
	}
	if n := len(s.Sent(t, sample.Old, "me@home.example")); n != sent {
		t.Error("a code was sent to somebody who is suspended")
	}
	temporary, _, err := s.ResetPassword(t.Context(), authtest.Operator(), name, true)
	if err != nil {
		t.Fatal(err)
	}
	out("a reset by an administrator", temporary.Reveal())
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), name, authcore.MemberChange{MustChange: new(false)}, 0); err != nil {
		t.Error(err)
	}
	out("another change", temporary.Reveal())
	if err := s.DeleteMember(t.Context(), authtest.Operator(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), name, authcore.MemberChange{Restore: true}, 0); err != nil {
		t.Fatal(err)
	}
	out("deleted and restored", temporary.Reveal())
}
