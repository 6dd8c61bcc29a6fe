package authcore_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

func (s *stage) rotate(t *testing.T) (was string) {
	t.Helper()
	was = s.Keys.CurrentMAC()
	next, err := s.Keys.Rotated(time.Now(), true, false)
	if err != nil {
		t.Fatal(err)
	}
	s.Keys.Take(next)
	return was
}

func (s *stage) apps(t *testing.T, state string) (r apppass.Record) {
	t.Helper()
	l := s.all(t, s.People[state].Domain, "app-passwords/"+string(s.MemberID(t, s.address(state))))
	if len(l) != 1 {
		t.Fatalf("%d records", len(l))
	}
	if err := json.Unmarshal(l[0].Value, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// After a rotation an app password goes over to the new key at its next right use, off its path; no session ends.
func TestAppPasswordsAreKeyedAnewAtTheirNextUse(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		const state = "app-only"
		standing := s.open(t, "imap", s.address(state), s.app(state))
		time.Sleep(time.Minute)
		was := s.rotate(t)
		if got := s.try(t, s.address(state), "abcd-efgh-jkmn-2345"); got.Temporary() || got == authcore.Allowed {
			t.Errorf("a wrong one: %q", got)
		}
		time.Sleep(time.Minute)
		if r := s.apps(t, state); r.Items[0].KeyID != was {
			t.Error("keyed anew without a right use")
		}
		before := s.apps(t, state)
		fresh := s.open(t, "smtp", s.address(state), s.app(state))
		if r := s.apps(t, state); r.Items[0].KeyID != was {
			t.Error("written on the attempt's path")
		}
		time.Sleep(time.Minute)
		r := s.apps(t, state)
		if r.Items[0].KeyID != s.Keys.CurrentMAC() || r.Items[0].ID != before.Items[0].ID || r.Items[0].Name != before.Items[0].Name {
			t.Errorf("keyed anew as %+v", r.Items[0])
		}
		if !s.stands(t, standing) || !s.stands(t, fresh) {
			t.Error("a session ended by it")
		}
		less, err := s.Keys.Without(was, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		s.Keys.Take(less)
		if got := s.try(t, s.address(state), s.app(state)); got != authcore.Allowed {
			t.Errorf("after the old key was dropped: %q", got)
		}
		never := authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in"))
		if d, err := s.Authenticate(t.Context(), never); err == nil || d.Reason != authcore.Unavailable {
			t.Errorf("one that was never used since, whose key is gone: %q, %v", d.Reason, err)
		}
	})
}

// Whoever deletes or makes an app password meanwhile is not undone.
func TestKeyingAnewMeetsOtherChanges(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		address := s.address("opted-in")
		s.rotate(t)
		s.open(t, "imap", address, s.app("opted-in"))
		var once sync.Once
		s.fail(func(_ string, ops []store.Op) storetest.Fault {
			if len(ops) == 1 && has(ops, "app-passwords/") {
				once.Do(func() {
					s.fail(nil)
					if _, _, err := s.CreateAppPasswordFor(t.Context(), authtest.Operator(), address, apppass.Wish{Name: "meanwhile"}); err != nil {
						t.Error(err)
					}
				})
			}
			return storetest.NoFault
		})
		time.Sleep(time.Minute)
		r := s.apps(t, "opted-in")
		if len(r.Items) != 2 || r.Items[0].KeyID != s.Keys.CurrentMAC() {
			t.Errorf("%+v", r.Items)
		}
		s.rotate(t)
		s.open(t, "imap", address, s.app("opted-in"))
		if err := s.DeleteAppPasswordOf(t.Context(), authtest.Operator(), address, r.Items[0].ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := s.apps(t, "opted-in"); len(got.Items) != 1 || got.Items[0].Name != "meanwhile" {
			t.Errorf("a deleted one is back: %+v", got.Items)
		}
	})
}

// A rotation renames nothing that is named by a fingerprint: a repeat counts no more than before, and N stays N.
func TestRotationCountsNoRepeatAnew(t *testing.T) {
	onEngines(t, func(t *testing.T, s *stage) {
		s.maxFailures(t, 3)
		name := s.address("account")
		for i := range 10 {
			s.from(t, source(i), "imap", name, "the phone's old password")
			if i%3 == 0 {
				s.rotate(t)
			}
		}
		if got := s.status(t, name); got != member.Active {
			t.Errorf("repeats over rotations: %q", got)
		}
		f := s.all(t, sample.Old, "failures/"+string(s.MemberID(t, name)))
		if len(f) != 1 || !contains(f[0].Value, `"count":1,`) {
			t.Errorf("%v", values(f))
		}
		s.from(t, source(30), "imap", name, "wrong two")
		s.rotate(t)
		s.from(t, source(31), "imap", name, "wrong three")
		if got := s.status(t, name); got != member.Suspended {
			t.Errorf("the third distinct one: %q", got)
		}
	})
}

// A second rotation before the writing leaves the app password where it is: the key between may be dropped already.
func TestAppPasswordsAreNotKeyedUnderAnOldKey(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		const state = "app-only"
		was := s.rotate(t)
		s.open(t, "imap", s.address(state), s.app(state))
		between := s.rotate(t)
		time.Sleep(time.Minute)
		if r := s.apps(t, state); r.Items[0].KeyID != was {
			t.Errorf("stands under %s, want %s; between was %s", r.Items[0].KeyID, was, between)
		}
		s.open(t, "imap", s.address(state), s.app(state))
		time.Sleep(time.Minute)
		if r := s.apps(t, state); r.Items[0].KeyID != s.Keys.CurrentMAC() {
			t.Errorf("not keyed anew at the next use")
		}
	})
}
