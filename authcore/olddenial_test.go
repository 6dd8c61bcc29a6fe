package authcore_test

import (
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
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
