package authcore_test

import (
	"slices"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Nobody's activity is another's, and what an administrator did tells nothing of the administrator but his address.
func TestMyActivityIsOnesOwn(t *testing.T) {
	s := newStage(t, nil)
	a, other := s.Actor(t, "account"), s.Actor(t, "opted-in")
	if _, _, err := s.CreateAppPassword(t.Context(), other, wish("not mine")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateAppPassword(t.Context(), a, wish("mine")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignOutEverywhere(t.Context(), s.Actor(t, "admin"), s.address("account")); err != nil {
		t.Fatal(err)
	}
	a = s.Actor(t, "account")
	var did []audit.Action
	for after, next := "", "more"; next != ""; after = next {
		var l []audit.Entry
		var err error
		if l, next, err = s.MyActivity(t.Context(), a, after, 1); err != nil {
			t.Fatal(err)
		}
		for _, e := range l {
			did = append(did, e.Action)
			if e.Target != s.address("account") {
				t.Errorf("an entry of %s", e.Target)
			}
			if e.Actor == s.address("admin") && (e.Action != audit.SignOutEverywhere || e.From+e.Agent+e.Session != "") {
				t.Errorf("what an administrator did: %+v", e)
			}
		}
	}
	if !slices.Contains(did, audit.AppPasswordCreate) || !slices.Contains(did, audit.SignOutEverywhere) || !slices.Contains(did, audit.SignIn) {
		t.Errorf("activity: %v", did)
	}
}

// A member may not have the server read the audit of a large domain for one page.
func TestMyActivityIsBounded(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	d, err := s.Domain(t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		t.Fatal(err)
	}
	for range 6_000 / 50 {
		var ops []store.Op
		for range 50 {
			ops = append(ops, audit.Op(audit.Entry{Time: time.Now(), Action: audit.SignIn, MemberID: "somebody"}))
		}
		if _, err := s.Records.Apply(t.Context(), member.Partition(d.Domain.ID), ops...); err != nil {
			t.Fatal(err)
		}
	}
	first, next, err := s.MyActivity(t.Context(), a, "", 10)
	if err != nil || len(first) != 0 || next == "" {
		t.Fatalf("the first page: %d entries, next %q, %v", len(first), next, err)
	}
	if second, _, err := s.MyActivity(t.Context(), a, next, 10); err != nil || len(second) == 0 {
		t.Errorf("the second page: %d entries, %v", len(second), err)
	}
}

func TestMyAccountPassword(t *testing.T) {
	for _, c := range []struct {
		name string
		days int
	}{{"never expires", 0}, {"expires", 90}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, nil)
			s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.ExpiresAfterDays = c.days })
			p, err := s.MyAccountPassword(t.Context(), s.Actor(t, "account"))
			if err != nil || p.SetAt.IsZero() {
				t.Fatalf("%+v, %v", p, err)
			}
			want := time.Time{}
			if c.days > 0 {
				want = p.SetAt.AddDate(0, 0, c.days)
			}
			if !p.ExpiresAt.Equal(want) {
				t.Errorf("expires at %v, want %v", p.ExpiresAt, want)
			}
		})
	}
}

func TestEndMyOtherSessions(t *testing.T) {
	s := newStage(t, nil)
	first, a := s.Actor(t, "account"), s.Actor(t, "account")
	other := s.Actor(t, "opted-in")
	door, theirs := s.open(t, "imap", s.address("account"), s.account("account")), s.open(t, "imap", s.address("opted-in"), s.app("opted-in"))
	if err := s.EndMyOtherSessions(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := s.StillSignedIn(t.Context(), first); !denied(err, authcore.NotSignedIn) {
		t.Errorf("the other session: %v", err)
	}
	for name, is := range map[string]authcore.Actor{"the one that asks": a, "another member's": other} {
		if _, err := s.StillSignedIn(t.Context(), is); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.stands(t, door) || !s.stands(t, theirs) {
		t.Error("at the doors: his own stands, or another member's does not")
	}
}
