package console

import (
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/net/html"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/policy"
)

// Switching it on verifies each contact that is saved, as the help page says; then it is asked for.
func TestPageOfTwoStep(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	b := s.signedIn("account")
	p := b.get("/security/two-step").is(200, "2-step verification is off", "Personal e-mail address None", "Authenticator app None", "Recovery codes None")
	p.press("Switch on 2-step verification").is(403, "Verify a personal e-mail address or mobile number, or add an authenticator app, first.")

	s.entered("account", ann, cell)
	p = b.get("/security/two-step").is(200, "ann@mail.example Not verified", "+819012345678 Not verified", "Verify or remove it before")
	p = p.press("Switch on 2-step verification").is(422, "First verify each personal e-mail address and mobile phone number below, or remove it.", "2-step verification is off")
	p = p.within("ann@mail.example", "Verify").press("Verify").is(200, "Enter the verification number", "a•••@m•••.example")
	p = p.having("Verify").fill("Verification number", s.code(ann.Value)).press("Verify").is(200, "2-step verification is off", "ann@mail.example Verified")
	p = p.within("+819012345678", "Remove").press("Remove").is(200, "It was removed.", "Mobile phone number None").hides("Verify or remove it before")
	p = p.press("Switch on 2-step verification").is(200, "2-step verification is on", "From now on you are asked").hides("Switch on")

	a := s.People["account"]
	if r, err := s.SignIn(t.Context(), authtest.Client(), a.Address, a.Account); err != nil || r.State != authcore.TwoStepRequired {
		t.Errorf("the next sign-in: %q, %v", r.State, err)
	}
	p.press("Switch off 2-step verification").is(200, "2-step verification is off.")
	if r, err := s.SignIn(t.Context(), authtest.Client(), a.Address, a.Account); err != nil || r.State != authcore.SignedIn {
		t.Errorf("the sign-in after that: %q, %v", r.State, err)
	}
}

// Switching it off asks for a fresh sign-in, and is refused where the organization requires it.
func TestTwoStepIsNotSwitchedOff(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	s.entered("account", ann)
	b := s.signedIn("account")
	b.get("/contacts").press("Verify").having("Verify").fill("Verification number", s.code(ann.Value)).press("Verify")
	p := b.get("/security/two-step").press("Switch on 2-step verification").is(200, "2-step verification is on").hides("Required by your organization")
	s.rule(func(r *policy.Policy) { r.SignIn.TwoStep = policy.TwoStepRequired })
	b.get("/security/two-step").is(200, "Required by your organization: you cannot switch it off.").hides("Switch off")
	p.press("Switch off 2-step verification").is(409, "Your domain requires 2-step verification.", "2-step verification is on") // a page from before
	s.rule(func(r *policy.Policy) { r.SignIn.TwoStep = policy.TwoStepOptional })
	s.clock.pass(11 * time.Minute)
	p.press("Switch off 2-step verification").leadsToConfirm("/security/two-step")
	b.get("/security/two-step").is(200, "2-step verification is on")
}

// Who cannot change his contacts may leave one unverified, if something else is proven.
func TestTwoStepWithManagedContacts(t *testing.T) {
	t.Parallel()
	s := openMethods(t, func(r *policy.Policy) { r.ProfileManagedExternally = true })
	s.entered("account", ann, cell)
	b := s.signedIn("account")
	p := b.get("/security/two-step").is(200, "managed by your organization", "Verify it before you switch on").hides("Remove", "Switch it on without verifying them")
	p = p.within("ann@mail.example", "Verify").press("Verify")
	p = p.having("Verify").fill("Verification number", s.code(ann.Value)).press("Verify").is(200, "+819012345678 Not verified")
	p.press("Switch it on without verifying them").is(200, "2-step verification is on", "+819012345678 Not verified")
}

