package otp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// Methods are what a member has for his second step beside his contacts: one record, so that what is spent is spent once.
type Methods struct {
	App      *App           `json:"app,omitempty"`
	Recovery []RecoveryCode `json:"recovery,omitempty"` // those not used yet
	Since    time.Time      `json:"since,omitzero"`     // of the recovery codes
}

// Key names the Methods of a member.
func Key(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "two-step/" + string(id)}
}

// HasApp says whether an authenticator app is there; m may be nil.
func (m *Methods) HasApp() bool { return m != nil && m.App != nil }

// Left is how many recovery codes are left; m may be nil.
func (m *Methods) Left() int {
	if m == nil {
		return 0
	}
	return len(m.Recovery)
}

// Copy is m to be changed; m may be nil.
func (m *Methods) Copy() Methods {
	if m == nil {
		return Methods{}
	}
	c := *m
	c.Recovery = slices.Clone(m.Recovery)
	return c
}

// App is an authenticator app. Step is the last time step that was spent: it, and those before it, never count again.
type App struct {
	Secret secret.Sealed `json:"secret"`
	Step   int64         `json:"step"`
	Since  time.Time     `json:"since"`
}

// sealApp is the purpose that an app's secret is sealed for.
const sealApp = "authenticator app"

// place binds what is sealed to its member.
func place(d member.DomainID, id member.ID) string { return string(d) + "/" + string(id) }

// Seal makes the App of a secret, as base32 without padding.
func Seal(keys *secret.Keys, d member.DomainID, id member.ID, s secret.String, now time.Time) App {
	return App{Secret: keys.Seal(sealApp, place(d, id), []byte(s.Reveal())), Since: now.UTC().Truncate(time.Second)}
}

// ErrWrong: the code is not right, or was spent.
var ErrWrong = errors.New("wrong code")

// Spend answers the App after a code: its step is spent, and its secret sealed under the current key. ErrWrong otherwise.
func (a *App) Spend(keys *secret.Keys, d member.DomainID, id member.ID, typed secret.String, now time.Time) (App, error) {
	if a == nil {
		return App{}, ErrWrong
	}
	plain, err := keys.Open(sealApp, place(d, id), a.Secret)
	if err != nil {
		return App{}, fmt.Errorf("authenticator app of member %s: %w", id, err)
	}
	step, err := stepOf(string(plain), typed, now)
	if err != nil {
		return App{}, err
	}
	if step <= a.Step {
		return App{}, ErrWrong // RFC 6238 section 5.2: a code is accepted once
	}
	next := *a
	next.Step = step
	if next.Secret.KeyID != keys.CurrentMAC() {
		next.Secret = keys.Seal(sealApp, place(d, id), plain)
	}
	return next, nil
}
