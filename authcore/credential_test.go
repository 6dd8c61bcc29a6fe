package authcore_test

import (
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

func (s *stage) bothKinds(t *testing.T, state string) (account, app authcore.Reason) {
	t.Helper()
	account = s.try(t, s.address(state), s.account(state))
	if len(s.People[state].AppPasswords) > 0 {
		app = s.try(t, s.address(state), s.app(state))
	}
	return account, app
}

// The table of which credential counts, where the policy of the old domain says more.
func TestWhichCredentialCountsByPolicy(t *testing.T) {
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	const (
		ok, bad, app = authcore.Allowed, authcore.BadCredentials, authcore.AppPasswordRequired
	)
	for _, c := range []struct {
		name             string
		change           func(*policy.ThirdParty)
		account          authcore.Reason    // of "account"
		optedIn, twoStep [2]authcore.Reason // account password, app password
	}{
		{name: "member choice", change: func(*policy.ThirdParty) {}, account: ok, optedIn: [2]authcore.Reason{bad, ok}, twoStep: [2]authcore.Reason{bad, ok}},
		{name: "two-step ignored at doors", change: func(p *policy.ThirdParty) { p.TwoStepAtDoors = policy.Ignore }, account: ok,
			optedIn: [2]authcore.Reason{bad, ok}, twoStep: [2]authcore.Reason{ok, bad}},
		{name: "required", change: func(p *policy.ThirdParty) { p.AppPasswords = policy.Required }, account: app,
			optedIn: [2]authcore.Reason{app, ok}, twoStep: [2]authcore.Reason{app, ok}},
		{name: "required, ignoring two-step", change: func(p *policy.ThirdParty) { p.AppPasswords, p.TwoStepAtDoors = policy.Required, policy.Ignore },
			account: app, optedIn: [2]authcore.Reason{app, ok}, twoStep: [2]authcore.Reason{app, ok}},
		{name: "required from later on", change: func(p *policy.ThirdParty) { p.AppPasswords, p.RequiredFrom = policy.Required, &later },
			account: ok, optedIn: [2]authcore.Reason{bad, ok}, twoStep: [2]authcore.Reason{bad, ok}},
		{name: "required from an hour ago", change: func(p *policy.ThirdParty) { p.AppPasswords, p.RequiredFrom = policy.Required, &past },
			account: app, optedIn: [2]authcore.Reason{app, ok}, twoStep: [2]authcore.Reason{app, ok}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, nil)
			s.policy(t, sample.Old, func(p *policy.Policy) { c.change(&p.ThirdParty) })
			if got, _ := s.bothKinds(t, "account"); got != c.account {
				t.Errorf("account: got %q, want %q", got, c.account)
			}
			for state, want := range map[string][2]authcore.Reason{"opted-in": c.optedIn, "two-step": c.twoStep} {
				account, app := s.bothKinds(t, state)
				if got := [2]authcore.Reason{account, app}; got != want {
					t.Errorf("%s: account and app password got %q, want %q", state, got, want)
				}
			}
		})
	}
}

