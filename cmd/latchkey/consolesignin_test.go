package main

import (
	"testing"

	"latchkey/proxy/peers"
)

// Signing in with a password in a browser: a temporary one, a wrong one, one that is too old, too many wrong ones, one that is
// forgotten.

func TestPeersConsoleSignIn(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, false, walkSignIn)
}

func TestDrillConsoleSignIn(t *testing.T) {
	if !drillsAreLong() {
		t.Parallel()
	}
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, true, walkSignIn)
}

func walkSignIn(t *testing.T, how manner) {
	w := newWalk(t, startDemo(t), how)
	temporary := w.added("haruka")
	w.setOwn("haruka@old.example", temporary)
	w.tooOften("haruka@old.example")
	w.lifted("haruka@old.example")
	w.expired()
	w.forgotten()
}

// added has the administrator make a member, and set the limit of wrong passwords.
func (w *walk) added(name string) (temporary string) {
	w.t.Helper()
	w.signIn(w.person("admin"))
	w.on("Security")
	w.left("Members")
	w.b.Follow(w.t, "Add member")
	w.on("Add member")
	w.b.Fill(w.t, "Address", name)
	w.b.Fill(w.t, "Name", "Haruka")
	w.b.Fill(w.t, "Personal e-mail addresses", name+"@personal.example")
	w.b.Press(w.t, "Add member")
	w.on("Member added")
	temporary = w.secret(temporaryShape)
	w.account()
	w.b.Unfold(w.t, "Limit the number of login attempts")
	w.b.Select(w.t, "Limit the number of login attempts", "Suspend after 3 wrong passwords")
	w.b.Press(w.t, "Save")
	w.says("Account Security", "Saved.")
	w.signOut()
	return temporary
}

const ownPassword = "Tangerine-42-window"

// setOwn signs in with the temporary password, is told what the new one lacks, and comes in with a good one.
func (w *walk) setOwn(address, temporary string) {
	w.t.Helper()
	w.signIn(address, "not-it-at-all-0")
	w.says("Sign in", "Wrong name or password")
	w.picture("sign-in-wrong")
	w.b.Fill(w.t, "Password", temporary)
	w.b.Press(w.t, "Sign in")
	w.says("Set a new password", "Your password is temporary", "At least 8 characters", "An English letter", "A number")
	w.setPassword("abc", "abc")
	w.says("Set a new password", "It is too short.", "It needs a number.")
	w.picture("password-rules")
	w.setPassword(ownPassword, ownPassword+"s")
	w.says("Set a new password", "The two passwords differ.")
	w.setPassword(ownPassword, ownPassword)
	w.on("Security")
	w.signOut()
}

func (w *walk) setPassword(first, again string) {
	w.t.Helper()
	w.b.Fill(w.t, "New password", first)
	w.b.Fill(w.t, "New password once more", again)
	w.b.Press(w.t, "Set the password")
}

// tooOften is suspended by three wrong passwords, and the right one does not help any more.
func (w *walk) tooOften(address string) {
	w.t.Helper()
	w.b.Fill(w.t, "Address", address)
	for _, guess := range []string{"not-it-at-all-1", "not-it-at-all-2", "not-it-at-all-3"} {
		w.b.Fill(w.t, "Password", guess)
		w.b.Press(w.t, "Sign in")
		w.says("Sign in", "Wrong name or password")
	}
	w.b.Fill(w.t, "Password", ownPassword)
	w.b.Press(w.t, "Sign in")
	w.says("Sign in", "if your account is suspended, ask your administrator")
}

// lifted is let in once the administrator has removed the suspension.
func (w *walk) lifted(address string) {
	w.t.Helper()
	w.signIn(w.person("admin"))
	w.on("Security")
	w.left("Members")
	w.b.Follow(w.t, address)
	w.says("Haruka", "Suspended after too many sign-in attempts with wrong passwords.")
	w.b.Press(w.t, "Remove suspension")
	w.says("Haruka", "Active")
	w.signOut()
	w.signIn(address, ownPassword)
	w.on("Security")
	w.signOut()
}

// expired registers a new password when signing in.
func (w *walk) expired() {
	w.t.Helper()
	w.signIn(w.person("expired"))
	w.says("Set a new password", "has expired")
	w.setPassword(ownPassword, ownPassword)
	w.on("Security")
	w.signOut()
}

// forgotten sets a new password with a code that comes to the personal address, and finds the address the same way.
func (w *walk) forgotten() {
	w.t.Helper()
	const address, personal, next = "haruka@old.example", "haruka@personal.example", "Clementine-43-window"
	w.b.Follow(w.t, "Forgotten your password?")
	w.on("Forgotten your password?")
	w.b.Fill(w.t, "Address", address)
	w.b.Choose(w.t, "My personal email address")
	w.b.Press(w.t, "Send a verification number")
	w.says("Forgotten your password?", "If there is such a member with such a contact")
	w.b.Fill(w.t, "Verification number", "000000")
	w.b.Press(w.t, "Confirm")
	w.says("Forgotten your password?", "The code is wrong")
	w.b.Fill(w.t, "Verification number", w.code(personal, ""))
	w.b.Press(w.t, "Confirm")
	w.on("Set a new password")
	w.setPassword(next, next)
	w.says("Sign in", "Your new password is set. Sign in with it.")
	w.b.Follow(w.t, "Forgotten your address?")
	w.on("Forgotten your address?")
	w.b.Fill(w.t, "Personal email address or mobile phone number", personal)
	w.b.Press(w.t, "Send my addresses to it")
	w.says("Sign in", "If there are addresses that belong to this contact, they were sent to it.")
	w.signIn(address, next)
	w.on("Security")
}
