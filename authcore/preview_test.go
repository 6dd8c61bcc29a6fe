package authcore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
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

// "members who have not saved their personal email address or mobile phone numbers in personal information cannot log into
// their account": those, and nobody else, are named before it is saved.
func TestPreviewNamesWhomItLocksOut(t *testing.T) {
	s := newStage(t, func(o *authcore.Options) {
		o.Senders = map[notify.Channel]notify.Sender{notify.ByEmail: o.Senders[notify.ByEmail]} // no text message leaves
	})
	verified := phone("+819012345678")
	verified.Verified = true
	s.profileContacts(t, s.address("account"), mail("ann@mail.example"))
	s.profileContacts(t, s.address("opted-in"), phone("+819012345679")) // saved, and cannot be reached
	s.profileContacts(t, s.address("expired"))
	s.rewrite(t, "admin", func(m *member.Member) { m.Contacts = []member.Contact{verified} })
	for name, c := range map[string]struct {
		change func(*policy.Policy)
		out    []string
	}{
		"managed and required":   {managedToo, []string{"admin", "expired", "opted-in"}},
		"required":               {required, []string{"admin"}},                                       // who proved a method that fails enrols no other; the rest may
		"managed and optional":   {func(p *policy.Policy) { p.ProfileManagedExternally = true }, nil}, // two-step has an address
		"optional, as it was":    {func(*policy.Policy) {}, nil},
		"required, before it is": {func(p *policy.Policy) { required(p); p.SignIn.Phone = policy.Allow }, []string{"admin"}},
	} {
		v := s.preview(t, c.change)
		var got []string
		for _, m := range v.LockedOutList {
			got = append(got, strings.TrimSuffix(m.Address, "@"+sample.Old))
		}
		slices.Sort(got)
		if !slices.Equal(got, c.out) || v.LockedOut != len(c.out) || v.Ending != 0 {
			t.Errorf("%s: %v (%d, %d ways end), want %v", name, got, v.LockedOut, v.Ending, c.out)
		}
	}
}

// rewrite changes a member's record past every rule.
func (s *stage) rewrite(t testing.TB, state string, change func(*member.Member)) {
	t.Helper()
	l := s.all(t, s.People[state].Domain, "member/"+string(s.MemberID(t, s.address(state))))
	var m member.Member
	if len(l) != 1 || json.Unmarshal(l[0].Value, &m) != nil {
		t.Fatalf("%d records", len(l))
	}
	change(&m)
	d := s.domain(t, s.People[state].Domain).ID
	if _, err := s.options.Records.Apply(t.Context(), member.Partition(d), member.PutOp(member.Key(d, m.ID), m, l[0].Revision)); err != nil {
		t.Fatal(err)
	}
}

// "members who are logging in with their mobile phone numbers for 2-step verification can only receive the verification
// number via their personal email addresses": who has none is told so beforehand, and only his sign-in by phone ends.
func TestPreviewNamesWhoseWaysEnd(t *testing.T) {
	s := newStage(t, nil)
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.Phone = policy.Allow })
	number := phone("+819012345678")
	s.profileContacts(t, s.address("account"), number)
	s.profileContacts(t, s.address("opted-in"), number, mail("ann@mail.example"))
	s.profileContacts(t, s.address("expired"), number) // no linked number
	s.withApp(t, s.Actor(t, "admin"))
	d := s.domain(t, sample.Old).ID
	for _, state := range []string{"account", "opted-in", "admin"} {
		id := s.MemberID(t, s.address(state))
		if _, err := s.options.Records.Apply(t.Context(), member.Partition(d), member.PutOp(member.PhoneLinkKey(d, id), member.PhoneLink{Number: number.Value}, 0)); err != nil {
			t.Fatal(err)
		}
	}
	v := s.preview(t, required)
	if v.Ending != 1 || len(v.EndingList) != 1 || v.EndingList[0].Address != s.address("account") || !slices.Equal(v.EndingList[0].Ways, []string{policy.WayPhone}) || v.LockedOut != 0 {
		t.Errorf("%d end, %d locked out: %+v", v.Ending, v.LockedOut, v.EndingList)
	}
	denied := s.preview(t, func(p *policy.Policy) { required(p); p.SignIn.Phone = policy.Deny })
	if same := s.preview(t, func(*policy.Policy) {}); same.Ending != 0 || denied.Ending != 0 {
		t.Errorf("nothing: %+v, a way that is denied: %+v", same.EndingList, denied.EndingList)
	}
	s.policy(t, sample.Old, required)
	for state, want := range map[string]bool{"account": true, "opted-in": false, "admin": false} {
		r, err := s.ProvedBy(t.Context(), authtest.Client(), signin.Phone, d, s.MemberID(t, s.address(state)))
		if got := err != nil; got != want {
			t.Errorf("%s by phone: %q, %v", state, r.State, err)
		}
		if _, err := s.SignIn(t.Context(), authtest.Client(), s.address(state), s.People[state].Account); err != nil {
			t.Errorf("%s by password: %v", state, err)
		}
	}
	if v := s.preview(t, required); v.Ending != 0 {
		t.Errorf("what ended is told again: %+v", v.EndingList)
	}
}

