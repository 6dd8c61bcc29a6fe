package authcore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

const mailed = "ann@mail.example"

// forgets gives a person both kinds of contacts, as an administrator enters them.
func (s *stage) forgets(t testing.TB, state string) *stage {
	t.Helper()
	s.contacts(t, state, member.Contact{Kind: member.Email, Value: mailed}, member.Contact{Kind: member.Mobile, Value: another})
	return s
}

// reset goes through a forgotten password up to the ticket for the new one.
func (s *stage) reset(t testing.TB, state, kind, to string) secret.String {
	t.Helper()
	a, err := s.ForgotPassword(t.Context(), authtest.Client(), s.address(state), kind)
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.ForgotPasswordCode(t.Context(), authtest.Client(), a.Ticket, secretOf(s.Code(t, sample.Old, to)))
	if err != nil {
		t.Fatal(err)
	}
	return set.Ticket
}

func (s *stage) setForgotten(t testing.TB, tk secret.String, word string) error {
	t.Helper()
	return s.SetForgottenPassword(t.Context(), authtest.Client(), tk, secretOf(word), false)
}

func TestForgottenPassword(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		web := s.forgets(t, "account").signIn(t, "account", s.People["account"].Account)
		door := s.open(t, "imap", s.address("account"), s.account("account"))
		a, err := s.ForgotPassword(t.Context(), authtest.Client(), strings.ToUpper(s.address("account")), member.Email)
		if err != nil {
			t.Fatal(err)
		}
		code := secretOf(s.Code(t, sample.Old, mailed))
		if _, err := s.ForgotPasswordCode(t.Context(), authtest.Client(), a.Ticket, secretOf("x")); !denied(err, authcore.BadCode) {
			t.Errorf("a wrong code: %v", err)
		}
		if err := s.setForgotten(t, a.Ticket, nextPassword); !denied(err, authcore.TicketInvalid) {
			t.Errorf("a new password before the code: %v", err)
		}
		if _, err := s.SignInPhoneCode(t.Context(), authtest.Client(), a.Ticket, code); !denied(err, authcore.TicketInvalid) {
			t.Errorf("a code for the password signs in: %v", err)
		}
		set, err := s.ForgotPasswordCode(t.Context(), authtest.Client(), a.Ticket, code)
		if err != nil {
			t.Fatal(err)
		}
		if k := s.profile(t, s.address("account")).Member.Contacts[0]; !k.Verified {
			t.Error("the contact that the code came back from is not verified")
		}
		if err := s.setForgotten(t, set.Ticket, "a1"); !denied(err, authcore.Invalid) {
			t.Errorf("a password that breaks rules: %v", err)
		}
		if !s.signedIn(t, web.Token) || s.try(t, s.address("account"), s.account("account")) != authcore.Allowed {
			t.Error("something ended before the new password was set")
		}
		if err := s.setForgotten(t, set.Ticket, nextPassword); err != nil {
			t.Fatal(err)
		}
		if s.signedIn(t, web.Token) || s.stands(t, door) {
			t.Error("a session of the old password goes on")
		}
		if err := s.setForgotten(t, set.Ticket, "third horse 3"); !denied(err, authcore.TicketInvalid) {
			t.Errorf("once more: %v", err)
		}
		if s.try(t, s.address("account"), s.account("account")) == authcore.Allowed || s.try(t, s.address("account"), nextPassword) != authcore.Allowed {
			t.Error("the old password still signs in, or the new one does not")
		}
		if e := s.last(t, audit.PasswordForgotten); e.Detail != member.Email || e.Target != s.address("account") {
			t.Errorf("audit: %+v", e)
		}
		if n := s.inbox(t, s.address("account"), notify.PasswordChanged); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}

