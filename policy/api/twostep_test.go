package api_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/otp"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

// words are the texts of a list in an answer.
func (a answer) words(name string) (l []string) {
	list, _ := a.value()[name].([]any)
	for _, x := range list {
		s, _ := x.(string)
		l = append(l, s)
	}
	return l
}

// part is one member of an answer.
func (a answer) part(name string) m {
	v, _ := a.value()[name].(map[string]any)
	return v
}

// contacts are the values of an answer's contacts, and whether each is verified.
func (a answer) contacts() map[string]bool {
	l := map[string]bool{}
	list, _ := a.value()["contacts"].([]any)
	for _, x := range list {
		k, _ := x.(map[string]any)
		value, _ := k["value"].(string)
		l[value], _ = k["verified"].(bool)
	}
	return l
}

// enter goes through a contact of one's own.
func (h *house) enter(t testing.TB, token string, wish m) answer {
	t.Helper()
	sent := h.call(t, token, "POST", "/me/contacts", wish).is(202)
	to, _ := wish["value"].(string)
	return h.call(t, token, "POST", "/me/contacts/"+sent.text("contact")+"/verify", m{"code": h.Code(t, sample.Old, to)}).is(200)
}

// appCode is what an authenticator app shows, so many steps from now.
func (h *house) appCode(t testing.TB, key string, steps int) string {
	t.Helper()
	code, err := otp.CodeAt(secret.New(key), h.clock.now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return code.Reveal()
}

// A member enters a contact, mistypes, asks again too soon, verifies, replaces it and removes it.
func TestContactsOfOnesOwn(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	for name, c := range map[string]struct {
		body   m
		reason string
	}{
		"a land line":    {m{"kind": "mobile", "value": "+442079460018"}, "invalid"},
		"no address":     {m{"kind": "email", "value": "ann"}, "invalid"},
		"another kind":   {m{"kind": "pigeon", "value": "ann@mail.example"}, "invalid"},
		"a long address": {m{"kind": "email", "value": strings.Repeat("a", 400) + "@mail.example"}, "invalid"},
	} {
		if a := h.call(t, token, "POST", "/me/contacts", c.body); a.status != 422 || a.text("reason") != c.reason {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	h.call(t, token, "POST", "/me/contacts", m{"kind": "email", "value": "ann@mail.example", "replaces": "nothing"}).is(404, "not_found")

	sent := h.call(t, token, "POST", "/me/contacts", m{"kind": "email", "value": " Ann@MAIL.example "}).is(202)
	if to := sent.text("to"); strings.Contains(to, "ann@") || !strings.Contains(to, "@") || sent.text("expires_at") == "" {
		t.Errorf("sent: %s", sent.body)
	}
	at := "/me/contacts/" + sent.text("contact")
	if len(h.call(t, token, "GET", "/me/two-step", nil).is(200).contacts()) != 0 {
		t.Error("a contact is there before its code")
	}
	h.call(t, token, "POST", at+"/verify", m{"code": "wrong"}).is(422, "bad_code")
	h.call(t, token, "POST", at+"/send-code", nil).is(429, "throttled")
	a := h.call(t, token, "POST", at+"/verify", m{"code": h.Code(t, sample.Old, "ann@mail.example")}).is(200)
	if l := a.contacts(); len(l) != 1 || !l["ann@mail.example"] {
		t.Errorf("verified: %s", a.body)
	}
	a = h.enter(t, token, m{"kind": "mobile", "value": "+819012345678", "replaces": sent.text("contact")})
	if l := a.contacts(); len(l) != 1 || !l["+819012345678"] {
		t.Errorf("replaced: %s", a.body)
	}
	h.call(t, token, "DELETE", at, nil).is(404, "not_found")
	list, _ := a.value()["contacts"].([]any)
	id, _ := list[0].(map[string]any)["id"].(string)
	h.clock.pass(11 * time.Minute)
	h.call(t, token, "DELETE", "/me/contacts/"+id, nil).is(403, "reauthentication_required")
	h.call(t, token, "POST", "/me/contacts", m{"kind": "email", "value": "bob@mail.example"}).is(403, "reauthentication_required")
	h.call(t, h.token(t, "account"), "DELETE", "/me/contacts/"+id, nil).is(204)
}

// The walk of 2-step verification: off, refused without a method, on by a verified contact, an app, recovery codes, off.
func TestTwoStepOfOnesOwn(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	a := h.call(t, token, "GET", "/me/two-step", nil).is(200)
	if a.value()["enabled"] != false || a.text("by") != "nobody" || a.value()["required"] != false || a.value()["app"] != nil {
		t.Errorf("at first: %s", a.body)
	}
	h.call(t, token, "PUT", "/me/two-step", m{"enabled": true}).is(403, "two_step_method_missing")
	h.enter(t, token, m{"kind": "email", "value": "ann@mail.example"})
	a = h.call(t, token, "PUT", "/me/two-step", m{"enabled": true}).is(200)
	if a.value()["enabled"] != true || a.text("by") != "member" || !slices.Equal(a.words("methods"), []string{"email"}) {
		t.Errorf("on: %s", a.body)
	}

	made := h.call(t, token, "POST", "/me/two-step/app", nil).is(201)
	key := made.text("secret")
	if key == "" || !strings.HasPrefix(made.text("url"), "otpauth://totp/") || made.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("app: %s", made.body)
	}
	h.call(t, token, "POST", "/me/two-step/app/confirm", m{"code": h.appCode(t, key, 3)}).is(422, "bad_code")
	a = h.call(t, token, "POST", "/me/two-step/app/confirm", m{"code": h.appCode(t, key, 0)}).is(200)
	if a.part("app")["since"] == nil || !slices.Contains(a.words("methods"), "totp") || strings.Contains(string(a.body), key) {
		t.Errorf("with an app: %s", a.body)
	}
	codes := h.call(t, token, "POST", "/me/two-step/recovery-codes", nil).is(201).words("codes")
	a = h.call(t, token, "GET", "/me/two-step", nil).is(200)
	if len(codes) != 10 || a.part("recovery_codes")["left"] != float64(10) || strings.Contains(string(a.body), codes[0]) {
		t.Errorf("%d recovery codes: %s", len(codes), a.body)
	}

	h.clock.pass(time.Minute)
	for name, c := range map[string]struct{ method, code string }{
		"an app":          {"totp", h.appCode(t, key, 0)},
		"a recovery code": {"recovery_code", codes[0]},
	} {
		step := h.begin(t, "account", nil).is(200)
		h.call(t, "", "POST", "/sign-in/two-step", m{"ticket": step.text("ticket"), "method": c.method, "code": "000000"}).is(422, "bad_code")
		done := h.call(t, "", "POST", "/sign-in/two-step", m{"ticket": step.text("ticket"), "method": c.method, "code": c.code}).is(200)
		if done.text("state") != "signed_in" {
			t.Errorf("%s: %s", name, done.body)
		}
		token = done.text("token")
	}
	if left := h.call(t, token, "GET", "/me/two-step", nil).is(200).part("recovery_codes")["left"]; left != float64(9) {
		t.Errorf("%v recovery codes left", left)
	}
	h.call(t, token, "DELETE", "/me/two-step/app", nil).is(204)
	h.call(t, token, "DELETE", "/me/two-step/app", nil).is(404, "not_found")
	if a := h.call(t, token, "PUT", "/me/two-step", m{"enabled": false}).is(200); a.value()["enabled"] != false {
		t.Errorf("off: %s", a.body)
	}
}

// Under a policy that requires it nobody switches it off or removes his last method, and the answer says who asks for it.
func TestTwoStepRequiredByPolicy(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	a := h.enter(t, token, m{"kind": "email", "value": "ann@mail.example"})
	list, _ := a.value()["contacts"].([]any)
	id, _ := list[0].(map[string]any)["id"].(string)
	h.policyOf(t, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	a = h.call(t, token, "GET", "/me/two-step", nil).is(200)
	if a.value()["enabled"] != true || a.text("by") != "policy" || a.value()["required"] != true {
		t.Errorf("required: %s", a.body)
	}
	h.call(t, token, "PUT", "/me/two-step", m{"enabled": false}).is(409, "two_step_required_by_policy")
	h.call(t, token, "DELETE", "/me/contacts/"+id, nil).is(403, "two_step_method_missing")
	if a := h.call(t, token, "GET", "/me/two-step", nil).is(200); len(a.contacts()) != 1 {
		t.Errorf("after all that: %s", a.body)
	}
}

// Where an administrator manages profiles elsewhere, members' own changes are refused with that reason; what is saved may
// be verified.
func TestManagedProfileOverHTTP(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	admin := h.token(t, "admin")
	address := h.People["account"].Address
	was := h.call(t, admin, "GET", "/members/"+address, nil).is(200)
	h.call(t, admin, "PATCH", "/members/"+address, m{"contacts": []m{{"kind": "email", "value": "ann@mail.example"}}}, "If-Match", was.header.Get("ETag")).is(200)
	h.policyOf(t, func(p *policy.Policy) { p.ProfileManagedExternally = true })
	token := h.token(t, "account")
	a := h.call(t, token, "GET", "/me/two-step", nil).is(200)
	if l := a.contacts(); a.value()["profile_managed_externally"] != true || len(l) != 1 || l["ann@mail.example"] {
		t.Fatalf("managed: %s", a.body)
	}
	list, _ := a.value()["contacts"].([]any)
	id, _ := list[0].(map[string]any)["id"].(string)
	h.call(t, token, "POST", "/me/contacts", m{"kind": "email", "value": "bob@mail.example"}).is(403, "profile_managed_externally")
	h.call(t, token, "DELETE", "/me/contacts/"+id, nil).is(403, "profile_managed_externally")
	h.call(t, token, "POST", "/me/contacts/"+id+"/send-code", nil).is(202)
	a = h.call(t, token, "POST", "/me/contacts/"+id+"/verify", m{"code": h.Code(t, sample.Old, "ann@mail.example")}).is(200)
	if !a.contacts()["ann@mail.example"] {
		t.Errorf("verified: %s", a.body)
	}
}

// An administrator sees a member's methods, never a secret of them, and takes them away from who lost them all.
func TestTwoStepOfAMember(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token, admin := h.token(t, "account"), h.token(t, "admin")
	at := "/members/" + h.People["account"].Address + "/two-step"
	h.enter(t, token, m{"kind": "email", "value": "ann@mail.example"})
	key := h.call(t, token, "POST", "/me/two-step/app", nil).is(201).text("secret")
	h.call(t, token, "POST", "/me/two-step/app/confirm", m{"code": h.appCode(t, key, 0)}).is(200)
	codes := h.call(t, token, "POST", "/me/two-step/recovery-codes", nil).is(201).words("codes")
	h.call(t, token, "PUT", "/me/two-step", m{"enabled": true}).is(200)
	a := h.call(t, admin, "GET", at, nil).is(200)
	if a.value()["enabled"] != true || a.part("app")["since"] == nil || a.part("recovery_codes")["left"] != float64(10) {
		t.Errorf("seen: %s", a.body)
	}
	for _, s := range append(codes, key) {
		if strings.Contains(string(a.body), s) {
			t.Errorf("an administrator sees a secret: %s", a.body)
		}
	}
	h.call(t, admin, "DELETE", at, nil).is(200)
	a = h.call(t, admin, "GET", at, nil).is(200)
	if a.value()["app"] != nil || a.part("recovery_codes")["left"] != float64(0) {
		t.Errorf("after the reset: %s", a.body)
	}
}

// The preview over HTTP: who would be locked out is named, page by page, and nothing is changed by it.
func TestPolicyPreview(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	admin := h.token(t, "admin")
	at := "/domains/" + sample.Old + "/policy"
	was := h.call(t, admin, "GET", at, nil).is(200)
	next := was.value()
	next["sign_in"].(map[string]any)["two_step"] = "required"
	next["profile_managed_externally"] = true
	h.enter(t, h.token(t, "account"), m{"kind": "email", "value": "ann@mail.example"})
	a := h.call(t, admin, "POST", at+"/preview", next).is(200)
	named := map[string]bool{}
	list, _ := a.value()["locked_out_members"].([]any)
	for _, x := range list {
		k, _ := x.(map[string]any)
		address, _ := k["address"].(string)
		named[address] = true
	}
	if named[h.People["account"].Address] || !named[h.People["admin"].Address] || a.value()["locked_out"] != float64(len(named)) || a.value()["ways_ending"] != float64(0) {
		t.Errorf("locked out: %s", a.body)
	}
	if n, _ := a.value()["stopping"].(float64); n == 0 || a.value()["ways_ending_members"] == nil {
		t.Errorf("stopping: %s", a.body)
	}
	if list := h.call(t, admin, "POST", at+"/preview?after_locked_out=~", next).is(200); len(list.words("locked_out_members")) != 0 || list.value()["locked_out"] != a.value()["locked_out"] {
		t.Errorf("after the last: %s", list.body)
	}
	if is := h.call(t, admin, "GET", at, nil).is(200); is.header.Get("ETag") != was.header.Get("ETag") || string(is.body) != string(was.body) {
		t.Error("the preview changed the policy")
	}
	next["password"].(map[string]any)["min_length"] = 7
	h.call(t, admin, "POST", at+"/preview", next).is(422, "invalid")
}

// A message is marked as read, and as not read again.
func TestMarkMessage(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	h.call(t, token, "POST", "/me/app-passwords", m{"name": "Phone"}).is(201)
	first := func() m { return h.call(t, token, "GET", "/me/messages", nil).is(200).items()[0] }
	id, _ := first()["id"].(string)
	for _, read := range []bool{true, false} {
		h.call(t, token, "PUT", "/me/messages/"+id+"/read", m{"read": read}).is(204)
		if got := first()["read_at"] != nil || first()["read"] == true; got != read {
			t.Errorf("marked %v: %v", read, first())
		}
	}
	h.call(t, token, "PUT", "/me/messages/nothing/read", m{"read": true}).is(404, "not_found")
}