// A domain created at the cutoff itself is on the side of app passwords, and cannot leave it.
func TestBoundaryOfTheCutoff(t *testing.T) {
	s := newStage(t, nil)
	for _, c := range []struct {
		name, domain string
		at           time.Time
		want         authcore.Reason
	}{
		{"a second before", "before.example", policy.Cutoff().Add(-time.Second), authcore.Allowed},
		{"the instant itself", "at.example", policy.Cutoff(), authcore.AppPasswordRequired},
	} {
		if _, err := s.CreateDomain(t.Context(), authtest.Operator(), authcore.NewDomain{Name: c.domain, CreatedAt: c.at, Upstreams: map[string]string{"imap": authtest.Upstream}}); err != nil {
			t.Fatal(err)
		}
		address := "ann@" + c.domain
		if _, _, err := s.CreateMember(t.Context(), authtest.Operator(), c.domain, authcore.NewMember{Address: address, Password: secretOf("correct horse 1")}); err != nil {
			t.Fatal(err)
		}
		if got := s.try(t, address, "correct horse 1"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		p, rev, _ := s.Policy(t.Context(), authtest.Operator(), c.domain)
		p.ThirdParty.AppPasswords = policy.MemberChoice
		_, err := s.SetPolicy(t.Context(), authtest.Operator(), c.domain, p, rev)
		if born := c.want == authcore.AppPasswordRequired; denied(err, authcore.Invalid) != born {
			t.Errorf("%s: member_choice: %v", c.name, err)
		}
	}
}

func TestRequiredFromHoldsFromTheInstant(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		from := s.options.Now().Add(time.Hour)
		s.policy(t, sample.Old, func(p *policy.Policy) { p.ThirdParty.AppPasswords, p.ThirdParty.RequiredFrom = policy.Required, &from })
		time.Sleep(time.Hour - time.Nanosecond)
		if got, _ := s.bothKinds(t, "account"); got != authcore.Allowed {
			t.Errorf("before: %q", got)
		}
		time.Sleep(time.Nanosecond)
		if got, _ := s.bothKinds(t, "account"); got != authcore.AppPasswordRequired {
			t.Errorf("at the instant: %q", got)
		}
	})
}

func TestOptionSwitchesWhatCounts(t *testing.T) {
	s := newStage(t, nil)
	for _, on := range []bool{false, true, false} {
		if err := s.SetAppPasswordOptionFor(t.Context(), authtest.Operator(), s.address("opted-in"), on); err != nil {
			t.Fatal(err)
		}
		want := [2]authcore.Reason{authcore.Allowed, authcore.BadCredentials}
		if on {
			want = [2]authcore.Reason{authcore.BadCredentials, authcore.Allowed}
		}
		account, app := s.bothKinds(t, "opted-in")
		if got := [2]authcore.Reason{account, app}; got != want {
			t.Errorf("option %v: account and app password got %q, want %q", on, got, want)
		}
	}
}

func TestAppPasswordScopeExpiryNetworks(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name := s.address("opted-in")
		make := func(w apppass.Wish) string {
			w.Name = "bounded"
			_, plain, err := s.CreateAppPasswordFor(t.Context(), authtest.Operator(), name, w)
			if err != nil {
				t.Fatal(err)
			}
			return plain.Reveal()
		}
		until := s.options.Now().Add(time.Hour)
		mail, hour, office := make(apppass.Wish{Doors: []string{"imap", "caldav"}}), make(apppass.Wish{ExpiresAt: until}),
			make(apppass.Wish{Networks: []string{"198.51.100.0/24", "2001:db8::/32"}})
		const ok, closed, bad = authcore.Allowed, authcore.DoorClosed, authcore.BadCredentials
		for _, c := range []struct {
			name, from, door, secret string
			doors                    []string
			want                     authcore.Reason
		}{
			{"in scope", here, "imap", mail, nil, ok},
			{"out of scope", here, "smtp", mail, nil, closed},
			{"both of two doors are asked", here, "caldav", mail, []string{"caldav", "carddav"}, closed},
			{"in its time", here, "smtp", hour, nil, ok},
			{"in its network", "198.51.100.9", "imap", office, nil, ok},
			{"in its network, mapped", "::ffff:198.51.100.9", "imap", office, nil, ok},
			{"in its IPv6 network", "2001:db8:1::2", "imap", office, nil, ok},
			{"from elsewhere: told like a wrong one", here, "imap", office, nil, bad},
		} {
			a := authtest.AttemptFrom(c.from, c.door, name, c.secret)
			a.Doors = c.doors
			d, err := s.Authenticate(t.Context(), a)
			if err != nil || d.Reason != c.want {
				t.Errorf("%s: got %q, %v, want %q", c.name, d.Reason, err, c.want)
			}
			if c.secret == hour && !d.Until.Equal(until) {
				t.Errorf("until %v, want %v", d.Until, until)
			}
		}
		time.Sleep(time.Hour)
		if got := s.try(t, name, hour); got != bad {
			t.Errorf("at its expiry: got %q, want %q", got, bad)
		}
	})
}

