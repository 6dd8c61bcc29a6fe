package authcore_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// Hashes of "correct horse 1" that Dovecot 2.3 made.
const (
	foreignBcrypt = "{BLF-CRYPT}$2y$05$YFUV4lFloT4SCaYnUnu2JOlJV4HNl3CEH7iFBeFW8rER1Wvqs/y/6"
	foreignPBKDF2 = "{PBKDF2}$1$Yq0WJcRYSHiWi.Gv$5000$e60a66bb6c8b593678728d85c6defd04b6c99581"
	foreignRight  = "correct horse 1"
)

func (s *stage) imported(t *testing.T, address, hash string, setAt time.Time) {
	t.Helper()
	_, shown, err := s.CreateMember(t.Context(), authtest.Operator(), sample.Old, authcore.NewMember{Address: address, PasswordHash: secretOf(hash), PasswordSetAt: setAt})
	if err != nil || !shown.Empty() {
		t.Fatalf("%s: %q, %v", address, shown.Reveal(), err)
	}
}

func (s *stage) record(t *testing.T, address string) (r password.Record) {
	t.Helper()
	l := s.all(t, sample.Old, "password/"+string(s.MemberID(t, address)))
	if len(l) != 1 {
		t.Fatalf("%d records", len(l))
	}
	if err := json.Unmarshal(l[0].Value, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// A member with another server's hash keeps his password; the first right one is hashed anew, and no session ends by it.
func TestForeignHashIsUpgradedByTheFirstRightPassword(t *testing.T) {
	set := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, hash := range map[string]string{"bcrypt": foreignBcrypt, "PBKDF2": foreignPBKDF2} {
		t.Run(name, func(t *testing.T) {
			onEngines(t, func(t *testing.T, s *stage) {
				s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.ExpiresAfterDays = 0 })
				const address = "moved@old.example"
				s.imported(t, address, hash, set)
				if got := s.try(t, address, "wrong"); got != authcore.BadCredentials {
					t.Errorf("a wrong one: %q", got)
				}
				if r := s.record(t, address); strings.HasPrefix(r.Hash, "$argon2id$") {
					t.Error("a wrong password was hashed")
				}
				before := s.record(t, address)
				first := s.open(t, "imap", address, foreignRight) // not temporary: a door takes it
				r := s.record(t, address)
				if !strings.HasPrefix(r.Hash, "$argon2id$") || r.Epoch != before.Epoch || !r.SetAt.Equal(set) || len(r.Previous) != 0 || r.Temporary {
					t.Errorf("upgraded to %+v", r)
				}
				hashes := s.Stats().Hashes
				s.anew().open(t, "smtp", address, foreignRight)
				if s.record(t, address).Hash != r.Hash || s.Stats().Hashes != hashes {
					t.Error("hashed anew once more")
				}
				if !s.stands(t, first) {
					t.Error("the upgrade ended a session")
				}
				if got := s.try(t, address, "wrong"); got != authcore.BadCredentials {
					t.Errorf("a wrong one after the upgrade: %q", got)
				}
			})
		})
	}
}

// A hash that came along is one of the last: it is compared with, upgraded or not.
func TestForeignHashIsAmongTheLast(t *testing.T) {
	s := newStage(t, nil)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.NoReuseOfLast = 2 })
	const address = "moved@old.example"
	s.imported(t, address, foreignPBKDF2, time.Time{})
	s.edit(t, sample.Old, "password/"+string(s.MemberID(t, address)), func(v map[string]any) {
		v["previous_hashes"] = []string{v["hash"].(string)}
	})
	r, err := s.SignIn(t.Context(), authtest.Client(), address, secretOf(foreignRight))
	if err != nil {
		t.Fatal(err)
	}
	p := &setter{s: s, r: r, current: foreignRight}
	if got := p.set(t, nextPassword); got != nil {
		t.Fatal(got)
	}
	for range 2 { // upgraded by then, and behind that as it came
		if got := p.set(t, foreignRight); len(got) != 1 || got[0] != "reused" {
			t.Errorf("got %v", got)
		}
		s.edit(t, sample.Old, "password/"+string(s.MemberID(t, address)), func(v map[string]any) {
			v["previous_hashes"] = v["previous_hashes"].([]any)[1:]
		})
	}
}

