package authcore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// personal is the personal e-mail address of the sample's member with two-step.
const personal = "two-step" + sample.Personal

// begin signs a person in up to a state, with his account password.
func (s *stage) begin(t testing.TB, state string, want authcore.SignInState) authcore.SignInResult {
	t.Helper()
	r, err := s.SignIn(t.Context(), authtest.Client(), s.address(state), s.People[state].Account)
	if err != nil || r.State != want {
		t.Fatalf("sign in %s: %q, %v, want %s", state, r.State, err, want)
	}
	return r
}

// sendTo asks for a code by the first method of a step and answers the code.
func (s *stage) sendTo(t testing.TB, ticket secret.String, kind signin.Method, address string) secret.String {
	t.Helper()
	if _, err := s.SignInSend(t.Context(), authtest.Client(), ticket, kind, ""); err != nil {
		t.Fatalf("send a code: %v", err)
	}
	return secretOf(s.Code(t, sample.Old, address))
}

func (s *stage) pass(t testing.TB, ticket, code secret.String, trust bool) (authcore.SignInResult, error) {
	return s.SignInTwoStep(t.Context(), authtest.Client(), ticket, authcore.SecondAnswer{Method: signin.ByEmail, Code: code, Trust: trust})
}

// full signs the member with two-step in by both steps.
func (s *stage) full(t testing.TB, trust bool) authcore.SignInResult {
	t.Helper()
	ticket := s.begin(t, "two-step", authcore.TwoStepRequired).Ticket
	r, err := s.pass(t, ticket, s.sendTo(t, ticket, signin.ByEmail, personal), trust)
	if err != nil || r.State != authcore.SignedIn {
		t.Fatalf("second step: %q, %v", r.State, err)
	}
	return r
}

// contacts changes the profile of a person, as an administrator or a directory does.
func (s *stage) contacts(t testing.TB, state string, l ...member.Contact) {
	t.Helper()
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address(state), authcore.MemberChange{Contacts: &l}, 0); err != nil {
		t.Fatal(err)
	}
}

func otherThan(code secret.String) secret.String {
	b := []byte(code.Reveal())
	b[0] = '0' + (b[0]-'0'+1)%10
	return secretOf(string(b))
}

func TestSecondStep(t *testing.T) {
	s := newStage(t, nil)
	r := s.begin(t, "two-step", authcore.TwoStepRequired)
	if !r.Token.Empty() || len(r.Methods) != 1 || r.Methods[0].Kind != signin.ByEmail || r.Methods[0].ID == "" || strings.Contains(r.Methods[0].To, "personal") {
		t.Fatalf("methods %+v", r.Methods)
	}
	if _, err := s.pass(t, r.Ticket, secretOf("000000"), false); !denied(err, authcore.BadCode) {
		t.Errorf("a code before one was sent: %v", err)
	}
	code := s.sendTo(t, r.Ticket, signin.ByEmail, personal)
	if _, err := s.pass(t, r.Ticket, otherThan(code), false); !denied(err, authcore.BadCode) {
		t.Errorf("a wrong code: %v", err)
	}
	for _, method := range []signin.Method{signin.ByMobile, signin.ByApp, signin.ByRecovery, signin.ByPasskey, "", "x"} {
		_, err := s.SignInTwoStep(t.Context(), authtest.Client(), r.Ticket, authcore.SecondAnswer{Method: method, Code: code})
		if !denied(err, authcore.Invalid) {
			t.Errorf("by %q: %v", method, err)
		}
	}
	done, err := s.pass(t, r.Ticket, code, true)
	if err != nil || done.State != authcore.SignedIn || !s.signedIn(t, done.Token) {
		t.Fatalf("the right code after wrong ones: %q, %v", done.State, err)
	}
	if !done.Trust.Empty() {
		t.Error("a browser is trusted though the policy does not allow it")
	}
	if _, err := s.pass(t, r.Ticket, code, false); !denied(err, authcore.TicketInvalid) {
		t.Errorf("once more: %v", err)
	}
	again := s.begin(t, "two-step", authcore.TwoStepRequired)
	if _, err := s.pass(t, again.Ticket, code, false); !denied(err, authcore.BadCode) {
		t.Errorf("the code of another ticket: %v", err)
	}
}

