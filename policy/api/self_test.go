package api_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/authtest"
	"latchkey/policy"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	for state, want := range map[string]struct {
		status        int
		state         string
		reason        string
		token, ticket bool
	}{
		"account":   {status: 200, state: "signed_in", token: true},
		"app-only":  {status: 200, state: "signed_in", token: true},
		"two-step":  {status: 200, state: "two_step_required", ticket: true},
		"expired":   {status: 200, state: "password_change_required", ticket: true},
		"suspended": {status: 401, reason: "bad_credentials"},
	} {
		t.Run(state, func(t *testing.T) {
			p := h.People[state]
			a := h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": p.Account.Reveal()}).is(want.status)
			if a.status != 200 {
				a.is(want.status, want.reason)
				if a.header.Get("WWW-Authenticate") == "" {
					t.Error("a 401 without WWW-Authenticate")
				}
				return
			}
			if a.text("state") != want.state || (a.text("token") != "") != want.token || (a.text("ticket") != "") != want.ticket || a.text("expires_at") == "" {
				t.Errorf("state %q: %s", want.state, a.body)
			}
			if member, ok := a.value()["member"].(map[string]any); ok != want.token || ok && member["address"] != p.Address {
				t.Errorf("member %v", member)
			}
			if a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control %q", a.header.Get("Cache-Control"))
			}
		})
	}
}