// The second step that follows does not come by the channel of the reset where there is another, and does again once the
// member has signed in.
func TestSecondStepAfterForgottenPassword(t *testing.T) {
	for kind, to := range map[string]string{member.Email: mailed, member.Mobile: another} {
		inBubble(t, nil, func(t *testing.T, s *stage) {
			tk := s.forgets(t, "two-step").reset(t, "two-step", kind, to)
			if err := s.setForgotten(t, tk, nextPassword); err != nil {
				t.Fatal(err)
			}
			offered := func() (l []signin.Method, r authcore.SignInResult) {
				r = s.signIn(t, "two-step", secretOf(nextPassword))
				for _, m := range r.Methods {
					l = append(l, m.Kind)
				}
				return l, r
			}
			l, r := offered()
			if slices.Contains(l, signin.Method(kind)) || len(l) == 0 {
				t.Fatalf("reset by %s, offered %v", kind, l)
			}
			time.Sleep(time.Minute)
			other := map[string]string{member.Email: another, member.Mobile: mailed}[kind]
			code := s.sendTo(t, r.Ticket, l[0], other)
			if done, err := s.SignInTwoStep(t.Context(), authtest.Client(), r.Ticket, authcore.SecondAnswer{Method: l[0], Code: code}); err != nil || done.State != authcore.SignedIn {
				t.Fatalf("%q, %v", done.State, err)
			}
			if l, _ := offered(); !slices.Contains(l, signin.Method(kind)) {
				t.Errorf("after a finished sign-in: %v", l)
			}
			s.contacts(t, "two-step", member.Contact{Kind: kind, Value: to}) // the only one there is: better than none
			time.Sleep(time.Minute)
			if err := s.setForgotten(t, s.reset(t, "two-step", kind, to), "third horse 3"); err != nil {
				t.Fatal(err)
			}
			if r := s.signIn(t, "two-step", secretOf("third horse 3")); r.State != authcore.TwoStepRequired || len(r.Methods) != 1 {
				t.Errorf("with one contact: %q, %v", r.State, r.Methods)
			}
		})
	}
}

// What ends a reset that is under way.
func TestForgottenPasswordIsJudgedAtEachStep(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *stage){
		"suspended": func(t *testing.T, s *stage) {
			if _, err := s.Suspend(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
		},
		"another contact": func(t *testing.T, s *stage) {
			s.contacts(t, "account", member.Contact{Kind: member.Email, Value: "other@mail.example"})
		},
		"another password": func(t *testing.T, s *stage) {
			if _, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), false); err != nil {
				t.Fatal(err)
			}
		},
		"signed out everywhere": func(t *testing.T, s *stage) {
			if _, err := s.SignOutEverywhere(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			tk := s.forgets(t, "account").reset(t, "account", member.Email, mailed)
			change(t, s)
			if err := s.setForgotten(t, tk, nextPassword); !denied(err, authcore.TicketInvalid) {
				t.Errorf("got %v", err)
			}
			if s.try(t, s.address("account"), nextPassword) == authcore.Allowed {
				t.Error("the new password was set")
			}
		})
	}
}

// The number linked for signing in is no contact: a code for a forgotten password never goes there.
func TestForgottenPasswordLeavesTheLinkedNumberAlone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		if err := s.phones(t).link(t, s.actor(t, "account"), number); err != nil {
			t.Fatal(err)
		}
		for _, contacts := range [][]member.Contact{nil, {{Kind: member.Mobile, Value: another}}} {
			s.contacts(t, "account", contacts...)
			before := s.codesTo(t, sample.Old, number)
			if _, err := s.ForgotPassword(t.Context(), authtest.Client(), s.address("account"), member.Mobile); err != nil {
				t.Fatal(err)
			}
			if s.codesTo(t, sample.Old, number) != before || s.codesTo(t, sample.Old, another) != len(contacts) {
				t.Errorf("%d contacts: sent to the wrong number", len(contacts))
			}
		}
	})
}

// A login that is somebody's costs and tells what any other of the domain does, up to the limit.
func TestEqualCostOfForgottenPasswords(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.forgets(t, "account").forgets(t, "suspended")
		want := s.anew().forgottenSession(t, s.address("account"))
		if n := s.codesTo(t, sample.Old, mailed); n < 3 {
			t.Errorf("%d codes were sent", n)
		}
		before := s.codesTo(t, sample.Old, mailed)
		for name, login := range map[string]string{
			"nobody": "nobody@old.example", "suspended": s.address("suspended"), "without a contact": s.address("opted-in"),
		} {
			if got := s.anew().forgottenSession(t, login); got != want {
				t.Errorf("%s:\n%s\na member:\n%s", name, got, want)
			}
		}
		if n := s.codesTo(t, sample.Old, mailed); n != before {
			t.Errorf("%d more codes were sent", n-before)
		}
		for _, login := range []string{"nobody@nowhere.example", "", "\x00", "no address"} {
			if a, err := s.ForgotPassword(t.Context(), app(), login, member.Email); err != nil || a.Ticket.Empty() {
				t.Errorf("%q: %v", login, err)
			}
		}
	})
}