// A hundred come with one right code at the same time: one is signed in.
func TestRacingCodesSignInOnce(t *testing.T) {
	for name, change := range map[string]func(*authcore.Options){"memory": nil, "sqlite": onSQLite(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, change)
			ticket := s.begin(t, "two-step", authcore.TwoStepRequired).Ticket
			code := s.sendTo(t, ticket, signin.ByEmail, personal)
			if in := s.race(t, func() error { _, err := s.pass(t, ticket, code, false); return err }); in != 1 {
				t.Errorf("%d were signed in by one code", in)
			}
			l, err := s.SessionsOf(t.Context(), authtest.Operator(), s.address("two-step"))
			if err != nil || len(l.Web) != 1 {
				t.Errorf("%d sessions, %v", len(l.Web), err)
			}
		})
	}
}

// race counts how many of a hundred get through; the others are denied as they should.
func (s *stage) race(t *testing.T, call func() error) int {
	t.Helper()
	var wg sync.WaitGroup
	done := make(chan error, 100)
	for range cap(done) {
		wg.Go(func() { done <- call() })
	}
	wg.Wait()
	close(done)
	n := 0
	for err := range done {
		switch {
		case err == nil:
			n++
		case !denied(err, authcore.TicketInvalid) && !denied(err, authcore.BadCode) && !denied(err, authcore.DenialReason(authcore.Throttled)):
			t.Error(err)
		}
	}
	return n
}

// required lets the policy ask every member for two-step.
func (s *stage) required(t testing.TB) {
	t.Helper()
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
}

func TestRacingCodesEnrolOnce(t *testing.T) {
	s := newStage(t, nil)
	s.required(t)
	ticket := s.begin(t, "account", authcore.EnrolmentRequired).Ticket
	code := s.enrolSend(t, ticket, "me@personal.example")
	in := s.race(t, func() error {
		_, err := s.SignInEnrol(t.Context(), authtest.Client(), ticket, authcore.SecondAnswer{Method: signin.ByEmail, Code: code})
		return err
	})
	if m := s.profile(t, s.address("account")).Member; in != 1 || len(m.Contacts) != 1 {
		t.Errorf("%d were signed in, contacts %v", in, m.Contacts)
	}
}

func (s *stage) enrolSend(t testing.TB, ticket secret.String, to string) secret.String {
	t.Helper()
	if _, err := s.SignInEnrolSend(t.Context(), authtest.Client(), ticket, signin.ByEmail, to); err != nil {
		t.Fatalf("send a code: %v", err)
	}
	return secretOf(s.Code(t, sample.Old, to))
}

// Tickets are for their own step and for who began, and neither is a token.
func TestTicketsOfSteps(t *testing.T) {
	s := newStage(t, nil)
	tickets := map[authcore.SignInState]secret.String{
		authcore.TwoStepRequired:        s.begin(t, "two-step", authcore.TwoStepRequired).Ticket,
		authcore.PasswordChangeRequires: s.begin(t, "expired", authcore.PasswordChangeRequires).Ticket,
	}
	code := s.sendTo(t, tickets[authcore.TwoStepRequired], signin.ByEmail, personal)
	s.required(t)
	tickets[authcore.EnrolmentRequired] = s.begin(t, "account", authcore.EnrolmentRequired).Ticket
	mine := s.enrolSend(t, tickets[authcore.EnrolmentRequired], "me@personal.example")
	elsewhere, browser := authtest.Client(), authtest.Client()
	elsewhere.Addr, browser.Agent = addr(there), "another browser"
	steps := map[string]struct {
		state authcore.SignInState
		do    func(c authcore.Client, ticket secret.String) error
	}{
		"send": {authcore.TwoStepRequired, func(c authcore.Client, tk secret.String) error {
			_, err := s.SignInSend(t.Context(), c, tk, signin.ByEmail, "")
			return err
		}},
		"answer": {authcore.TwoStepRequired, func(c authcore.Client, tk secret.String) error {
			_, err := s.SignInTwoStep(t.Context(), c, tk, authcore.SecondAnswer{Method: signin.ByEmail, Code: code})
			return err
		}},
		"new password": {authcore.PasswordChangeRequires, func(c authcore.Client, tk secret.String) error {
			_, err := s.SignInPassword(t.Context(), c, tk, secretOf(nextPassword))
			return err
		}},
		"enrolment, send": {authcore.EnrolmentRequired, func(c authcore.Client, tk secret.String) error {
			_, err := s.SignInEnrolSend(t.Context(), c, tk, signin.ByEmail, "me@personal.example")
			return err
		}},
		"enrolment, app": {authcore.EnrolmentRequired, func(c authcore.Client, tk secret.String) error {
			_, err := s.SignInEnrolApp(t.Context(), c, tk)
			return err
		}},
		"enrolment": {authcore.EnrolmentRequired, func(c authcore.Client, tk secret.String) error {
			_, err := s.SignInEnrol(t.Context(), c, tk, authcore.SecondAnswer{Method: signin.ByEmail, Code: mine})
			return err
		}},
	}
	before := len(s.all(t, sample.Old, ""))
	for name, step := range steps {
		for state, ticket := range tickets {
			clients := []authcore.Client{elsewhere, browser}
			if state != step.state {
				clients = append(clients, authtest.Client())
			}
			for _, c := range clients {
				if err := step.do(c, ticket); !denied(err, authcore.TicketInvalid) {
					t.Errorf("%s with a ticket of %s from %s %q: %v", name, state, c.From(), c.Agent, err)
				}
			}
			if s.signedIn(t, ticket) {
				t.Errorf("a ticket of %s is a token", state)
			}
		}
	}
	if after := len(s.all(t, sample.Old, "")); after != before {
		t.Errorf("%d records before, %d after what was refused", before, after)
	}
	if err := steps["answer"].do(authtest.Client(), tickets[authcore.TwoStepRequired]); err != nil {
		t.Errorf("the owner's own code, after all: %v", err)
	}
}

