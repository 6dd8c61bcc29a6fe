package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

const accountSecurity = "/domains/" + sample.Old + "/account-security"

// at is the part of the form that the button beside that name opens.
func (f *filling) at(title string) *filling {
	f.page.b.s.t.Helper()
	return &filling{page: f.page, form: f.page.rule(title), values: f.values}
}

// rule is the row of a field.
func (p *shown) rule(title string) *html.Node {
	p.b.s.t.Helper()
	for n := range p.doc.Descendants() {
		if n.Data == "span" && attr(n, "class") == "label" && words(n) == title {
			for n.Data != "li" {
				n = n.Parent
			}
			return n
		}
	}
	p.b.s.t.Fatalf("%s has no field %q:\n%s", p.at, title, p.text())
	return nil
}

// says is what a field says now.
func (p *shown) says(title string) string {
	p.b.s.t.Helper()
	for n := range p.rule(title).Descendants() {
		if n.Data == "span" && attr(n, "class") == "value" {
			return words(n)
		}
	}
	return ""
}

func (s *stage) policyOf(domain string) policy.Policy {
	s.t.Helper()
	p, _, err := s.Policy(s.t.Context(), authtest.Operator(), domain)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *stage) setPolicy(domain string, change func(*policy.Policy)) {
	s.t.Helper()
	p, rev, err := s.Policy(s.t.Context(), authtest.Operator(), domain)
	if err != nil {
		s.t.Fatal(err)
	}
	change(&p)
	if _, err := s.SetPolicy(s.t.Context(), authtest.Operator(), domain, p, rev); err != nil {
		s.t.Fatal(err)
	}
}

