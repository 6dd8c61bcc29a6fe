package authcore_test

import (
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

const (
	number  = "+819012345678"
	another = "+818098765432"
)

// phones opens signing in by phone in both domains.
func (s *stage) phones(t testing.TB) *stage {
	t.Helper()
	for _, d := range []string{sample.Old, sample.New} {
		s.policy(t, d, func(p *policy.Policy) { p.SignIn.Phone = policy.Allow })
	}
	return s
}

// actor signs a person in with his password, just now.
func (s *stage) actor(t testing.TB, state string) authcore.Actor {
	t.Helper()
	return s.actorOf(t, s.address(state), s.People[state].Account)
}

func (s *stage) actorOf(t testing.TB, address string, password secret.String) authcore.Actor {
	t.Helper()
	r, err := s.SignIn(t.Context(), authtest.Client(), address, password)
	if err != nil || r.State != authcore.SignedIn {
		t.Fatalf("sign in %s: %q, %v", address, r.State, err)
	}
	return r.Actor
}

// link links a number to an actor, by the code that was sent.
func (s *stage) link(t testing.TB, a authcore.Actor, n string) error {
	t.Helper()
	asked, err := s.LinkPhone(t.Context(), a, n)
	if err != nil {
		return err
	}
	_, err = s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, secretOf(s.Code(t, domainOf(a), n)))
	return err
}

func domainOf(a authcore.Actor) string {
	n, err := member.ParseName(a.Address, "")
	if err != nil {
		panic(err)
	}
	return n.Domain
}

func (s *stage) linked(t testing.TB, a authcore.Actor) authcore.PhoneLink {
	t.Helper()
	l, err := s.MyPhoneLink(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLinkPhone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.phones(t).actor(t, "account")
		if l := s.linked(t, a); l.Masked != "" {
			t.Errorf("at first: %+v", l)
		}
		asked, err := s.LinkPhone(t.Context(), a, "+81 90-1234-5678")
		if err != nil {
			t.Fatal(err)
		}
		code := secretOf(s.Code(t, sample.Old, number))
		if _, err := s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, secretOf("000000x")); !denied(err, authcore.BadCode) {
			t.Errorf("a wrong code: %v", err)
		}
		other := s.actor(t, "account")
		if _, err := s.ConfirmPhoneLink(t.Context(), other, asked.Ticket, code); !denied(err, authcore.TicketInvalid) {
			t.Errorf("from another session: %v", err)
		}
		if _, err := s.SignInPhoneCode(t.Context(), authtest.Client(), asked.Ticket, code); !denied(err, authcore.TicketInvalid) {
			t.Errorf("a code for linking signs in: %v", err)
		}
		l, err := s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, code)
		if err != nil || l.Masked == "" || l.Masked == number || s.linked(t, a) != l {
			t.Errorf("%+v, %v", l, err)
		}
		if _, err := s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, code); !denied(err, authcore.TicketInvalid) {
			t.Errorf("once more: %v", err)
		}
		if e := s.log(t, sample.Old, audit.Filter{Actions: []audit.Action{audit.LinkCreate}}); len(e) != 1 || e[0].Detail != "phone" {
			t.Errorf("audit: %+v", e)
		}
		if n := s.inbox(t, a.Address, notify.LinkChanged); n != 1 {
			t.Errorf("%d messages", n)
		}
		time.Sleep(11 * time.Minute)
		if err := s.UnlinkPhone(t.Context(), a); !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("unlinked without a fresh sign-in: %v", err)
		}
		if _, err := s.LinkPhone(t.Context(), a, another); !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("linked without a fresh sign-in: %v", err)
		}
		a = s.actor(t, "account")
		if err := s.UnlinkPhone(t.Context(), a); err != nil || s.linked(t, a).Masked != "" {
			t.Errorf("unlink: %v", err)
		}
		if err := s.UnlinkPhone(t.Context(), a); !denied(err, authcore.NotFound) {
			t.Errorf("unlink once more: %v", err)
		}
		if err := s.link(t, s.actor(t, "app-only"), number); err != nil {
			t.Errorf("another member, afterwards: %v", err)
		}
	})
}