// What ends a member's sessions voids the tickets of every step.
func TestTicketsOfEveryStepAreVoid(t *testing.T) {
	operator := authtest.Operator()
	for name, by := range map[string]func(t *testing.T, s *stage, state string) error{
		"ten minutes": func(*testing.T, *stage, string) error { time.Sleep(10 * time.Minute); return nil },
		"a reset": func(t *testing.T, s *stage, state string) error {
			_, _, err := s.ResetPassword(t.Context(), operator, s.address(state), true)
			return err
		},
		"sign-out everywhere": func(t *testing.T, s *stage, state string) error {
			return s.EndSessions(t.Context(), operator, s.address(state))
		},
		"suspension": func(t *testing.T, s *stage, state string) error {
			_, err := s.Suspend(t.Context(), operator, s.address(state))
			return err
		},
		"suspension that was lifted": func(t *testing.T, s *stage, state string) error {
			if _, err := s.Suspend(t.Context(), operator, s.address(state)); err != nil {
				return err
			}
			_, err := s.Lift(t.Context(), operator, s.address(state))
			return err
		},
		"deletion": func(t *testing.T, s *stage, state string) error {
			return s.DeleteMember(t.Context(), operator, s.address(state))
		},
		"the closed domain": func(t *testing.T, s *stage, _ string) error {
			_, err := s.UpdateDomain(t.Context(), operator, sample.Old, authcore.DomainChange{Closed: new(true)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *stage) {
				second := s.begin(t, "two-step", authcore.TwoStepRequired).Ticket
				code := s.sendTo(t, second, signin.ByEmail, personal)
				s.required(t)
				enrol := s.begin(t, "account", authcore.EnrolmentRequired).Ticket
				mine := s.enrolSend(t, enrol, "me@personal.example")
				for _, state := range []string{"two-step", "account"} {
					if err := by(t, s, state); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := s.pass(t, second, code, false); !denied(err, authcore.TicketInvalid) {
					t.Errorf("second step: %v", err)
				}
				if _, err := s.SignInEnrol(t.Context(), authtest.Client(), enrol, authcore.SecondAnswer{Method: signin.ByEmail, Code: mine}); !denied(err, authcore.TicketInvalid) {
					t.Errorf("enrolment: %v", err)
				}
				if m := s.profile(t, s.address("account")).Member; len(m.Contacts) != 0 || m.TwoStep != "" {
					t.Errorf("enrolled: %+v", m)
				}
			})
		})
	}
}

// Nothing about the account changes before the second step: a new password least of all.
func TestNoNewPasswordBeforeTheSecondStep(t *testing.T) {
	s := newStage(t, nil)
	s.edit(t, sample.Old, "password/"+string(s.MemberID(t, s.address("two-step"))), func(v map[string]any) { v["must_change"] = true })
	r := s.begin(t, "two-step", authcore.TwoStepRequired)
	if _, err := s.SignInPassword(t.Context(), authtest.Client(), r.Ticket, secretOf(nextPassword)); !denied(err, authcore.TicketInvalid) {
		t.Errorf("a new password in the place of the second step: %v", err)
	}
	next, err := s.pass(t, r.Ticket, s.sendTo(t, r.Ticket, signin.ByEmail, personal), false)
	if err != nil || next.State != authcore.PasswordChangeRequires || !next.Token.Empty() {
		t.Fatalf("then: %q, %v", next.State, err)
	}
	done, err := s.SignInPassword(t.Context(), authtest.Client(), next.Ticket, secretOf(nextPassword))
	if err != nil || done.State != authcore.SignedIn || !s.signedIn(t, done.Token) {
		t.Errorf("in the end: %q, %v", done.State, err)
	}
}

