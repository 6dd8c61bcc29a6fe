package api_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy/api"
)

func TestPolicyOverRevision(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "admin")
	const path = "/domains/old.example/policy"
	read := h.call(t, token, "GET", path, nil).is(200)
	tag, p := read.header.Get("ETag"), read.value()
	if tag == "" || tag[0] != '"' {
		t.Fatalf("ETag %q", tag)
	}
	h.call(t, token, "PUT", path, p).is(428, "precondition_required")
	for _, match := range []string{`"0"`, `"-1"`, `-1`, `"999999"`, `W/` + tag, tag + `, "1"`, strings.Trim(tag, `"`), `"+` + tag[1:], `""`} {
		h.call(t, token, "PUT", path, p, "If-Match", match).is(412, "revision_mismatch")
	}
	p["password"].(map[string]any)["min_length"] = 12
	saved := h.call(t, token, "PUT", path, p, "If-Match", tag).is(200)
	if next := saved.header.Get("ETag"); next == tag || next != h.call(t, token, "GET", path, nil).header.Get("ETag") {
		t.Errorf("ETag after saving %q, before %q", next, tag)
	}
	h.call(t, token, "PUT", path, p, "If-Match", tag).is(412, "revision_mismatch")
	h.call(t, token, "PUT", path, p, "If-Match", "*").is(200)
}

func TestPolicyNeverSavedHasARevision(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "operator")
	h.call(t, token, "POST", "/domains", m{"name": "third.example", "created_at": "2020-01-01T00:00:00Z"}).is(201)
	read := h.call(t, token, "GET", "/domains/third.example/policy", nil).is(200)
	if read.header.Get("ETag") != `"0"` {
		t.Fatalf("ETag %q", read.header.Get("ETag"))
	}
	h.call(t, token, "PUT", "/domains/third.example/policy", read.value(), "If-Match", `"0"`).is(200)
	h.call(t, token, "PUT", "/domains/third.example/policy", read.value(), "If-Match", `"0"`).is(412, "revision_mismatch")
}

func TestPolicyRaces(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "admin")
	read := h.call(t, token, "GET", "/domains/old.example/policy", nil).is(200)
	statuses := race(8, func(int) int {
		return h.call(t, token, "PUT", "/domains/old.example/policy", read.value(), "If-Match", read.header.Get("ETag")).status
	})
	if statuses[200] != 1 || statuses[412] != 7 {
		t.Errorf("statuses %v, want one 200", statuses)
	}
}

func TestPolicyMistakes(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "admin")
	good := h.call(t, token, "GET", "/domains/old.example/policy", nil).is(200).body
	for name, c := range map[string]struct{ was, is, field string }{
		"out of bounds":   {`"min_length":8`, `"min_length":7`, "password.min_length"},
		"unknown field":   {`"min_length":8`, `"min_length":8,"refuse_short":true`, "password.refuse_short"},
		"unknown section": {`"password":{`, `"signing_in":{"two_step":"required"},"password":{`, "signing_in"},
		"missing field":   {`"min_length":8,`, ``, "password"},
		"wrong kind":      {`"min_length":8`, `"min_length":"8"`, "password.min_length"},
	} {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(string(good), c.was, c.is, 1)
			if body == string(good) {
				t.Fatalf("no %s in %s", c.was, good)
			}
			a := h.call(t, token, "PUT", "/domains/old.example/policy", body, "If-Match", "*").is(422, "invalid")
			e, _ := a.value()["errors"].([]any)
			if len(e) != 1 || e[0].(map[string]any)["field"] != c.field {
				t.Errorf("errors %v, want one of %s", e, c.field)
			}
		})
	}
	operator := h.token(t, "operator")
	born := h.call(t, operator, "GET", "/domains/new.example/policy", nil).is(200).body
	h.call(t, operator, "PUT", "/domains/new.example/policy", strings.Replace(string(born), `"required"`, `"member_choice"`, 1), "If-Match", "*").is(422, "invalid")
}

