package authcore_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
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
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// taken is a Sender that takes everything.
type taken struct{}

func (taken) Send(context.Context, notify.Outgoing) error { return nil }

// delivering lets Run send and announce.
func delivering(o *authcore.Options) {
	o.KeepOutbox = false
	o.Senders = map[notify.Channel]notify.Sender{notify.ByEmail: taken{}, notify.BySMS: taken{}}
	o.Providers = providers
}

// providers are LINE and one more, which nobody asks anything.
func providers() (l []*oidc.Provider) {
	for name, kind := range map[string]oidc.Kind{"line": oidc.LINE, "corp": oidc.OpenID} {
		p, err := oidc.NewProvider(oidc.Settings{Name: name, Kind: kind, Issuer: "https://" + name + ".example", ClientID: "id",
			ClientSecret: secret.New("hush"), RedirectURL: "https://mail.example/"})
		if err != nil {
			panic(err) // the settings stand above
		}
		l = append(l, p)
	}
	return l
}

// What the installation cannot do is announced to nobody, whatever a policy allows.
func TestWaysThatAreNotThereAreNotAnnounced(t *testing.T) {
	s := newStage(t, func(o *authcore.Options) { o.Senders, o.Providers, o.Party = nil, nil, nil })
	s.policy(t, sample.Old, func(p *policy.Policy) {
		p.SignIn.LINE, p.SignIn.Phone, p.SignIn.Quick, p.SignIn.Passkey = policy.Allow, policy.Allow, policy.Allow, policy.Allow
		p.SignIn.OIDC = map[string]policy.Way{"corp": policy.Allow}
	})
	if l := s.announced(t, sample.Old); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}