// A ticket for a new password is over when a second step is asked by now.
func TestPolicyThatChangesBetweenSteps(t *testing.T) {
	s := newStage(t, nil)
	tk := s.begin(t, "expired", authcore.PasswordChangeRequires).Ticket
	s.contacts(t, "expired", member.Contact{Kind: member.Email, Value: "expired@personal.example"})
	s.required(t)
	if _, err := s.SignInPassword(t.Context(), authtest.Client(), tk, secretOf(nextPassword)); !denied(err, authcore.TicketInvalid) {
		t.Errorf("a new password before the second step: %v", err)
	}
	s.begin(t, "expired", authcore.TwoStepRequired)
}

// Under required nobody is signed out, and the next sign-in enrols; back under optional only who chose it is asked.
func TestRequiredAndBack(t *testing.T) {
	s := newStage(t, nil)
	was := s.begin(t, "account", authcore.SignedIn)
	s.required(t)
	if !s.signedIn(t, was.Token) {
		t.Error("saving the policy signed somebody out")
	}
	r := s.begin(t, "account", authcore.EnrolmentRequired)
	if !slices.Equal(r.Enrollable, []signin.Method{signin.ByEmail, signin.ByMobile, signin.ByApp}) {
		t.Errorf("enrol %v", r.Enrollable)
	}
	code := s.enrolSend(t, r.Ticket, "me@personal.example")
	enrol := func(code secret.String) (authcore.SignInResult, error) {
		return s.SignInEnrol(t.Context(), authtest.Client(), r.Ticket, authcore.SecondAnswer{Method: signin.ByEmail, Code: code})
	}
	if _, err := enrol(otherThan(code)); !denied(err, authcore.BadCode) {
		t.Errorf("a wrong code: %v", err)
	}
	if m := s.profile(t, s.address("account")).Member; len(m.Contacts) > 0 {
		t.Errorf("kept before it was verified: %v", m.Contacts)
	}
	done, err := enrol(code)
	if err != nil || done.State != authcore.SignedIn || !s.signedIn(t, done.Token) || !s.signedIn(t, was.Token) {
		t.Fatalf("enrolled: %q, %v", done.State, err)
	}
	m := s.profile(t, s.address("account")).Member
	if !slices.Equal(m.Contacts, []member.Contact{{Kind: member.Email, Value: "me@personal.example", Verified: true}}) || m.TwoStep != member.ByPolicy {
		t.Errorf("the profile: %+v", m)
	}
	if n := s.inbox(t, s.address("account"), notify.MethodChanged); n != 1 {
		t.Errorf("%d messages of it", n)
	}
	s.begin(t, "account", authcore.TwoStepRequired)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepOptional })
	s.begin(t, "account", authcore.SignedIn)
	s.begin(t, "two-step", authcore.TwoStepRequired)
	if m := s.profile(t, s.address("account")).Member; len(m.Contacts) != 1 || !m.Contacts[0].Verified {
		t.Error("the verified contact is gone")
	}
}