// Every option of the help page, and every one beyond it, is chosen by its words, saved, and said by the page afterwards.
func TestAccountSecurityOptions(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	for _, tc := range []struct {
		field, option string
		saved         func(policy.Policy) any
		want          any
	}{
		{"Password format", "Combine alphabets, numbers, and special characters", func(p policy.Policy) any { return p.Password.Format }, policy.LettersNumbersSpecial},
		{"Password format", "Combination of letters and numbers", func(p policy.Policy) any { return p.Password.Format }, policy.LettersNumbers},
		{"Password length", "20 characters or more", func(p policy.Policy) any { return p.Password.MinLength }, 20},
		{"Password length", "8 characters or more", func(p policy.Policy) any { return p.Password.MinLength }, 8},
		{"Password expiration date", "Never", func(p policy.Policy) any { return p.Password.ExpiresAfterDays }, 0},
		{"Password expiration date", "Password expires after 30 days", func(p policy.Policy) any { return p.Password.ExpiresAfterDays }, 30},
		{"Password expiration date", "Password expires after 60 days", func(p policy.Policy) any { return p.Password.ExpiresAfterDays }, 60},
		{"Password expiration date", "Password expires after 90 days", func(p policy.Policy) any { return p.Password.ExpiresAfterDays }, 90},
		{"Password expiration date", "Password expires after 180 days", func(p policy.Policy) any { return p.Password.ExpiresAfterDays }, 180},
		{"Password expiration date", "Password expires after 365 days", func(p policy.Policy) any { return p.Password.ExpiresAfterDays }, 365},
		{"Restrict re-use of passwords", "You cannot use the last 1 passwords", func(p policy.Policy) any { return p.Password.NoReuseOfLast }, 1},
		{"Restrict re-use of passwords", "You cannot use the last 2 passwords", func(p policy.Policy) any { return p.Password.NoReuseOfLast }, 2},
		{"Restrict re-use of passwords", "You cannot use the last 3 passwords", func(p policy.Policy) any { return p.Password.NoReuseOfLast }, 3},
		{"Restrict re-use of passwords", "You cannot use the last 4 passwords", func(p policy.Policy) any { return p.Password.NoReuseOfLast }, 4},
		{"Restrict re-use of passwords", "You cannot use the last 5 passwords", func(p policy.Policy) any { return p.Password.NoReuseOfLast }, 5},
		{"Restrict re-use of passwords", "No additional limitation", func(p policy.Policy) any { return p.Password.NoReuseOfLast }, 0},
		{"Limit the number of login attempts", "No limit", func(p policy.Policy) any { return p.Password.MaxFailures }, 0},
		{"Limit the number of login attempts", "Suspend after 3 wrong passwords", func(p policy.Policy) any { return p.Password.MaxFailures }, 3},
		{"Limit the number of login attempts", "Suspend after 20 wrong passwords", func(p policy.Policy) any { return p.Password.MaxFailures }, 20},
		{"Repeated and consecutive characters", "Refuse", func(p policy.Policy) any { return p.Password.RefuseSequences }, true},
		{"Common passwords", "Allow", func(p policy.Policy) any { return p.Password.RefuseCommon }, false},
		{"2-step verification", "Required – Apply 2-step verification to all members", func(p policy.Policy) any { return p.SignIn.TwoStep }, policy.TwoStepRequired},
		{"2-step verification", "Optional – Apply according to members' selection", func(p policy.Policy) any { return p.SignIn.TwoStep }, policy.TwoStepOptional},
		{"Login with LINE", "Allow", func(p policy.Policy) any { return p.SignIn.LINE }, policy.Allow},
		{"Login with LINE", "Do not approve", func(p policy.Policy) any { return p.SignIn.LINE }, policy.Deny},
		{"Login with phone number", "Allow", func(p policy.Policy) any { return p.SignIn.Phone }, policy.Allow},
		{"Login with phone number", "Do not approve", func(p policy.Policy) any { return p.SignIn.Phone }, policy.Deny},
		{"Quick Login (Mobile app)", "Allow", func(p policy.Policy) any { return p.SignIn.Quick }, policy.Allow},
		{"Quick Login (Mobile app)", "Do not approve", func(p policy.Policy) any { return p.SignIn.Quick }, policy.Deny},
		{"Passkeys", "Allow", func(p policy.Policy) any { return p.SignIn.Passkey }, policy.Allow},
		{"Trust a browser", "Allow", func(p policy.Policy) any { return p.SignIn.TrustBrowser }, true},
		{"2-step verification and programs", "The account password is accepted for them too", func(p policy.Policy) any { return p.ThirdParty.TwoStepAtDoors }, policy.Ignore},
		{"App passwords for each member", "3", func(p policy.Policy) any { return p.ThirdParty.MaxAppPasswords }, 3},
		{"Third-party app passwords", "Required – Programs sign in with an app password only", func(p policy.Policy) any { return p.ThirdParty.AppPasswords }, policy.Required},
		{"Third-party app passwords", "Optional – Each member chooses", func(p policy.Policy) any { return p.ThirdParty.AppPasswords }, policy.MemberChoice},
		{"Personal e-mail addresses and mobile phone numbers", "Managed elsewhere – Members cannot change theirs", func(p policy.Policy) any { return p.ProfileManagedExternally }, true},
	} {
		f := b.get(accountSecurity).is(200, "Account Security", tc.field).having("Save")
		f.at(tc.field).choose(tc.option)
		p := f.press("Save")
		if strings.Contains(p.text(), "Before you save") {
			p = p.press("Save")
		}
		p.is(200, "Saved.")
		if got := p.says(tc.field); got != tc.option {
			t.Errorf("%s says %q, want %q", tc.field, got, tc.option)
		}
		if got := tc.saved(s.policyOf(sample.Old)); got != tc.want {
			t.Errorf("%s, %s: saved %v, want %v", tc.field, tc.option, got, tc.want)
		}
	}
	for title, hours := range map[string]struct{ label, typed, says string }{
		"Sign out when not used": {"Hours, 1 to 720", "12", "After 12 hours"},
		"Sign out after":         {"Days, 1 to 365", "365", "After 365 days"},
	} {
		f := b.get(accountSecurity).having("Save").fill(hours.label, hours.typed)
		if got := f.press("Save").is(200, "Saved.").says(title); got != hours.says {
			t.Errorf("%s says %q", title, got)
		}
	}
	if got := s.policyOf(sample.Old).Sessions; got.IdleHours != 12 || got.AbsoluteDays != 365 {
		t.Errorf("saved %+v", got)
	}
	b.get(accountSecurity).press("Save").is(200, "Nothing was changed.")
}

