package console

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

const nameOfApp = "Enter the name of the third-party app you want to log in to"

var appPassword = regexp.MustCompile(`\b[a-z2-9]{4}(-[a-z2-9]{4}){3}\b`)

// made is the app password that a page shows.
func (p *shown) madeSecret() string {
	p.b.s.t.Helper()
	found := appPassword.FindString(p.text())
	if found == "" {
		p.b.s.t.Fatalf("%s shows no app password:\n%s", p.at, p.text())
	}
	return found
}

// at is how an attempt at a door ends.
func (s *stage) atDoor(door, state, password string) authcore.Decision {
	s.t.Helper()
	d, err := s.Authenticate(s.t.Context(), authtest.Attempt(door, s.People[state].Address, password))
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *stage) allows(door, state, password string) bool {
	return s.atDoor(door, state, password).Allowed()
}

func (s *stage) policy(domain string, change func(*policy.Policy)) {
	s.t.Helper()
	p, revision, err := s.Policy(s.t.Context(), authtest.Operator(), domain)
	if err != nil {
		s.t.Fatal(err)
	}
	change(&p)
	if _, err := s.SetPolicy(s.t.Context(), authtest.Operator(), domain, p, revision); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) actor(state string) authcore.Actor { return s.Actor(s.t, state) }

// leads fails the test unless the page is that of the path, and comes back to the other one.
func (p *shown) leads(path, back string) {
	p.b.s.t.Helper()
	if p.at.Path != path || !strings.HasPrefix(p.at.Query().Get("next"), back) {
		p.b.s.t.Fatalf("led to %s, want %s and back to %s", p.at, path, back)
	}
}

// The paths of the help page "third-party app passwords": create, copy, use, delete.
func TestConsoleAppPasswordFromCreationToDeletion(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("app-only")
	list := b.get("/").is(200, "Use a third-party app password", "1 of 5 used").follow("Create a third-party app password").is(200, "Demo", "Manage")
	p := list.follow("Create new password").having("Create password").fill(nameOfApp, "My <Phone>").press("Create password")
	p.is(200, "field of My <Phone>.", "shown only this once", "one password for each app", "suspect account hijacking", "Next steps", "Set up a program")
	if p.header.Get("Cache-Control") != "no-store" {
		t.Error("the page with the secret may be kept")
	}
	secret := p.madeSecret()
	if !s.allows("imap", "app-only", strings.ToUpper(secret)) {
		t.Fatal("it does not sign in")
	}
	b.get("/notifications").is(200, "My <Phone>")
	list = p.follow("Back to the list").is(200, "2 of 5 used", "My <Phone>")
	if strings.Contains(list.body, secret) {
		t.Error("the list shows the secret")
	}
	p = list.follow("Delete My <Phone>").is(200, "can no longer log in", "These are logged out at once", "IMAP · 192.0.2.10")
	s.clock.pass(time.Hour) // deleting needs no re-authentication
	p.press("Delete").is(200, "The app password was deleted.", "1 of 5 used").hides("My <Phone>")
	if s.allows("imap", "app-only", secret) {
		t.Error("it signs in although it is deleted")
	}
}

func TestConsoleAppPasswordShowsItsLastUse(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	app := s.People["app-only"].AppPasswords[0]
	use := apppass.Use{At: time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC), Door: "caldav", From: "203.0.113.9", Agent: "DAVx5/4.4"}
	key := apppass.UseKey(s.actor("app-only").Domain, s.actor("app-only").Member, app.ID)
	if _, err := s.Records.Apply(t.Context(), key.Partition, member.PutOp(key, use, 0)); err != nil {
		t.Fatal(err)
	}
	p := s.signedIn("app-only").get("/security/app-passwords").is(200, "2026-03-04 05:06 UTC CalDAV · 203.0.113.9 · DAVx5/4.4")
	p.follow("Delete Demo").is(200, "CalDAV · 203.0.113.9 · DAVx5/4.4", "No third-party app is connected with it.")
}

func TestConsoleAppPasswordMistakes(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, c := range []struct {
		name  string
		fill  func(*filling) *filling
		words string
	}{
		{"no name", func(f *filling) *filling { return f }, "1 to 40 characters"},
		{"long name", func(f *filling) *filling { return f.fill(nameOfApp, strings.Repeat("x", 41)) }, "1 to 40 characters"},
		{"deceiving name", func(f *filling) *filling { return f.fill(nameOfApp, "a\u202eb") }, "1 to 40 characters"},
		{"no door", func(f *filling) *filling {
			for _, d := range []string{"IMAP: read mail", "SMTP: send mail", "POP3: fetch mail", "CalDAV: calendars", "CardDAV: contacts"} {
				f.untick(d)
			}
			return f.fill(nameOfApp, "Phone")
		}, "Choose at least one."},
		{"no network", func(f *filling) *filling { return f.fill(nameOfApp, "Phone").fill("Allowed networks", "home") }, "192.0.2.0/24"},
		{"no day", func(f *filling) *filling {
			return f.fill(nameOfApp, "Phone").fill("Last day on which it works", "soon")
		}, "day like"},
		{"a day that is over", func(f *filling) *filling {
			return f.fill(nameOfApp, "Phone").fill("Last day on which it works", "2020-01-01")
		}, "future"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := s.signedIn("account")
			b.s = &stage{Core: s.Core, t: t, url: s.url, http: s.http, clock: s.clock}
			f := c.fill(b.get("/security/app-passwords/new").having("Create password"))
			p := f.press("Create password").is(422, "Some fields are not right.", c.words)
			for field, typed := range p.having("Create password").values {
				if got := f.values[field]; strings.Join(got, " ") != strings.Join(typed, " ") {
					t.Errorf("%s: %q became %q", field, got, typed)
				}
			}
			b.get("/security/app-passwords").is(200, "0 of 5 used")
		})
	}
}

