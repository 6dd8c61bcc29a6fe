package api_test

import "testing"

func TestSignIn(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	me := h.call(t, token, "GET", "/me", nil).is(200)
	if got := me.text("address"); got != "account@old.example" {
		t.Errorf("address %q", got)
	}
	h.call(t, token, "POST", "/sign-out", nil).is(204)
	h.call(t, token, "GET", "/me", nil).is(401, "not_signed_in")
}