func TestEnrolmentByAuthenticatorApp(t *testing.T) {
	s := newStage(t, nil)
	s.required(t)
	tk := s.begin(t, "account", authcore.EnrolmentRequired).Ticket
	answer := func(code secret.String) (authcore.SignInResult, error) {
		return s.SignInEnrol(t.Context(), authtest.Client(), tk, authcore.SecondAnswer{Method: signin.ByApp, Code: code})
	}
	if _, err := answer(secretOf("000000")); !denied(err, authcore.BadCode) {
		t.Errorf("before there is a secret: %v", err)
	}
	app, err := s.SignInEnrolApp(t.Context(), authtest.Client(), tk)
	if err != nil {
		t.Fatal(err)
	}
	code := codeAt(t, app.Secret, time.Now())
	if r, err := answer(code); err != nil || r.State != authcore.SignedIn {
		t.Fatalf("%q, %v", r.State, err)
	}
	next := s.begin(t, "account", authcore.TwoStepRequired)
	if len(next.Methods) != 1 || next.Methods[0].Kind != signin.ByApp {
		t.Fatalf("methods %+v", next.Methods)
	}
	again := func(code secret.String) error {
		_, err := s.SignInTwoStep(t.Context(), authtest.Client(), next.Ticket, authcore.SecondAnswer{Method: signin.ByApp, Code: code})
		return err
	}
	if err := again(code); !denied(err, authcore.BadCode) {
		t.Errorf("the code that enrolled: %v", err)
	}
	if err := again(codeAt(t, app.Secret, time.Now().Add(30*time.Second))); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// Where profiles are managed elsewhere, saved contacts are used and verified, and without one the sign-in is refused.
func TestProfileManagedExternally(t *testing.T) {
	s := newStage(t, nil)
	s.required(t)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.ProfileManagedExternally = true; p.SignIn.LINE = policy.Allow })
	_, err := s.SignIn(t.Context(), authtest.Client(), s.address("account"), s.People["account"].Account)
	if !denied(err, authcore.TwoStepMethodMissing) || !strings.Contains(err.Error(), "line") || strings.Contains(err.Error(), "password") {
		t.Errorf("without a contact: %v", err)
	}
	if n := s.audited(t, sample.Old, authcore.Reason(authcore.TwoStepMethodMissing)); n != 1 {
		t.Errorf("%d entries of it", n)
	}
	s.contacts(t, "account", member.Contact{Kind: member.Email, Value: "saved@personal.example"})
	tk := s.begin(t, "account", authcore.TwoStepRequired).Ticket
	if _, err := s.SignInEnrolSend(t.Context(), authtest.Client(), tk, signin.ByEmail, "mine@personal.example"); !denied(err, authcore.TicketInvalid) {
		t.Errorf("another contact than the saved one: %v", err)
	}
	if r, err := s.pass(t, tk, s.sendTo(t, tk, signin.ByEmail, "saved@personal.example"), false); err != nil || r.State != authcore.SignedIn {
		t.Fatalf("%q, %v", r.State, err)
	}
	if m := s.profile(t, s.address("account")).Member; !m.Contacts[0].Verified || m.TwoStep != member.ByPolicy {
		t.Errorf("the saved contact is not verified: %+v", m)
	}
}

// A member who has a method enrols no other by his password alone, not even when it cannot be used.
func TestNoEnrolmentBesideAMethod(t *testing.T) {
	s := newStage(t, nil)
	s.required(t)
	const number = "+819012345678"
	s.contacts(t, "account", member.Contact{Kind: member.Mobile, Value: number})
	silent := func() *authcore.Core { // the same installation, once it sends no text messages any more
		o := s.options
		o.Senders = map[notify.Channel]notify.Sender{notify.ByEmail: o.Senders[notify.ByEmail]}
		return authcore.New(o)
	}
	in := func() (authcore.SignInResult, error) {
		return silent().SignIn(t.Context(), authtest.Client(), s.address("account"), s.People["account"].Account)
	}
	if r, err := in(); err != nil || r.State != authcore.EnrolmentRequired {
		t.Errorf("never verified: %q, %v", r.State, err)
	}
	tk := s.begin(t, "account", authcore.TwoStepRequired).Ticket
	code := s.sendTo(t, tk, signin.ByMobile, number)
	if _, err := s.SignInTwoStep(t.Context(), authtest.Client(), tk, authcore.SecondAnswer{Method: signin.ByMobile, Code: code}); err != nil {
		t.Fatal(err)
	}
	if _, err := in(); !denied(err, authcore.TwoStepMethodMissing) {
		t.Errorf("verified: %v", err)
	}
}

// By phone number the codes go by e-mail only.
func TestFirstFactorByPhone(t *testing.T) {
	s := newStage(t, nil)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.Phone, p.SignIn.Passkey = policy.Allow, policy.Allow })
	by := func(f signin.Factor) (authcore.SignInResult, error) {
		return s.ProvedBy(t.Context(), authtest.Client(), f, s.domain(t, sample.Old).ID, s.MemberID(t, s.address("two-step")))
	}
	mobile := member.Contact{Kind: member.Mobile, Value: "+819012345678"}
	s.contacts(t, "two-step", mobile, member.Contact{Kind: member.Email, Value: personal})
	r, err := by(signin.Phone)
	if err != nil || r.State != authcore.TwoStepRequired || len(r.Methods) != 1 || r.Methods[0].Kind != signin.ByEmail {
		t.Fatalf("%q %+v, %v", r.State, r.Methods, err)
	}
	if _, err := s.SignInSend(t.Context(), authtest.Client(), r.Ticket, signin.ByMobile, ""); !denied(err, authcore.Invalid) {
		t.Errorf("a text message all the same: %v", err)
	}
	if r, err := by(signin.Passkey); err != nil || len(r.Methods) != 2 {
		t.Errorf("by a passkey: %+v, %v", r.Methods, err)
	}
	s.contacts(t, "two-step", mobile)
	_, err = by(signin.Phone)
	if !denied(err, authcore.TwoStepMethodMissing) || !strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "phone") {
		t.Errorf("without e-mail: %v", err)
	}
}

