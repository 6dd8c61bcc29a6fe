package authcore_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

// failures is a testing.TB that keeps what is told to it.
type failures struct {
	testing.TB
	told []string
}

func (f *failures) Errorf(format string, a ...any) {
	f.told = append(f.told, fmt.Sprintf(format, a...))
}

// Every operation that ends sessions at the doors puts the record "revoked"; authtest.Ends looks at all batches of all
// tests, and here at what each of these writes.
func TestWhatEndsSessionsPutsRevoked(t *testing.T) {
	ctx := context.Background()
	admin := authtest.Operator()
	yes, closed := true, []string{"imap"}
	for name, end := range map[string]func(t *testing.T, s *stage) error{
		"suspend": func(t *testing.T, s *stage) error {
			_, err := s.Suspend(ctx, admin, s.address("account"))
			return err
		},
		"sign out everywhere": func(t *testing.T, s *stage) error {
			_, err := s.SignOutEverywhere(ctx, admin, s.address("account"))
			return err
		},
		"delete a member": func(t *testing.T, s *stage) error { return s.DeleteMember(ctx, admin, s.address("account")) },
		"reset a password": func(t *testing.T, s *stage) error {
			_, _, err := s.ResetPassword(ctx, admin, s.address("account"), false)
			return err
		},
		"close a member's door": func(t *testing.T, s *stage) error {
			_, err := s.UpdateMember(ctx, admin, s.address("account"), authcore.MemberChange{ClosedDoors: &closed}, 0)
			return err
		},
		"close a domain": func(t *testing.T, s *stage) error {
			_, err := s.UpdateDomain(ctx, admin, sample.Old, authcore.DomainChange{Closed: &yes})
			return err
		},
		"close a domain's door": func(t *testing.T, s *stage) error {
			_, err := s.UpdateDomain(ctx, admin, sample.Old, authcore.DomainChange{Doors: &closed})
			return err
		},
		"end my sessions": func(t *testing.T, s *stage) error { return s.EndMySessions(ctx, s.Actor(t, "account")) },
		"the member's option": func(t *testing.T, s *stage) error {
			_, err := s.SetAppPasswordOption(ctx, s.Actor(t, "account"), true)
			return err
		},
		"delete an app password": func(t *testing.T, s *stage) error {
			return s.DeleteAppPasswordOf(ctx, admin, s.address("app-only"), s.People["app-only"].AppPasswords[0].ID)
		},
		"too many wrong passwords": func(t *testing.T, s *stage) error {
			for i := range 12 {
				s.from(t, source(i), "imap", s.address("account"), fmt.Sprint("wrong ", i))
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			put := false
			s.fail(nil)
			s.seen(func(ops []store.Op) {
				put = put || slices.ContainsFunc(ops, func(o store.Op) bool { return o.Kind == store.Put && o.Name == "revoked" }) && has(ops, "revoked/")
			})
			if err := end(t, s); err != nil {
				t.Fatal(err)
			}
			if !put {
				t.Error("\"revoked\" was not put")
			}
		})
	}
}

// seen calls f with every batch from now on.
func (s *stage) seen(f func(ops []store.Op)) {
	s.fail(func(_ string, ops []store.Op) (none storetest.Fault) { f(ops); return })
}

// The check itself: it finds each kind of record, and is silent where nothing ends.
func TestEndsFindsThem(t *testing.T) {
	for name, tt := range map[string]struct {
		record, was, is string // is empty: it is deleted
		ends            bool
	}{
		"member's epoch":      {"member/a", `{"epoch":1}`, `{"epoch":2}`, true},
		"member's doors":      {"member/a", `{"epoch":1}`, `{"epoch":1,"doors_epoch":1}`, true},
		"member's name":       {"member/a", `{"epoch":1}`, `{"epoch":1,"name":"A"}`, false},
		"member deleted":      {"member/a", `{"epoch":1}`, ``, true},
		"domain's epoch":      {"domain", `{"epoch":1}`, `{"epoch":2}`, true},
		"domain's door":       {"domain", `{"epoch":1,"doors":["imap"]}`, `{"epoch":1,"door_epochs":{"imap":1}}`, true},
		"password":            {"password/a", `{"epoch":1}`, `{"epoch":2}`, true},
		"password, upgraded":  {"password/a", `{"epoch":1}`, `{"epoch":1,"hash":"x"}`, false},
		"app password":        {"app-passwords/a", `{"items":[{"id":"1"},{"id":"2"}]}`, `{"items":[{"id":"1"}]}`, true},
		"another app pasword": {"app-passwords/a", `{"items":[{"id":"1"}]}`, `{"items":[{"id":"1"},{"id":"2"}]}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &failures{TB: t}
			r := authtest.Ends{Records: memory.NewRecords(memory.Options{}), T: f}
			for _, op := range []store.Op{
				{Kind: store.Put, Name: tt.record, Value: []byte(tt.was)},
				{Kind: store.Put, Name: tt.record, Value: []byte(tt.is), IfRevision: 1},
			} {
				if len(op.Value) == 0 {
					op.Kind, op.Value = store.Delete, nil
				}
				if _, err := r.Apply(t.Context(), "p", op); err != nil {
					t.Fatal(err)
				}
			}
			if got := len(f.told) > 0; got != tt.ends {
				t.Errorf("told %q", f.told)
			}
		})
	}
}