func TestNamesThatSignIn(t *testing.T) {
	s := newStage(t, nil)
	s.aliases(t, s.address("account"), "jürgen@old.example", "sales@old.example")
	const ok, bad = authcore.Allowed, authcore.BadCredentials
	for _, c := range []struct {
		name, login, as, def string
		want                 authcore.Reason
	}{
		{"the address", "account@old.example", "", "", ok},
		{"other case", "ACCOUNT@Old.Example", "", "", ok},
		{"an alias", "Sales@old.example", "", "", ok},
		{"full width", "ａｃｃｏｕｎｔ@old.example", "", "", ok},
		{"decomposed", "ju\u0308rgen@old.example", "", "", ok},
		{"bare with a default domain", "account", "", "old.example", ok},
		{"bare without", "account", "", "", bad},
		{"a plus-tag", "account+tag@old.example", "", "", bad},
		{"quoted", `"account"@old.example`, "", "", bad},
		{"another domain", "account@new.example", "", "", authcore.AppPasswordRequired},
		{"a domain that nobody has", "account@other.example", "", "", bad},
		{"empty", "", "", "", bad},
		{"authorized as himself", "account@old.example", "account@old.example", "", ok},
		{"authorized as an alias of his", "account@old.example", "SALES@old.example", "", ok},
		{"authorized as another", "account@old.example", "admin@old.example", "", bad},
		{"authorized as nobody", "account@old.example", "nobody@old.example", "", bad},
		{"authorized as what is no name", "account@old.example", "\x01", "", bad},
	} {
		a := authtest.Attempt("imap", c.login, s.account("account"))
		a.Conn.DefaultDomain = c.def
		p := a.Credential.(authcore.Password)
		p.AuthorizeAs = c.as
		a.Credential = p
		d, err := s.Authenticate(t.Context(), a)
		if err != nil || d.Reason != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, d.Reason, err, c.want)
		}
		if d.Allowed() && (d.Upstream.User != "account@old.example" || d.Addresses[0] != "account@old.example") {
			t.Errorf("%s: upstream as %q, %q", c.name, d.Upstream.User, d.Addresses)
		}
	}
	if got := s.status(t, s.address("account")); got != member.Active {
		t.Errorf("status %q", got)
	}
}

// Another's name as authorization identity is never verified: it counts nothing against either of them.
func TestAuthorizationIdentityIsNoOracle(t *testing.T) {
	s := newStage(t, nil)
	for _, secret := range []string{s.account("account"), "wrong"} {
		a := authtest.Attempt("imap", s.address("account"), secret)
		p := a.Credential.(authcore.Password)
		p.AuthorizeAs = s.address("admin")
		a.Credential = p
		if d, err := s.Authenticate(t.Context(), a); err != nil || d.Reason != authcore.BadCredentials {
			t.Errorf("got %q, %v", d.Reason, err)
		}
	}
	for _, state := range []string{"account", "admin"} {
		if f := s.all(t, sample.Old, "failures/"+string(s.MemberID(t, s.address(state)))); len(f) > 0 {
			t.Errorf("%s: %v", state, values(f))
		}
	}
}