func (s *stage) announced(t testing.TB, domain string) []authcore.Announcement {
	t.Helper()
	l, _, err := s.Announcements(t.Context(), authtest.Operator(), domain, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// told counts the announcements of a way that each member of a domain got, and the members.
func told(t testing.TB, r store.Records, d member.DomainID, way string) (perMember map[string]int, members int) {
	t.Helper()
	perMember = map[string]int{}
	for name, count := range map[string]func(store.Record){
		"message/": func(rec store.Record) {
			if s := string(rec.Value); strings.Contains(s, `"way_allowed"`) && strings.Contains(s, way) {
				perMember[strings.Split(rec.Name, "/")[1]]++
			}
		},
		"member/": func(store.Record) { members++ },
	} {
		after := ""
		for {
			l, err := r.List(t.Context(), member.Partition(d), store.Query{Prefix: name, After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range l {
				count(rec)
			}
			if len(l) < store.MaxListLimit {
				break
			}
			after = l[len(l)-1].Name
		}
	}
	return perMember, members
}

// Each change from deny to allow tells every member once, in his language; deny and a repeated allow tell nobody, and
// touch neither sessions nor links.
func TestEachWayAllowedIsAnnouncedOnce(t *testing.T) {
	inBubble(t, delivering, func(t *testing.T, s *stage) {
		d := s.domain(t, sample.Old).ID
		a := s.Actor(t, "account")
		set := func(change func(*policy.SignIn)) {
			s.policy(t, sample.Old, func(p *policy.Policy) { change(&p.SignIn) })
			synctest.Wait()
		}
		if _, err := s.SetLanguage(t.Context(), a, "ja"); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range []struct {
			word   string
			change func(*policy.SignIn, policy.Way)
		}{
			{"LINE", func(p *policy.SignIn, w policy.Way) { p.LINE = w }},
			{"phone number", func(p *policy.SignIn, w policy.Way) { p.Phone = w }},
			{"Quick login", func(p *policy.SignIn, w policy.Way) { p.Quick = w }},
			{"Passkeys", func(p *policy.SignIn, w policy.Way) { p.Passkey = w }},
			{"oidc.corp", func(p *policy.SignIn, w policy.Way) { p.OIDC = map[string]policy.Way{"corp": w} }},
		} {
			set(func(p *policy.SignIn) { c.change(p, policy.Allow) })
			set(func(p *policy.SignIn) { p.TrustBrowser = !p.TrustBrowser }) // still allowed: nothing to tell
			n++
			if l := s.announced(t, sample.Old); len(l) != n || l[0].FinishedAt.IsZero() || l[0].Done != l[0].Total || l[0].Done == 0 {
				t.Fatalf("%s: %+v", c.word, l)
			}
			set(func(p *policy.SignIn) { c.change(p, policy.Deny) })
			if l := s.announced(t, sample.Old); len(l) != n {
				t.Errorf("%s: deny was announced: %+v", c.word, l)
			}
			got, members := told(t, s.options.Records, d, c.word)
			for id, n := range got {
				if n != 1 {
					t.Errorf("%s: %s was told %d times", c.word, id, n)
				}
			}
			if c.word == "LINE" || c.word == "oidc.corp" { // the words that are the same in Japanese
				if len(got) != members {
					t.Errorf("%s: %d of %d members were told", c.word, len(got), members)
				}
			}
		}
		l, _, err := s.Messages(t.Context(), a, "", 100)
		if err != nil || !slices.ContainsFunc(l, func(m notify.Message) bool { return m.Subject == "新しいログイン方法: LINEでログイン" }) {
			t.Errorf("%v, %v", l, err)
		}
		if _, err := s.Me(t.Context(), a); err != nil {
			t.Errorf("the session: %v", err)
		}
		if other := s.announced(t, sample.New); len(other) != 0 {
			t.Errorf("the other domain: %+v", other)
		}
		time.Sleep(2 * time.Minute)
		if l := s.all(t, sample.Old, notify.OutboxPrefix); len(l) != 0 {
			t.Errorf("%d e-mails were not sent", len(l))
		}
	})
}

// A hundred thousand members; the process dies in the middle, after a page that was written and one that was not; two go
// on at the same time. Nobody is told twice, nobody is forgotten.
func TestAnnouncementToAHundredThousand(t *testing.T) {
	members := 100_000
	if testing.Short() {
		members = 2_000
	}
	records := memory.NewRecords(memory.Options{})
	s := newStage(t, func(o *authcore.Options) { o.Records, o.Senders, o.Providers = records, nil, providers })
	d := s.domain(t, sample.Old).ID
	for i := 0; i < members; i += 100 {
		var ops []store.Op
		for j := range 100 {
			m := member.Member{ID: member.ID(fmt.Sprintf("m%06d", i+j)), Addresses: []string{fmt.Sprintf("m%06d@%s", i+j, sample.Old)}, Role: member.RoleMember, Status: member.Active}
			ops = append(ops, member.PutOp(member.Key(d, m.ID), m, 0))
		}
		if _, err := records.Apply(t.Context(), member.Partition(d), ops...); err != nil {
			t.Fatal(err)
		}
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.LINE = policy.Allow })
	run := func(until func(authcore.Announcement) bool, cores ...*authcore.Core) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, len(cores))
		for _, c := range cores {
			go func() { done <- c.Run(ctx) }()
		}
		deadline := time.Now().Add(2 * time.Minute)
		for !until(s.announced(t, sample.Old)[0]) {
			if time.Now().After(deadline) {
				t.Fatalf("%+v", s.announced(t, sample.Old))
			}
			runtime.Gosched()
		}
		cancel()
		for range cores {
			<-done
		}
	}
	another := func(fault func([]store.Op) storetest.Fault) *authcore.Core {
		o := s.options
		o.KeepOutbox, o.Node, o.Bus, o.Ephemeral = false, "", memory.NewBus(), memory.NewEphemeral(memory.Options{})
		o.Records = &storetest.Faulty{Records: records, OnApply: func(_ string, ops []store.Op) storetest.Fault { return fault(ops) }}
		return authcore.New(o)
	}
	for _, kind := range []storetest.Fault{storetest.FailAfter, storetest.FailBefore} { // and every batch of that process fails from there on
		begun := s.announced(t, sample.Old)[0].Done
		var dying atomic.Bool
		run(func(n authcore.Announcement) bool { return n.Done > begun && dying.Load() }, another(func([]store.Op) storetest.Fault {
			if n := s.announced(t, sample.Old)[0]; n.Done < begun+members/5 {
				return storetest.NoFault
			}
			if dying.Swap(true) {
				return storetest.FailBefore
			}
			return kind
		}))
	}
	fine := func([]store.Op) storetest.Fault { return storetest.NoFault }
	run(func(n authcore.Announcement) bool { return !n.FinishedAt.IsZero() }, another(fine), another(fine))
	got, all := told(t, records, d, "LINE")
	if len(got) != all || all < members {
		t.Errorf("%d of %d members were told", len(got), all)
	}
	for id, n := range got {
		if n != 1 {
			t.Fatalf("%s was told %d times", id, n)
		}
	}
	if n := s.announced(t, sample.Old)[0]; n.Done != all || n.Total != all {
		t.Errorf("done %d of %d, members %d", n.Done, n.Total, all)
	}
}