func TestSignInRefusesAppPasswordsAndStrangers(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["app-only"]
	wrong := h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": "wrong-word-1"}).is(401, "bad_credentials")
	for name, body := range map[string]m{
		"app password": {"login": p.Address, "password": p.AppPasswords[0].Secret.Reveal()},
		"unknown name": {"login": "nobody@new.example", "password": "wrong-word-1"},
		"no domain":    {"login": "nobody@nowhere.example", "password": "wrong-word-1"},
		"no address":   {"login": "\x00", "password": ""},
	} {
		if a := h.call(t, "", "POST", "/sign-in", body).is(401, "bad_credentials"); string(a.body) != string(wrong.body) {
			t.Errorf("%s: %s, want the same as for a wrong password: %s", name, a.body, wrong.body)
		}
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	one, other := h.token(t, "account"), h.token(t, "account")
	h.call(t, one, "POST", "/sign-out", nil).is(204)
	h.call(t, one, "GET", "/me", nil).is(401, "not_signed_in")
	h.call(t, other, "GET", "/me", nil).is(200)
}

func TestResetPasswordThenOwnOne(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["account"]
	was := h.token(t, "account")
	reset := h.call(t, h.token(t, "admin"), "POST", "/members/"+p.Address+"/reset-password", nil).is(200)
	h.call(t, was, "GET", "/me", nil).is(401, "not_signed_in")
	h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": p.Account.Reveal()}).is(401, "bad_credentials")

	step := h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": reset.text("temporary_password")}).is(200)
	if step.text("state") != "password_change_required" {
		t.Fatalf("state: %s", step.body)
	}
	set := func(word string) answer {
		return h.call(t, "", "POST", "/sign-in/password", m{"ticket": step.text("ticket"), "new_password": word})
	}
	set("short").is(422, "invalid")
	set(reset.text("temporary_password")).is(422, "invalid")
	h.call(t, "", "POST", "/sign-in/password", m{"ticket": step.text("ticket"), "new_password": "better-word-2"}, "User-Agent", "another").is(401, "ticket_invalid")
	done := set("better-word-2").is(200)
	h.call(t, done.text("token"), "GET", "/me", nil).is(200)
	set("better-word-3").is(401, "ticket_invalid")
	h.tokenOf(t, p.Address, "better-word-2")
}

func TestTicketRacesOnce(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["expired"]
	step := h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": p.Account.Reveal()}).is(200)
	statuses := race(8, func(int) int {
		return h.call(t, "", "POST", "/sign-in/password", m{"ticket": step.text("ticket"), "new_password": "better-word-2"}).status
	})
	if statuses[200] != 1 || statuses[401] != 7 {
		t.Errorf("statuses %v, want one 200", statuses)
	}
}

// race calls n at once and counts what they answer.
func race[T comparable](n int, call func(i int) T) map[T]int {
	var wait sync.WaitGroup
	begin, got := make(chan struct{}), make([]T, n)
	for i := range n {
		wait.Go(func() { <-begin; got[i] = call(i) })
	}
	close(begin)
	wait.Wait()
	counts := map[T]int{}
	for _, s := range got {
		counts[s]++
	}
	return counts
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["opted-in"]
	mine, other := h.token(t, "opted-in"), h.token(t, "opted-in")
	session := current(h.call(t, mine, "GET", "/me/sessions", nil))
	change := func(current, next string) answer {
		return h.call(t, mine, "PUT", "/me/password", m{"current": current, "new": next})
	}
	change("wrong-word-1", "better-word-2").is(401, "bad_credentials")
	bad := change(p.Account.Reveal(), "short").is(422, "invalid")
	if e, _ := bad.value()["errors"].([]any); len(e) != 2 || e[0].(map[string]any)["field"] != "new" {
		t.Errorf("mistakes %v, want too_short and needs_digit of new", e)
	}
	fresh := change(p.Account.Reveal(), "better-word-2").is(200).text("token")
	h.call(t, mine, "GET", "/me", nil).is(401, "not_signed_in")
	h.call(t, other, "GET", "/me", nil).is(401, "not_signed_in")
	l := h.call(t, fresh, "GET", "/me/sessions", nil).is(200)
	if got := current(l); got != session || len(l.items()) != 1 {
		t.Errorf("session %q, want %q alone: %s", got, session, l.body)
	}
	if n := len(h.call(t, fresh, "GET", "/me/app-passwords", nil).is(200).items()); n != 1 {
		t.Errorf("%d app passwords after a change that keeps them", n)
	}
	again := h.call(t, fresh, "PUT", "/me/password", m{"current": "better-word-2", "new": "better-word-3", "delete_app_passwords": true}).is(200)
	if n := len(h.call(t, again.text("token"), "GET", "/me/app-passwords", nil).is(200).items()); n != 0 {
		t.Errorf("%d app passwords after a change that deletes them", n)
	}
}

func current(a answer) string {
	for _, s := range a.items() {
		if s["current"] == true {
			return s["id"].(string)
		}
	}
	return ""
}

func TestAppPasswords(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "app-only")
	made := h.call(t, token, "POST", "/me/app-passwords", m{"name": "  Phone ", "doors": []string{"imap"}, "networks": []string{"192.0.2.7/24"}}).is(201)
	if made.text("name") != "Phone" || len(made.text("password")) != 19 || made.header.Get("Cache-Control") != "no-store" {
		t.Errorf("made %s, Cache-Control %q", made.body, made.header.Get("Cache-Control"))
	}
	l := h.call(t, token, "GET", "/me/app-passwords", nil).is(200).items()
	if len(l) != 2 {
		t.Fatalf("list %v", l)
	}
	for _, p := range l {
		if p["password"] != nil || p["mac"] != nil {
			t.Errorf("a list shows a secret: %v", p)
		}
	}
	d, err := h.Authenticate(t.Context(), authtest.Attempt("imap", "app-only@new.example", made.text("password")))
	if err != nil || !d.Allowed() {
		t.Errorf("at the door: %v, %v", d.Reason, err)
	}
	if n := h.call(t, token, "GET", "/me/sessions", nil).is(200).items(); len(n) != 2 || n[0]["credential_name"] != "Phone" {
		t.Errorf("sessions %v", n)
	}
	if msgs := h.call(t, token, "GET", "/me/messages", nil).is(200).items(); len(msgs) < 1 || msgs[0]["kind"] != "app_password_created" {
		t.Errorf("messages %v", msgs)
	}
	h.call(t, token, "DELETE", "/me/app-passwords/"+made.text("id"), nil).is(204)
	h.call(t, token, "DELETE", "/me/app-passwords/"+made.text("id"), nil).is(404, "not_found")
	h.call(t, token, "POST", "/me/app-passwords", m{"name": "a\u202eb", "doors": []string{"ftp"}, "expires_at": "2020-01-01T00:00:00Z"}).is(422, "invalid")
}

