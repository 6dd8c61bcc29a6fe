package authcore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// app is where a telephone signs in from.
func app() authcore.Client { return authcore.Client{Addr: addr("203.0.113.9"), Agent: "app"} }

func (s *stage) call(t testing.TB, n string) secret.String {
	t.Helper()
	a, err := s.SignInPhone(t.Context(), app(), n)
	if err != nil {
		t.Fatal(err)
	}
	return a.Ticket
}

func TestSignInByPhone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.phones(t).actor(t, "account")
		if err := s.link(t, a, number); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		tk := s.call(t, "+81 90 1234 5678")
		code := s.Code(t, sample.Old, number)
		for _, wrong := range []string{"", "x", "1234567"} {
			if _, err := s.SignInPhoneCode(t.Context(), app(), tk, secretOf(wrong)); !denied(err, authcore.BadCode) {
				t.Errorf("%q: %v", wrong, err)
			}
		}
		if _, err := s.SignInPhoneCode(t.Context(), authtest.Client(), tk, secretOf(code)); !denied(err, authcore.TicketInvalid) {
			t.Errorf("from another device: %v", err)
		}
		r, err := s.SignInPhoneCode(t.Context(), app(), tk, secretOf(code))
		if err != nil || r.State != authcore.SignedIn || r.Actor.Address != a.Address {
			t.Fatalf("%q as %q, %v", r.State, r.Actor.Address, err)
		}
		if _, err := s.SignInPhoneCode(t.Context(), app(), tk, secretOf(code)); !denied(err, authcore.TicketInvalid) {
			t.Errorf("once more: %v", err)
		}
		if e := s.last(t, audit.SignIn); e.Kind != "phone" || e.Target != a.Address || e.Reason != "allowed" {
			t.Errorf("audit: %+v", e)
		}
		late := s.call(t, number)
		code = s.Code(t, sample.Old, number)
		time.Sleep(5 * time.Minute)
		if _, err := s.SignInPhoneCode(t.Context(), app(), late, secretOf(code)); !denied(err, authcore.BadCode) {
			t.Errorf("after five minutes: %v", err)
		}
	})
}

// Of a hundred requests with the right code one signs in.
func TestPhoneCodeRaces(t *testing.T) {
	for _, engine := range []struct {
		name   string
		change func(*authcore.Options)
	}{{"memory", nil}, {"sqlite", onSQLite(t)}} {
		t.Run(engine.name, func(t *testing.T) {
			s := newStage(t, engine.change).phones(t)
			if err := s.link(t, s.actor(t, "account"), number); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, o := range s.Sent(t, sample.Old, number) {
				seen[o.ID] = true
			}
			tk := s.call(t, number)
			code := secretOf(s.freshCode(t, sample.Old, number, seen))
			var in atomic.Int64
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					r, err := s.SignInPhoneCode(context.WithoutCancel(t.Context()), app(), tk, code)
					switch {
					case err == nil && r.State == authcore.SignedIn:
						in.Add(1)
					case !denied(err, authcore.BadCode) && !denied(err, authcore.TicketInvalid):
						t.Errorf("%q, %v", r.State, err)
					}
				})
			}
			wg.Wait()
			if in.Load() != 1 {
				t.Errorf("%d signed in", in.Load())
			}
		})
	}
}