func TestDomains(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "operator")
	made := h.call(t, token, "POST", "/domains", m{"name": "Third.Example", "created_at": "2023-01-01T00:00:00Z", "doors": []string{"imap", "smtp"}}).is(201)
	if v := made.value(); v["name"] != "third.example" || v["always_app_passwords"] != true || v["third_party"].(map[string]any)["app_passwords"] != "required" {
		t.Errorf("made %s", made.body)
	}
	h.call(t, token, "POST", "/domains", m{"name": "third.example"}).is(409, "domain_taken")
	h.call(t, token, "POST", "/domains", m{"name": "not a domain", "doors": []string{"ftp"}}).is(422, "invalid")
	h.call(t, token, "PATCH", "/domains/third.example", m{"doors": []string{"imap"}, "closed": true}).is(200)
	h.call(t, token, "PATCH", "/domains/third.example", m{"third_party": m{}}).is(422, "invalid")
	page := h.call(t, token, "GET", "/domains?limit=2", nil).is(200)
	rest := h.call(t, token, "GET", "/domains?limit=2&after="+page.text("next"), nil).is(200)
	if len(page.items()) != 2 || len(rest.items()) != 1 || rest.items()[0]["closed"] != true {
		t.Errorf("pages %s and %s", page.body, rest.body)
	}
	if l := h.call(t, h.token(t, "admin"), "GET", "/domains", nil).is(200).items(); len(l) != 1 || l[0]["name"] != "old.example" {
		t.Errorf("an administrator sees %v", l)
	}
}

func TestMemberLife(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "admin")
	wish := m{"address": "Ann@old.example", "name": "Ann", "aliases": []string{"anna@old.example"}, "contacts": []m{{"kind": "email", "value": "ann@elsewhere.example"}}}
	made := h.call(t, token, "POST", "/domains/old.example/members", wish).is(201)
	if made.text("address") != "ann@old.example" || made.text("temporary_password") == "" || made.text("role") != "member" || made.header.Get("Cache-Control") != "no-store" {
		t.Errorf("made %s", made.body)
	}
	h.call(t, token, "POST", "/domains/old.example/members", wish).is(409, "address_taken")
	const path = "/members/anna@old.example"
	if got := h.call(t, token, "GET", path, nil).is(200); strings.Contains(string(got.body), "temporary") {
		t.Errorf("a member is shown with a password: %s", got.body)
	}
	if s := h.call(t, token, "POST", path+"/suspend", nil).is(200); s.text("status") != "suspended" || s.text("suspended_reason") != "administrator" || s.text("suspended_by") != "admin@old.example" {
		t.Errorf("suspended: %s", s.body)
	}
	if s := h.call(t, token, "POST", path+"/lift", nil).is(200); s.text("status") != "active" || s.text("suspended_at") != "" {
		t.Errorf("lifted: %s", s.body)
	}
	h.call(t, token, "DELETE", path, nil).is(204)
	if s := h.call(t, token, "GET", path, nil).is(200); s.text("status") != "deleted" || s.text("restorable_until") == "" {
		t.Errorf("deleted: %s", s.body)
	}
	if s := h.call(t, token, "PATCH", path, m{"restore": true}).is(200); s.text("status") != "active" {
		t.Errorf("restored: %s", s.body)
	}
	h.call(t, token, "PATCH", path, m{"restore": true}).is(409, "not_restorable")
	h.call(t, token, "DELETE", path, nil).is(204)
	h.clock.pass(8 * 24 * time.Hour)
	token = h.token(t, "admin")
	h.call(t, token, "POST", "/domains/old.example/members", wish).is(409, "address_was_used")
	wish["confirm_reuse"] = true
	h.call(t, token, "POST", "/domains/old.example/members", wish).is(201)
}