func (s *stage) forgottenSession(t *testing.T, login string) string {
	start := s.options.Now()
	var l []string
	for range 6 {
		var asked authcore.Asked
		l = append(l, s.costs(func() (err error) {
			asked, err = s.ForgotPassword(t.Context(), app(), login, member.Email)
			if err == nil {
				asked.ExpiresAt = time.Time{}.Add(asked.ExpiresAt.Sub(start).Round(time.Minute))
			}
			l = append(l, shown(asked, err))
			return err
		}))
		l = append(l, s.costs(func() error {
			_, err := s.ForgotPasswordCode(t.Context(), app(), asked.Ticket, secretOf("x"))
			return err
		}))
	}
	return strings.Join(l, "\n")
}

// What a contact is sent when an address is forgotten: all of its members in all domains, in one message, and to nobody
// else; and nothing when there are none, at the same cost.
func TestForgottenAddress(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.forgets(t, "account")
		s.contacts(t, "app-only", member.Contact{Kind: member.Email, Value: "Ann@MAIL.example"})
		s.contacts(t, "opted-in", member.Contact{Kind: member.Email, Value: "gone@mail.example"})
		s.contacts(t, "opted-in")
		want := s.anew().forgetAddress(t, mailed)
		var got []string
		for _, d := range []string{sample.Old, sample.New} {
			for _, o := range s.found(t, d, mailed) {
				got = append(got, o.Text)
			}
		}
		if len(got) != 1 || !strings.Contains(got[0], s.address("account")) || !strings.Contains(got[0], s.address("app-only")) || strings.Contains(got[0], "opted-in") {
			t.Errorf("sent: %q", got)
		}
		for _, nobody := range []string{"nobody@mail.example", "gone@mail.example"} {
			if cost := s.anew().forgetAddress(t, nobody); cost != want {
				t.Errorf("%s: %s, a known contact: %s", nobody, cost, want)
			}
			if l := s.found(t, sample.Old, nobody); len(l) != 0 {
				t.Errorf("%s: sent %v", nobody, l)
			}
		}
		if err := s.ForgotAddress(t.Context(), app(), "+81 80-9876-5432"); err != nil || len(s.found(t, sample.Old, another)) != 1 {
			t.Errorf("by number: %v", err)
		}
		if err := s.ForgotAddress(t.Context(), app(), "neither"); !denied(err, authcore.Invalid) {
			t.Errorf("no contact: %v", err)
		}
		var err error
		for range 10 {
			err = s.ForgotAddress(t.Context(), app(), "nobody@mail.example")
		}
		if !denied(err, authcore.DenialReason(authcore.Throttled)) {
			t.Errorf("over and over: %v", err)
		}
	})
}

// A contact that a member changes himself is found from then on, and the one that went is not.
func TestForgottenAddressFollowsOnesOwnContacts(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	sent := func(to string) int {
		t.Helper()
		if err := s.ForgotAddress(t.Context(), app(), to); err != nil {
			t.Fatal(err)
		}
		return len(s.found(t, sample.Old, to))
	}
	v := s.enters(t, a, authcore.ContactWish{Kind: member.Email, Value: "old@mail.example"})
	v = s.enters(t, a, authcore.ContactWish{Kind: member.Email, Value: "new@mail.example", Replaces: v.Contacts[0].ContactID()})
	if n := sent("new@mail.example"); n != 1 {
		t.Errorf("by the new contact: %d messages", n)
	}
	if n := sent("old@mail.example"); n != 0 {
		t.Errorf("by the old contact: %d messages", n)
	}
	if err := s.RemoveContact(t.Context(), a, v.Contacts[0].ContactID()); err != nil {
		t.Fatal(err)
	}
	if l, err := s.MembersOf(t.Context(), mail("new@mail.example")); err != nil || len(l) != 0 {
		t.Errorf("by a contact that was removed: %v, %v", l, err)
	}
}

// found are the messages to a contact that tell whose it is.
func (s *stage) found(t testing.TB, domain, to string) []notify.Outgoing {
	t.Helper()
	return slices.DeleteFunc(s.Sent(t, domain, to), func(o notify.Outgoing) bool { return o.Kind != notify.AddressesFound })
}

func (s *stage) forgetAddress(t *testing.T, contact string) string {
	return s.costs(func() error { return s.ForgotAddress(t.Context(), app(), contact) })
}

