package authcore_test

import (
	"fmt"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/store/storetest"
)

// spent is what an attempt costs as far as a clock could tell, and what is told.
type spent struct {
	storetest.Counts
	hashes   int64
	decision string
}

func (s *stage) spend(t *testing.T, from, name, secret string) spent {
	t.Helper()
	s.counts.Take()
	hashes := s.Stats().Hashes
	d, err := s.Authenticate(t.Context(), authtest.AttemptFrom(from, "imap", name, secret))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return spent{s.counts.Take(), s.Stats().Hashes - hashes, fmt.Sprintf("%#v", d)}
}

// In a domain where an account password may count, every refusal costs the same and says the same.
func TestEqualCostOfRefusals(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 20)
	lapsed := s.lapsedAppPassword(t)
	s.makePasswordless(t, "admin") // an administrator whose temporary password ran out is one too
	s.administrator(t, "second@old.example")
	people := []struct{ name, address, secret string }{
		{"unknown name of the warm-up", "somebody@old.example", "wrong"},
		{"unknown name", "nobody@old.example", "wrong"},
		{"wrong password", s.address("account"), "wrong"},
		{"an administrator, wrong password", "second@old.example", "wrong"},
		{"suspended, wrong password", s.address("suspended"), "wrong"},
		{"suspended, right password", s.address("suspended"), s.account("suspended")},
		{"option on, wrong password", s.address("opted-in"), "wrong"},
		{"option on, right account password", s.address("opted-in"), s.account("opted-in")},
		{"two-step, right account password", s.address("two-step"), s.account("two-step")},
		{"expired, wrong password", s.address("expired"), "wrong"},
		{"without a password", s.address("admin"), "wrong"},
		{"app password from another network", s.address("opted-in"), lapsed},
		{"what cannot be a password", s.address("account"), "a\x00b"},
		{"empty", s.address("account"), ""},
	}
	for _, warm := range []bool{false, true} {
		var want spent
		for i, p := range people {
			c := s
			if !warm {
				c = s.anew()
			}
			got := c.spend(t, source(i), p.address, p.secret)
			if i == 0 {
				want = got
				if got.hashes != 1 || got.Applies == 0 {
					t.Errorf("warm %v: an unknown name costs %+v, want one hash and the writes of a refusal", warm, got)
				}
			}
			if got != want {
				t.Errorf("warm %v, %s: costs %+v, an unknown name %+v", warm, p.name, got, want)
			}
		}
		if warm {
			break
		}
		for i, p := range people { // every record is read once
			s.spend(t, source(50+i), p.address, "warms up "+p.name)
		}
	}
}

// anew is a stage over the same records, with nothing in memory.
func (s *stage) anew() *stage {
	c := *s.Core
	c.Core = s.restart()
	return &stage{Core: &c, options: s.options, counts: s.counts}
}

func (s *stage) lapsedAppPassword(t *testing.T) string {
	t.Helper()
	_, plain, err := s.CreateAppPasswordFor(t.Context(), authtest.Operator(), s.address("opted-in"), apppass.Wish{Name: "elsewhere", Networks: []string{"192.0.2.128/25"}})
	if err != nil {
		t.Fatal(err)
	}
	return plain.Reveal()
}

// makePasswordless takes the account password record of a person away.
func (s *stage) makePasswordless(t *testing.T, state string) {
	t.Helper()
	s.edit(t, sample.Old, "password/"+string(s.MemberID(t, s.address(state))), func(v map[string]any) { v["hash"] = "" })
}

// Where only app passwords count, no attempt costs a hash, and none says whether the account password was right.
func TestNoOracleWhereOnlyAppPasswordsCount(t *testing.T) {
	s := newStage(t, nil)
	var want spent
	for i, p := range []struct{ name, address, secret string }{
		{"unknown name", "nobody@new.example", "wrong"},
		{"wrong password", s.address("app-only"), "wrong"},
		{"right account password", s.address("app-only"), s.account("app-only")},
		{"an operator's right account password", s.address("operator"), s.account("operator")},
	} {
		got := s.anew().spend(t, source(i), p.address, p.secret)
		if i == 0 {
			want = got
		}
		if got != want || got.hashes != 0 {
			t.Errorf("%s: costs %+v, an unknown name %+v, want equal and no hash", p.name, got, want)
		}
	}
	if d := s.from(t, here, "imap", s.address("app-only"), s.account("app-only")); d.Reason != authcore.AppPasswordRequired {
		t.Errorf("got %q", d.Reason)
	}
	if got := s.all(t, sample.New, "failures/"); len(got) > 0 {
		t.Errorf("counted: %v", values(got))
	}
}

// The same on the web, for everybody.
func TestEqualCostOfRefusalsOnTheWeb(t *testing.T) {
	s := newStage(t, nil)
	var want spent
	for i, p := range []struct{ name, address, secret string }{
		{"unknown name", "nobody@old.example", "wrong"},
		{"wrong password", s.address("account"), "wrong"},
		{"suspended, right password", s.address("suspended"), s.account("suspended")},
		{"an app password", s.address("opted-in"), s.app("opted-in")},
	} {
		c := s.anew()
		c.counts.Take()
		_, err := c.SignIn(t.Context(), authcore.Client{Addr: addr(source(i)), Agent: "test"}, p.address, secretOf(p.secret))
		got := spent{c.counts.Take(), c.Stats().Hashes, fmt.Sprintf("%#v", err)}
		if !denied(err, authcore.DenialReason(authcore.BadCredentials)) {
			t.Errorf("%s: %v", p.name, err)
		}
		got.decision = err.Error()
		if i == 0 {
			want = got
		}
		if got != want {
			t.Errorf("%s: costs %+v, an unknown name %+v", p.name, got, want)
		}
	}
}
