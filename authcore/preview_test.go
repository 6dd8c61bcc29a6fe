package authcore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

func (s *stage) preview(t testing.TB, change func(*policy.Policy)) authcore.Preview {
	t.Helper()
	p, _, err := s.Policy(t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		t.Fatal(err)
	}
	change(&p)
	v, err := s.PreviewPolicy(t.Context(), authtest.Operator(), sample.Old, p, authcore.PreviewAfter{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func required(p *policy.Policy)      { p.SignIn.TwoStep = policy.TwoStepRequired }
func managedToo(p *policy.Policy)    { required(p); p.ProfileManagedExternally = true }
func onlyApps(p *policy.Policy)      { p.ThirdParty.AppPasswords = policy.Required }
func ignoreAtDoors(p *policy.Policy) { p.ThirdParty.TwoStepAtDoors = policy.Ignore }

// Whom the preview names as stopping is exactly whose accepted credential changes when the policy is saved, and whom it
// names as locked out is exactly who cannot sign in then.
func TestPreviewIsWhatSavingDoes(t *testing.T) {
	for name, change := range map[string]func(*policy.Policy){
		"nothing":                         func(*policy.Policy) {},
		"two-step required":               required,
		"two-step required, managed":      managedToo,
		"app passwords required":          onlyApps,
		"two-step ignored at doors":       ignoreAtDoors,
		"required, and ignored at doors":  func(p *policy.Policy) { required(p); ignoreAtDoors(p) },
		"managed, and app passwords only": func(p *policy.Policy) { managedToo(p); onlyApps(p) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, func(o *authcore.Options) {
				o.Senders = map[notify.Channel]notify.Sender{notify.ByEmail: o.Senders[notify.ByEmail]} // a number reaches nobody
			})
			s.profileContacts(t, s.address("account"), mail("ann@mail.example"))
			s.profileContacts(t, s.address("opted-in"), phone("+819012345678"))
			app := s.Actor(t, "admin")
			s.withApp(t, app)
			before := map[string]bool{}
			for _, state := range []string{"account", "opted-in", "two-step", "expired", "admin"} {
				before[s.address(state)] = s.profile(t, s.address(state)).AcceptsApps
			}
			v := s.preview(t, change)
			s.policy(t, sample.Old, change)
			var stop, out []string
			for _, state := range []string{"account", "opted-in", "two-step", "expired", "admin"} {
				p := s.profile(t, s.address(state))
				if p.AcceptsApps != before[s.address(state)] {
					stop = append(stop, s.address(state))
				}
				_, err := s.SignIn(t.Context(), authtest.Client(), s.address(state), s.People[state].Account)
				if denied(err, authcore.TwoStepMethodMissing) {
					out = append(out, s.address(state))
				} else if err != nil {
					t.Fatal(err)
				}
			}
			var gotStop, gotOut []string
			for _, m := range v.StoppingList {
				gotStop = append(gotStop, m.Address)
			}
			for _, m := range v.LockedOutList {
				gotOut = append(gotOut, m.Address)
			}
			for _, l := range [][]string{stop, out, gotStop, gotOut} {
				slices.Sort(l)
			}
			if !slices.Equal(gotStop, stop) || v.Stopping != len(stop) {
				t.Errorf("stopping: got %v (%d), want %v", gotStop, v.Stopping, stop)
			}
			if !slices.Equal(gotOut, out) || v.LockedOut != len(out) {
				t.Errorf("locked out: got %v (%d), want %v", gotOut, v.LockedOut, out)
			}
		})
	}
}

func TestPreviewTellsWhoHasAnAppPassword(t *testing.T) {
	s := newStage(t, nil)
	if _, _, err := s.CreateAppPasswordFor(t.Context(), authtest.Operator(), s.address("account"), apppass.Wish{Name: "Phone"}); err != nil {
		t.Fatal(err)
	}
	v := s.preview(t, onlyApps)
	if v.Stopping != 3 || v.WithoutApps != 2 || v.Members != 5 {
		t.Errorf("stopping %d, without %d, of %d; want account, expired and admin, the first with one", v.Stopping, v.WithoutApps, v.Members)
	}
	later := time.Now().AddDate(1, 0, 0)
	v = s.preview(t, func(p *policy.Policy) { onlyApps(p); p.ThirdParty.RequiredFrom = &later })
	if v.Stopping != 3 || !v.StoppingFrom.Equal(later) {
		t.Errorf("from a date on: %d from %v", v.Stopping, v.StoppingFrom)
	}
}

// A large domain is answered page by page, and every page counts all.
func TestPreviewPages(t *testing.T) {
	s := newStage(t, nil)
	d := s.domain(t, sample.Old).ID
	for i := range 250 {
		m := member.Member{ID: member.NewID(), Addresses: []string{fmt.Sprintf("m%03d@old.example", i)}, Role: member.RoleMember, Status: member.Active, Epoch: 1}
		if _, err := s.options.Records.Apply(t.Context(), member.Partition(d), member.PutOp(member.Key(d, m.ID), m, 0)); err != nil {
			t.Fatal(err)
		}
	}
	p, _, _ := s.Policy(t.Context(), authtest.Operator(), sample.Old)
	managedToo(&p)
	seen, after := map[string]bool{}, authcore.PreviewAfter{}
	for pages := 1; ; pages++ {
		v, err := s.PreviewPolicy(t.Context(), authtest.Operator(), sample.Old, p, after)
		if err != nil || v.Members != 255 || len(v.LockedOutList) > 100 {
			t.Fatalf("%d members, %d listed, %v", v.Members, len(v.LockedOutList), err)
		}
		for _, m := range v.LockedOutList {
			if seen[m.Address] {
				t.Fatalf("%s twice", m.Address)
			}
			seen[m.Address] = true
		}
		if after = v.Next; after.LockedOut == "" {
			if len(seen) != v.LockedOut || pages != 3 {
				t.Errorf("%d listed on %d pages, want %d on 3", len(seen), pages, v.LockedOut)
			}
			return
		}
	}
}

func TestPreviewRefuses(t *testing.T) {
	s := newStage(t, nil)
	if _, err := s.PreviewPolicy(t.Context(), authtest.Operator(), sample.Old, policy.Policy{}, authcore.PreviewAfter{}); !denied(err, authcore.Invalid) {
		t.Errorf("a policy that could not be saved: %v", err)
	}
	if _, err := s.PreviewPolicy(t.Context(), s.Actor(t, "account"), sample.Old, policy.Default(), authcore.PreviewAfter{}); !denied(err, authcore.Forbidden) {
		t.Errorf("a member: %v", err)
	}
}