// A denied way refuses new links and keeps those there are.
func TestLinkPhoneDenied(t *testing.T) {
	s := newStage(t, nil)
	a := s.actor(t, "account")
	if _, err := s.LinkPhone(t.Context(), a, number); !denied(err, authcore.WayDenied) {
		t.Errorf("under a policy that denies: %v", err)
	}
	s.phones(t)
	for _, bad := range []string{"", "09012345678", "+81", "ann@example.org", "+44 20 7946 0018"} {
		if _, err := s.LinkPhone(t.Context(), a, bad); !denied(err, authcore.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	asked, err := s.LinkPhone(t.Context(), a, number)
	if err != nil {
		t.Fatal(err)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.Phone = policy.Deny })
	if _, err := s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, secretOf(s.Code(t, sample.Old, number))); !denied(err, authcore.WayDenied) {
		t.Errorf("denied in between: %v", err)
	}
	if s.linked(t, a).Masked != "" {
		t.Error("it was linked")
	}
	none := newStage(t, func(o *authcore.Options) { o.Senders = nil }).phones(t)
	if _, err := none.LinkPhone(t.Context(), none.actor(t, "account"), number); !denied(err, authcore.Invalid) {
		t.Errorf("without a way to send text messages: %v", err)
	}
}

// crowd makes n members with a session each, in both domains.
func (s *stage) crowd(t testing.TB, n int) []authcore.Actor {
	t.Helper()
	l := make([]authcore.Actor, n)
	var wg sync.WaitGroup
	for i := range l {
		wg.Go(func() {
			d := []string{sample.Old, sample.New}[i%2]
			m := authcore.NewMember{Address: fmt.Sprintf("m%d@%s", i, d), Password: secretOf("right horse 1")}
			if _, _, err := s.CreateMember(t.Context(), authtest.Operator(), d, m); err != nil {
				t.Error(err)
				return
			}
			r, err := s.SignIn(t.Context(), authcore.Client{Addr: addr(source(i))}, m.Address, m.Password)
			if err != nil {
				t.Error(err)
			}
			l[i] = r.Actor
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return l
}

// Many members of two domains who have all proven the same number confirm at once: one has it, the others are told so.
func TestLinkRace(t *testing.T) {
	for _, engine := range []struct {
		name   string
		change func(*authcore.Options)
	}{{"memory", nil}, {"sqlite", onSQLite(t)}} {
		t.Run(engine.name, func(t *testing.T) {
			s := newStage(t, func(o *authcore.Options) {
				if engine.change != nil {
					engine.change(o)
				}
				o.Codes.Address, o.Codes.Prefix = 1000, 1000
			}).phones(t)
			people := s.crowd(t, 40)
			tickets, codes := make([]secret.String, len(people)), make([]secret.String, len(people))
			seen := map[string]bool{}
			for i, a := range people {
				asked, err := s.LinkPhone(t.Context(), a, number)
				if err != nil {
					t.Fatal(err)
				}
				tickets[i], codes[i] = asked.Ticket, secretOf(s.freshCode(t, domainOf(a), number, seen))
			}
			got := make([]error, len(people))
			var wg sync.WaitGroup
			for i, a := range people {
				wg.Go(func() { _, got[i] = s.ConfirmPhoneLink(t.Context(), a, tickets[i], codes[i]) })
			}
			wg.Wait()
			winners := 0
			for i, a := range people {
				has := s.linked(t, a).Masked != ""
				if has {
					winners++
				}
				if has != (got[i] == nil) || !has && !denied(got[i], authcore.AlreadyLinked) {
					t.Errorf("%s: %v, linked %v", a.Address, got[i], has)
				}
			}
			if winners != 1 {
				t.Errorf("%d have the number", winners)
			}
		})
	}
}

// A member who takes another number frees the one before.
func TestPhoneNumberChanges(t *testing.T) {
	s := newStage(t, nil).phones(t)
	ann, bob := s.actor(t, "account"), s.actor(t, "app-only")
	for _, n := range []string{number, another} {
		if err := s.link(t, ann, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.link(t, bob, another); !denied(err, authcore.AlreadyLinked) {
		t.Errorf("her new number: %v", err)
	}
	if err := s.link(t, bob, number); err != nil {
		t.Errorf("her old number: %v", err)
	}
	if err := s.link(t, ann, number); !denied(err, authcore.AlreadyLinked) || s.linked(t, ann).Masked == "" {
		t.Errorf("her old number, by her: %v", err)
	}
}

// The process dies at each write of linking: afterwards the member has the number or not, whole; nobody else has it if he
// has; and it can be linked again, by himself at once, by others after a minute if he has it not.
func TestLinkCrash(t *testing.T) {
	for step := 1; step <= 5; step++ {
		for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
			t.Run(fmt.Sprint(step, " ", fault), func(t *testing.T) {
				inBubble(t, nil, func(t *testing.T, s *stage) {
					ann := s.phones(t).actor(t, "account")
					asked, err := s.LinkPhone(t.Context(), ann, number)
					if err != nil {
						t.Fatal(err)
					}
					code, n := secretOf(s.Code(t, sample.Old, number)), 0
					s.fail(func(string, []store.Op) storetest.Fault {
						if n++; n == step {
							return fault
						}
						return storetest.NoFault
					})
					_, err = s.ConfirmPhoneLink(t.Context(), ann, asked.Ticket, code)
					s.fail(nil)
					if err == nil {
						t.Fatalf("step %d: nothing failed: %d writes", step, n)
					}
					s.Core.Core = s.restart()
					s.afterLinkCrash(t, ann)
				})
			})
		}
	}
}

func (s *stage) afterLinkCrash(t *testing.T, ann authcore.Actor) {
	t.Helper()
	has := s.linked(t, ann).Masked != ""
	if _, err := s.SignInPhone(t.Context(), authtest.Client(), number); err != nil {
		t.Fatal(err)
	}
	if sent := s.codesTo(t, sample.Old, number); sent != 1 && !has || sent != 2 && has {
		t.Errorf("linked %v, and %d codes were sent", has, sent)
	}
	time.Sleep(member.PendingFor)
	bob := s.actor(t, "app-only")
	if err := s.link(t, bob, number); has != denied(err, authcore.AlreadyLinked) || !has && err != nil {
		t.Errorf("linked %v, and another: %v", has, err)
	}
	if !has {
		if err := s.UnlinkPhone(t.Context(), bob); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(time.Hour)
	ann = s.actor(t, "account")
	if err := s.link(t, ann, number); err != nil || s.linked(t, ann).Masked == "" {
		t.Errorf("she again: %v", err)
	}
}

// codesTo counts the codes that were sent to an address.
func (s *stage) codesTo(t testing.TB, domain, to string) (n int) {
	t.Helper()
	for _, o := range s.Sent(t, domain, to) {
		if o.Kind == notify.CodeSent {
			n++
		}
	}
	return n
}

// freshCode answers the one code to an address that was not seen yet.
func (s *stage) freshCode(t testing.TB, domain, to string, seen map[string]bool) string {
	t.Helper()
	var fresh []string
	for _, o := range s.Sent(t, domain, to) {
		if o.Kind == notify.CodeSent && !seen[o.ID] {
			seen[o.ID] = true
			fresh = append(fresh, sixDigits.FindString(o.Text))
		}
	}
	if len(fresh) != 1 {
		t.Fatalf("%d codes were sent to %s, want one", len(fresh), to)
	}
	return fresh[0]
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)
