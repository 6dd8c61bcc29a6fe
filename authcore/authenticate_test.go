package authcore_test

import (
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
)

// The table of which credential counts, for people in every state.
func TestWhichCredentialCounts(t *testing.T) {
	c := authtest.New(t, nil)
	for _, tc := range []struct {
		state   string
		account authcore.Reason
		app     authcore.Reason // empty: has none
	}{
		{"app-only", authcore.AppPasswordRequired, authcore.Allowed},
		{"account", authcore.Allowed, ""},
		{"opted-in", authcore.BadCredentials, authcore.Allowed},
		{"two-step", authcore.BadCredentials, authcore.Allowed},
		{"suspended", authcore.BadCredentials, ""},
		{"expired", authcore.PasswordExpired, ""},
		{"admin", authcore.Allowed, ""},
		{"operator", authcore.AppPasswordRequired, ""},
	} {
		p := c.People[tc.state]
		got, err := c.Authenticate(t.Context(), authtest.Attempt("imap", p.Address, p.Account.Reveal()))
		if err != nil || got.Reason != tc.account {
			t.Errorf("%s, account password: got %q, %v, want %q", tc.state, got.Reason, err, tc.account)
		}
		if tc.app == "" {
			continue
		}
		got, err = c.Authenticate(t.Context(), authtest.Attempt("imap", p.Address, p.AppPasswords[0].Secret.Reveal()))
		if err != nil || got.Reason != tc.app {
			t.Errorf("%s, app password: got %q, %v, want %q", tc.state, got.Reason, err, tc.app)
		}
		if got.Allowed() && (got.Upstream.Name != authtest.Upstream || got.Upstream.User != p.Address || got.Session == "") {
			t.Errorf("%s: allowed without a way on: %+v", tc.state, got)
		}
	}
}
