package main

import (
	"testing"

	"latchkey/proxy/peers"
)

// A member's own pages in a browser, in a domain where app passwords are not a choice: as many as one may have, what is told
// of them, setting up a program, where one is signed in, and the language.

func TestPeersConsoleOwn(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, false, walkOwn)
}

func TestDrillConsoleOwn(t *testing.T) {
	if !drillsAreLong() {
		t.Parallel()
	}
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, true, walkOwn)
}

func walkOwn(t *testing.T, how manner) {
	w := newWalk(t, startDemo(t), how)
	address, password := w.person("app-only")
	w.signIn(address, password)
	w.says("Security", "1 of 5 used", "To prevent account hijacking, members of such a domain")
	w.upToTheLimit()
	w.own("Notifications")
	w.b.See(t, "A third-party app password was created")
	w.picture("notifications")
	w.program(address)
	w.elsewhere(address, password)
	w.languages()
}

// upToTheLimit creates four beside the one that is there, then there is no button for a sixth; two are deleted again.
func (w *walk) upToTheLimit() {
	w.t.Helper()
	names := []string{"Phone", "Tablet", "Laptop", "Desk"}
	for _, name := range names {
		w.create(name)
	}
	w.says("Third-party app passwords", "5 of 5 used", "To create another one, delete one that you are no longer using.")
	if w.b.Has(w.t, "link", "Create new password") {
		w.t.Error("a sixth app password can be created")
	}
	for _, name := range names[:2] {
		w.b.Follow(w.t, "Delete "+name)
		w.on("Delete " + name)
		w.b.Press(w.t, "Delete")
		w.says("Third-party app passwords", "The app password was deleted.")
	}
}

// program sets up Thunderbird with a password of its own, and looks at the other choices.
func (w *walk) program(address string) {
	w.t.Helper()
	w.own("Set up a program")
	w.picture("programs")
	w.b.Follow(w.t, "Set up Thunderbird")
	w.on("Set up Thunderbird")
	w.b.Press(w.t, "Create password")
	w.says("The way in for Thunderbird", "It is shown only this once.", "SSL/TLS", address)
	w.picture("program-thunderbird")
	if !w.comesIn(address, w.secret(appPasswordShape)) {
		w.t.Error("the program does not come in with its password")
	}
	w.own("Set up a program")
	w.b.Follow(w.t, "Set up Apple Mail")
	w.on("Set up Apple Mail")
	w.b.Press(w.t, "Create password")
	w.says("The way in for Apple Mail", "Install it.")
	if !w.b.Has(w.t, "button", "Download the profile") {
		w.t.Error("there is no profile")
	}
}

// elsewhere sees the other places where one is signed in, and signs out there.
func (w *walk) elsewhere(address, password string) {
	w.t.Helper()
	_, app := w.d.app(w.t, "app-only")
	k, answer, err := door{"imap", w.d.Doors.IMAPS, w.d.CA}.enter(w.d.tls, address, app)
	if err != nil {
		w.t.Fatal(answer, err)
	}
	w.t.Cleanup(func() { _ = k.Close() })
	api := w.api(address, password)
	w.security()
	w.b.Follow(w.t, "Show sessions")
	w.says("Sessions", "IMAP", "This one")
	w.picture("sessions")
	w.b.Press(w.t, "Sign out Demo")
	w.says("Sessions", "The session was signed out.", "No third-party app is connected.")
	if line, err := k.hearTo("* BYE"); err == nil {
		w.t.Log(line)
		_, err = k.hear()
		if err == nil {
			w.t.Error("the session goes on")
		}
	}
	w.b.Press(w.t, "Sign out everywhere else")
	w.says("Sessions", "Everything else was signed out.")
	if status, err := api.do("GET", "/me", nil, nil); err != nil || status != 401 {
		w.t.Errorf("the other session goes on: %d %v", status, err)
	}
	w.security()
	w.b.Follow(w.t, "Show activity")
	w.says("Recent activity", "App password created", "App password deleted", "Sign-in", "A session was signed out")
	w.picture("activity")
}

// languages are chosen at the foot of every page, or on a page of their own.
func (w *walk) languages() {
	w.t.Helper()
	w.security()
	for _, l := range []struct{ button, heading, code string }{{"日本語", "セキュリティ", "ja"}, {"한국어", "보안", "ko"}, {"English", "Security", "en"}} {
		w.b.Press(w.t, l.button)
		w.on(l.heading)
		if l.code != "en" {
			w.picture("security-" + l.code)
		}
	}
	w.own("Language")
	w.b.Choose(w.t, "日本語")
	w.b.Press(w.t, "Save")
	w.on("言語")
	w.b.Choose(w.t, "English")
	w.b.Press(w.t, "保存")
	w.on("Language")
}
