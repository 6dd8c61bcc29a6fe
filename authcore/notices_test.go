package authcore_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/oidc"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// everyWayOut is an installation with as many ways for messages to leave as there may be.
func everyWayOut(o *authcore.Options) {
	o.Senders = map[notify.Channel]notify.Sender{notify.ByEmail: taken{}, notify.BySMS: taken{}}
	for i := range notify.MaxWebhooks {
		name := fmt.Sprint("hook", i)
		o.Webhooks = append(o.Webhooks, notify.Webhook{Name: name})
		o.Senders[notify.ByWebhook(name)] = taken{}
	}
	o.Providers = manyProviders
}

// manyProviders are LINE and as many others as a policy may name.
func manyProviders() (l []*oidc.Provider) {
	for i := range 17 {
		s := oidc.Settings{Name: fmt.Sprint("corp", i), Kind: oidc.OpenID, Issuer: fmt.Sprintf("https://id%d.example", i), ClientID: "1", ClientSecret: secret.New("s"), RedirectURL: "https://localhost/back"}
		if i == 16 {
			s.Name, s.Kind = "line", oidc.LINE
		}
		p, err := oidc.NewProvider(s)
		if err != nil {
			panic(err)
		}
		l = append(l, p)
	}
	return l
}

// largest watches how many steps the largest batch has.
func (s *stage) largest() (steps func() int) {
	most := 0
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		most = max(most, len(ops))
		return storetest.NoFault
	})
	return func() int { return most }
}

// A suspension with as many administrators to tell as there may be, each with an e-mail of his own and the webhooks beside,
// stays one batch; so does a policy that opens every way at once.
func TestLargestBatchesOfNotices(t *testing.T) {
	inBubble(t, everyWayOut, func(t *testing.T, s *stage) {
		for i := range 40 {
			n := authcore.NewMember{Address: fmt.Sprintf("admin%02d@%s", i, sample.Old), Role: member.RoleAdministrator,
				Contacts: []member.Contact{{Kind: member.Email, Value: fmt.Sprintf("a%02d@home.example", i), Verified: true}}}
			if _, _, err := s.CreateMember(t.Context(), authtest.Operator(), sample.Old, n); err != nil {
				t.Fatal(err)
			}
		}
		s.maxFailures(t, 3)
		most := s.largest()
		for _, victim := range []string{s.address("account"), "admin00@" + sample.Old} {
			for i := range 3 {
				s.from(t, source(i), "imap", victim, fmt.Sprint("Wrong-word-", i))
			}
			if st := s.status(t, victim); st != member.Suspended {
				t.Errorf("%s is %s", victim, st)
			}
		}
		told := 0
		for _, m := range s.all(t, sample.Old, "message/") {
			if strings.Contains(string(m.Value), `"member_suspended"`) {
				told++
			}
		}
		if mailed := len(s.all(t, sample.Old, notify.OutboxPrefix+string(notify.ByEmail))); told != 2*32 || mailed < told {
			t.Errorf("%d administrators were told, %d e-mails; want 32 of each suspension", told, mailed)
		}
		if n := most(); n > store.MaxOps || n < 64 {
			t.Errorf("the largest batch has %d steps", n)
		}
		t.Logf("suspension: %d steps", most())

		most = s.largest()
		s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
		s.policy(t, sample.Old, func(p *policy.Policy) {
			p.SignIn.LINE, p.SignIn.Phone, p.SignIn.Quick, p.SignIn.Passkey, p.SignIn.TwoStep = policy.Allow, policy.Allow, policy.Allow, policy.Allow, policy.TwoStepOptional
			p.SignIn.OIDC = map[string]policy.Way{}
			for i := range 16 {
				p.SignIn.OIDC[fmt.Sprint("corp", i)] = policy.Allow
			}
		})
		if n := most(); n > store.MaxOps || n < 100 {
			t.Errorf("the largest batch of a policy has %d steps", n)
		}
		t.Logf("policy: %d steps", most())
	})
}

// What a deleted member signed in with goes with him; what nobody signed in with for half a year is forgotten.
func TestKnownClientsEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		if d := s.from(t, here, "imap", s.address("opted-in"), s.app("opted-in")); !d.Allowed() {
			t.Fatal(d.Reason)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(s.all(t, sample.Old, "clients/")); n != 1 {
			t.Fatalf("%d records", n)
		}
		if err := s.DeleteMember(t.Context(), authtest.Operator(), s.address("opted-in")); err != nil {
			t.Fatal(err)
		}
		if n := len(s.all(t, sample.Old, "clients/")); n != 0 {
			t.Errorf("%d records of a deleted member", n)
		}
	})
}

func TestKnownClientsAreForgotten(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.from(t, here, "imap", s.address("opted-in"), s.app("opted-in"))
		time.Sleep(200 * 24 * time.Hour)
		if n := len(s.all(t, sample.Old, "clients/")); n != 0 {
			t.Errorf("%d records after 200 days without a sign-in", n)
		}
	})
}