func TestMemberOverRevision(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "admin")
	const path = "/members/account@old.example"
	tag := h.call(t, token, "GET", path, nil).is(200).header.Get("ETag")
	statuses := race(8, func(i int) int {
		return h.call(t, token, "PATCH", path, m{"name": fmt.Sprint("Name ", i)}, "If-Match", tag).status
	})
	if statuses[200] != 1 || statuses[412] != 7 {
		t.Errorf("statuses %v, want one 200", statuses)
	}
	h.call(t, token, "PATCH", path, m{"name": "Last"}, "If-Match", tag).is(412, "revision_mismatch")
	h.call(t, token, "PATCH", path, m{"name": "Last"}, "If-Match", "*").is(200)
	h.call(t, token, "PATCH", path, m{"name": "Last"}).is(200)
	h.call(t, token, "PATCH", path, m{"role": "operator"}).is(422, "invalid")
	h.call(t, token, "PATCH", path, m{"two_step": false}).is(422, "invalid")
	h.call(t, token, "PATCH", "/members/admin@old.example", m{"role": "member"}).is(409, "last_administrator")
}

func TestMembersAreListed(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "admin")
	var got []any
	after, pages := "", 0
	for {
		a := h.call(t, token, "GET", "/domains/old.example/members?limit=2&after="+after, nil).is(200)
		pages++
		for _, i := range a.items() {
			got = append(got, i["address"])
		}
		if after = a.text("next"); after == "" {
			break
		}
	}
	if len(got) != 6 || pages < 3 {
		t.Errorf("%d members on %d pages: %v", len(got), pages, got)
	}
	if l := h.call(t, token, "GET", "/domains/old.example/members?q=EXPIRED", nil).is(200).items(); len(l) != 1 || l[0]["address"] != "expired@old.example" {
		t.Errorf("found %v", l)
	}
}

func TestSessionsOfAMember(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	admin, one, two := h.token(t, "admin"), h.token(t, "account"), h.token(t, "account")
	const path = "/members/account@old.example/sessions"
	if l := h.call(t, admin, "GET", path, nil).is(200).items(); len(l) != 2 || l[0]["current"] != false || l[0]["kind"] != "web" {
		t.Fatalf("sessions %v", l)
	}
	h.call(t, admin, "DELETE", path+"/"+current(h.call(t, one, "GET", "/me/sessions", nil)), nil).is(204)
	h.call(t, one, "GET", "/me", nil).is(401, "not_signed_in")
	h.call(t, two, "GET", "/me", nil).is(200)
	h.call(t, admin, "DELETE", path+"/none", nil).is(404, "not_found")
	h.call(t, admin, "DELETE", path, nil).is(204)
	h.call(t, two, "GET", "/me", nil).is(401, "not_signed_in")
}

func TestAuditIsFilteredAndPaged(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	admin := h.token(t, "admin")
	h.call(t, "", "POST", "/sign-in", m{"login": "account@old.example", "password": "wrong-word-1"}).is(401)
	id := h.call(t, admin, "GET", "/members/account@old.example", nil).text("id")
	for query, want := range map[string]int{
		"action=sign_in&reason=bad_credentials":                 1,
		"action=sign_in,sign_out&member=" + id:                  1,
		"member=account@old.example&action=sign_in":             1,
		"q=ACCOUNT@&reason=bad_credentials":                     1,
		"door=web&reason=bad_credentials":                       1,
		"door=imap":                                             0,
		"action=domain_create":                                  1,
		"action=nothing":                                        0,
		"to=2020-01-01T00:00:00Z":                               0,
		"from=2100-01-01T00:00:00Z":                             0,
		"action=policy_update&from=2020-01-01T00:00:00%2B09:00": 1,
	} {
		if l := h.call(t, admin, "GET", "/domains/old.example/audit?"+query, nil).is(200).items(); len(l) != want {
			t.Errorf("%s: %d entries, want %d: %v", query, len(l), want, l)
		}
	}
	h.call(t, admin, "GET", "/domains/old.example/audit?from=yesterday", nil).is(422, "invalid")
	h.call(t, admin, "GET", "/domains/old.example/audit?format=xml", nil).is(422, "invalid")
	h.call(t, admin, "GET", "/domains/old.example/audit?member=nobody@old.example", nil).is(404, "not_found")

	all := h.call(t, admin, "GET", "/domains/old.example/audit?limit=200", nil).is(200).items()
	var paged []map[string]any
	for after := ""; ; {
		a := h.call(t, admin, "GET", "/domains/old.example/audit?limit=3&after="+after, nil).is(200)
		paged = append(paged, a.items()...)
		if after = a.text("next"); after == "" {
			break
		}
	}
	if len(all) < 8 || len(paged) != len(all) || paged[len(paged)-1]["id"] != all[len(all)-1]["id"] {
		t.Errorf("%d entries on pages, %d at once", len(paged), len(all))
	}
}

