package authcore_test

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

func (s *stage) picture(t *testing.T) authcore.Picture {
	t.Helper()
	p, err := s.Picture(t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Days) != authcore.PictureDays {
		t.Fatalf("%d days", len(p.Days))
	}
	return p
}

// What people do on several days is counted on the day on which they did it: at doors and on the web, merged or not, and
// a step of a sign-in is neither let in nor refused.
func TestPictureIsWhatHappened(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		sign := func(state string) {
			if _, err := s.SignIn(t.Context(), authtest.Client(), s.address(state), s.People[state].Account); err != nil {
				t.Fatal(err)
			}
		}
		s.from(t, here, "imap", s.address("account"), s.account("account"))
		for range 7 {
			s.try(t, s.address("account"), "wrong")
		}
		time.Sleep(24 * time.Hour)
		sign("account")
		sign("two-step") // asked for a code
		s.from(t, here, "smtp", s.address("opted-in"), s.app("opted-in"))
		time.Sleep(48 * time.Hour)
		s.try(t, s.address("expired"), s.account("expired"))
		for range 2 { // counted first, then read
			days := s.picture(t).Days
			n := len(days) - 1
			for back, want := range map[int]audit.Tally{
				0: {Refused: map[string]int{"password_expired": 1}},
				1: {},
				2: {Allowed: map[string]int{"web": 1, "smtp": 1}},
				3: {Allowed: map[string]int{"imap": 1}, Refused: map[string]int{"bad_credentials": 7}},
			} {
				got := days[n-back]
				if !got.Whole || got.Over != (back > 0) || !reflect.DeepEqual(got.Allowed, want.Allowed) || !reflect.DeepEqual(got.Refused, want.Refused) {
					t.Errorf("%d days ago: %+v, want %+v", back, got, want)
				}
			}
			if want := audit.Day(s.options.Now()); !days[n].Day.Equal(want) || !days[0].Day.Equal(want.AddDate(0, 0, -29)) {
				t.Errorf("from %v to %v", days[0].Day, days[n].Day)
			}
		}
	})
}

// Days that are over are counted once. One that has just ended may still change: it is counted each time.
func TestPictureCountsADayOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.try(t, s.address("account"), "wrong")
		time.Sleep(audit.Day(s.options.Now()).AddDate(0, 0, 1).Sub(s.options.Now()) + time.Hour)
		yesterday := func() authcore.PictureDay { return s.picture(t).Days[authcore.PictureDays-2] }
		if d := yesterday(); d.Over || d.Refused["bad_credentials"] != 1 {
			t.Errorf("an hour after midnight: %+v", d)
		}
		late := audit.Op(audit.Entry{Time: s.options.Now().Add(-2 * time.Hour), Action: audit.SignIn, Reason: "allowed", Door: "imap"})
		d, err := s.Domain(t.Context(), authtest.Operator(), sample.Old)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Records.Apply(t.Context(), "d:"+string(d.Domain.ID), late); err != nil {
			t.Fatal(err)
		}
		if d := yesterday(); d.Over || d.Allowed["imap"] != 1 {
			t.Errorf("what came late: %+v", d)
		}
		time.Sleep(6 * time.Hour)
		if d := yesterday(); !d.Over || d.Allowed["imap"] != 1 || d.Refused["bad_credentials"] != 1 {
			t.Errorf("settled: %+v", d)
		}
		s.counts.Take()
		if d := yesterday(); !d.Whole {
			t.Errorf("again: %+v", d)
		}
		if got := s.counts.Take(); got.Applies != 0 || got.Lists != 1 { // today's alone
			t.Errorf("a second look: %+v", got)
		}
	})
}

// Many look at once: all see the same, and what is kept is that.
func TestPictureRaces(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		for i := range 15 {
			s.from(t, source(i), "imap", s.address("account"), s.account("account"))
		}
		time.Sleep(3 * 24 * time.Hour)
		var wg sync.WaitGroup
		look := func() {
			defer wg.Done()
			p, err := s.Picture(t.Context(), authtest.Operator(), sample.Old)
			if err != nil {
				t.Error(err)
				return
			}
			if got := p.Days[authcore.PictureDays-4]; got.Allowed["imap"] != 15 || !got.Whole {
				t.Errorf("got %+v", got)
			}
		}
		for range 16 {
			wg.Add(1)
			go look()
		}
		wg.Wait()
		wg.Add(1)
		look()
	})
}

// A day with more entries than one look reads is counted by the next ones, each entry once; a store that fails
// in between changes nothing.
func TestPictureOfManyEntries(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		d, err := s.Domain(t.Context(), authtest.Operator(), sample.Old)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour) // the sample's own entries lie behind
		const n = 70_000
		var ops []store.Op
		for i := range n {
			e := audit.Entry{Time: s.options.Now(), Action: audit.SignIn, Reason: "allowed", Door: []string{"imap", "smtp"}[i%2]}
			if ops = append(ops, audit.Op(e)); len(ops) == store.MaxOps || i == n-1 {
				if _, err := s.options.Records.Apply(t.Context(), "d:"+string(d.Domain.ID), ops...); err != nil {
					t.Fatal(err)
				}
				ops = nil
			}
		}
		if today := s.picture(t).Days[authcore.PictureDays-1]; today.Whole || today.Allowed["imap"]+today.Allowed["smtp"] != 20_000 {
			t.Errorf("today: %+v", today)
		}
		time.Sleep(48 * time.Hour)
		s.fail(func(string, []store.Op) storetest.Fault { return storetest.FailBefore })
		if _, err := s.Picture(t.Context(), authtest.Operator(), sample.Old); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a store that fails: %v", err)
		}
		s.fail(nil)
		for look, want := range []int{50_000, n, n} {
			got := s.picture(t).Days[authcore.PictureDays-3]
			if sum := got.Allowed["imap"] + got.Allowed["smtp"]; sum != want || got.Whole != (want == n) || !got.Over {
				t.Errorf("look %d: %d, whole %v", look, sum, got.Whole)
			}
		}
	})
}

// A picture is for those who may read the domain's audit.
func TestPictureRights(t *testing.T) {
	s := newStage(t, nil)
	for name, c := range map[string]struct {
		state, domain string
		want          authcore.DenialReason
	}{
		"administrator":                   {"admin", sample.Old, ""},
		"operator":                        {"operator", sample.Old, ""},
		"administrator of another domain": {"admin", sample.New, authcore.NotFound},
		"member":                          {"account", sample.Old, authcore.Forbidden},
		"no domain":                       {"operator", "none.example", authcore.NotFound},
	} {
		_, err := s.Picture(t.Context(), s.Actor(t, c.state), c.domain)
		var d *authcore.Denial
		if errors.As(err, &d); c.want == "" && err != nil || c.want != "" && (d == nil || d.Reason != c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Picture(t.Context(), authcore.Actor{}, sample.Old); err == nil {
		t.Error(fmt.Errorf("nobody saw it"))
	}
}

// Signing in writes nothing for it.
func TestPictureCostsNoWriteAtSignIn(t *testing.T) {
	s := newStage(t, nil)
	s.picture(t)
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		if has(ops, "tally/") {
			t.Error("a sign-in wrote a tally")
		}
		return storetest.NoFault
	})
	s.from(t, here, "imap", s.address("account"), s.account("account"))
	s.try(t, s.address("account"), "wrong")
}
