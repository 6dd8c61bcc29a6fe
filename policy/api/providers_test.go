package api_test

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/oidc"
	"latchkey/policy"
)

// withLINE is a house whose old domain allows LINE.
func withLINE(t *testing.T) (*house, *authtest.Provider) {
	t.Helper()
	at := authtest.NewProvider(t, oidc.LINE)
	party := at.Party(t, "line")
	h := open(t, func(o *authcore.Options) { o.Providers = func() []*oidc.Provider { return []*oidc.Provider{party} } })
	h.allowLINE(t, policy.Allow)
	return h, at
}

func (h *house) allowLINE(t *testing.T, w policy.Way) {
	t.Helper()
	p, rev, err := h.Policy(t.Context(), authtest.Operator(), "old.example")
	if err != nil {
		t.Fatal(err)
	}
	p.SignIn.LINE = w
	if _, err := h.SetPolicy(t.Context(), authtest.Operator(), "old.example", p, rev); err != nil {
		t.Fatal(err)
	}
}

// by goes to the provider and back, and calls the second half of an operation.
func (h *house) by(t *testing.T, at *authtest.Provider, token, path, subject string) answer {
	t.Helper()
	step := h.call(t, token, "POST", path, nil)
	if step.status != 200 {
		return step
	}
	given := at.Authorize(t, step.text("authorize_url"), subject)
	return h.call(t, token, "POST", path+"/callback", m{"ticket": step.text("ticket"), "state": given.State.Reveal(), "code": given.Code.Reveal()})
}

func TestLINE(t *testing.T) {
	t.Parallel()
	h, at := withLINE(t)
	token := h.token(t, "account")
	address := h.People["account"].Address
	h.by(t, at, "", "/sign-in/oidc/line", "U-canary").is(401, "not_linked")
	linked := h.by(t, at, token, "/me/links/line", "U-canary").is(201)
	if linked.text("provider") != "line" || linked.text("linked_at") == "" {
		t.Errorf("linked: %s", linked.body)
	}
	h.by(t, at, token, "/me/links/line", "another").is(409, "already_linked")
	h.by(t, at, h.token(t, "admin"), "/me/links/line", "U-canary").is(409, "already_linked")
	list := h.call(t, token, "GET", "/me/links", nil).is(200)
	if l := list.items(); len(l) != 1 || len(l[0]) != 2 {
		t.Errorf("a list shows more than provider and time: %s", list.body)
	}
	in := h.by(t, at, "", "/sign-in/oidc/line", "U-canary").is(200)
	if member, _ := in.value()["member"].(map[string]any); in.text("state") != "signed_in" || member["address"] != address {
		t.Errorf("signed in: %s", in.body)
	}
	ways := h.call(t, "", "GET", "/sign-in/ways?domain=old.example", nil).is(200)
	if !strings.Contains(string(ways.body), `"line"`) {
		t.Errorf("ways: %s", ways.body)
	}
	for _, a := range []answer{list, in, ways, h.call(t, token, "GET", "/me", nil), h.call(t, token, "GET", "/me/messages", nil),
		h.call(t, h.token(t, "admin"), "GET", "/members/"+address, nil), h.call(t, h.token(t, "admin"), "GET", "/domains/old.example/audit", nil)} {
		for _, w := range append(at.Secrets(), "canary", "provider.test") {
			if strings.Contains(string(a.is(200).body), w) {
				t.Errorf("an answer shows %q: %s", w, a.body)
			}
		}
	}
	h.call(t, token, "DELETE", "/me/links/line", nil).is(204)
	h.call(t, token, "DELETE", "/me/links/line", nil).is(404, "not_found")
	h.by(t, at, "", "/sign-in/oidc/line", "U-canary").is(401, "not_linked")
	h.call(t, "", "POST", "/sign-in/oidc/other", nil).is(404, "not_found")
	for _, w := range append(at.Secrets(), "canary") {
		if strings.Contains(h.log.String(), w) {
			t.Errorf("the log holds %q", w)
		}
	}
}

// TestLINEIsDenied by the domain, and by an administrator for one member: the next sign-in fails and the session goes on.
func TestLINEIsDenied(t *testing.T) {
	t.Parallel()
	h, at := withLINE(t)
	token, admin := h.token(t, "account"), h.token(t, "admin")
	path := "/members/" + h.People["account"].Address
	h.by(t, at, token, "/me/links/line", "subject").is(201)
	was := h.by(t, at, "", "/sign-in/oidc/line", "subject").is(200).text("token")

	tag := h.call(t, admin, "GET", path, nil).is(200).header.Get("ETag")
	denied := h.call(t, admin, "PUT", path+"/denied-ways", m{"ways": []string{"line"}}, "If-Match", tag).is(200)
	if l, _ := denied.value()["denied_ways"].([]any); len(l) != 1 || l[0] != "line" {
		t.Errorf("denied: %s", denied.body)
	}
	h.call(t, admin, "PUT", path+"/denied-ways", m{"ways": []string{}}, "If-Match", tag).is(412, "revision_mismatch")
	h.call(t, admin, "PUT", path+"/denied-ways", m{"ways": []string{"password"}}).is(422, "invalid")
	h.by(t, at, "", "/sign-in/oidc/line", "subject").is(403, "way_denied")
	h.call(t, was, "GET", "/me", nil).is(200)
	h.call(t, admin, "PUT", path+"/denied-ways", m{"ways": []string{}}).is(200)
	h.by(t, at, "", "/sign-in/oidc/line", "subject").is(200)

	h.allowLINE(t, policy.Deny)
	h.by(t, at, "", "/sign-in/oidc/line", "subject").is(403, "way_denied")
	h.by(t, at, admin, "/me/links/line", "admin's").is(403, "way_denied")
	h.call(t, was, "GET", "/me", nil).is(200)
	if l := h.call(t, token, "GET", "/me/links", nil).is(200).items(); len(l) != 1 {
		t.Errorf("links after a deny: %v", l)
	}
	h.allowLINE(t, policy.Allow)
	h.by(t, at, "", "/sign-in/oidc/line", "subject").is(200)
}

// TestProviderTroubleIsNotTold: the client hears one word, the log hears why, and neither a code nor a token.
func TestProviderTroubleIsNotTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path   string
		body   string
		status int
		want   int
		reason string
		log    string
	}{
		"the provider refuses": {"/token", `{"error":"invalid_grant","error_description":"canary"}`, 400, 401, "provider_refused", "invalid_grant"},
		"the provider is down": {"/token", "canary", 502, 503, "unavailable", "502"},
		"a token of nobody":    {"/token", `{"access_token":"canary","token_type":"Bearer","id_token":"canary.canary.canary"}`, 200, 401, "provider_refused", "id_token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, at := withLINE(t)
			at.Lock()
			at.Serve = func(w http.ResponseWriter, q *http.Request, rest http.HandlerFunc) {
				if q.URL.Path != c.path {
					rest(w, q)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}
			at.Unlock()
			a := h.by(t, at, "", "/sign-in/oidc/line", "subject").is(c.want, c.reason)
			h.eventually(t, "callback")
			for place, text := range map[string]string{"the answer": string(a.body), "the log": h.log.String()} {
				for _, w := range append(at.Secrets(), "canary") {
					if strings.Contains(text, w) {
						t.Errorf("%s holds %q: %s", place, w, text)
					}
				}
			}
			if strings.Contains(string(a.body), at.URL) || !strings.Contains(h.log.String(), c.log) {
				t.Errorf("told %s; the log has to say %q:\n%s", a.body, c.log, h.log.String())
			}
		})
	}
}
