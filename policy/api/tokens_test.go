package api_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/policy/admin"
	"latchkey/policy/api"
	"latchkey/policy/self"
)

// apiToken makes an API token of somebody who is signed in.
func (h *house) apiToken(t testing.TB, token string, wish m) string {
	t.Helper()
	wish["name"] = "Program"
	return h.call(t, token, "POST", "/me/api-tokens", wish).is(201).text("token")
}

// withTokens adds programs that act for the administrator of old.example, and for the operator in new.example alone.
func (w *world) withTokens(t *testing.T) *world {
	t.Helper()
	for name, c := range map[string]struct {
		of   string
		wish m
	}{
		"read token":    {"admin", m{"scopes": []string{"read"}}},
		"write token":   {"admin", m{"scopes": []string{"write"}}},
		"foreign token": {"operator", m{"scopes": []string{"read", "write"}, "domains": []string{"new.example"}}},
	} {
		r := w.people[c.of]
		r.token = w.apiToken(t, r.token, c.wish)
		w.people[name] = r
	}
	return w
}

// wantOfToken is what an API token may make of a row: what its member may, within scopes and domains, and nothing of the
// account that it acts for.
func wantOfToken(r row, token string) int {
	admin, operator := r.want[slices.Index(actors, "admin")], r.want[slices.Index(actors, "operator")]
	reads := r.method == "GET" || slices.Contains(readingPosts(), r.path)
	switch {
	case r.method+" "+r.path == "GET /me" || r.method+" "+r.path == "GET /domains":
		return 200
	case !strings.HasPrefix(r.path, "/domains") && !strings.HasPrefix(r.path, "/members"):
		return 403
	case token == "foreign token" && r.method+" "+r.path == "POST /domains":
		return 403
	case token == "foreign token" && r.target != "new.example" && r.target != "other":
		return 404
	case token == "foreign token" && slices.Contains([]string{"closed", "created_at", "upstreams"}, r.variant):
		return 403 // these are nobody's who has not all domains
	case token == "foreign token":
		return operator
	case admin == 403 || admin == 404 && (operator != 404 || r.target == "other"): // else he is known, and it is not there
		return admin
	case !reads && (token == "read token" || r.target == "self"):
		return 403
	default:
		return admin
	}
}

// readingPosts are operations that change nothing, and have a body.
func readingPosts() []string { return []string{"/domains/{domain}/policy/preview"} }

func TestMatrixOfTokens(t *testing.T) {
	t.Parallel()
	open := unsecured(t)
	shared := settle(t).withTokens(t)
	before := shared.records(t)
	for _, r := range matrix(t) {
		if open[r.method+" "+r.path] {
			continue
		}
		for _, actor := range []string{"read token", "write token", "foreign token"} {
			name := strings.Join([]string{r.method, r.path, r.variant, r.target, "by", actor}, " ")
			t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
				w, want := shared, wantOfToken(r, actor)
				if want < 300 && r.method != "GET" {
					w = settle(t).withTokens(t)
				}
				if a := w.try(t, r, actor); a.status != want {
					t.Errorf("%s: status %d, want %d: %s", name, a.status, want, a.body)
				}
			})
		}
	}
	if after := shared.records(t); !slices.Equal(before, after) {
		t.Errorf("what was refused changed records:\nbefore %v\nafter  %v", before, after)
	}
}

// unsecured are the operations that need no token.
func unsecured(t *testing.T) map[string]bool {
	p, err := api.Document(self.Register, admin.Register)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths map[string]map[string]struct{ Security []any }
	}
	if err := json.Unmarshal(p, &d); err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	for path, operations := range d.Paths {
		for method, o := range operations {
			open[strings.ToUpper(method)+" "+path] = len(o.Security) == 0
		}
	}
	return open
}

