package authcore_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/notify"
	"latchkey/authcore/quick"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/policy"
)

// authenticator holds one credential.
type authenticator struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

func newAuthenticator() *authenticator {
	return &authenticator{rp: virtualwebauthn.RelyingParty{ID: "localhost", Name: "Latchkey", Origin: authtest.Origin},
		auth: virtualwebauthn.NewAuthenticator(), cred: newCredential()}
}

func (k *authenticator) create(t testing.TB, options json.RawMessage) []byte {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	k.auth.Options.UserHandle = []byte(o.UserID)
	return []byte(virtualwebauthn.CreateAttestationResponse(k.rp, k.auth, k.cred, *o))
}

// get answers a challenge with the next value of the counter, if the authenticator has one.
func (k *authenticator) get(t testing.TB, options json.RawMessage) []byte {
	t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	if k.cred.Counter > 0 {
		k.cred.Counter++
	}
	return []byte(virtualwebauthn.CreateAssertionResponse(k.rp, k.auth, k.cred, *o))
}

// passkey makes one for an actor.
func (s *stage) passkey(t testing.TB, a authcore.Actor, k *authenticator) (quick.Named, error) {
	t.Helper()
	began, err := s.BeginPasskey(t.Context(), a)
	if err != nil {
		return quick.Named{}, err
	}
	return s.FinishPasskey(t.Context(), a, began.Ticket, "Laptop", k.create(t, began.Options))
}

func (s *stage) byPasskey(t testing.TB, k *authenticator) (authcore.SignInResult, error) {
	t.Helper()
	began, err := s.BeginPasskeySignIn(t.Context(), authtest.Client())
	if err != nil {
		t.Fatal(err)
	}
	return s.SignInPasskey(t.Context(), authtest.Client(), began.Ticket, k.get(t, began.Options))
}