func TestConsoleAppPasswordIsBound(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("app-only")
	day := s.clock.now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	p := b.get("/security/app-passwords/new?name=Backup&doors=imap").having("Create password").fill("Allowed networks", "192.0.2.0/24\n203.0.113.7").
		fill("Last day on which it works", day).press("Create password")
	secret := p.madeSecret()
	b.get("/security/app-passwords").is(200, "Backup IMAP 192.0.2.0/24 203.0.113.7/32", day)
	for door, want := range map[string]bool{"imap": true, "smtp": false} {
		if got := s.allows(door, "app-only", secret); got != want {
			t.Errorf("%s: allowed %t", door, got)
		}
	}
	s.clock.pass(48 * time.Hour)
	if s.allows("imap", "app-only", secret) {
		t.Error("it signs in after its last day")
	}
}

// A form that is sent again makes no second app password: it is shown what it came to.
func TestConsoleAppPasswordSentTwice(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("account")
	f := b.get("/security/app-passwords/new").having("Create password").fill(nameOfApp, "Phone")
	first, second := f.press("Create password").madeSecret(), f.press("Create password").madeSecret()
	if first != second {
		t.Error("the form made two")
	}
	b.get("/security/app-passwords").is(200, "1 of 5 used")
	f.fill(nameOfApp, "Another")
	if p := f.press("Create password").is(422); appPassword.MatchString(p.text()) {
		t.Error("another request under the same value was shown a secret")
	}
	f.values.Del("once")
	f.press("Create password").is(422, "The form did not arrive whole.")
	b.get("/security/app-passwords").is(200, "1 of 5 used")
}

func TestConsoleSixthAppPassword(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("account")
	var forms []*filling
	for i := range 10 {
		forms = append(forms, b.get("/security/app-passwords/new").having("Create password").fill(nameOfApp, fmt.Sprint("program ", i)))
	}
	pages := make([]*shown, len(forms))
	var wg sync.WaitGroup
	for i, f := range forms {
		wg.Go(func() { pages[i] = f.press("Create password") })
	}
	wg.Wait()
	made := 0
	for _, p := range pages {
		switch p.status {
		case 200:
			p.madeSecret()
			made++
		default:
			p.is(409, "You can create up to 5 third-party app passwords. Delete one", "5 of 5 used")
		}
	}
	if made != 5 {
		t.Errorf("%d were made", made)
	}
	b.get("/security/app-passwords").is(200, "5 of 5 used", "delete one").hides("Create new password")
	b.get("/security/app-passwords/new").is(409, "You can create up to 5")
	s.policy(sample.Old, func(p *policy.Policy) { p.ThirdParty.MaxAppPasswords = 2 })
	b.get("/security").is(200, "5 of 2 used")
}

// Whoever must prove himself anew does it before he types, or loses nothing of what he typed.
func TestConsoleAppPasswordAsksWhoOneIs(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("account")
	f := b.get("/security/app-passwords/new").having("Create password").fill(nameOfApp, "Küche").untick("SMTP: send mail")
	s.clock.pass(11 * time.Minute)
	b.get("/security/app-passwords").is(200, "Create new password").follow("Create new password").leads("/reauthenticate", "/security/app-passwords/new")
	p := f.press("Create password")
	p.leads("/reauthenticate", "/security/app-passwords/new?")
	again := p.having("Confirm").fill("Password", s.People["account"].Account.Reveal()).press("Confirm").is(200, "Create new password").having("Create password")
	if again.values.Get("name") != "Küche" || strings.Join(again.values["doors"], " ") != "imap pop3 caldav carddav" {
		t.Errorf("the form after it: %v", again.values)
	}
	b.get("/security/app-passwords").is(200, "0 of 5 used")
	again.press("Create password").is(200, "field of Küche.")
	b.get("/security/app-passwords").is(200, "1 of 5 used", "IMAP, POP3, CalDAV, CardDAV")
}

func TestConsoleAppPasswordsAreOnesOwn(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	theirs := s.People["opted-in"].AppPasswords[0]
	for _, state := range []string{"account", "app-only", "admin", "operator"} {
		b := s.signedIn(state)
		path := "/security/app-passwords/" + theirs.ID + "/delete"
		b.get(path).is(404)
		b.send("POST", path, map[string][]string{}).is(404)
	}
	s.browser().get("/security/app-passwords").leads("/sign-in", "/security/app-passwords")
	s.browser().send("POST", "/security/app-passwords/new", map[string][]string{"name": {"x"}, "once": {"0123456789abcdef"}}).leads("/sign-in", "/")
	s.signedIn("opted-in").get("/security/app-passwords").is(200, "Demo", "1 of 5 used")
	if !s.allows("imap", "opted-in", theirs.Secret.Reveal()) {
		t.Error("it does not sign in any more")
	}
}