// The page has every field that a policy has, and takes each over as it is.
func TestAccountSecurityHasEveryField(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 3, 1, 6, 30, 0, 0, time.UTC)
	p := policy.Default()
	p.ThirdParty.AppPasswords, p.ThirdParty.RequiredFrom = policy.Required, &at
	p.SignIn.OIDC = map[string]policy.Way{"staff": policy.Allow}
	b, err := json.Marshal(p)
	var tree map[string]any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	var leaves func(path string, v any)
	leaves = func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			want = append(want, path)
		}
		for name, child := range m {
			leaves(strings.TrimPrefix(path+"."+name, "."), child)
		}
	}
	leaves("", tree)
	v := valuesOf(p)
	if got := slices.Sorted(maps.Keys(v)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("fields %v, want %v", got, want)
	}
	back, mistakes := v.policy()
	if again, _ := json.Marshal(back); string(again) != string(b) || len(mistakes) > 0 {
		t.Errorf("%s became %s, %v", b, again, mistakes)
	}
	s := open(t, Options{}, nil)
	s.setPolicy(sample.Old, func(is *policy.Policy) { *is = p })
	shown := s.signedIn("admin").get(accountSecurity).is(200, "Password policies", "Login settings")
	sent := shown.having("Save").values
	for field, value := range v {
		if sent.Get(field) != value {
			t.Errorf("the form sends %s as %q, want %q", field, sent.Get(field), value)
		}
	}
	for title, want := range map[string]string{"Required from": "2027-03-01 06:30 UTC", "Login with staff": "Allow"} {
		if got := shown.says(title); got != want {
			t.Errorf("%s says %q, want %q", title, got, want)
		}
	}
}