// An authenticator app: the QR code and the key are shown once, and count after the first number.
func TestPageOfTheAuthenticatorApp(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	b := s.signedIn("account")
	p := b.get("/security/two-step").follow("Set up the authenticator app").press("Set up the app").is(200, "Scan this QR code with the app")
	if !strings.Contains(p.body, `<svg class="qr"`) || p.header.Get("Cache-Control") != "no-store" || strings.Contains(p.body, "otpauth:") {
		t.Error("no QR code, or one that may be kept, or its text beside it")
	}
	key := strings.ReplaceAll(words(byID(p.doc, "secret")), " ", "")
	if len(key) != 32 {
		t.Fatalf("the key %q", key)
	}
	b.get("/security/two-step").is(200, "Authenticator app None")
	right, err := totp.GenerateCode(key, s.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	p = p.having("Confirm").fill("Verification number", notThe(right)).press("Confirm").is(422, "The number is wrong, used or too old.", "Start again").hides("Scan this QR code")
	if strings.Contains(p.body, key) || strings.Contains(p.text(), words(byID(p.doc, "f-code"))+key[:4]) {
		t.Error("the key is shown a second time")
	}
	p = p.having("Confirm").fill("Verification number", right).press("Confirm").is(200, "The authenticator app is in use.", "Authenticator app Since")
	p = p.press("Switch on 2-step verification").is(200, "2-step verification is on")
	p = p.follow("Manage the authenticator app").press("Remove the app").is(403, "It is your last method of 2-step verification: add another one first.")
	b.get("/security/two-step").press("Switch off 2-step verification").is(200)
	p.press("Remove the app").is(200, "The authenticator app was removed.", "Authenticator app None")
	b.get("/security/two-step/app").having("Set up the app")
	b.send("POST", "/security/two-step/app", map[string][]string{"do": {"confirm"}, "code": {right}}).is(422, "There is no app that waits for its first code")
}

// Recovery codes are shown once, and the same form makes no second ones.
func TestPageOfRecoveryCodes(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	b := s.signedIn("account")
	f := b.get("/security/two-step").follow("Manage recovery codes").is(200, "You have no recovery codes.").having("Create new recovery codes")
	p := f.press("Create new recovery codes").is(200, "They are shown once.")
	codes := strings.Fields(words(byID(p.doc, "codes")))
	if len(codes) != 10 {
		t.Fatalf("codes %q", codes)
	}
	if again := f.press("Create new recovery codes").is(200); words(byID(again.doc, "codes")) != words(byID(p.doc, "codes")) {
		t.Error("the form that was sent twice made other codes")
	}
	b.get("/security/two-step/recovery-codes").is(200, "10 left").hides(codes...)
	b.get("/security/two-step").is(200, "10 left")
	more := b.get("/security/two-step/recovery-codes").press("Create new recovery codes").is(200)
	if words(byID(more.doc, "codes")) == words(byID(p.doc, "codes")) {
		t.Error("a new form made the old codes")
	}
}

// Browsers that are trusted are listed, and forgotten one by one or all.
func TestPageOfTrustedBrowsers(t *testing.T) {
	t.Parallel()
	s := openMethods(t, func(r *policy.Policy) { r.SignIn.TrustBrowser = true })
	for range 3 {
		s.trusting("two-step")
		s.clock.pass(2 * time.Minute)
	}
	b := s.trusting("two-step")
	p := b.get("/security/two-step").is(200, "Trusted browsers 4").follow("Manage trusted browsers").is(200, "test", "192.0.2.10")
	if n := strings.Count(p.text(), "192.0.2.10"); n != 4 {
		t.Fatalf("%d browsers, want 4", n)
	}
	p = p.within("192.0.2.10", "Forget").press("Forget").is(200, "a verification number is asked for there again")
	if n := strings.Count(p.text(), "192.0.2.10"); n != 3 {
		t.Errorf("%d browsers, want 3", n)
	}
	b.send("POST", "/security/two-step/browsers", map[string][]string{"do": {"forget"}, "id": {"another"}}).is(404)
	p.press("Forget all browsers").is(200, "No browser is trusted.")
}

// trusting is the browser of a person who did both steps and asked that it be trusted.
func (s *stage) trusting(state string) *browser {
	s.t.Helper()
	who := s.People[state]
	r, err := s.SignIn(s.t.Context(), authtest.Client(), who.Address, who.Account)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.SignInSend(s.t.Context(), authtest.Client(), r.Ticket, signin.ByEmail, ""); err != nil {
		s.t.Fatal(err)
	}
	code := secret.New(s.code(state + sample.Personal))
	r, err = s.SignInTwoStep(s.t.Context(), authtest.Client(), r.Ticket, authcore.SecondAnswer{Method: signin.ByEmail, Code: code, Trust: true})
	if err != nil || r.Trust.Empty() {
		s.t.Fatalf("trust: %q, %v", r.State, err)
	}
	return s.holding(r.Token)
}

func byID(doc *html.Node, id string) *html.Node {
	for n := range doc.Descendants() {
		if attr(n, "id") == id {
			return n
		}
	}
	return &html.Node{}
}
