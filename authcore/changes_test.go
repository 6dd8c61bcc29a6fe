package authcore_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

// last is the newest entry of an action.
func (s *stage) last(t *testing.T, action audit.Action) audit.Entry {
	t.Helper()
	l := s.log(t, sample.Old, audit.Filter{Actions: []audit.Action{action}})
	if len(l) == 0 {
		t.Fatalf("nothing says %s", action)
	}
	return l[0]
}

func TestAuditTellsWhatChanged(t *testing.T) {
	op, ctx := authtest.Operator(), t.Context()
	update := func(s *stage, ch authcore.MemberChange) error {
		_, err := s.UpdateMember(ctx, op, s.address("account"), ch, 0)
		return err
	}
	admin := member.RoleAdministrator
	for name, c := range map[string]struct {
		do     func(*stage) error
		action audit.Action
		want   []audit.Change
	}{
		"policy": {func(s *stage) error {
			s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.MinLength, p.SignIn.LINE = 12, policy.Allow })
			return nil
		}, audit.PolicyUpdate, []audit.Change{{Field: "password.min_length", Before: "8", After: "12"}, {Field: "sign_in.line", Before: "deny", After: "allow"}}},
		"doors": {func(s *stage) error {
			_, err := s.UpdateDomain(ctx, op, sample.Old, authcore.DomainChange{Doors: &[]string{"imap", "smtp"}})
			return err
		}, audit.DomainUpdate, []audit.Change{{Field: "doors", Before: "imap, smtp, pop3, caldav, carddav", After: "imap, smtp"}}},
		"role": {func(s *stage) error { return update(s, authcore.MemberChange{Role: &admin}) }, audit.MemberUpdate,
			[]audit.Change{{Field: "role", Before: "member", After: "administrator"}}},
		"name": {func(s *stage) error { return update(s, authcore.MemberChange{Name: new("Private Name")}) }, audit.MemberUpdate, []audit.Change{{Field: "name"}}},
		"contacts": {func(s *stage) error {
			return update(s, authcore.MemberChange{Contacts: &[]member.Contact{{Kind: "email", Value: "secretive@elsewhere.example"}}})
		}, audit.MemberUpdate, []audit.Change{{Field: "contacts", After: "email s…@elsewhere.example (unverified)"}}},
		"must change": {func(s *stage) error { return update(s, authcore.MemberChange{MustChange: new(true)}) }, audit.MemberUpdate,
			[]audit.Change{{Field: "must_change_password", Before: "false", After: "true"}}},
		"suspend": {func(s *stage) error { _, err := s.Suspend(ctx, op, s.address("account")); return err }, audit.MemberSuspend,
			[]audit.Change{{Field: "status", Before: "active", After: "suspended"}, {Field: "suspended_reason", After: "administrator"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			if err := c.do(s); err != nil {
				t.Fatal(err)
			}
			e := s.last(t, c.action)
			if !reflect.DeepEqual(e.Changes, c.want) {
				t.Errorf("changes %v, want %v", e.Changes, c.want)
			}
			p, _ := json.Marshal(e)
			for _, personal := range []string{"Private Name", "secretive"} {
				if strings.Contains(string(p), personal) {
					t.Errorf("the entry tells %q", personal)
				}
			}
		})
	}
}
