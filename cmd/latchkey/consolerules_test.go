package main

import (
	"testing"

	"latchkey/proxy/peers"
)

// The help page "Account Security", walked in a browser as it is written: every field, every option.

func TestPeersConsoleAccountSecurity(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, false, walkAccountSecurity)
}

func TestDrillConsoleAccountSecurity(t *testing.T) {
	if !drillsAreLong() {
		t.Parallel()
	}
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, true, walkAccountSecurity)
}

// fields are those of the page in its order, each with its options in the page's words; the last is what it is set to.
var fieldsOfThePage = []struct {
	field   string
	list    bool // a list; else radio buttons
	options []string
}{
	{"Password format", false, []string{"Combination of letters and numbers", "Combine alphabets, numbers, and special characters"}},
	{"Password length", true, []string{"8 characters or more", "20 characters or more", "12 characters or more"}},
	{"Password expiration date", false, []string{
		"Never", "Password expires after 30 days", "Password expires after 60 days", "Password expires after 180 days", "Password expires after 365 days", "Password expires after 90 days",
	}},
	{"Restrict re-use of passwords", false, []string{
		"No additional limitation", "You cannot use the last 1 passwords", "You cannot use the last 2 passwords", "You cannot use the last 4 passwords",
		"You cannot use the last 5 passwords", "You cannot use the last 3 passwords",
	}},
	{"Limit the number of login attempts", true, []string{"No limit", "Suspend after 20 wrong passwords", "Suspend after 5 wrong passwords"}},
	{"Login with LINE", false, []string{"Do not approve", "Allow"}},
	{"Login with phone number", false, []string{"Do not approve", "Allow"}},
	{"Quick Login (Mobile app)", false, []string{"Do not approve", "Allow"}},
}

func walkAccountSecurity(t *testing.T, how manner) {
	w := newWalk(t, startDemo(t), how)
	w.signIn(w.person("admin"))
	w.on("Security")
	w.account()
	w.picture("account-security")
	for _, f := range fieldsOfThePage {
		w.b.Unfold(t, f.field)
		for _, option := range f.options {
			if f.list {
				w.b.Select(t, f.field, option)
			} else {
				w.b.Choose(t, option)
			}
		}
		if f.field == "Password expiration date" {
			w.picture("account-security-open")
		}
		w.b.Unfold(t, f.field) // closed again: the next field has the same words
	}
	w.b.Press(t, "Save")
	w.on("Account Security")
	w.b.See(t, "Saved.")
	for _, f := range fieldsOfThePage {
		w.b.See(t, f.options[len(f.options)-1])
	}
	w.requireTwoStep()
}

// requireTwoStep sees what it would do before it is done.
func (w *walk) requireTwoStep() {
	w.t.Helper()
	w.b.Unfold(w.t, "2-step verification")
	w.b.Choose(w.t, "Required – Apply 2-step verification to all members")
	w.b.Press(w.t, "Save")
	w.on("Before you save")
	w.b.See(w.t, "Nothing is saved yet.")
	w.picture("account-security-preview")
	w.b.Press(w.t, "Back")
	w.on("Account Security")
	w.b.See(w.t, "not saved yet")
	w.b.Press(w.t, "Save")
	w.on("Before you save")
	w.b.Press(w.t, "Save")
	w.on("Account Security")
	w.b.See(w.t, "Saved.", "Required – Apply 2-step verification to all members")
}