func TestClosedDoorsAreToldAfterARightCredentialOnly(t *testing.T) {
	shut, imap := true, []string{"imap"}
	for _, c := range []struct {
		name string
		by   func(t *testing.T, s *stage) error
	}{
		{"domain closed", func(t *testing.T, s *stage) error {
			_, err := s.UpdateDomain(t.Context(), authtest.Operator(), sample.Old, authcore.DomainChange{Closed: &shut})
			return err
		}},
		{"door closed", func(t *testing.T, s *stage) error {
			doors := []string{"smtp"}
			_, err := s.UpdateDomain(t.Context(), authtest.Operator(), sample.Old, authcore.DomainChange{Doors: &doors})
			return err
		}},
		{"door closed for the member", func(t *testing.T, s *stage) error {
			for _, state := range []string{"account", "opted-in"} {
				if _, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address(state), authcore.MemberChange{ClosedDoors: &imap}, 0); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		s := newStage(t, nil)
		if err := c.by(t, s); err != nil {
			t.Fatal(c.name, err)
		}
		for _, a := range []struct {
			name, address, secret string
			want                  authcore.Reason
		}{
			{"right account password", s.address("account"), s.account("account"), authcore.DoorClosed},
			{"right app password", s.address("opted-in"), s.app("opted-in"), authcore.DoorClosed},
			{"wrong", s.address("account"), "wrong", authcore.BadCredentials},
			{"account password that does not count", s.address("opted-in"), s.account("opted-in"), authcore.BadCredentials},
			{"suspended", s.address("suspended"), s.account("suspended"), authcore.BadCredentials},
		} {
			if got := s.try(t, a.address, a.secret); got != a.want {
				t.Errorf("%s, %s: got %q, want %q", c.name, a.name, got, a.want)
			}
		}
	}
}

func TestSuspendedAndDeleted(t *testing.T) {
	s := newStage(t, nil)
	name := s.address("opted-in")
	if _, err := s.Suspend(t.Context(), authtest.Operator(), name); err != nil {
		t.Fatal(err)
	}
	account, app := s.bothKinds(t, "opted-in")
	if account != authcore.BadCredentials || app != authcore.Suspended {
		t.Errorf("suspended: account password %q, app password %q", account, app)
	}
	if err := s.DeleteMember(t.Context(), authtest.Operator(), name); err != nil {
		t.Fatal(err)
	}
	account, app = s.bothKinds(t, "opted-in")
	if account != authcore.BadCredentials || app != authcore.BadCredentials {
		t.Errorf("deleted: account password %q, app password %q", account, app)
	}
	if err := s.DeleteMember(t.Context(), authtest.Operator(), s.address("app-only")); err != nil {
		t.Fatal(err)
	}
	if _, app := s.bothKinds(t, "app-only"); app != authcore.AppPasswordRequired {
		t.Errorf("deleted where only app passwords count: %q", app)
	}
}

func TestTemporaryAndExpiredPasswords(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		temporary, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), true)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name, address, secret string
			want                  authcore.Reason
		}{
			{"temporary", s.address("account"), temporary.Reveal(), authcore.PasswordChangeRequired},
			{"the one before", s.address("account"), s.account("account"), authcore.BadCredentials},
			{"expired", s.address("expired"), s.account("expired"), authcore.PasswordExpired},
			{"expired and wrong", s.address("expired"), "wrong", authcore.BadCredentials},
		} {
			if got := s.try(t, c.address, c.secret); got != c.want {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
		}
		must := true
		if _, err := s.UpdateMember(t.Context(), authtest.Operator(), s.address("admin"), authcore.MemberChange{MustChange: &must}, 0); err != nil {
			t.Fatal(err)
		}
		if got := s.try(t, s.address("admin"), s.account("admin")); got != authcore.PasswordChangeRequired {
			t.Errorf("a change is asked for: got %q", got)
		}
		time.Sleep(72 * time.Hour)
		if got := s.try(t, s.address("account"), temporary.Reveal()); got != authcore.BadCredentials {
			t.Errorf("temporary, its time over: got %q", got)
		}
		time.Sleep(366 * 24 * time.Hour)
		if got := s.try(t, s.address("opted-in"), s.app("opted-in")); got != authcore.Allowed {
			t.Errorf("an app password beside an expired account password: got %q", got)
		}
	})
}
