package policy

import (
	"slices"
	"testing"
	"time"
)

func TestDefaultIsValid(t *testing.T) {
	if m := Default().Validate(false); len(m) != 0 {
		t.Fatalf("the default has mistakes: %v", m)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	from := time.Now()
	p := Policy{
		Password:   Password{Format: "x", MinLength: 7, ExpiresAfterDays: 31, MaxFailures: 2},
		ThirdParty: ThirdParty{AppPasswords: MemberChoice, RequiredFrom: &from, TwoStepAtDoors: "y", MaxAppPasswords: 6},
		SignIn:     SignIn{TwoStep: "z", OIDC: map[string]Way{"acme": "maybe", "LINE": Allow}},
	}
	p.Password.NoReuseOfLast = 6
	var got []string
	for _, m := range p.Validate(true) {
		got = append(got, m.Field)
	}
	want := []string{
		"password.format", "password.min_length", "password.expires_after_days", "password.max_failures", "password.no_reuse_of_last",
		"third_party.app_passwords", "third_party.required_from", "third_party.required_from",
		"third_party.two_step_at_doors", "third_party.max_app_passwords",
		"sign_in.two_step", "sign_in.line", "sign_in.phone", "sign_in.quick", "sign_in.passkey", "sign_in.oidc", "sign_in.oidc.acme",
		"sessions.idle_hours", "sessions.absolute_days",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestValidateBounds(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Policy)
		ok     bool
	}{
		{"length 8", func(p *Policy) { p.Password.MinLength = 8 }, true},
		{"length 20", func(p *Policy) { p.Password.MinLength = 20 }, true},
		{"length 21", func(p *Policy) { p.Password.MinLength = 21 }, false},
		{"failures none", func(p *Policy) { p.Password.MaxFailures = 0 }, true},
		{"failures 3", func(p *Policy) { p.Password.MaxFailures = 3 }, true},
		{"failures 20", func(p *Policy) { p.Password.MaxFailures = 20 }, true},
		{"failures 21", func(p *Policy) { p.Password.MaxFailures = 21 }, false},
		{"failures negative", func(p *Policy) { p.Password.MaxFailures = -1 }, false},
		{"expiry 365", func(p *Policy) { p.Password.ExpiresAfterDays = 365 }, true},
		{"required", func(p *Policy) { p.ThirdParty.AppPasswords = Required }, true},
		{"no app passwords", func(p *Policy) { p.ThirdParty.MaxAppPasswords = 0 }, false},
	} {
		p := Default()
		c.change(&p)
		if ok := len(p.Validate(false)) == 0; ok != c.ok {
			t.Errorf("%s: valid is %v, want %v", c.name, ok, c.ok)
		}
	}
}

// The table of behaviour at the doors, row by row.
func TestAtDoors(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	later := now.Add(time.Hour)
	choice := Default().ThirdParty
	ignore, required, soon := choice, choice, choice
	ignore.TwoStepAtDoors = Ignore
	required.AppPasswords = Required
	soon.AppPasswords, soon.RequiredFrom = Required, &later
	for _, c := range []struct {
		name                  string
		third                 ThirdParty
		born, option, twoStep bool
		want                  Accepts
	}{
		{"after the cutoff", choice, true, false, false, AppPassword},
		{"after the cutoff, two-step ignored", ignore, true, false, true, AppPassword},
		{"before, option on", choice, false, true, false, AppPassword},
		{"before, option on, two-step on", choice, false, true, true, AppPassword},
		{"before, option off", choice, false, false, false, AccountPassword},
		{"before, option off, two-step on", choice, false, false, true, AppPassword},
		{"before, option off, two-step on but ignored", ignore, false, false, true, AccountPassword},
		{"before, option on, two-step ignored", ignore, false, true, true, AppPassword},
		{"required early", required, false, false, false, AppPassword},
		{"required, but only from later on", soon, false, false, false, AccountPassword},
	} {
		if got := c.third.AtDoors(c.born, now, c.option, c.twoStep); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if got := soon.AtDoors(false, later, false, false); got != AppPassword {
		t.Errorf("required from the instant itself: got %v, want %v", got, AppPassword)
	}
}

func TestCheckNamesEveryRule(t *testing.T) {
	plain := Password{Format: LettersNumbers, MinLength: 8}
	special := Password{Format: LettersNumbersSpecial, MinLength: 10}
	for _, c := range []struct {
		name     string
		policy   Password
		password string
		want     []Rule
	}{
		{"good", plain, "abcdefg1", nil},
		{"short, no letter", plain, "1234567", []Rule{TooShort, NeedsLetter}},
		{"nothing", special, "", []Rule{TooShort, NeedsLetter, NeedsDigit, NeedsSpecial}},
		{"no special", special, "abcdefghi1", []Rule{NeedsSpecial}},
		{"space is special", special, "abcdefgh 1", nil},
		{"other letters count toward the length", plain, "パスワードだよa1", nil},
		{"other letters are no English ones", plain, "パスワードだよね12", []Rule{NeedsLetter}},
		{"a code point is one", plain, "ééééa1", []Rule{TooShort}},
		{"control", plain, "abcdefg1\x01", []Rule{NotAllowed}},
		{"128", plain, string(slices.Repeat([]byte("a1"), 64)), nil},
		{"129", plain, string(slices.Repeat([]byte("a1"), 64)) + "b", []Rule{TooLong}},
	} {
		if got := c.policy.Check(c.password); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