// A passkey that is all a member has is no second step after itself.
func TestPreviewNamesWhosePasskeyEnds(t *testing.T) {
	s := newStage(t, nil)
	k := s.withPasskey(t, "account")
	v := s.preview(t, required)
	if v.Ending != 1 || v.EndingList[0].Address != s.address("account") || !slices.Equal(v.EndingList[0].Ways, []string{policy.WayPasskey}) {
		t.Errorf("%d: %+v", v.Ending, v.EndingList)
	}
	s.policy(t, sample.Old, required)
	if r, err := s.byPasskey(t, k); err == nil {
		t.Errorf("it goes on: %q", r.State)
	}
}

// heaped looks at the memory in use at every tenth page of members.
type heaped struct {
	store.Records
	pages     int
	low, high uint64
}

func (h *heaped) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	if q.Limit == store.MaxListLimit {
		if h.pages++; h.pages%10 == 1 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if h.low == 0 {
				h.low = m.HeapAlloc
			}
			h.high = max(h.high, m.HeapAlloc)
		}
	}
	return h.Records.List(ctx, partition, q)
}

// A hundred thousand members are counted in the memory of one page: 8 MiB is a tenth of what their records take.
func TestPreviewOfAHundredThousand(t *testing.T) {
	members := 100_000
	if testing.Short() {
		members = 2_000
	}
	records := memory.NewRecords(memory.Options{})
	h := &heaped{}
	s := newStage(t, func(o *authcore.Options) { o.Records = records })
	d := s.domain(t, sample.Old).ID
	for i := 0; i < members; i += 100 {
		var ops []store.Op
		for j := range 100 {
			m := member.Member{ID: member.ID(fmt.Sprintf("m%06d", i+j)), Addresses: []string{fmt.Sprintf("m%06d@%s", i+j, sample.Old)}, Role: member.RoleMember,
				Status: member.Active, Name: strings.Repeat("n", 200)}
			if j%2 == 0 {
				m.Contacts = []member.Contact{mail("ann@mail.example")}
			}
			ops = append(ops, member.PutOp(member.Key(d, m.ID), m, 0))
		}
		if _, err := records.Apply(t.Context(), member.Partition(d), ops...); err != nil {
			t.Fatal(err)
		}
	}
	p, _, err := s.Policy(t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		t.Fatal(err)
	}
	managedToo(&p)
	o := s.options
	h.Records, o.Node, o.Bus, o.Ephemeral = records, "", memory.NewBus(), memory.NewEphemeral(memory.Options{})
	o.Records = h
	v, err := authcore.New(o).PreviewPolicy(t.Context(), authtest.Operator(), sample.Old, p, authcore.PreviewAfter{})
	if err != nil || v.Members != members+5 || v.LockedOut != members/2+4 || len(v.LockedOutList) != 100 {
		t.Errorf("%d members, %d locked out, %d named, %v", v.Members, v.LockedOut, len(v.LockedOutList), err)
	}
	if h.pages < members/store.MaxListLimit || h.high-h.low > 8<<20 {
		t.Errorf("%d pages took %d KiB more than at first", h.pages, (h.high-h.low)>>10)
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