// The hashes of a server whose parameters were raised follow at each member's next right password.
func TestParametersThatAreRaised(t *testing.T) {
	s := newStage(t, nil)
	address := s.address("account")
	s.options.Hash = password.Params{MemoryKiB: 128, Time: 2, Threads: 1}
	up := s.anew()
	if got := up.try(t, address, "wrong"); got != authcore.BadCredentials {
		t.Error(got)
	}
	if r := s.record(t, address); !strings.Contains(r.Hash, "m=64,t=1") {
		t.Errorf("after a wrong one: %s", r.Hash[:24])
	}
	was := s.record(t, address)
	if got := up.try(t, address, s.account("account")); got != authcore.Allowed {
		t.Error(got)
	}
	r := s.record(t, address)
	if !strings.Contains(r.Hash, "m=128,t=2") || r.Epoch != was.Epoch || !r.SetAt.Equal(was.SetAt) {
		t.Errorf("after the right one: %+v", r)
	}
}

// A hash that cannot be written is no reason to let anybody in: verdict and upgrade are one batch.
func TestUpgradeIsPartOfTheSettling(t *testing.T) {
	s := newStage(t, nil)
	const address = "moved@old.example"
	s.imported(t, address, foreignBcrypt, time.Time{})
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		for _, op := range ops {
			if strings.HasPrefix(op.Name, "password/") && op.Kind == store.Put {
				return storetest.FailBefore
			}
		}
		return storetest.NoFault
	})
	if d, err := s.Authenticate(t.Context(), authtest.Attempt("imap", address, foreignRight)); err == nil || d.Allowed() {
		t.Errorf("let in with a settling that failed: %q", d.Reason)
	}
	s.fail(nil)
	if got := s.try(t, address, foreignRight); got != authcore.Allowed {
		t.Errorf("once the store works again: %q", got)
	}
}

// A request for a change that meets a right password does not make it a wrong one.
func TestRightPasswordStaysRightWhileItsRecordChanges(t *testing.T) {
	s := newStage(t, nil)
	must := true
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		if slices.ContainsFunc(ops, func(o store.Op) bool { return strings.HasPrefix(o.Name, "password/") }) {
			s.fail(nil)
			if _, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address("account"), authcore.MemberChange{MustChange: &must}, 0); err != nil {
				t.Error(err)
			}
		}
		return storetest.NoFault
	})
	if got := s.try(t, s.address("account"), s.account("account")); got != authcore.PasswordChangeRequired {
		t.Errorf("got %q", got)
	}
	if l := s.all(t, sample.Old, "failures/"+string(s.MemberID(t, s.address("account")))); len(l) != 0 {
		t.Errorf("counted as a failure: %s", l[0].Value)
	}
}

// Wrong passwords suspend a member with another server's hash like everybody, and cost never less than an unknown name.
func TestForeignHashCountsFailures(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 3)
	const address = "moved@old.example"
	s.imported(t, address, foreignPBKDF2, time.Time{})
	unknown, foreign := s.spend(t, source(1), "nobody@old.example", "wrong"), s.spend(t, source(2), address, "wrong")
	if foreign.hashes != 2 || unknown.hashes != 1 || foreign.decision != unknown.decision || foreign.Applies != unknown.Applies {
		t.Errorf("foreign %+v, unknown %+v", foreign, unknown)
	}
	for i := range 2 {
		s.from(t, source(3+i), "imap", address, "wrong"+source(i))
	}
	if got := s.status(t, address); got != "suspended" {
		t.Errorf("status %q", got)
	}
	if got := s.from(t, source(9), "imap", address, foreignRight).Reason; got != authcore.BadCredentials {
		t.Errorf("the right password of the suspended: %q", got)
	}
}

// A temporary password costs a quick hash, and its attempts cost what all others cost.
func TestTemporaryPasswordsCostTheSame(t *testing.T) {
	s := newStage(t, func(o *authcore.Options) { o.Hash = password.Params{MemoryKiB: 128, Time: 1, Threads: 1} })
	before := s.Stats().Hashes
	temporary, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), true)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Hashes - before; n != 0 {
		t.Errorf("%d slow hashes for a temporary password", n)
	}
	unknown, wrong := s.spend(t, source(1), "nobody@old.example", "wrong"), s.spend(t, source(2), s.address("account"), "wrong")
	if unknown.hashes != 1 || wrong.hashes != 1 {
		t.Errorf("unknown %d hashes, temporary %d", unknown.hashes, wrong.hashes)
	}
	if r := s.signIn(t, "account", temporary); r.State != authcore.PasswordChangeRequires {
		t.Errorf("got %q", r.State)
	}
}