// What may change between the number and the code, and what the code is told then.
func TestPhoneSignInIsJudgedAtItsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, s *stage, a authcore.Actor)
		want   authcore.DenialReason
	}{
		"denied by the policy": {func(t *testing.T, s *stage, a authcore.Actor) {
			s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.Phone = policy.Deny })
		}, authcore.WayDenied},
		"unlinked": {func(t *testing.T, s *stage, a authcore.Actor) {
			if err := s.UnlinkPhone(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}, authcore.TicketInvalid},
		"another number": {func(t *testing.T, s *stage, a authcore.Actor) {
			if err := s.link(t, a, another); err != nil {
				t.Fatal(err)
			}
		}, authcore.TicketInvalid},
		"suspended": {func(t *testing.T, s *stage, a authcore.Actor) {
			if _, err := s.Suspend(t.Context(), authtest.Operator(), a.Address); err != nil {
				t.Fatal(err)
			}
		}, authcore.TicketInvalid},
		"domain closed": {func(t *testing.T, s *stage, a authcore.Actor) {
			closed := true
			if _, err := s.UpdateDomain(t.Context(), authtest.Operator(), sample.Old, authcore.DomainChange{Closed: &closed}); err != nil {
				t.Fatal(err)
			}
		}, authcore.TicketInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *stage) {
				a := s.phones(t).actor(t, "account")
				if err := s.link(t, a, number); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				tk := s.call(t, number)
				code := s.Code(t, sample.Old, number)
				c.change(t, s, a)
				if r, err := s.SignInPhoneCode(t.Context(), app(), tk, secretOf(code)); !denied(err, c.want) || !r.Token.Empty() {
					t.Errorf("got %q, %v", r.State, err)
				}
			})
		})
	}
}

// Deny holds from the next sign-in: the session goes on, the link is kept, no code is sent; and allow opens it again.
func TestPhoneDenyAndAllow(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.phones(t).actor(t, "account")
		if err := s.link(t, a, number); err != nil {
			t.Fatal(err)
		}
		s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.Phone = policy.Deny })
		s.call(t, number)
		if n := s.codesTo(t, sample.Old, number); n != 1 {
			t.Errorf("%d codes: one for the link, none for the sign-in", n)
		}
		if s.linked(t, a).Masked == "" {
			t.Error("the link is gone")
		}
		s.phones(t)
		time.Sleep(time.Minute)
		tk := s.call(t, number)
		if r, err := s.SignInPhoneCode(t.Context(), app(), tk, secretOf(s.Code(t, sample.Old, number))); err != nil || r.State != authcore.SignedIn {
			t.Errorf("%q, %v", r.State, err)
		}
	})
}

// Who came in by phone gets the second code by e-mail.
func TestSecondStepAfterPhone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.phones(t).actor(t, "account")
		if err := s.link(t, a, number); err != nil {
			t.Fatal(err)
		}
		s.contacts(t, "account", member.Contact{Kind: member.Mobile, Value: another}, member.Contact{Kind: member.Email, Value: "ann@mail.example"})
		s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
		time.Sleep(time.Minute)
		r, err := s.SignInPhoneCode(t.Context(), app(), s.call(t, number), secretOf(s.Code(t, sample.Old, number)))
		if err != nil || r.State != authcore.TwoStepRequired || !r.Token.Empty() {
			t.Fatalf("%q, %v", r.State, err)
		}
		for _, m := range r.Methods {
			if m.Kind != signin.ByEmail {
				t.Errorf("offered: %+v", r.Methods)
			}
		}
		s.contacts(t, "account", member.Contact{Kind: member.Mobile, Value: another})
		time.Sleep(time.Minute)
		if _, err := s.SignInPhoneCode(t.Context(), app(), s.call(t, number), secretOf(s.Code(t, sample.Old, number))); !denied(err, authcore.TwoStepMethodMissing) {
			t.Errorf("without an e-mail address: %v", err)
		}
	})
}

