package policy

import (
	"slices"
	"strings"
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

// The bounds of every field of the help page "Password policies".
func TestPasswordFieldsByTheirBounds(t *testing.T) {
	set := func(change func(*Password)) Policy {
		p := Default()
		change(&p.Password)
		return p
	}
	for _, c := range []struct {
		field string
		good  []Policy
		bad   []Policy
	}{
		{"password.format",
			[]Policy{set(func(p *Password) { p.Format = LettersNumbers }), set(func(p *Password) { p.Format = LettersNumbersSpecial })},
			[]Policy{set(func(p *Password) { p.Format = "" }), set(func(p *Password) { p.Format = "anything" })}},
		{"password.min_length",
			[]Policy{set(func(p *Password) { p.MinLength = 8 }), set(func(p *Password) { p.MinLength = 20 })},
			[]Policy{set(func(p *Password) { p.MinLength = 7 }), set(func(p *Password) { p.MinLength = 21 })}},
		{"password.expires_after_days",
			[]Policy{set(func(p *Password) { p.ExpiresAfterDays = 0 }), set(func(p *Password) { p.ExpiresAfterDays = 30 }), set(func(p *Password) { p.ExpiresAfterDays = 60 }),
				set(func(p *Password) { p.ExpiresAfterDays = 90 }), set(func(p *Password) { p.ExpiresAfterDays = 180 }), set(func(p *Password) { p.ExpiresAfterDays = 365 })},
			[]Policy{set(func(p *Password) { p.ExpiresAfterDays = -1 }), set(func(p *Password) { p.ExpiresAfterDays = 31 }), set(func(p *Password) { p.ExpiresAfterDays = 366 })}},
		{"password.no_reuse_of_last",
			[]Policy{set(func(p *Password) { p.NoReuseOfLast = 0 }), set(func(p *Password) { p.NoReuseOfLast = 1 }), set(func(p *Password) { p.NoReuseOfLast = 5 })},
			[]Policy{set(func(p *Password) { p.NoReuseOfLast = -1 }), set(func(p *Password) { p.NoReuseOfLast = 6 })}},
		{"password.max_failures",
			[]Policy{set(func(p *Password) { p.MaxFailures = 0 }), set(func(p *Password) { p.MaxFailures = 3 }), set(func(p *Password) { p.MaxFailures = 20 })},
			[]Policy{set(func(p *Password) { p.MaxFailures = 1 }), set(func(p *Password) { p.MaxFailures = 2 }), set(func(p *Password) { p.MaxFailures = 21 }), set(func(p *Password) { p.MaxFailures = -1 })}},
	} {
		for i, p := range c.good {
			if m := p.Validate(false); len(m) > 0 {
				t.Errorf("%s, good value %d: %v", c.field, i, m)
			}
		}
		for i, p := range c.bad {
			if m := p.Validate(false); len(m) != 1 || m[0].Field != c.field {
				t.Errorf("%s, bad value %d: got %v, want one mistake there", c.field, i, m)
			}
		}
	}
}

func TestLengthBoundaries(t *testing.T) {
	for n := MinLengthLow; n <= MinLengthHigh; n++ {
		p := Password{Format: LettersNumbers, MinLength: n}
		enough := "1" + strings.Repeat("é", n-2) + "a"
		if got := p.Check(enough); len(got) > 0 {
			t.Errorf("%d of %d: %v", n, n, got)
		}
		if got := p.Check(enough[1:] + ""); !slices.Contains(got, TooShort) {
			t.Errorf("%d of %d: got %v, want too short", n-1, n, got)
		}
	}
}

func TestRefuseSequences(t *testing.T) {
	for password, want := range map[string]bool{
		"aaa": true, "abc": true, "321": true, "xaaay": true, "AbC": true, "cBa": true, "000": true, "789": true, "!!!": true, "ééé": true, "aabc": true,
		"aab": false, "ab1": false, "aba": false, "121": false, "ace": false, "135": false, "890": false, "yza": false, "a1b2c3": false, "": false, "ab": false,
		"９９９": true, "@ab": false, "/01": false, "abd": false, "9:;": false, "xyz": true, "2109": true, "aAa": true, "かきく": false,
	} {
		p := Password{RefuseSequences: true}
		if got := slices.Contains(p.Check(password), HasSequence); got != want {
			t.Errorf("%q: got %v, want %v", password, got, want)
		}
		if slices.Contains((Password{}).Check(password), HasSequence) {
			t.Errorf("%q: refused where sequences are allowed", password)
		}
	}
}

func TestRefuseCommon(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(common, "\n"), "\n")
	if len(lines) < 10_000 || !slices.IsSorted(lines) {
		t.Fatalf("%d lines, sorted %v", len(lines), slices.IsSorted(lines))
	}
	for _, l := range lines {
		if !isCommon(l) {
			t.Fatalf("%q is on the list and not found", l)
		}
		if len([]rune(l)) < MinLengthLow || l != strings.ToLower(l) {
			t.Fatalf("%q does not belong on the list", l)
		}
	}
	names := []string{"bob@old.example", "al@old.example", "roberta.smith@old.example"}
	for _, c := range []struct {
		password string
		want     []Rule
	}{
		{"password1", []Rule{TooCommon}},
		{"PassWord1", []Rule{TooCommon}},
		{"qwerty123", []Rule{TooCommon}},
		{"password1 of mine", nil},
		{"passwor", []Rule{TooShort, NeedsDigit}},
		{"a bob in the sea 7", []Rule{HoldsName}},
		{"a BOB in the sea 7", []Rule{HoldsName}},
		{"a bo in the sea 7", nil},
		{"always 7 hills", nil}, // "al" is too short to be looked for
		{"7 al@old.example", []Rule{HoldsName}},
		{"Roberta.Smith1", []Rule{HoldsName}},
		{"roberta smith 1", nil},
		{"!!!!!!!!!", []Rule{NeedsLetter, NeedsDigit}},
		{"\uffff password 1", nil},
	} {
		p := Password{Format: LettersNumbers, MinLength: 8, RefuseCommon: true}
		if got := p.Check(c.password, names...); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.password, got, c.want)
		}
		p.RefuseCommon = false
		if got := p.Check(c.password, names...); slices.Contains(got, TooCommon) || slices.Contains(got, HoldsName) {
			t.Errorf("%q: got %v where common ones are allowed", c.password, got)
		}
	}
}

func TestEveryRuleAtOnce(t *testing.T) {
	p := Password{Format: LettersNumbersSpecial, MinLength: 20, RefuseSequences: true, RefuseCommon: true}
	want := []Rule{TooShort, NeedsLetter, NeedsSpecial, HasSequence, TooCommon, HoldsName}
	if got := p.Check("12345678", "12345@old.example"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
