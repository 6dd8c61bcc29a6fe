package main

import (
	"testing"

	"latchkey/proxy/peers"
)

// The help page "third-party app passwords", walked in a browser as it is written, in a domain from before the cutoff and in
// one born after it.

func TestPeersConsoleAppPasswords(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, false, walkAppPasswords)
}

func TestDrillConsoleAppPasswords(t *testing.T) {
	if !drillsAreLong() {
		t.Parallel()
	}
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, true, walkAppPasswords)
}

func walkAppPasswords(t *testing.T, how manner) {
	w := newWalk(t, startDemo(t), how)
	address, password := w.person("account")
	w.signIn(address, password)
	w.on("Security")
	w.picture("security")
	w.turnOn(address, password)
	secret := w.create("Thunderbird at home")
	if !w.comesIn(address, secret) {
		t.Error("the new password does not open the door")
	}
	if w.comesIn(address, password) {
		t.Error("the account password still opens the door")
	}
	w.delete("Thunderbird at home")
	if w.comesIn(address, secret) {
		t.Error("the deleted password opens the door")
	}
}

// turnOn is "Enable third-party app passwords".
func (w *walk) turnOn(address, password string) {
	w.t.Helper()
	if !w.comesIn(address, password) {
		w.t.Error("the account password does not open the door of a domain from before the cutoff")
	}
	w.security()
	w.b.Choose(w.t, "Use a third-party app password")
	w.on("Use a third-party app password")
	w.picture("app-password-option")
	w.b.See(w.t, "you may be logged out of a third-party app that you have previously logged in to")
	w.b.Press(w.t, "Turn on")
	w.on("Security")
}

// create is "Create a third-party password".
func (w *walk) create(name string) string {
	w.t.Helper()
	w.security()
	w.b.Follow(w.t, "Create a third-party app password")
	w.on("Third-party app passwords")
	w.b.Follow(w.t, "Create new password")
	w.on("Create new password")
	w.b.Fill(w.t, "Enter the name of the third-party app you want to log in to", name)
	w.picture("app-password-new")
	w.b.Press(w.t, "Create password")
	w.on("Your new app password")
	w.picture("app-password-made")
	secret := w.secret(appPasswordShape)
	w.b.Follow(w.t, "Back to the list")
	w.on("Third-party app passwords")
	w.b.See(w.t, name)
	w.picture("app-passwords")
	return secret
}

// delete is "Delete a third-party password".
func (w *walk) delete(name string) {
	w.t.Helper()
	w.security()
	w.b.Follow(w.t, "Create a third-party app password")
	w.on("Third-party app passwords")
	w.b.See(w.t, "Manage")
	w.b.Follow(w.t, "Delete "+name)
	w.on("Delete " + name)
	w.b.Press(w.t, "Delete")
	w.on("Third-party app passwords")
	w.b.See(w.t, "You have not created one yet.")
}
