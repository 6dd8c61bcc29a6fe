package authcore_test

import (
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/secret"
	"latchkey/authcore/store/memory"
)

// What another node has made or lifted is not refused by what this one holds, though every message was lost: a right
// password must not be told as wrong.
func TestNoRefusalByWhatIsOld(t *testing.T) {
	f := newFleet(t, 1, nil)
	deaf := f.add(t, func(o *authcore.Options) { o.Bus = memory.NewBus() })
	at := func(when, address, secret string, want authcore.Reason) {
		t.Helper()
		d, err := deaf.Authenticate(t.Context(), authtest.Attempt("imap", address, secret))
		if err != nil || d.Reason != want {
			t.Errorf("%s: %v, %v, want %v", when, d.Reason, err, want)
		}
	}
	ctx, op := t.Context(), authtest.Operator()
	address := f.address("app-only")
	_, before, err := f.CreateAppPasswordFor(ctx, op, address, apppass.Wish{Name: "before"})
	if err != nil {
		t.Fatal(err)
	}
	at("one that was there", address, before.Reveal(), authcore.Allowed)
	_, made, err := f.CreateAppPasswordFor(ctx, op, address, apppass.Wish{Name: "after"})
	if err != nil {
		t.Fatal(err)
	}
	at("one that was made meanwhile", address, made.Reveal(), authcore.Allowed)
	if _, err := f.Suspend(ctx, op, address); err != nil {
		t.Fatal(err)
	}
	at("a wrong one, which has the records read", address, "wrong", authcore.AppPasswordRequired)
	at("suspended", address, made.Reveal(), authcore.Suspended)
	if _, err := f.Lift(ctx, op, address); err != nil {
		t.Fatal(err)
	}
	at("lifted meanwhile", address, made.Reveal(), authcore.Allowed)
}

// The web and the API likewise: a sign-in, and a session that was opened at another node.
func TestNoSignInRefusedByWhatIsOld(t *testing.T) {
	f := newFleet(t, 1, nil)
	ctx, op, client := t.Context(), authtest.Operator(), authtest.Client()
	address, word := f.address("account"), f.People["account"].Account
	signIn := func(when string, c *authcore.Core, word secret.String, want authcore.SignInState) authcore.SignInResult {
		t.Helper()
		r, err := c.SignIn(ctx, client, address, word)
		if err != nil || r.State != want {
			t.Errorf("%s: %v, %v, want %v", when, r.State, err, want)
		}
		return r
	}
	token := signIn("at first", f.Core.Core, word, authcore.SignedIn).Token
	deaf := func() *authcore.Core { // a node that holds what there is now, and follows no bus
		o := f.options
		o.Node, o.Fleet, o.Bus = "deaf", &authcore.Fleet{Name: "deaf", Version: "test"}, memory.NewBus()
		c := authcore.New(o)
		if _, err := c.Session(ctx, token, client); err != nil && !denied(err, authcore.NotSignedIn) {
			t.Fatal(err)
		}
		return c
	}
	stands := func(when string, c *authcore.Core) {
		t.Helper()
		if _, err := c.Session(ctx, token, client); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	if _, err := f.Suspend(ctx, op, address); err != nil {
		t.Fatal(err)
	}
	one, other := deaf(), deaf()
	if _, err := f.Lift(ctx, op, address); err != nil {
		t.Fatal(err)
	}
	token = signIn("where it was lifted", f.Core.Core, word, authcore.SignedIn).Token
	stands("the session of one who was lifted meanwhile", one)
	signIn("lifted meanwhile", other, word, authcore.SignedIn)

	one, other = deaf(), deaf()
	temporary, _, err := f.ResetPassword(ctx, op, address, true)
	if err != nil {
		t.Fatal(err)
	}
	next := signIn("a password that was reset meanwhile", one, temporary, authcore.PasswordChangeRequires)
	one = deaf()
	chosen := secretOf("winter-Kranich-47-lamp")
	r, err := f.SignInPassword(ctx, client, next.Ticket, chosen)
	if err != nil {
		t.Fatal(err)
	}
	token = r.Token
	stands("the session under a password that was set meanwhile", one)
	signIn("a password that was set meanwhile", other, chosen, authcore.SignedIn)
}
