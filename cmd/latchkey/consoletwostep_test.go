package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/otp"
	"latchkey/authcore/secret"
	"latchkey/proxy/peers"
)

// 2-step verification in a browser: a personal e-mail address, an authenticator app, recovery codes, a passkey; and what a
// member meets whose administrator requires it.

func TestPeersConsoleTwoStep(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, false, walkTwoStep)
}

func TestDrillConsoleTwoStep(t *testing.T) {
	if !drillsAreLong() {
		t.Parallel()
	}
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, true, walkTwoStep)
}

func walkTwoStep(t *testing.T, how manner) {
	w := newWalk(t, startDemo(t), how)
	address, password := w.person("account")
	const personal = "mika@personal.example"
	w.signIn(address, password)
	w.on("Security")
	w.twoStep()
	w.b.Press(t, "Switch on 2-step verification")
	w.says("2-step verification", "Verify a personal e-mail address or mobile number, or add an authenticator app, first.")
	code := w.verified(personal)
	w.b.Press(t, "Switch on 2-step verification")
	w.says("2-step verification", "2-step verification is on")
	w.picture("two-step")
	w.signOut()
	w.byEmail(address, password, personal, code)
	key := w.app()
	recovery := w.recovery()
	w.signOut()
	w.signIn(address, password)
	w.on("2-step verification")
	w.b.Press(t, "Authenticator app")
	w.answer(appCode(t, key, time.Now().Add(30*time.Second))) // the one of now is used already
	w.signOut()
	w.signIn(address, password)
	w.on("2-step verification")
	w.b.Press(t, "Recovery code")
	w.b.Fill(t, "Recovery code", recovery)
	w.b.Press(t, "Confirm")
	w.on("Security")
	w.signOut()
	w.required()
}

// twoStep goes to the page from the page Security.
func (w *walk) twoStep() {
	w.t.Helper()
	w.security()
	w.b.Follow(w.t, "Set up 2-step verification")
	w.on("2-step verification")
}

// verified enters a personal e-mail address and verifies it.
func (w *walk) verified(personal string) (code string) {
	w.t.Helper()
	w.twoStep()
	w.b.Follow(w.t, "Add: Personal e-mail address")
	w.on("Personal e-mail address")
	w.b.Fill(w.t, "E-mail address", personal)
	w.b.Press(w.t, "Send verification number")
	w.on("Enter the verification number")
	w.b.Fill(w.t, "Verification number", "12")
	w.b.Press(w.t, "Verify")
	w.says("Enter the verification number", "The code is wrong")
	code = w.code(personal, "")
	w.b.Fill(w.t, "Verification number", code)
	w.b.Press(w.t, "Verify")
	w.says("2-step verification", "It is verified.", personal)
	return code
}

// byEmail signs in with a number that comes by e-mail.
func (w *walk) byEmail(address, password, personal, before string) {
	w.t.Helper()
	w.signIn(address, password)
	w.on("2-step verification")
	w.b.Unfold(w.t, "Send a verification number to ")
	w.says("2-step verification", "A verification number was sent")
	w.picture("sign-in-code")
	w.b.Fill(w.t, "Verification number", "000000")
	w.b.Press(w.t, "Confirm")
	w.says("2-step verification", "The code is wrong")
	w.answer(w.code(personal, before))
}

// answer types the number that is asked for, and is in.
func (w *walk) answer(code string) {
	w.t.Helper()
	w.b.Fill(w.t, "Verification number", code)
	w.b.Press(w.t, "Confirm")
	w.on("Security")
}

// app sets up an authenticator app by its key.
func (w *walk) app() (key string) {
	w.t.Helper()
	w.twoStep()
	w.b.Follow(w.t, "Set up the authenticator app")
	w.on("Authenticator app")
	w.b.Press(w.t, "Set up the app")
	w.says("Authenticator app", "Scan this QR code with the app")
	key = w.secret(appKeyShape)
	w.b.Fill(w.t, "Verification number", appCode(w.t, key, time.Now()))
	w.b.Press(w.t, "Confirm")
	w.b.See(w.t, "The authenticator app is in use.")
	w.look()
	return key
}

// appCode is what the app shows.
func appCode(t *testing.T, key string, at time.Time) string {
	t.Helper()
	code, err := otp.CodeAt(secret.New(strings.ReplaceAll(key, " ", "")), at)
	if err != nil {
		t.Fatal(err)
	}
	return code.Reveal()
}

// recovery makes recovery codes, and answers one.
func (w *walk) recovery() string {
	w.t.Helper()
	w.twoStep()
	w.b.Follow(w.t, "Manage recovery codes")
	w.on("Recovery codes")
	w.b.Press(w.t, "Create new recovery codes")
	w.says("Recovery codes", "They are shown once.")
	code := w.secret(regexp.MustCompile(`\b[a-z2-9]{5}-[a-z2-9]{5}\b`))
	w.b.Follow(w.t, "I have kept them")
	w.says("2-step verification", "10 left")
	return code
}

// required has a member register a method at the next sign-in, because the policy says so.
func (w *walk) required() {
	w.t.Helper()
	const personal = "opted@personal.example"
	w.signIn(w.person("admin"))
	w.on("Security")
	w.account()
	w.requireTwoStep()
	w.signOut()
	address, password := w.person("opted-in")
	w.signIn(address, password)
	w.says("Register a method of 2-step verification", "Your domain requires 2-step verification.")
	w.picture("enrolment")
	w.b.Fill(w.t, "Personal email address", personal)
	w.b.Press(w.t, "Send a verification number by email")
	w.says("Register a method of 2-step verification", personal)
	code := w.code(personal, "")
	w.answer(code)
	w.signOut()
	w.byEmail(address, password, personal, code)
}