func TestAPITokens(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	admin := h.token(t, "admin")
	made := h.call(t, admin, "POST", "/me/api-tokens", m{"name": " Deploy ", "scopes": []string{"read", "read"}}).is(201)
	token := made.text("token")
	if made.text("name") != "Deploy" || token == "" || made.header.Get("Cache-Control") != "no-store" {
		t.Errorf("made %s", made.body)
	}
	h.call(t, token, "GET", "/domains/old.example/members", nil).is(200)
	h.call(t, token, "PATCH", "/members/account@old.example", m{"name": "x"}).is(403, "scope_missing")
	h.call(t, token, "POST", "/me/app-passwords", m{"name": "x"}).is(403, "scope_missing")
	h.call(t, token, "POST", "/me/api-tokens", m{"name": "x", "scopes": []string{"write"}}).is(403, "scope_missing")
	h.call(t, token, "GET", "/domains/new.example", nil).is(404, "not_found")

	l := h.call(t, admin, "GET", "/me/api-tokens", nil).is(200)
	if items := l.items(); len(items) != 1 || items[0]["id"] != made.text("id") || strings.Contains(string(l.body), token) {
		t.Errorf("list %s", l.body)
	}
	h.call(t, admin, "DELETE", "/me/api-tokens/"+made.text("id"), nil).is(204)
	h.call(t, token, "GET", "/me", nil).is(401, "not_signed_in")
	h.call(t, admin, "DELETE", "/me/api-tokens/"+made.text("id"), nil).is(404, "not_found")
	for action, want := range map[string]int{"token_create": 1, "token_delete": 1} {
		if l := h.call(t, admin, "GET", "/domains/old.example/audit?action="+action, nil).is(200).items(); len(l) != want || l[0]["credential_name"] != "Deploy" {
			t.Errorf("audit of %s: %v", action, l)
		}
	}
}

// A token for one domain does not take over an operator who lives there, and with him every other domain.
func TestTokenOfOneDomainLeavesOperatorsAlone(t *testing.T) {
	t.Parallel()
	w := settle(t)
	for domain, want := range map[string]int{"old.example": 403, "*": 200} {
		token := w.apiToken(t, w.people["operator"].token, m{"scopes": []string{"write"}, "domains": []string{domain}})
		for _, c := range []struct {
			method, path string
			body         any
		}{
			{"PATCH", "/members/super@old.example", m{"contacts": []m{{"kind": "email", "value": "mole@elsewhere.example"}}}},
			{"POST", "/members/super@old.example/reset-password", m{}},
		} {
			if a := w.call(t, token, c.method, c.path, c.body); a.status != want || want == 403 && a.text("reason") != "scope_missing" {
				t.Errorf("%s %s with a token for %s: %d %s", c.method, c.path, domain, a.status, a.body)
			}
		}
		w.call(t, token, "PATCH", "/members/deputy@old.example", m{"name": "Deputy " + domain}).is(200)
	}
}

func TestAPITokenIsBounded(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	admin, operator := h.token(t, "admin"), h.token(t, "operator")
	day := 24 * time.Hour
	at := func(d time.Duration) string { return h.clock.now().Add(d).UTC().Format(time.RFC3339) }
	for name, wish := range map[string]m{
		"no name":          {"name": " ", "scopes": []string{"read"}},
		"deceiving name":   {"name": "a\u202eb", "scopes": []string{"read"}},
		"no scope":         {"name": "x", "scopes": []string{}},
		"unknown scope":    {"name": "x", "scopes": []string{"admin"}},
		"past":             {"name": "x", "scopes": []string{"read"}, "expires_at": at(-day)},
		"too far":          {"name": "x", "scopes": []string{"read"}, "expires_at": at(366 * day)},
		"another's domain": {"name": "x", "scopes": []string{"read"}, "domains": []string{"new.example"}},
		"all domains":      {"name": "x", "scopes": []string{"read"}, "domains": []string{"*"}},
	} {
		t.Run(name, func(t *testing.T) { h.call(t, admin, "POST", "/me/api-tokens", wish).is(422, "invalid") })
	}
	short := h.apiToken(t, admin, m{"scopes": []string{"read"}, "expires_at": at(time.Hour)})
	usual := h.apiToken(t, admin, m{"scopes": []string{"read"}})
	everywhere := h.apiToken(t, operator, m{"scopes": []string{"write"}, "domains": []string{"*"}})
	h.call(t, everywhere, "POST", "/domains", m{"name": "third.example"}).is(201)
	h.clock.pass(11 * time.Minute)
	h.call(t, admin, "POST", "/me/api-tokens", m{"name": "x", "scopes": []string{"read"}}).is(403, "reauthentication_required")
	h.clock.pass(time.Hour)
	h.call(t, short, "GET", "/me", nil).is(401, "not_signed_in")
	h.clock.pass(80 * day) // idle all the while
	h.call(t, usual, "GET", "/me", nil).is(200)
	h.clock.pass(10 * day)
	h.call(t, usual, "GET", "/me", nil).is(401, "not_signed_in")
}