// Whose programs would stop is shown before anything is saved: by name, and from when. "Back" keeps what was chosen.
func TestAccountSecurityShowsWhoseProgramsStop(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	f := b.get(accountSecurity).having("Save")
	f.at("Third-party app passwords").choose("Required – Programs sign in with an app password only")
	f.at("Required from").fill("Date and time (UTC)", "2031-05-01T08:00")
	f.at("Password length").choose("12 characters or more")
	p := f.press("Save").is(200, "Before you save", "Nothing is saved yet", "would stop", "account@"+sample.Old, "has no app password yet",
		"from 2031-05-01 08:00 UTC on", "8 characters or more → 12 characters or more").hides("opted-in@", "could not sign in any more")
	if got := s.policyOf(sample.Old); got.ThirdParty.AppPasswords != policy.MemberChoice || got.Password.MinLength != 8 {
		t.Fatalf("it was saved: %+v", got)
	}
	back := p.press("Back").is(200, "Account Security")
	if got := back.says("Password length"); got != "8 characters or more → 12 characters or more not saved yet" {
		t.Errorf("after going back: %q", got)
	}
	back.press("Save").is(200, "Before you save").press("Save").is(200, "Saved.")
	got := s.policyOf(sample.Old)
	if got.Password.MinLength != 12 || got.ThirdParty.RequiredFrom == nil || !got.ThirdParty.RequiredFrom.Equal(time.Date(2031, 5, 1, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("saved %+v", got)
	}
}

// Whom it would lock out is named up to a hundred, and how many there are besides.
func TestAccountSecurityShowsWhomItLocksOut(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for i := range 105 {
		if _, _, err := s.CreateMember(t.Context(), authtest.Operator(), sample.Old, authcore.NewMember{Address: fmt.Sprintf("m%03d@%s", i, sample.Old)}); err != nil {
			t.Fatal(err)
		}
	}
	f := s.signedIn("admin").get(accountSecurity).having("Save")
	f.at("2-step verification").choose("Required – Apply 2-step verification to all members")
	f.at("Personal e-mail addresses and mobile phone numbers").choose("Managed elsewhere – Members cannot change theirs")
	p := f.press("Save").is(200, "109 of 110 members could not sign in any more", "and 9 more")
	out, _, _ := strings.Cut(p.text(), "and 9 more")
	_, out, _ = strings.Cut(out, "could not sign in any more")
	if n := strings.Count(out, "@"+sample.Old); n != 100 {
		t.Errorf("%d are named", n)
	}
}

// Each harm alone is shown before it is saved. Who cannot sign in today either is none.
func TestAccountSecurityShowsEachHarm(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		does authcore.Preview
		want bool
	}{
		{"nothing", authcore.Preview{Members: 3}, false},
		{"locks out", authcore.Preview{Members: 3, LockedOut: 1}, true},
		{"locks out who is out", authcore.Preview{Members: 3, LockedOut: 1, AlreadyOut: 1}, false},
		{"locks out one more", authcore.Preview{Members: 3, LockedOut: 2, AlreadyOut: 1}, true},
		{"takes a way", authcore.Preview{Members: 3, Ending: 1}, true},
		{"stops programs", authcore.Preview{Members: 3, Stopping: 1}, true},
	} {
		if got := harms(tc.does); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// Who keeps his password and loses another way is named with that way.
func TestAccountSecurityShowsWhoLosesAWay(t *testing.T) {
	t.Parallel()
	p := &page{lang: shared().languages["en"]}
	l := p.ending(authcore.Preview{Members: 7, Ending: 2,
		EndingList: []authcore.PreviewEnding{{Address: "a@" + sample.Old, Ways: []string{policy.WayPhone, policy.WayPasskey}}}})
	if l.Title != "2 of 7 members would lose a way to sign in" || len(l.Members) != 1 || l.Members[0].Note != "Login with phone number, Passkeys" {
		t.Errorf("%+v", l)
	}
}

// Who saves second is told what the first one changed, field by field; his own choices are kept, and what he left alone
// stays as the first one saved it.
func TestAccountSecurityIsEditedByTwo(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	first, second := s.signedIn("admin").get(accountSecurity).having("Save"), s.signedIn("operator").get(accountSecurity).having("Save")
	s.clock.pass(time.Second)
	first.at("Password length").choose("10 characters or more")
	first.at("Restrict re-use of passwords").choose("You cannot use the last 3 passwords")
	first.press("Save").is(200, "Saved.")
	second.at("Password length").choose("14 characters or more")
	second.at("Password format").choose("Combine alphabets, numbers, and special characters")
	p := second.press("Save").is(412, "Somebody else saved these settings meanwhile", "What changed meanwhile", "Saved by admin@"+sample.Old,
		"Password length 8 characters or more 10 characters or more 14 characters or more",
		"Restrict re-use of passwords No additional limitation You cannot use the last 3 passwords –")
	if got := s.policyOf(sample.Old).Password; got.MinLength != 10 || got.Format != policy.LettersNumbers {
		t.Fatalf("the second one was saved: %+v", got)
	}
	p.press("Save").is(200, "Saved.")
	if got := s.policyOf(sample.Old).Password; got.MinLength != 14 || got.Format != policy.LettersNumbersSpecial || got.NoReuseOfLast != 3 {
		t.Errorf("saved %+v", got)
	}
}

// Between the page of consequences and "Save" somebody else may save too.
func TestAccountSecurityChangesBehindThePreview(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	f := s.signedIn("admin").get(accountSecurity).having("Save")
	f.at("Third-party app passwords").choose("Required – Programs sign in with an app password only")
	p := f.press("Save").is(200, "Before you save")
	s.setPolicy(sample.Old, func(p *policy.Policy) { p.Password.MinLength = 9 })
	p.press("Save").is(412, "Password length 8 characters or more 9 characters or more –").press("Save").is(200, "Before you save").press("Save").is(200, "Saved.")
	if got := s.policyOf(sample.Old); got.Password.MinLength != 9 || got.ThirdParty.AppPasswords != policy.Required {
		t.Errorf("saved %+v", got)
	}
}

// What is wrong stands at its field, whose options are open, and what was typed stays.
func TestAccountSecurityMistakes(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	before := s.policyOf(sample.Old)
	for name, tc := range map[string]struct {
		field, label, typed string
		shows               string
	}{
		"too many hours":          {"Sign out when not used", "Hours, 1 to 720", "721", "Must be 1 to 720."},
		"no number":               {"Sign out when not used", "Hours, 1 to 720", "a week", "Must be a number."},
		"no day":                  {"Sign out after", "Days, 1 to 365", "0", "Must be 1 to 365."},
		"a date without required": {"Required from", "Date and time (UTC)", "2031-05-01T08:00", "Give a date and a time, and only where app passwords are required."},
		"no date":                 {"Required from", "Date and time (UTC)", "tomorrow", "Give a date and a time, and only where app passwords are required."},
	} {
		p := b.get(accountSecurity).having("Save").fill(tc.label, tc.typed).press("Save").is(422, "Some fields are not right.", tc.shows)
		row := p.rule(tc.field)
		if !strings.Contains(words(row), tc.shows) {
			t.Errorf("%s: it does not stand at the field: %s", name, words(row))
		}
		for n := range row.Descendants() {
			if n.Data == "details" && !has(n, "open") {
				t.Errorf("%s: the options are not open", name)
			}
			if n.Data == "input" && (attr(n, "value") != tc.typed || attr(n, "aria-invalid") != "true") {
				t.Errorf("%s: %v", name, n.Attr)
			}
		}
	}
	f := b.get(accountSecurity).having("Save")
	f.values.Set("password.min_length", "7")
	f.values.Set("sign_in.line", "perhaps")
	f.press("Save").is(422, "Must be 8 to 20.")
	if got := s.policyOf(sample.Old); got.Password != before.Password || got.Sessions != before.Sessions || got.SignIn.LINE != before.SignIn.LINE {
		t.Errorf("saved %+v", got)
	}
}

// A form that says another revision than any is no way around the other one's change.
func TestAccountSecurityTakesNoOtherRevision(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, revision := range []string{"-1", "", "0", "99999", "x"} {
		f := s.signedIn("admin").get(accountSecurity).having("Save")
		f.at("Password length").choose("13 characters or more")
		f.values.Set("revision", revision)
		f.values.Del("was")
		f.press("Save").is(412, "Somebody else saved these settings meanwhile")
	}
	if got := s.policyOf(sample.Old).Password.MinLength; got != 8 {
		t.Errorf("saved %d", got)
	}
}

// Where app passwords are required for ever there is nothing to choose, whatever a form sends.
func TestAccountSecurityOfANewDomain(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	p := s.signedIn("operator").get("/domains/"+sample.New+"/account-security").is(200, "It is so in domains that were created").hides("Required from")
	f := p.having("Save")
	f.values.Set(appPasswordsField, string(policy.MemberChoice))
	f.values.Set(requiredFromField, "2031-05-01T08:00")
	f.at("Password length").choose("9 characters or more")
	f.press("Save").is(200, "Saved.")
	if got := s.policyOf(sample.New); got.ThirdParty.AppPasswords != policy.Required || got.ThirdParty.RequiredFrom != nil || got.Password.MinLength != 9 {
		t.Errorf("saved %+v", got)
	}
}

// Others see no settings and save none.
func TestAccountSecurityRights(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	sent := s.signedIn("admin").get(accountSecurity).having("Save").values
	sent.Set("password.min_length", "15")
	for _, tc := range []struct {
		state, domain string
		status        int
		words         string
	}{
		{"account", sample.Old, 403, "You may not do this."},
		{"admin", sample.New, 404, "There is no such thing here."},
		{"admin", "none.example", 404, "There is no such thing here."},
		{"operator", "none.example", 404, "There is no such thing here."},
	} {
		b := s.signedIn(tc.state)
		b.get("/domains/"+tc.domain+"/account-security").is(tc.status, tc.words).hides("Password policies")
		b.send("POST", "/domains/"+tc.domain+"/account-security", sent).is(tc.status, tc.words)
	}
	at := s.browser().get(accountSecurity).at
	if at.Path != "/sign-in" || at.Query().Get("next") != accountSecurity {
		t.Errorf("who is not signed in is led to %s", at)
	}
	for domain, want := range map[string]int{sample.Old: 8, sample.New: 8} {
		if got := s.policyOf(domain).Password.MinLength; got != want {
			t.Errorf("%s: saved %d", domain, got)
		}
	}
	s.signedIn("operator").get(accountSecurity).having("Save").fill("Days, 1 to 365", "7").press("Save").is(200, "Saved.")
}