func TestAuditIsExported(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	admin := h.token(t, "admin")
	h.call(t, "", "POST", "/sign-in", m{"login": "account@old.example", "password": "wrong-word-1"}, "User-Agent", `=cmd|' /C calc'!A0,"x`).is(401)
	all := h.call(t, admin, "GET", "/domains/old.example/audit?limit=200", nil).is(200).items()

	a := h.call(t, admin, "GET", "/domains/old.example/audit?format=jsonl", nil).is(200)
	if ct := a.header.Get("Content-Type"); ct != "application/jsonl" {
		t.Errorf("Content-Type %q", ct)
	}
	d := json.NewDecoder(strings.NewReader(string(a.body)))
	n := 0
	for ; d.More(); n++ {
		var e map[string]any
		if err := d.Decode(&e); err != nil || e["id"] != all[n]["id"] {
			t.Fatalf("line %d: %v, %v", n, e, err)
		}
	}
	if n != len(all) {
		t.Errorf("%d lines, want %d", n, len(all))
	}

	a = h.call(t, admin, "GET", "/domains/old.example/audit?format=csv", nil).is(200)
	if ct := a.header.Get("Content-Type"); ct != "text/csv; charset=utf-8; header=present" {
		t.Errorf("Content-Type %q", ct)
	}
	rows, err := csv.NewReader(strings.NewReader(string(a.body))).ReadAll()
	if err != nil || len(rows) != len(all)+1 || rows[0][0] != "id" || rows[1][0] != all[0]["id"] {
		t.Fatalf("%d rows, %v: %.300s", len(rows), err, a.body)
	}
	var formula bool
	for _, r := range rows {
		for _, f := range r {
			formula = formula || strings.Contains(f, "cmd|")
			if strings.HasPrefix(f, "=") {
				t.Errorf("a formula in a field: %q", f)
			}
		}
	}
	if !formula {
		t.Error("the User-Agent of the attempt is not in the export")
	}
	h.call(t, h.token(t, "account"), "GET", "/domains/old.example/audit?format=csv", nil).is(403, "forbidden")
}

// fill writes entries into the audit of old.example.
func fill(t *testing.T, h *house, n int) {
	t.Helper()
	a, err := h.Session(t.Context(), secret.New(h.token(t, "account")), authtest.Client())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 100 {
		var ops []store.Op
		for range 100 {
			ops = append(ops, audit.Op(audit.Entry{Time: time.Now(), Action: audit.SignIn, Actor: "filler@old.example"}))
		}
		if _, err := h.Records.Apply(t.Context(), member.Partition(a.Domain), ops...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLongExport(t *testing.T) {
	t.Parallel()
	const n = 2100 // several pages of the export
	records := &failing{}
	h := open(t, func(o *authcore.Options) { records.Records = o.Records; o.Records = records })
	fill(t, h, n)
	token := h.token(t, "admin")
	const path = "/domains/old.example/audit?q=filler&format="
	whole := h.call(t, token, "GET", path+"jsonl", nil).is(200)
	if got := bytes.Count(whole.body, []byte("\n")); got != n {
		t.Errorf("%d lines, want %d", got, n)
	}
	if got := bytes.Count(h.call(t, token, "GET", path+"csv", nil).is(200).body, []byte("\r\n")); got != n+1 {
		t.Errorf("%d rows, want %d", got, n+1)
	}

	records.lists.Store(3) // the third page fails
	q, err := http.NewRequestWithContext(t.Context(), "GET", h.url+api.Prefix+path+"jsonl", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if part, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("an export that broke after %d lines ended like a whole one", bytes.Count(part, []byte("\n")))
	}
	h.eventually(t, "canary-host")
}
