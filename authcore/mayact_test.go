package authcore_test

import (
	"slices"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
)

// A button that is shown does what it says, and one that is not would be refused.
func TestMayActSaysWhatTheOperationSays(t *testing.T) {
	s := newStage(t, nil)
	for _, actor := range []string{"account", "admin", "operator"} {
		a := s.Actor(t, actor)
		for _, target := range []string{"expired", "admin", "operator", "app-only"} {
			p, err := s.MemberOf(t.Context(), authtest.Operator(), s.address(target))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.MemberOf(t.Context(), a, s.address(target)); a.MayRead(p) != (err == nil) {
				t.Errorf("%s may read %s: %v, but %v", actor, target, a.MayRead(p), err)
			}
			must := true
			if _, err := s.UpdateMember(t.Context(), a, s.address(target), authcore.MemberChange{MustChange: &must}, 0); a.MayChange(p) != (err == nil) {
				t.Errorf("%s may change %s: %v, but %v", actor, target, a.MayChange(p), err)
			}
		}
	}
}

func TestSparedSaysWhoIsTheLastAdministrator(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "admin")
	spared := func(a authcore.Actor, address string) bool {
		t.Helper()
		p, err := s.MemberOf(t.Context(), authtest.Operator(), address)
		if err != nil {
			t.Fatal(err)
		}
		ok, err := s.Spared(t.Context(), a, p)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if spared(a, s.address("admin")) || !spared(authtest.Operator(), s.address("admin")) || !spared(a, s.address("account")) {
		t.Error("the only administrator is spared, or somebody else is not")
	}
	if _, _, err := s.CreateMember(t.Context(), a, sample.Old, authcore.NewMember{Address: "deputy@old.example", Role: member.RoleAdministrator}); err != nil {
		t.Fatal(err)
	}
	if !spared(a, s.address("admin")) {
		t.Error("one of two is not spared")
	}
}

// Two administrators who switch different doors do not undo each other, as they would with whole lists.
func TestDoorsAreSwitchedOneByOne(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "admin")
	for _, c := range []struct {
		name string
		ch   authcore.DomainChange
		want []string
	}{
		{"shut one", authcore.DomainChange{ShutDoors: []string{"pop3"}}, []string{"imap", "smtp", "caldav", "carddav"}},
		{"shut another", authcore.DomainChange{ShutDoors: []string{"smtp"}}, []string{"imap", "caldav", "carddav"}},
		{"open the first", authcore.DomainChange{OpenDoors: []string{"pop3", "imap"}}, []string{"imap", "caldav", "carddav", "pop3"}},
		{"nothing", authcore.DomainChange{}, []string{"imap", "caldav", "carddav", "pop3"}},
		{"the last", authcore.DomainChange{ShutDoors: []string{"imap", "caldav", "carddav", "pop3"}}, []string{}},
	} {
		d, err := s.UpdateDomain(t.Context(), a, sample.Old, c.ch)
		if err != nil || !slices.Equal(d.Domain.Doors, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, d.Domain.Doors, err, c.want)
		}
	}
	if _, err := s.UpdateDomain(t.Context(), a, sample.Old, authcore.DomainChange{OpenDoors: []string{"window"}}); !denied(err, authcore.Invalid) {
		t.Errorf("no door: %v", err)
	}
}

// A reset that is sent again with its key gives the same temporary password, and ends nothing anew.
func TestResetOnceWithAKey(t *testing.T) {
	s := newStage(t, nil)
	a, address := s.Actor(t, "admin"), s.address("account")
	reset := func(key, request string) string {
		t.Helper()
		p, until, err := s.ResetPassword(authcore.WithIdempotencyKey(t.Context(), secretOf(key), request), a, address, false)
		if err != nil || until.IsZero() {
			t.Fatal(err)
		}
		return p.Reveal()
	}
	first := reset("0123456789abcdef", "reset")
	if reset("0123456789abcdef", "reset") != first {
		t.Error("the same key gave another password")
	}
	if reset("fedcba9876543210", "reset") == first {
		t.Error("another key gave the same password")
	}
	if _, err := s.SignIn(t.Context(), authtest.Client(), address, secretOf(first)); !denied(err, authcore.DenialReason(authcore.BadCredentials)) {
		t.Errorf("the first one is still good: %v", err)
	}
}

// The sessions of a domain are asked for by member and door.
func TestDomainSessionsByMemberAndDoor(t *testing.T) {
	s := newStage(t, nil)
	s.open(t, "imap", s.address("account"), s.People["account"].Account.Reveal())
	s.open(t, "smtp", s.address("account"), s.People["account"].Account.Reveal())
	s.open(t, "imap", s.address("opted-in"), s.People["opted-in"].AppPasswords[0].Secret.Reveal())
	for _, c := range []struct {
		which authcore.DoorSessions
		want  int
	}{
		{authcore.DoorSessions{}, 3},
		{authcore.DoorSessions{Door: "imap"}, 2},
		{authcore.DoorSessions{Address: s.address("account")}, 2},
		{authcore.DoorSessions{Address: s.address("account"), Door: "smtp"}, 1},
		{authcore.DoorSessions{Address: s.address("expired")}, 0},
	} {
		p, err := s.DomainSessions(t.Context(), s.Actor(t, "admin"), sample.Old, c.which, "", 50)
		if err != nil || len(p.Sessions) != c.want {
			t.Errorf("%+v: %d, %v, want %d", c.which, len(p.Sessions), err, c.want)
		}
	}
	for _, address := range []string{s.address("app-only"), "none@old.example"} {
		if _, err := s.DomainSessions(t.Context(), authtest.Operator(), sample.Old, authcore.DoorSessions{Address: address}, "", 50); !denied(err, authcore.NotFound) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Operators see what the configuration allows; nobody else does.
func TestUpstreamsForOperators(t *testing.T) {
	s := newStage(t, func(o *authcore.Options) {
		o.Upstreams = func(_, door string) []string { return []string{authtest.Upstream, door + "-2"} }
	})
	l, err := s.UpstreamsFor(t.Context(), s.Actor(t, "operator"), sample.Old)
	if err != nil || !slices.Equal(l["pop3"], []string{authtest.Upstream, "pop3-2"}) {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := s.UpstreamsFor(t.Context(), s.Actor(t, "admin"), sample.Old); !denied(err, authcore.Forbidden) {
		t.Errorf("an administrator: %v", err)
	}
}