// A file of an administrator may bring hashes, in his own domain; a contact that it calls verified is not.
func TestImportsBringHashes(t *testing.T) {
	s := newStage(t, nil)
	n := authcore.NewMember{Address: "moved@old.example", PasswordHash: secretOf(foreignBcrypt), Contacts: []member.Contact{{Kind: member.Email, Value: "moved@home.example", Verified: true}}}
	p, shown, err := s.ImportMember(t.Context(), s.Actor(t, "admin"), sample.Old, n)
	if err != nil || !shown.Empty() || p.Member.Contacts[0].Verified {
		t.Fatalf("%+v, %q, %v", p.Member, shown.Reveal(), err)
	}
	s.open(t, "imap", "moved@old.example", foreignRight)
	for state, want := range map[string]authcore.DenialReason{"admin": authcore.NotFound, "account": authcore.Forbidden} {
		n.Address = "x@new.example"
		if _, _, err := s.ImportMember(t.Context(), s.Actor(t, state), sample.New, n); !denied(err, want) {
			t.Errorf("%s in another domain: %v", state, err)
		}
	}
	n.Address, n.Password, n.PasswordHash = "y@old.example", secretOf("chosen-word-1"), secretOf("")
	if _, _, err := s.ImportMember(t.Context(), s.Actor(t, "admin"), sample.Old, n); !denied(err, authcore.Forbidden) {
		t.Errorf("a password in the clear: %v", err)
	}
}

func TestOnlyCommandsBringHashes(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "admin")
	if _, _, err := s.CreateMember(t.Context(), a, sample.Old, authcore.NewMember{Address: "x@old.example", PasswordHash: secretOf(foreignBcrypt)}); !denied(err, authcore.Forbidden) {
		t.Errorf("an administrator: %v", err)
	}
	for _, n := range []authcore.NewMember{
		{Address: "x@old.example", PasswordHash: secretOf("{PLAIN}secret")},
		{Address: "x@old.example", PasswordHash: secretOf(foreignBcrypt), PasswordSetAt: time.Now().Add(25 * time.Hour)},
	} {
		if _, _, err := s.CreateMember(t.Context(), authtest.Operator(), sample.Old, n); !denied(err, authcore.Invalid) {
			t.Errorf("%+v: %v", n, err)
		}
	}
}

// Today has begun in Japan while it is yesterday in UTC, and whoever wrote the file may have a clock that is ahead: what is
// less than a day ahead is now.
func TestPasswordSetToday(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		now := s.options.Now()
		for i, c := range []struct{ at, want time.Time }{
			{now, now}, {now.Add(20 * time.Millisecond), now}, {now.Add(14 * time.Hour), now}, {now.Add(24 * time.Hour), now},
			{now.Add(-14 * time.Hour), now.Add(-14 * time.Hour)},
		} {
			address := fmt.Sprintf("today%d@old.example", i)
			s.imported(t, address, foreignBcrypt, c.at)
			if r := s.record(t, address); !r.SetAt.Equal(c.want) {
				t.Errorf("set at %v: kept as %v, want %v", c.at, r.SetAt, c.want)
			}
		}
	})
}

// A password that is changed while the old one is verified stays changed: the old one lets nobody in any more, and its new
// hash does not come back.
func TestUpgradeNeverPutsAnOldPasswordBack(t *testing.T) {
	onEngines(t, func(t *testing.T, s *stage) {
		s.imported(t, "moved@old.example", foreignBcrypt, time.Time{})
		for _, c := range []struct{ address, password string }{{"moved@old.example", foreignRight}, {s.address("account"), s.account("account")}} {
			var once sync.Once
			s.fail(func(_ string, ops []store.Op) storetest.Fault {
				if has(ops, "lease/") && has(ops, "password/") { // the batch that settles
					once.Do(func() {
						if _, _, err := s.ResetPassword(t.Context(), authtest.Operator(), c.address, true); err != nil {
							t.Error(err)
						}
					})
				}
				return storetest.NoFault
			})
			if got := s.try(t, c.address, c.password); got != authcore.BadCredentials {
				t.Errorf("%s, changed meanwhile: %q", c.address, got)
			}
			s.fail(nil)
			if r := s.record(t, c.address); !r.Temporary || r.Epoch != 2 {
				t.Errorf("%s: the record is %+v", c.address, r)
			}
			if got := s.try(t, c.address, c.password); got != authcore.BadCredentials {
				t.Errorf("%s, the old one afterwards: %q", c.address, got)
			}
		}
	})
}
