package authcore_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// Deletion lifts no suspension: who is restored is suspended still.
func TestRestoredMemberIsStillSuspended(t *testing.T) {
	s := newStage(t, nil)
	for state, want := range map[string]member.Status{"suspended": member.Suspended, "account": member.Active} {
		if err := s.DeleteMember(t.Context(), authtest.Operator(), s.address(state)); err != nil {
			t.Fatal(err)
		}
		p, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address(state), authcore.MemberChange{Restore: true}, 0)
		if err != nil || p.Member.Status != want {
			t.Errorf("%s: restored as %q, %v, want %q", state, p.Member.Status, err, want)
		}
	}
}

func TestRestoreWithinSevenDays(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		for _, state := range []string{"account", "opted-in"} {
			if err := s.DeleteMember(t.Context(), authtest.Operator(), s.address(state)); err != nil {
				t.Fatal(err)
			}
		}
		restore := func(state string) error {
			_, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address(state), authcore.MemberChange{Restore: true}, 0)
			return err
		}
		time.Sleep(7*24*time.Hour - time.Nanosecond)
		if err := restore("account"); err != nil {
			t.Errorf("just before: %v", err)
		}
		if got := s.try(t, s.address("account"), s.account("account")); got != authcore.Allowed {
			t.Errorf("restored: %q", got)
		}
		time.Sleep(time.Nanosecond)
		if err := restore("opted-in"); !denied(err, authcore.NotDeleted) {
			t.Errorf("after seven days: %v", err)
		}
	})
}

// A change that meets another's keeps what the other changed.
func TestChangesOfDifferentFieldsBothHold(t *testing.T) {
	s := newStage(t, nil)
	name := s.address("account")
	var met atomic.Bool
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		if has(ops, "member/") && met.CompareAndSwap(false, true) {
			s.aliases(t, name, "sales@old.example") // between the other's read and its write
		}
		return storetest.NoFault
	})
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), name, authcore.MemberChange{Name: new("Ann")}, 0); err != nil {
		t.Fatal(err)
	}
	s.fail(nil)
	m := s.profile(t, name).Member
	if m.Name != "Ann" || !slices.Equal(m.Addresses, []string{name, "sales@old.example"}) {
		t.Errorf("name %q, addresses %q", m.Name, m.Addresses)
	}
}

// Opening a door of a member ends nothing.
func TestOpeningADoorEndsNoSession(t *testing.T) {
	s := newStage(t, nil)
	name := s.address("account")
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), name, authcore.MemberChange{ClosedDoors: &[]string{"smtp"}}, 0); err != nil {
		t.Fatal(err)
	}
	st := s.open(t, "imap", name, s.account("account"))
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), name, authcore.MemberChange{ClosedDoors: &[]string{}}, 0); err != nil {
		t.Fatal(err)
	}
	if !s.stands(t, st) {
		t.Error("the session at another door is ended")
	}
	if d := s.from(t, here, "smtp", name, s.account("account")); !d.Allowed() {
		t.Errorf("the opened door: %q", d.Reason)
	}
}

// An address used again inherits nothing: no app password, no count, no session.
func TestAddressUsedAgainInheritsNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name := s.address("opted-in")
		old := s.MemberID(t, name)
		if err := s.DeleteMember(t.Context(), authtest.Operator(), name); err != nil {
			t.Fatal(err)
		}
		n := authcore.NewMember{Address: name, Password: secretOf(nextPassword)}
		create := func() error {
			_, _, err := s.CreateMember(t.Context(), authtest.Operator(), "old.example", n)
			return err
		}
		if err := create(); !denied(err, authcore.AddressTaken) {
			t.Errorf("within seven days: %v", err)
		}
		time.Sleep(8 * 24 * time.Hour)
		if err := create(); !denied(err, authcore.AddressWasUsed) {
			t.Errorf("without confirmation: %v", err)
		}
		n.ConfirmReuse = true
		if err := create(); err != nil {
			t.Fatal(err)
		}
		p := s.profile(t, name)
		if p.Member.ID == old || p.AppPasswords != 0 || p.Member.AppPasswords {
			t.Errorf("inherited: %+v", p)
		}
		for secret, want := range map[string]authcore.Reason{s.app("opted-in"): authcore.BadCredentials, s.account("opted-in"): authcore.BadCredentials, nextPassword: authcore.Allowed} {
			if got := s.try(t, name, secret); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

// Aliases lie between primary addresses and fill no page.
func TestPagesOfMembersAmongAliases(t *testing.T) {
	s := newStage(t, nil)
	var want []string
	for i := range 12 {
		address := fmt.Sprintf("paged-%02d@old.example", i)
		_, _, err := s.CreateMember(t.Context(), authtest.Operator(), sample.Old, authcore.NewMember{Address: address,
			Aliases: []string{fmt.Sprintf("paged-%02d-a@old.example", i), fmt.Sprintf("paged-%02d-b@old.example", i)}})
		must(t, err)
		want = append(want, address)
	}
	for _, limit := range []int{1, 2, 5, 12, 13, 1000} {
		var got []string
		for after := ""; ; {
			l, next, err := s.Members(t.Context(), authtest.Operator(), sample.Old, "", after, limit)
			must(t, err)
			for _, p := range l {
				if strings.HasPrefix(p.Member.Address(), "paged-") {
					got = append(got, p.Member.Address())
				}
			}
			if next == "" {
				break
			}
			if len(l) != limit {
				t.Fatalf("pages of %d: %d members and more behind them", limit, len(l))
			}
			after = next
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q", limit, got)
		}
	}
}