// The code as a message: sessions that began before it read it, later ones and API tokens do not.
func TestPhoneCodeAsMessage(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.phones(t).actor(t, "account")
		if err := s.link(t, a, number); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		tk := s.call(t, number)
		first := s.Code(t, sample.Old, number)
		if err := s.SignInPhoneMessage(t.Context(), app(), tk); !denied(err, authcore.DenialReason(authcore.Throttled)) {
			t.Errorf("at once: %v", err)
		}
		time.Sleep(time.Minute)
		if err := s.SignInPhoneMessage(t.Context(), app(), tk); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if l := s.codesIn(t, s.actor(t, "account")); len(l) != 0 {
			t.Errorf("a later session reads %v", l)
		}
		l := s.codesIn(t, a)
		if len(l) != 1 || l[0] == first {
			t.Fatalf("the older session reads %v", l)
		}
		if _, err := s.SignInPhoneCode(t.Context(), app(), tk, secretOf(first)); !denied(err, authcore.BadCode) {
			t.Errorf("the code before: %v", err)
		}
		r, err := s.SignInPhoneCode(t.Context(), app(), tk, secretOf(l[0]))
		if err != nil || r.State != authcore.SignedIn {
			t.Fatalf("%q, %v", r.State, err)
		}
		_, _, err = s.CreateAppPassword(t.Context(), r.Actor, apppass.Wish{Name: "thief"})
		if !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("one session made a freshly confirmed one: %v", err)
		}
	})
}

// codesIn answers the codes that an actor reads in his inbox.
func (s *stage) codesIn(t testing.TB, a authcore.Actor) (l []string) {
	t.Helper()
	all, _, err := s.Messages(t.Context(), a, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Kind == notify.SignInCode {
			l = append(l, sixDigits.FindString(m.Text))
		}
	}
	return l
}

func TestReauthenticateByPhone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.phones(t).actor(t, "account")
		if _, err := s.ReauthenticatePhone(t.Context(), a); !denied(err, authcore.NotFound) {
			t.Errorf("without a link: %v", err)
		}
		if err := s.link(t, a, number); err != nil {
			t.Fatal(err)
		}
		other := s.actor(t, "account")
		time.Sleep(11 * time.Minute)
		asked, err := s.ReauthenticatePhone(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		code := secretOf(s.Code(t, sample.Old, number))
		if err := s.SignInPhoneMessage(t.Context(), authtest.Client(), asked.Ticket); !denied(err, authcore.TicketInvalid) {
			t.Errorf("as a message, which the same session reads: %v", err)
		}
		if _, err := s.ReauthenticatePhoneCode(t.Context(), other, asked.Ticket, code); !denied(err, authcore.TicketInvalid) {
			t.Errorf("by another session: %v", err)
		}
		if _, err := s.SignInPhoneCode(t.Context(), authtest.Client(), asked.Ticket, code); !denied(err, authcore.TicketInvalid) {
			t.Errorf("as a sign-in: %v", err)
		}
		r, err := s.ReauthenticatePhoneCode(t.Context(), a, asked.Ticket, code)
		if err != nil || r.State != authcore.SignedIn || r.Actor.Session != a.Session {
			t.Fatalf("%q, %v", r.State, err)
		}
		if err := s.UnlinkPhone(t.Context(), r.Actor); err != nil {
			t.Errorf("confirmed, and then: %v", err)
		}
	})
}

// strangers are numbers whose answers must not differ: linked, linked and not allowed, and nobody's.
func (s *stage) strangers(t *testing.T) (linked string, others map[string]string) {
	t.Helper()
	s.phones(t)
	names := map[string]string{"linked": "+819011111111", "suspended": "+819022222222", "denied": "+819033333333", "deleted": "+819044444444", "unlinked": "+819055555555"}
	for who, n := range names {
		m := authcore.NewMember{Address: "is-" + who + "@" + sample.Old, Password: secretOf("right horse 1")}
		if _, _, err := s.CreateMember(t.Context(), authtest.Operator(), sample.Old, m); err != nil {
			t.Fatal(err)
		}
		a := s.actorOf(t, m.Address, m.Password)
		if err := s.link(t, a, n); err != nil {
			t.Fatal(err)
		}
		var err error
		switch who {
		case "suspended":
			_, err = s.Suspend(t.Context(), authtest.Operator(), m.Address)
		case "deleted":
			err = s.DeleteMember(t.Context(), authtest.Operator(), m.Address)
		case "denied":
			_, err = s.DenyWays(t.Context(), authtest.Operator(), m.Address, []string{policy.WayPhone}, 0)
		case "unlinked":
			err = s.UnlinkPhone(t.Context(), a)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	linked = names["linked"]
	delete(names, "linked")
	names["nobody's"] = "+819066666666"
	return linked, names
}

// shown is an answer with what must be random left out.
func shown(a authcore.Asked, err error) string {
	return fmt.Sprintf("%d bytes of ticket, until %s, %v", len(a.Ticket.Reveal()), a.ExpiresAt, err)
}

// A number that is linked costs what any other number costs, and is told the same: at the beginning, at a wrong code, as
// a message, and at every limit.
func TestEqualCostOfPhoneNumbers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		linked, others := s.strangers(t)
		want := s.anew().phoneSession(t, linked)
		if sent := s.codesTo(t, sample.Old, linked); sent < 3 {
			t.Errorf("%d codes were sent to the linked number", sent)
		}
		for name, n := range others {
			before := s.codesTo(t, sample.Old, n)
			if got := s.anew().phoneSession(t, n); got != want {
				t.Errorf("%s:\n%s\na linked number:\n%s", name, got, want)
			}
			if sent := s.codesTo(t, sample.Old, n); sent != before {
				t.Errorf("%s: %d codes were sent", name, sent-before)
			}
		}
	})
}