// withPasskey is an authenticator of a member of old.example, whose counter is at 1.
func (s *stage) withPasskey(t testing.TB, state string) *authenticator {
	t.Helper()
	s.allow(t, sample.Old, policy.Allow)
	k := newAuthenticator()
	k.cred.Counter = 1
	if _, err := s.passkey(t, s.Actor(t, state), k); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPasskeySignsIn(t *testing.T) {
	s := newStage(t, nil)
	k := s.withPasskey(t, "account")
	for range 2 {
		r, err := s.byPasskey(t, k)
		if err != nil || r.State != authcore.SignedIn || r.Actor.Address != s.address("account") {
			t.Fatalf("%q, %v", r.State, err)
		}
	}
	a := s.Actor(t, "account")
	l, err := s.Passkeys(t.Context(), a)
	if err != nil || len(l) != 1 || l[0].Name != "Laptop" || l[0].UsedAt.IsZero() || l[0].Credential.Counter != 3 {
		t.Fatalf("%+v, %v", l, err)
	}
	if n := s.inbox(t, s.address("account"), notify.MethodChanged); n != 1 {
		t.Errorf("%d messages", n)
	}
	if _, err := s.passkey(t, a, k); !denied(err, authcore.Invalid) {
		t.Errorf("the same credential once more: %v", err)
	}
	if err := s.DeletePasskey(t.Context(), a, l[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.byPasskey(t, k); !denied(err, badLogin) {
		t.Errorf("with a deleted passkey: %v", err)
	}
	for _, detail := range []string{"passkey_added", "passkey_deleted"} {
		if l := s.entries(t, sample.Old, func(e audit.Entry) bool { return e.Action == audit.TwoStepMethod && e.Detail == detail }); len(l) != 1 || l[0].Name != "Laptop" {
			t.Errorf("audit %+v", l)
		}
	}
}

func TestPasskeyIsRefused(t *testing.T) {
	s := newStage(t, nil)
	k := s.withPasskey(t, "account")
	foreign := newAuthenticator()
	if _, err := s.passkey(t, s.Actor(t, "opted-in"), foreign); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*authenticator){
		"user not verified":    func(k *authenticator) { k.auth.Options.UserNotVerified = true },
		"another origin":       func(k *authenticator) { k.rp.Origin = "https://evil.example" },
		"another party":        func(k *authenticator) { k.rp.ID = "evil.example" },
		"another key":          func(k *authenticator) { k.cred.Key = foreign.cred.Key },
		"another's credential": func(k *authenticator) { k.cred = foreign.cred },
		"another's handle":     func(k *authenticator) { k.auth.Options.UserHandle = foreign.auth.Options.UserHandle },
		"nobody's handle":      func(k *authenticator) { k.auth.Options.UserHandle = make([]byte, 32) },
		"no handle":            func(k *authenticator) { k.auth.Options.UserHandle = nil },
	} {
		wrong := *k
		change(&wrong)
		r, err := s.byPasskey(t, &wrong)
		if !denied(err, badLogin) || !r.Token.Empty() {
			t.Errorf("%s: %v", name, err)
		}
	}
	client := authtest.Client()
	for name, answer := range map[string]string{"nothing": "", "no JSON": "x", "empty": "{}", "no signature": `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`} {
		began, err := s.BeginPasskeySignIn(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.SignInPasskey(t.Context(), client, began.Ticket, json.RawMessage(answer)); !denied(err, badLogin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.passkeyReplayed(t, k)
}

func (s *stage) passkeyReplayed(t *testing.T, k *authenticator) {
	client := authtest.Client()
	began, err := s.BeginPasskeySignIn(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	answer := k.get(t, began.Options)
	if _, err := s.SignInPasskey(t.Context(), client, began.Ticket, answer); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignInPasskey(t.Context(), client, began.Ticket, answer); !denied(err, authcore.TicketInvalid) {
		t.Errorf("the same ticket: %v", err)
	}
	again, err := s.BeginPasskeySignIn(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignInPasskey(t.Context(), client, again.Ticket, answer); !denied(err, badLogin) {
		t.Errorf("the same answer to another challenge: %v", err)
	}
	quickly, err := s.BeginQuickSignIn(t.Context(), client, "phone")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignInPasskey(t.Context(), client, quickly.Ticket, k.get(t, quickly.Options)); !denied(err, authcore.TicketInvalid) {
		t.Errorf("a ticket of quick login: %v", err)
	}
}

func TestCounterThatGoesBackIsRefused(t *testing.T) {
	s := newStage(t, nil)
	k := s.withPasskey(t, "account")
	clone := *k
	for range 2 {
		if _, err := s.byPasskey(t, k); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.byPasskey(t, &clone); !denied(err, badLogin) || !r.Token.Empty() {
		t.Errorf("the clone: %q, %v", r.State, err)
	}
	if n := s.inbox(t, s.address("account"), notify.CounterWentBack); n != 1 {
		t.Errorf("%d messages", n)
	}
	if l := s.entries(t, sample.Old, func(e audit.Entry) bool { return e.Detail == "counter" }); len(l) != 1 {
		t.Errorf("audit %+v", l)
	}
	if _, err := s.byPasskey(t, k); err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// Whoever holds a copy cannot fill the member's inbox with it: of one credential he is told once a day.
func TestCloneIsToldOncePerDay(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		k, other := s.withPasskey(t, "account"), newAuthenticator()
		other.cred.Counter = 1
		if _, err := s.passkey(t, s.Actor(t, "account"), other); err != nil {
			t.Fatal(err)
		}
		clones := []authenticator{*k, *other}
		for _, k := range []*authenticator{k, other} {
			for range 9 {
				k.cred.Counter++
			}
			if _, err := s.byPasskey(t, k); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct {
			after time.Duration
			clone int
			want  int
		}{{0, 0, 1}, {0, 0, 1}, {0, 1, 2}, {0, 1, 2}, {23 * time.Hour, 0, 2}, {time.Hour, 0, 3}, {time.Minute, 0, 3}, {0, 1, 4}} {
			time.Sleep(step.after)
			if r, err := s.byPasskey(t, &clones[step.clone]); !denied(err, badLogin) || !r.Token.Empty() {
				t.Errorf("clone %d: %q, %v", step.clone, r.State, err)
			}
			if n := s.inbox(t, s.address("account"), notify.CounterWentBack); n != step.want {
				t.Errorf("%v later, clone %d: %d messages, want %d", step.after, step.clone, n, step.want)
			}
		}
	})
}

// One answer signs in once, however many send it.
func TestRacingAnswersSignInOnce(t *testing.T) {
	s := newStage(t, nil)
	k := s.withPasskey(t, "account")
	began, err := s.BeginPasskeySignIn(t.Context(), authtest.Client())
	if err != nil {
		t.Fatal(err)
	}
	answer := k.get(t, began.Options)
	errs := make([]error, 100)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() { _, errs[i] = s.SignInPasskey(t.Context(), authtest.Client(), began.Ticket, answer) })
	}
	wait.Wait()
	in := 0
	for _, err := range errs {
		if err == nil {
			in++
		} else if !denied(err, authcore.TicketInvalid) {
			t.Error(err)
		}
	}
	if in != 1 {
		t.Errorf("signed in %d times", in)
	}
}

func TestPasskeyRegistrationIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a, k := s.Actor(t, "account"), newAuthenticator()
		if _, err := s.passkey(t, a, k); !denied(err, authcore.WayDenied) {
			t.Errorf("denied by policy: %v", err)
		}
		s.allow(t, sample.Old, policy.Allow)
		began, err := s.BeginPasskey(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		answer := k.create(t, began.Options)
		if _, err := s.FinishPasskey(t.Context(), a, began.Ticket, "", answer); !denied(err, authcore.Invalid) {
			t.Errorf("no name: %v", err)
		}
		if _, err := s.FinishPasskey(t.Context(), s.Actor(t, "account"), began.Ticket, "Laptop", answer); !denied(err, authcore.TicketInvalid) {
			t.Errorf("another session: %v", err)
		}
		if _, err := s.FinishPasskey(t.Context(), a, began.Ticket, "Laptop", answer); !denied(err, authcore.TicketInvalid) {
			t.Errorf("a ticket that was used: %v", err)
		}
		k.auth.Options.UserNotVerified = true
		if _, err := s.passkey(t, a, k); !denied(err, authcore.Invalid) {
			t.Errorf("user not verified: %v", err)
		}
		k.auth.Options.UserNotVerified = false
		began, err = s.BeginPasskey(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.SignOutEverywhere(t.Context(), authtest.Operator(), s.address("account")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.FinishPasskey(t.Context(), a, began.Ticket, "Laptop", k.create(t, began.Options)); !denied(err, authcore.NotSignedIn) {
			t.Errorf("a session that is over: %v", err)
		}
		a = s.Actor(t, "account")
		time.Sleep(10 * time.Minute)
		if _, err := s.passkey(t, a, k); !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("ten minutes later: %v", err)
		}
	})
}

func TestTenPasskeys(t *testing.T) {
	s := newStage(t, nil)
	s.allow(t, sample.Old, policy.Allow)
	a := s.Actor(t, "account")
	for i := range quick.MaxPasskeys {
		if _, err := s.passkey(t, a, newAuthenticator()); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := s.passkey(t, a, newAuthenticator()); !denied(err, authcore.LimitReached) {
		t.Errorf("one more: %v", err)
	}
}

func TestWhatPasskeysOutlive(t *testing.T) {
	for _, c := range []struct {
		name string
		by   func(t *testing.T, s *stage) error
		want authcore.DenialReason
	}{
		{"a new password by an administrator", func(t *testing.T, s *stage) error {
			_, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), true)
			return err
		}, ""},
		{"signing out everywhere", func(t *testing.T, s *stage) error {
			_, err := s.SignOutEverywhere(t.Context(), authtest.Operator(), s.address("account"))
			return err
		}, ""},
		{"a suspension", func(t *testing.T, s *stage) error {
			_, err := s.Suspend(t.Context(), authtest.Operator(), s.address("account"))
			return err
		}, badLogin},
		{"the way denied", func(t *testing.T, s *stage) error { s.allow(t, sample.Old, policy.Deny); return nil }, authcore.WayDenied},
		{"deleted by an administrator", func(t *testing.T, s *stage) error {
			l, err := s.PasskeysOf(t.Context(), authtest.Operator(), s.address("account"))
			if err != nil {
				return err
			}
			return s.DeletePasskeyOf(t.Context(), authtest.Operator(), s.address("account"), l[0].ID)
		}, badLogin},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, nil)
			k := s.withPasskey(t, "account")
			if err := c.by(t, s); err != nil {
				t.Fatal(err)
			}
			r, err := s.byPasskey(t, k)
			if c.want == "" && (err != nil || r.State != authcore.SignedIn) || c.want != "" && !denied(err, c.want) {
				t.Errorf("%q, %v, want %q", r.State, err, c.want)
			}
		})
	}
}

// biometric adds an authenticator to a device.
func (d *device) biometric(t testing.TB, a authcore.Actor, k *authenticator) error {
	t.Helper()
	began, err := d.s.BeginQuickBiometric(t.Context(), a, d.id)
	if err != nil {
		return err
	}
	_, err = d.s.FinishQuickBiometric(t.Context(), a, d.id, began.Ticket, k.create(t, began.Options))
	return err
}

func (d *device) byBiometric(t testing.TB, k *authenticator) (authcore.SignInResult, error) {
	t.Helper()
	began := d.begin(t)
	return d.s.SignInQuickBiometric(t.Context(), authtest.Client(), began.Ticket, k.get(t, began.Options))
}

func TestQuickLoginByBiometrics(t *testing.T) {
	s := newStage(t, nil)
	d, k := s.registered(t, "account"), newAuthenticator()
	if _, err := d.byBiometric(t, k); !denied(err, badLogin) {
		t.Errorf("before it was registered: %v", err)
	}
	if err := d.biometric(t, s.Actor(t, "account"), k); err != nil {
		t.Fatal(err)
	}
	for range quick.MaxWrong - 1 {
		if _, err := d.signIn(t, "583029"); !denied(err, badLogin) {
			t.Fatal(err)
		}
	}
	r, err := d.byBiometric(t, k)
	if err != nil || r.State != authcore.SignedIn || r.Actor.Address != s.address("account") {
		t.Fatalf("%q, %v", r.State, err)
	}
	if n := s.quickRecord(t, "account").Devices[0].Wrong; n != quick.MaxWrong-1 {
		t.Errorf("biometrics changed the count of wrong PINs to %d", n)
	}
	unverified, other := *k, newAuthenticator()
	unverified.auth.Options.UserNotVerified = true
	other.auth.Options.UserHandle = k.auth.Options.UserHandle
	for name, wrong := range map[string]*authenticator{"user not verified": &unverified, "another authenticator": other} {
		if _, err := d.byBiometric(t, wrong); !denied(err, badLogin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := s.quickRecord(t, "account").Devices[0].Wrong; n != quick.MaxWrong-1 {
		t.Errorf("a wrong answer was counted as a PIN: %d", n)
	}
	if _, err := s.byPasskey(t, k); !denied(err, badLogin) {
		t.Errorf("biometrics of a device as a passkey: %v", err)
	}
	s.allow(t, sample.Old, policy.Deny)
	if _, err := d.byBiometric(t, k); !denied(err, authcore.WayDenied) {
		t.Errorf("denied: %v", err)
	}
}

func TestBiometricsAreOfTheirDevice(t *testing.T) {
	s := newStage(t, nil)
	one := s.registered(t, "account")
	two := s.newDevice(t)
	a := s.Actor(t, "account")
	if _, err := two.register(t, a, "Tablet", rightPIN); err != nil {
		t.Fatal(err)
	}
	k := newAuthenticator()
	began, err := s.BeginQuickBiometric(t.Context(), a, one.id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.FinishQuickBiometric(t.Context(), a, two.id, began.Ticket, k.create(t, began.Options)); !denied(err, authcore.TicketInvalid) {
		t.Errorf("begun for another device: %v", err)
	}
	if err := one.biometric(t, a, k); err != nil {
		t.Fatal(err)
	}
	if _, err := two.byBiometric(t, k); !denied(err, badLogin) {
		t.Errorf("at another device: %v", err)
	}
	nobodys := &device{s: s, id: "nobody"}
	if err := nobodys.biometric(t, a, k); !denied(err, authcore.NotFound) {
		t.Errorf("for a device that is not there: %v", err)
	}
	if _, err := s.BeginQuickBiometric(t.Context(), s.Actor(t, "opted-in"), one.id); !denied(err, authcore.NotFound) {
		t.Errorf("for another's device: %v", err)
	}
}

// Whoever confirms a session is who opened it.
func TestReauthenticationIsByOneself(t *testing.T) {
	s := newStage(t, nil)
	d, k := s.registered(t, "account"), s.withPasskey(t, "account")
	other := s.Actor(t, "opted-in")
	if _, err := s.ReauthenticateQuickPIN(t.Context(), other, d.sent(t, d.begin(t), rightPIN)); !denied(err, badLogin) {
		t.Errorf("PIN: %v", err)
	}
	began, err := s.BeginPasskeySignIn(t.Context(), authtest.Client())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReauthenticatePasskey(t.Context(), other, began.Ticket, k.get(t, began.Options)); !denied(err, badLogin) {
		t.Errorf("passkey: %v", err)
	}
	if _, err := s.ReauthenticateQuickPIN(t.Context(), authtest.Operator(), d.sent(t, d.begin(t), rightPIN)); !denied(err, authcore.Forbidden) {
		t.Errorf("a command: %v", err)
	}
}

func TestWithoutParty(t *testing.T) {
	s := newStage(t, func(o *authcore.Options) { o.Party = nil })
	s.allow(t, sample.Old, policy.Allow)
	a := s.Actor(t, "account")
	_, e1 := s.BeginQuickDevice(t.Context(), a)
	_, e2 := s.BeginPasskey(t.Context(), a)
	_, e3 := s.BeginPasskeySignIn(t.Context(), authtest.Client())
	_, e4 := s.BeginQuickSignIn(t.Context(), authtest.Client(), "phone")
	for i, err := range []error{e1, e2, e3, e4} {
		if !denied(err, authcore.WayDenied) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestKeysOfOthersAreTheAdministrators(t *testing.T) {
	s := newStage(t, nil)
	d := s.registered(t, "account")
	s.withPasskey(t, "account")
	if l, err := s.QuickDevicesOf(t.Context(), authtest.Operator(), s.address("account")); err != nil || len(l) != 1 {
		t.Errorf("%v, %v", l, err)
	}
	plain := s.Actor(t, "opted-in")
	_, e1 := s.QuickDevicesOf(t.Context(), plain, s.address("account"))
	_, e2 := s.PasskeysOf(t.Context(), plain, s.address("account"))
	e3 := s.DeleteQuickDeviceOf(t.Context(), plain, s.address("account"), d.id)
	e4 := s.DeletePasskeyOf(t.Context(), plain, s.address("account"), "x")
	for i, err := range []error{e1, e2, e3, e4} {
		if !denied(err, authcore.Forbidden) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := s.DeleteQuickDevice(t.Context(), plain, d.id); !denied(err, authcore.NotFound) {
		t.Errorf("another's by one's own path: %v", err)
	}
	if err := s.DeleteQuickDeviceOf(t.Context(), authtest.Operator(), s.address("account"), d.id); err != nil {
		t.Error(err)
	}
}

// atSecondStep signs in with the password of a member of whom the policy asks a second step.
func (s *stage) atSecondStep(t *testing.T, state string) secret.String {
	t.Helper()
	r := s.signIn(t, state, s.People[state].Account)
	if r.State != authcore.TwoStepRequired || !slices.ContainsFunc(r.Methods, func(m authcore.SecondMethod) bool { return m.Kind == signin.ByPasskey }) {
		t.Fatalf("%q, methods %v", r.State, r.Methods)
	}
	return r.Ticket
}

func (s *stage) passStep(t *testing.T, ticket secret.String, answer []byte) (authcore.SignInResult, error) {
	t.Helper()
	return s.SignInTwoStep(t.Context(), authtest.Client(), ticket, authcore.SecondAnswer{Method: signin.ByPasskey, Assertion: answer})
}

func TestPasskeyAsSecondStep(t *testing.T) {
	s := newStage(t, nil)
	k := s.withPasskey(t, "account")
	a := s.Actor(t, "account")
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	begin := func(ticket secret.String) authcore.Ceremony {
		began, err := s.SignInPasskeyStep(t.Context(), authtest.Client(), ticket)
		if err != nil {
			t.Fatal(err)
		}
		return began
	}
	one, two := s.atSecondStep(t, "account"), s.atSecondStep(t, "account")
	answer := k.get(t, begin(one).Options)
	begin(two)
	for name, c := range map[string]struct {
		ticket secret.String
		answer []byte
	}{"of another ticket": {two, answer}, "no challenge asked for": {s.atSecondStep(t, "account"), answer}, "nothing": {s.atSecondStep(t, "account"), nil}} {
		if r, err := s.passStep(t, c.ticket, c.answer); !denied(err, authcore.BadCode) || !r.Token.Empty() {
			t.Errorf("%s: %q, %v", name, r.State, err)
		}
	}
	r, err := s.passStep(t, one, answer)
	if err != nil || r.State != authcore.SignedIn || r.Actor.Address != s.address("account") {
		t.Fatalf("%q, %v", r.State, err)
	}
	if _, err := s.passStep(t, one, answer); !denied(err, authcore.TicketInvalid) {
		t.Errorf("again: %v", err)
	}
	r, err = s.byPasskey(t, k)
	var d *authcore.Denial
	if !errors.As(err, &d) || d.Reason != authcore.TwoStepMethodMissing || !strings.Contains(d.Detail, "another way: password") || !r.Token.Empty() {
		t.Errorf("a passkey is both steps: %q, %v", r.State, err)
	}
	l, err := s.Passkeys(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeletePasskey(t.Context(), a, l[0].ID); !denied(err, authcore.TwoStepMethodMissing) {
		t.Errorf("the last method was deleted: %v", err)
	}
	if err := s.DeletePasskeyOf(t.Context(), authtest.Operator(), s.address("account"), l[0].ID); err != nil {
		t.Errorf("by an administrator: %v", err)
	}
}

// Every entry of a sign-in says by its name what was used, those of the steps that follow too.
func TestSignInsNameTheirCredential(t *testing.T) {
	s := newStage(t, nil)
	k, d := s.withPasskey(t, "account"), s.registered(t, "account")
	finger := newAuthenticator()
	if err := d.biometric(t, s.Actor(t, "account"), finger); err != nil {
		t.Fatal(err)
	}
	for name, by := range map[string]func() (authcore.SignInResult, error){
		"PIN":        func() (authcore.SignInResult, error) { return d.signIn(t, rightPIN) },
		"biometrics": func() (authcore.SignInResult, error) { return d.byBiometric(t, finger) },
		"passkey":    func() (authcore.SignInResult, error) { return s.byPasskey(t, k) },
	} {
		if r, err := by(); err != nil || r.State != authcore.SignedIn {
			t.Fatalf("%s: %q, %v", name, r.State, err)
		}
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	step, err := d.signIn(t, rightPIN)
	if err != nil {
		t.Fatal(err)
	}
	began, err := s.SignInPasskeyStep(t.Context(), authtest.Client(), step.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.passStep(t, step.Ticket, k.get(t, began.Options)); err != nil || r.State != authcore.SignedIn {
		t.Fatalf("%q, %v", r.State, err)
	}
	got := map[string]int{}
	for _, e := range s.entries(t, sample.Old, func(e audit.Entry) bool { return e.Action == audit.SignIn && e.Credential != "" }) {
		got[strings.Join([]string{e.Kind, e.Name, e.Reason, e.Detail}, " ")]++
	}
	want := map[string]int{"quick_pin Phone allowed ": 1, "quick_biometric Phone allowed ": 1, "passkey Laptop allowed ": 1,
		"quick_pin Phone two_step_required ": 1, "quick_pin Phone allowed passkey": 1}
	if !maps.Equal(got, want) {
		t.Errorf("audit %v, want %v", got, want)
	}
}

// Two answers to the challenges of one ticket pass it once; the counter is spent by whoever came first.
func TestRacingPasskeySteps(t *testing.T) {
	s := newStage(t, nil)
	k := s.withPasskey(t, "account")
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	ticket := s.atSecondStep(t, "account")
	began, err := s.SignInPasskeyStep(t.Context(), authtest.Client(), ticket)
	if err != nil {
		t.Fatal(err)
	}
	answer := k.get(t, began.Options)
	errs := make([]error, 100)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() { _, errs[i] = s.passStep(t, ticket, answer) })
	}
	wait.Wait()
	if n := len(slices.DeleteFunc(errs, func(err error) bool { return err != nil })); n != 1 {
		t.Errorf("passed %d times", n)
	}
}

// newCredential makes one whose coordinates have their full length: the library cuts leading zeros, which no authenticator
// does (RFC 9053 section 7.1.1).
func newCredential() virtualwebauthn.Credential {
	for {
		if c := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2); len(c.Key.AttestationData()) == 77 {
			return c
		}
	}
}
