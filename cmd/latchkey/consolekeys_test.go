package main

import (
	"testing"

	"latchkey/proxy/peers"
)

// TestPeersConsoleKeyboard comes from the sign-in to an app password by the keyboard alone.
func TestPeersConsoleKeyboard(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	w := newWalk(t, startDemo(t), manner{script: true})
	address, password := w.person("opted-in")
	w.b.Open(t, w.d.API+"/")
	w.on("Sign in")
	w.keyTo("Address")
	w.b.Type(t, address)
	w.keyTo("Password")
	w.b.Type(t, password)
	w.b.Key(t, "\r")
	w.on("Security")
	w.press("Skip to the content") // the menu is behind one
	w.press("Create a third-party app password")
	w.on("Third-party app passwords")
	w.press("Create new password")
	w.on("Create new password")
	w.keyTo("Enter the name of the third-party app you want to log in to")
	w.b.Type(t, "By hand")
	w.press("Create password")
	w.on("Your new app password")
	if !w.comesIn(address, w.secret(appPasswordShape)) {
		t.Error("the new password does not open the door")
	}
	w.press("Profile picture: open the menu")
	w.press("Sign out")
	w.on("Sign in")
}

// keyTo goes on with Tab until the keyboard is at something with that name. A page has fewer than 60 things.
func (w *walk) keyTo(name string) {
	w.t.Helper()
	var passed []string
	for range 60 {
		at := w.b.Focused(w.t)
		if at == name {
			return
		}
		passed = append(passed, at)
		w.b.Key(w.t, "\t")
	}
	w.t.Fatalf("Tab never comes to %q: %q", name, passed)
}

func (w *walk) press(name string) {
	w.t.Helper()
	w.keyTo(name)
	w.b.Key(w.t, "\r")
}