// phoneSession asks for codes until the limit, tries wrong ones, and answers what each call costs and tells.
func (s *stage) phoneSession(t *testing.T, n string) string {
	start := s.options.Now()
	var l []string
	for range 4 {
		var asked authcore.Asked
		l = append(l, s.costs(func() (err error) {
			asked, err = s.SignInPhone(t.Context(), app(), n)
			asked.ExpiresAt = time.Time{}.Add(asked.ExpiresAt.Sub(start).Round(time.Minute))
			l = append(l, shown(asked, err))
			return err
		}))
		for range 3 {
			l = append(l, s.costs(func() error {
				_, err := s.SignInPhoneCode(t.Context(), app(), asked.Ticket, secretOf("x"))
				return err
			}))
		}
		l = append(l, s.costs(func() error { return s.SignInPhoneMessage(t.Context(), app(), asked.Ticket) }))
		time.Sleep(time.Minute)
		l = append(l, s.costs(func() error { return s.SignInPhoneMessage(t.Context(), app(), asked.Ticket) }))
	}
	return strings.Join(l, "\n")
}

// The number stands in the link's record and in the sealed messages; no claim, audit, log or ticket shows it, and no record
// or log a code.
func TestPhoneNumberIsNowhereElse(t *testing.T) {
	var log bytes.Buffer
	s := newStage(t, func(o *authcore.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}).phones(t)
	a := s.actor(t, "account")
	if err := s.link(t, a, number); err != nil {
		t.Fatal(err)
	}
	var codes []string
	tk := s.call(t, number)
	for _, o := range s.Sent(t, sample.Old, number) {
		codes = append(codes, sixDigits.FindString(o.Text))
	}
	_, _ = s.SignInPhoneCode(t.Context(), app(), tk, secretOf("x"))
	s.showsNone(t, &log, codes...)
	digits := number[1:]
	for _, r := range s.all(t, sample.Old, "") {
		if bytes.Contains(r.Value, []byte(digits)) && !strings.HasPrefix(r.Name, "phone-link/") {
			t.Errorf("record %s shows the number: %s", r.Name, r.Value)
		}
	}
	claim := member.ClaimKey(member.ClaimPhone, number)
	rec, err := s.options.Records.Get(t.Context(), store.Key{Partition: claim.Partition, Name: claim.Name})
	if err != nil || bytes.Contains(rec.Value, []byte(digits)) || strings.Contains(claim.Partition, digits) {
		t.Errorf("the claim: %s, %v", rec.Value, err)
	}
	if bytes.Contains(log.Bytes(), []byte(digits)) {
		t.Error("the log shows the number")
	}
	p, err := json.Marshal(s.profile(t, a.Address))
	if err != nil || bytes.Contains(p, []byte(digits)) {
		t.Errorf("an administrator is shown the number: %s, %v", p, err)
	}
}
