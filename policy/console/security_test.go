package console

import (
	"testing"
	"time"

	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

const optionLabel = "Use a third-party app password"

// In a domain from before the cutoff members choose, and are told what the choice signs out.
func TestConsoleOptionInAnOlderDomain(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b, account := s.signedIn("account"), s.People["account"].Account.Reveal()
	imap := s.atDoor("imap", "account", account)
	if !imap.Allowed() {
		t.Fatal("the account password does not count at first")
	}
	p := b.get("/security").is(200, optionLabel+" Off").press(optionLabel)
	p.is(200, "you may be logged out of a third-party app that you have previously logged in to", "only with the app password from the next login",
		"create one for each third-party app", "These are logged out at once", "IMAP · 192.0.2.10")
	if !s.stands("imap", "account", account, imap) {
		t.Error("the question alone signed a program out")
	}
	p.press("Turn on").is(200, "only with an app password now", optionLabel+" On")
	if s.stands("imap", "account", account, imap) {
		t.Error("the program is still signed in")
	}
	if s.allows("imap", "account", account) {
		t.Error("the account password counts although the option is on")
	}
	b.get("/security/app-passwords").hides("do not work yet")
	s.clock.pass(11 * time.Minute)
	b.get("/security").press(optionLabel).leads("/reauthenticate", "/security/app-passwords/option")
	b.send("POST", "/security/app-passwords/option", map[string][]string{"use": {"off"}}).leads("/reauthenticate", "/")
	b = s.signedIn("account")
	b.get("/security").press(optionLabel).is(200, "with your account password again").press("Turn off").is(200, optionLabel+" Off")
	if !s.allows("imap", "account", account) {
		t.Error("the account password does not count although the option is off")
	}
	b.get("/security/app-passwords").is(200, "do not work yet")
}

// Where the domain has chosen there is no switch, and the page says why.
func TestConsoleOptionThatIsFixed(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	later := s.clock.now().Add(24 * time.Hour)
	for _, c := range []struct {
		name, state, why string
		change           func(*policy.ThirdParty)
		fixed            bool
	}{
		{"newer domain", "app-only", "Your domain was created on 2023-05-01", nil, true},
		{"required from a day on", "account", "your administrator requires a third-party app password", func(p *policy.ThirdParty) {
			p.AppPasswords, p.RequiredFrom = policy.Required, &later
		}, false},
		{"required", "account", "Your administrator requires a third-party app password", func(p *policy.ThirdParty) {
			p.AppPasswords, p.RequiredFrom = policy.Required, nil
		}, true},
	} {
		if c.change != nil {
			s.policy(sample.Old, func(p *policy.Policy) { c.change(&p.ThirdParty) })
		}
		b := s.signedIn(c.state)
		p := b.get("/security").is(200, c.why)
		if !c.fixed {
			p.press(optionLabel).is(200, "Turn on")
			continue
		}
		p.is(200, optionLabel+" On")
		for _, button := range buttons(p.doc, p.doc) {
			if label(button) == optionLabel {
				t.Errorf("%s: there is a switch", c.name)
			}
		}
		b.get("/security/app-passwords/option").is(409, "Your domain has chosen for you.")
		b.send("POST", "/security/app-passwords/option", map[string][]string{"use": {"off"}}).is(409)
	}
}

// The overview shows what is set up, and only the ways that are open or used.
func TestConsoleSecurityOverview(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("account")
	p := b.get("/security").is(200, "Account password Set:", "2-step verification Off", "Browsers and apps: 1 Third-party apps: 0")
	p.hides("Login with phone number", "Quick login devices", "Passkeys", "Login with LINE")
	s.policy(sample.Old, func(p *policy.Policy) {
		p.SignIn.Phone, p.SignIn.Quick, p.SignIn.Passkey, p.SignIn.LINE, p.SignIn.TwoStep = policy.Allow, policy.Allow, policy.Allow, policy.Allow, policy.TwoStepRequired
	})
	p = b.get("/security").is(200, "Login with phone number Not linked", "Quick login devices Devices: 0", "Passkeys Passkeys: 0", "2-step verification On Your administrator requires it.")
	p.hides("Login with LINE") // no provider is configured
	if _, err := s.DenyWays(t.Context(), authtest.Operator(), s.People["account"].Address, []string{policy.WayPhone}, 0); err != nil {
		t.Fatal(err)
	}
	b.get("/security").is(200).hides("Login with phone number")
	s.browser().get("/security").leads("/sign-in", "/security")
}
