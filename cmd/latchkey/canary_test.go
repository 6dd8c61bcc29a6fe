package main

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"io"
)

// canaries are secrets that went through the server, by what they were.
type canaries map[string]string

// add keeps one, and sees that it is one: the search for an empty word finds nothing.
func (c canaries) add(t *testing.T, what, secret string) string {
	t.Helper()
	if len(secret) < 6 {
		t.Fatalf("%s is no secret: %q", what, secret)
	}
	c[what] = secret
	return secret
}

// TestDrillCanaries sends secrets through every path, right and wrong ones, in the right fields and in wrong ones, and looks
// for them in every byte that the server leaves: the store with its log, a backup, its own log, the metrics, the audit.
func TestDrillCanaries(t *testing.T) {
	s := newStage(t)
	p := s.serve()
	found := canaries{}
	s.overTheAPI(t, found)
	s.atTheDoors(t, found)
	metrics, err := http.Get("http://" + s.addr["ops"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	told, _ := io.ReadAll(metrics.Body)
	_ = metrics.Body.Close()
	backup := start{args: []string{"backup", "-config", s.file, "-out", s.path("backup.lkb")}}.begin(t)
	if code := backup.ends(); code != 0 {
		t.Fatalf("backup ends with %d: %s", code, backup.err)
	}
	places := map[string]string{"metrics": string(told), "log": p.err.String() + p.out.String()}
	for _, dir := range []string{"data", "backup.lkb"} {
		_ = filepath.WalkDir(s.path(dir), func(file string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				b, _ := os.ReadFile(file)
				places[filepath.Base(file)] = string(b)
			}
			return nil
		})
	}
	if len(places) < 4 || !strings.Contains(strings.Join([]string{places["log"]}, ""), "request") {
		t.Fatalf("only %d places to look into", len(places))
	}
	t.Logf("%d canaries, %d places", len(found), len(places))
	for where, text := range places {
		for what, secret := range found {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", where, what)
			}
		}
	}
	audit := s.api()
	if err := audit.signIn(s.people["admin"]); err != nil {
		t.Fatal(err)
	}
	var all struct{ Items []any }
	if status, err := audit.do("GET", "/domains/old.example/audit?limit=200", nil, &all); status != 200 || err != nil || len(all.Items) < 5 {
		t.Fatalf("audit: %d, %v, %d entries", status, err, len(all.Items))
	}
	s.auditIsClean(t, audit, found)
}

func (s *stage) auditIsClean(t *testing.T, c *apiClient, found canaries) {
	t.Helper()
	req, err := http.NewRequest("GET", c.base+"/domains/old.example/audit?format=jsonl", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines, _ := io.ReadAll(res.Body)
	if !strings.Contains(string(lines), "token_create") {
		t.Errorf("the audit does not tell of what was done: %.300s", lines)
	}
	for what, secret := range found {
		if strings.Contains(string(lines), secret) {
			t.Errorf("the audit holds %s", what)
		}
	}
}

// overTheAPI sends and gets every kind of secret that the API knows without a second party.
func (s *stage) overTheAPI(t *testing.T, found canaries) {
	t.Helper()
	call := func(c *apiClient, method, path string, in map[string]any, want int) map[string]any {
		t.Helper()
		var out map[string]any
		status, err := c.do(method, path, in, &out)
		if err != nil || status != want {
			t.Fatalf("%s %s: %d, want %d: %v", method, path, status, want, err)
		}
		return out
	}
	text := func(m map[string]any, field string) string { v, _ := m[field].(string); return v }
	admin, member := s.api(), s.api()
	if err := admin.signIn(s.people["admin"]); err != nil {
		t.Fatal(err)
	}
	if err := member.signIn(s.people["account"]); err != nil {
		t.Fatal(err)
	}
	address := s.people["account"].Address
	found.add(t, "a session's token", admin.token)
	found.add(t, "a member's token", member.token)
	found.add(t, "an account password", s.people["account"].Account.Reveal())
	call(s.api(), "POST", "/sign-in", map[string]any{"login": address, "password": found.add(t, "a wrong password", "canary-wrong-11")}, 401)
	call(s.api(), "POST", "/sign-in", map[string]any{"login": found.add(t, "a password in the place of a name", "canary-login-22"), "password": "x"}, 401)
	call(s.api(), "POST", "/sign-in/password", map[string]any{"ticket": found.add(t, "a made-up ticket", "lk_canary_ticket_33"), "new_password": "canary-new-44"}, 401)
	call(s.api(), "POST", "/sign-in/two-step", map[string]any{"ticket": "lk_canary_ticket_33", "method": "email", "code": found.add(t, "a code", "739154")}, 401)
	call(member, "POST", "/me/app-passwords", map[string]any{"name": "Phone", found.add(t, "a secret as a field", "canary-field-55"): 1}, 422)
	app := call(member, "POST", "/me/app-passwords", map[string]any{"name": "Phone"}, 201)
	found.add(t, "an app password", text(app, "password"))
	found.add(t, "an app password without hyphens", strings.ReplaceAll(text(app, "password"), "-", ""))
	token := call(admin, "POST", "/me/api-tokens", map[string]any{"name": "Deploy", "scopes": []string{"read"}}, 201)
	found.add(t, "an API token", text(token, "token"))
	made := call(admin, "POST", "/domains/old.example/members", map[string]any{"address": "fresh@old.example"}, 201)
	found.add(t, "a temporary password", text(made, "temporary_password"))
	step := call(s.api(), "POST", "/sign-in", map[string]any{"login": "fresh@old.example", "password": text(made, "temporary_password")}, 200)
	found.add(t, "a ticket", text(step, "ticket"))
	own := call(s.api(), "POST", "/sign-in/password", map[string]any{"ticket": text(step, "ticket"), "new_password": found.add(t, "a new password", "canary-own-word-66")}, 200)
	fresh := s.api()
	fresh.token = found.add(t, "the token of a new password", text(own, "token"))
	app2 := call(fresh, "POST", "/me/two-step/app", nil, 201)
	found.add(t, "an authenticator app's secret", text(app2, "secret"))
}

// atTheDoors tries right and wrong passwords at every door.
func (s *stage) atTheDoors(t *testing.T, found canaries) {
	t.Helper()
	for _, door := range stageDoors {
		for _, login := range []string{s.people["account"].Address, "nobody@old.example"} {
			if _, err := s.door(door).signIn(s.tls, login, found.add(t, "a wrong password at a door", "canary-door-77")); err != nil {
				t.Error(err)
			}
		}
		s.signIn(door, "app-only")
	}
	found.add(t, "an app password at a door", s.people["app-only"].AppPasswords[0].Secret.Reveal())
}