// The two-step that follows a reset does not use the channel of the reset, if there is another; the one after it does.
func TestSecondStepAfterAReset(t *testing.T) {
	s := newStage(t, nil)
	key := "password/" + string(s.MemberID(t, s.address("two-step")))
	reset := func() { s.edit(t, sample.Old, key, func(v map[string]any) { v["reset_by"] = "email" }) }
	reset()
	if r := s.begin(t, "two-step", authcore.TwoStepRequired); len(r.Methods) != 1 || r.Methods[0].Kind != signin.ByEmail {
		t.Errorf("no other channel: %+v", r.Methods)
	}
	s.contacts(t, "two-step", member.Contact{Kind: member.Email, Value: personal}, member.Contact{Kind: member.Mobile, Value: "+819012345678"})
	r := s.begin(t, "two-step", authcore.TwoStepRequired)
	if len(r.Methods) != 1 || r.Methods[0].Kind != signin.ByMobile {
		t.Fatalf("after a reset by e-mail: %+v", r.Methods)
	}
	code := s.sendTo(t, r.Ticket, signin.ByMobile, "+819012345678")
	if _, err := s.SignInTwoStep(t.Context(), authtest.Client(), r.Ticket, authcore.SecondAnswer{Method: signin.ByMobile, Code: code}); err != nil {
		t.Fatal(err)
	}
	if r := s.begin(t, "two-step", authcore.TwoStepRequired); len(r.Methods) != 2 {
		t.Errorf("the sign-in after that: %+v", r.Methods)
	}
}

// Each step is one entry with its reason, factor and method; equal refusals are one.
func TestAuditOfSteps(t *testing.T) {
	s := newStage(t, nil)
	tk := s.begin(t, "two-step", authcore.TwoStepRequired).Ticket
	code := s.sendTo(t, tk, signin.ByEmail, personal)
	for range 3 {
		_, _ = s.pass(t, tk, otherThan(code), false)
	}
	if _, err := s.pass(t, tk, code, false); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range s.log(t, sample.Old, audit.Filter{}) {
		if e.Action == audit.SignIn && e.Target == s.address("two-step") {
			got = append(got, fmt.Sprintf("%s %s %s x%d %v", e.Reason, e.Kind, e.Detail, e.Count, e.Session != ""))
		}
	}
	slices.Sort(got)
	want := []string{
		"allowed account_password email x1 true", "bad_code account_password email x3 false", "two_step_required account_password  x1 false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func codeAt(t testing.TB, key secret.String, at time.Time) secret.String {
	t.Helper()
	code, err := otp.CodeAt(key, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// A step whose writing fails signs nobody in, and what was written though it failed signs in once.
func TestSignInThatCannotBeWritten(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		s := newStage(t, nil)
		tk := s.begin(t, "two-step", authcore.TwoStepRequired).Ticket
		code := s.sendTo(t, tk, signin.ByEmail, personal)
		s.fail(func(_ string, ops []store.Op) storetest.Fault {
			if slices.ContainsFunc(ops, func(o store.Op) bool { return strings.HasPrefix(o.Name, "session/") }) {
				return fault
			}
			return storetest.NoFault
		})
		r, err := s.pass(t, tk, code, false)
		var d *authcore.Denial
		if err == nil || errors.As(err, &d) || !r.Token.Empty() {
			t.Errorf("fault %v: %q, %v, want a broken answer and no token", fault, r.State, err)
		}
		s.fail(nil)
		if _, err := s.pass(t, tk, code, false); !denied(err, authcore.TicketInvalid) {
			t.Errorf("fault %v: the step once more: %v", fault, err)
		}
		s.begin(t, "two-step", authcore.TwoStepRequired)
	}
}