// Contacts come and go at many members at once: in the end each is found by what his profile names, and by nothing else.
func TestContactIndexUnderRaces(t *testing.T) {
	for _, engine := range []struct {
		name   string
		change func(*authcore.Options)
	}{{"memory", nil}, {"sqlite", onSQLite(t)}} {
		t.Run(engine.name, func(t *testing.T) {
			s := newStage(t, engine.change)
			people := []string{s.address("account"), s.address("app-only"), s.address("opted-in")}
			var wg sync.WaitGroup
			for i := range 90 {
				wg.Go(func() {
					var l []member.Contact
					for j := range 3 {
						if (i>>j)&1 == 0 {
							l = append(l, member.Contact{Kind: member.Email, Value: fmt.Sprintf("c%d@mail.example", j)})
						}
					}
					_, err := s.UpdateMember(t.Context(), authtest.Operator(), people[i%3], authcore.MemberChange{Contacts: &l}, 0)
					if err != nil && !denied(err, authcore.RevisionMismatch) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for j := range 3 {
				k := member.Contact{Kind: member.Email, Value: fmt.Sprintf("c%d@mail.example", j)}
				var want []string
				for _, p := range people {
					if slices.Contains(s.profile(t, p).Member.Contacts, k) {
						want = append(want, p)
					}
				}
				got, err := s.MembersOf(t.Context(), k)
				slices.Sort(got)
				slices.Sort(want)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: found %v, want %v (%v)", k.Value, got, want, err)
				}
			}
		})
	}
}

// A hint without the member's record is believed by nobody; a deleted member is found no more, and is again once restored.
func TestContactIndexIsVerified(t *testing.T) {
	s := newStage(t, nil)
	k := member.Contact{Kind: member.Email, Value: mailed}
	finds := func() int {
		l, err := s.MembersOf(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		return len(l)
	}
	d, id := s.domain(t, sample.Old).ID, s.MemberID(t, s.address("account"))
	key := member.HintKey(k, d, id)
	if _, err := s.options.Records.Apply(t.Context(), key.Partition, member.PutOp(key, member.Hint{Domain: d, Member: id}, store.AnyRevision)); err != nil {
		t.Fatal(err)
	}
	if finds() != 0 {
		t.Error("a stale hint is believed")
	}
	s.forgets(t, "account")
	if finds() != 1 {
		t.Error("not found")
	}
	if err := s.DeleteMember(t.Context(), authtest.Operator(), s.address("account")); err != nil || finds() != 0 {
		t.Errorf("a deleted member is found: %v", err)
	}
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address("account"), authcore.MemberChange{Restore: true}, 0); err != nil || finds() != 1 {
		t.Errorf("a restored member is not found: %v", err)
	}
}

// A policy that counts no failures or expires passwords changes nothing about a reset: the new password is under it.
func TestForgottenPasswordUnderThePolicy(t *testing.T) {
	s := newStage(t, nil)
	tk := s.forgets(t, "expired").reset(t, "expired", member.Email, mailed)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.MinLength, p.Password.Format = 12, policy.LettersNumbersSpecial })
	err := s.setForgotten(t, tk, "short1")
	var d *authcore.Denial
	if !errors.As(err, &d) || len(d.Mistakes) < 2 {
		t.Errorf("every rule that failed is to be named: %+v", d)
	}
	if err := s.setForgotten(t, tk, "long enough 1!"); err != nil {
		t.Fatal(err)
	}
	if r := s.signIn(t, "expired", secretOf("long enough 1!")); r.State != authcore.SignedIn {
		t.Errorf("state %q", r.State)
	}
}

// Another change of the member at the very moment of the new password neither wins nor costs him his ticket.
func TestForgottenPasswordBesideAnotherChange(t *testing.T) {
	s := newStage(t, nil)
	tk := s.forgets(t, "account").reset(t, "account", member.Email, mailed)
	web := s.signIn(t, "account", s.People["account"].Account)
	var once atomic.Bool
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		sets := slices.ContainsFunc(ops, func(o store.Op) bool { return strings.HasPrefix(o.Name, "password/") })
		if sets && once.CompareAndSwap(false, true) {
			if _, err := s.SetLanguage(t.Context(), web.Actor, "ja"); err != nil {
				t.Error(err)
			}
		}
		return storetest.NoFault
	})
	err := s.setForgotten(t, tk, nextPassword)
	s.fail(nil)
	if err != nil || !once.Load() {
		t.Fatalf("%v, changed %v", err, once.Load())
	}
	if s.signedIn(t, web.Token) || s.profile(t, s.address("account")).Member.Language != "ja" {
		t.Error("the session of before goes on, or the other change is lost")
	}
	if r := s.signIn(t, "account", secretOf(nextPassword)); r.State != authcore.SignedIn {
		t.Errorf("state %q", r.State)
	}
}
