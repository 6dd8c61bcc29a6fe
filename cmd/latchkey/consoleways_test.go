package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"latchkey/authcore/quick"
	"latchkey/proxy/peers"
)

// Login with phone number, passkeys and Quick login in a browser, from "Allow" on the administrator's page on; what is taken
// away with "Do not approve" is refused from the next login on.

func TestPeersConsoleWays(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, false, walkWays)
}

func TestDrillConsoleWays(t *testing.T) {
	if !drillsAreLong() {
		t.Parallel()
	}
	peers.Need(t, "chromium", "axe-core")
	everyManner(t, true, walkWays)
}

func walkWays(t *testing.T, how manner) {
	w := newWalk(t, startDemo(t), how)
	w.rule("Allow", "Login with phone number", "Passkeys", "Quick Login (Mobile app)")
	address, password := w.person("account")
	w.signIn(address, password)
	w.says("Security", "Login with phone number", "Passkeys", "Quick login devices")
	w.phone()
	w.quickDevice(address, password)
	w.passkeys(address, password)
	w.rule("Do not approve", "Login with phone number", "Passkeys")
	w.says("Sign in", "Your domain has no other way.")
}

// rule has the administrator choose the same for several fields.
func (w *walk) rule(option string, fields ...string) {
	w.t.Helper()
	w.signIn(w.person("admin"))
	w.on("Security")
	w.account()
	for _, f := range fields {
		w.b.Unfold(w.t, f)
		w.b.Choose(w.t, option)
		w.b.Unfold(w.t, f)
	}
	w.b.Press(w.t, "Save")
	w.says("Account Security", "Saved.")
	w.signOut()
}

// phone connects a number, and signs in with it.
func (w *walk) phone() {
	w.t.Helper()
	const number = "+819012345678"
	w.b.Follow(w.t, "Set up Login with phone number")
	w.says("Login with phone number", "No phone number is connected.")
	w.b.Fill(w.t, "Mobile phone number", "090 1234 5678")
	w.b.Press(w.t, "Send verification number")
	w.says("Login with phone number", "with its country")
	w.b.Fill(w.t, "Mobile phone number", "+81 90 1234 5678")
	w.b.Press(w.t, "Send verification number")
	w.on("Enter the verification number")
	code := w.code(number, "")
	w.b.Fill(w.t, "Verification number", code)
	w.b.Press(w.t, "Connect")
	w.says("Login with phone number", "Your phone number is connected. You can sign in with it.")
	w.signOut()
	w.b.Follow(w.t, "Login with phone number")
	w.on("Login with phone number")
	w.b.Fill(w.t, "Mobile phone number", "+81 90 1234 5678")
	w.b.Press(w.t, "Send a verification number")
	w.says("Login with phone number", "If a member has connected this number")
	code = w.code(number, code)
	w.b.Press(w.t, "Send it as a service message instead")
	w.says("Login with phone number", "Too many attempts: try again in")
	w.answer(code)
}

// quickDevice is registered by an app, and deleted on its page.
func (w *walk) quickDevice(address, password string) {
	w.t.Helper()
	w.registerDevice(w.api(address, password), "Pixel")
	w.security()
	w.b.Follow(w.t, "Set up Quick login devices")
	w.says("Mobile app Quick login", "Pixel")
	w.picture("quick-login")
	w.b.Press(w.t, "Delete Pixel")
	w.says("Mobile app Quick login", "The device was deleted.", "No device is registered.")
}

// registerDevice is what the app does.
func (w *walk) registerDevice(api *apiClient, name string) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	var began struct{ Ticket, Device, Challenge string }
	if status, err := api.do("POST", "/me/quick-devices/begin", nil, &began); err != nil || status != 200 {
		w.t.Fatalf("begin: %d %v", status, err)
	}
	h := sha256.Sum256([]byte(strings.Join([]string{string(quick.Registering), began.Challenge, began.Device, w.d.API}, "\n")))
	r, s, err := ecdsa.Sign(rand.Reader, key, h[:])
	if err != nil {
		w.t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	var answer m
	status, err := api.do("POST", "/me/quick-devices", m{
		"ticket": began.Ticket, "name": name, "pin": "283947", "origin": w.d.API,
		"public_key": m{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		"signature":  b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)),
	}, &answer)
	if err != nil || status != 201 {
		w.t.Fatalf("register: %d %v %v", status, err, answer)
	}
}

// passkeys creates one and signs in with it, alone and as the second step. Without script there are none.
func (w *walk) passkeys(address, password string) {
	w.t.Helper()
	w.security()
	w.b.Follow(w.t, "Set up Passkeys")
	w.on("Passkeys")
	w.b.Fill(w.t, "Name of the device", "Laptop")
	w.b.Press(w.t, "Continue")
	if !w.script {
		w.says("Passkeys", "This needs a browser that has passkeys, with scripts switched on.")
		w.signOut()
		return
	}
	w.says("Passkeys", "Create the passkey “Laptop”")
	w.b.Press(w.t, "Create the passkey")
	w.says("Passkeys", "The passkey was created.", "Laptop")
	w.picture("passkeys")
	w.signOut()
	w.b.Follow(w.t, "Use a passkey")
	w.on("Use a passkey")
	w.b.Press(w.t, "Use a passkey")
	w.on("Security")
	w.verified("mika@personal.example")
	w.b.Press(w.t, "Switch on 2-step verification")
	w.says("2-step verification", "2-step verification is on")
	w.signOut()
	w.signIn(address, password)
	w.on("2-step verification")
	w.b.Press(w.t, "Passkey")
	w.on("Use a passkey")
	w.b.Press(w.t, "Use a passkey")
	w.on("Security")
	w.signOut()
}