func TestSixthAppPassword(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	statuses := race(10, func(int) int { return h.call(t, token, "POST", "/me/app-passwords", m{"name": "Phone"}).status })
	if statuses[201] != policy.AppPasswordsHi || statuses[409] != 5 {
		t.Errorf("statuses %v, want five 201 and five 409", statuses)
	}
	if n := len(h.call(t, token, "GET", "/me/app-passwords", nil).items()); n != policy.AppPasswordsHi {
		t.Errorf("%d were made", n)
	}
	h.call(t, token, "POST", "/me/app-passwords", m{"name": "Sixth"}).is(409, "app_password_limit")
}

func TestReauthentication(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["account"]
	token := h.token(t, "account")
	h.clock.pass(9 * time.Minute)
	h.call(t, token, "POST", "/me/app-passwords", m{"name": "In time"}).is(201)
	h.clock.pass(2 * time.Minute)
	h.call(t, token, "POST", "/me/app-passwords", m{"name": "Late"}).is(403, "reauthentication_required")
	h.call(t, token, "POST", "/reauthenticate", m{"password": "wrong-word-1"}).is(401, "bad_credentials")
	fresh := h.call(t, token, "POST", "/reauthenticate", m{"password": p.Account.Reveal()}).is(200).text("token")
	h.call(t, token, "GET", "/me", nil).is(401, "not_signed_in")
	h.call(t, fresh, "POST", "/me/app-passwords", m{"name": "Again"}).is(201)
	h.clock.pass(11 * time.Minute)
	l := h.call(t, fresh, "GET", "/me/app-passwords", nil).is(200).items()
	h.call(t, fresh, "DELETE", "/me/app-passwords/"+l[0]["id"].(string), nil).is(204)
}

func TestOption(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	fixed := h.token(t, "app-only")
	for _, on := range []bool{true, false} {
		h.call(t, fixed, "PUT", "/me/app-passwords/option", m{"enabled": on}).is(409, "option_fixed")
	}
	token := h.token(t, "account")
	at := func() any { return h.call(t, token, "GET", "/me", nil).is(200).value()["accepted_at_doors"] }
	if at() != "account_password" {
		t.Errorf("before: %v", at())
	}
	h.call(t, token, "PUT", "/me/app-passwords/option", m{"enabled": true}).is(200)
	if at() != "app_password" {
		t.Errorf("on: %v", at())
	}
	h.clock.pass(11 * time.Minute)
	h.call(t, token, "PUT", "/me/app-passwords/option", m{"enabled": false}).is(403, "reauthentication_required")
}

func TestMessagesArePaged(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	for range 5 {
		h.clock.pass(time.Second)
		h.call(t, token, "POST", "/me/app-passwords", m{"name": "Phone"}).is(201)
	}
	seen, after := map[any]bool{}, ""
	for range 5 {
		a := h.call(t, token, "GET", "/me/messages?limit=2&after="+after, nil).is(200)
		for _, i := range a.items() {
			if seen[i["id"]] {
				t.Errorf("message %v twice", i["id"])
			}
			seen[i["id"]] = true
		}
		if after = a.text("next"); after == "" {
			break
		}
	}
	if len(seen) != 5 || after != "" {
		t.Errorf("%d messages, next %q", len(seen), after)
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "page=2", "after=" + strings.Repeat("x", 500)} {
		h.call(t, token, "GET", "/me/messages?"+query, nil).is(422, "invalid")
	}
}
