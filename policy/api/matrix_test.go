package api_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy/admin"
	"latchkey/policy/api"
	"latchkey/policy/self"
)

// row is one line of testdata/matrix.txt.
type row struct {
	method, path, variant, target string
	want                          []int // by actor, in the order of actors
}

var actors = []string{"nobody", "member", "foreign", "admin", "operator"}

func matrix(t *testing.T) []row {
	p, err := os.ReadFile("testdata/matrix.txt")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for line := range strings.Lines(string(p)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" || f[0] == "operation" {
			continue
		}
		n := len(f) - len(actors)
		r := row{method: f[0], path: f[1], target: f[n-1], variant: strings.Join(f[2:n-1], " ")}
		for _, s := range f[n:] {
			status, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			r.want = append(r.want, status)
		}
		rows = append(rows, r)
	}
	return rows
}

// world is a house with somebody of every role, each with an app password and a session.
type world struct {
	*house
	people map[string]resident // by actor, and by target
}

type resident struct{ address, password, token, app, session string }

func settle(t *testing.T) *world {
	w := &world{house: open(t, nil), people: map[string]resident{"nobody": {address: "nobody@old.example", password: "wrong-word-1"}}}
	for name, p := range map[string]struct {
		address string
		role    member.Role
	}{
		"member": {"actor@old.example", member.RoleMember}, "foreign": {"boss@new.example", member.RoleAdministrator},
		"admin": {"chief@old.example", member.RoleAdministrator}, "operator": {"root@old.example", member.RoleOperator},
		"target member": {"ann@old.example", member.RoleMember}, "target administrator": {"deputy@old.example", member.RoleAdministrator},
		"target operator": {"super@old.example", member.RoleOperator}, "target other": {"bob@new.example", member.RoleMember},
	} {
		w.people[name] = w.resident(t, p.address, p.role)
	}
	return w
}

func (w *world) resident(t *testing.T, address string, role member.Role) resident {
	t.Helper()
	r := resident{address: address, password: "right-word-1"}
	a, ctx := authtest.Operator(), t.Context()
	_, domain, _ := strings.Cut(address, "@")
	stored := role
	if role == member.RoleOperator {
		stored = member.RoleAdministrator
	}
	if _, _, err := w.CreateMember(ctx, a, domain, authcore.NewMember{Address: address, Role: stored, Password: secret.New(r.password)}); err != nil {
		t.Fatal(err)
	}
	if role == member.RoleOperator {
		if _, err := w.CreateOperator(ctx, a, address); err != nil {
			t.Fatal(err)
		}
	}
	p, _, err := w.CreateAppPasswordFor(ctx, a, address, apppass.Wish{Name: "Phone"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.SignIn(ctx, authtest.Client(), address, secret.New(r.password))
	if err != nil {
		t.Fatal(err)
	}
	r.app, r.token, r.session = p.ID, s.Token.Reveal(), string(s.Actor.Session)
	return r
}

// try sends the request of a row as an actor.
func (w *world) try(t *testing.T, r row, actor string) answer {
	t.Helper()
	by, target := w.people[actor], w.people["target "+r.target]
	if r.target == "self" {
		target = by
	}
	id := target.app
	switch {
	case strings.Contains(r.path, "/sessions/"):
		id = target.session
	case strings.Contains(r.path, "/api-tokens/"):
		id = "none"
	}
	if id == "" {
		id = "none"
	}
	path := strings.NewReplacer("{domain}", r.target, "{address}", target.address, "{id}", id, "{provider}", "line").Replace(r.path)
	body, headers := request(r, by)
	if r.path == "/sign-in/ways" {
		path += "?domain=old.example"
	}
	if r.variant == "csv" || r.variant == "jsonl" {
		path += "?format=" + r.variant
	}
	return w.call(t, by.token, r.method, path, body, headers...)
}

// request is a body that would be right for the row, were the actor allowed.
func request(r row, by resident) (body any, headers []string) {
	bodies := map[string]any{
		"POST /sign-in":                                 m{"login": by.address, "password": by.password},
		"POST /sign-in/password":                        m{"ticket": "none", "new_password": "another-word-2"},
		"POST /sign-in/two-step/send":                   m{"ticket": "none", "method": "email"},
		"POST /sign-in/two-step":                        m{"ticket": "none", "method": "email", "code": "000000"},
		"POST /sign-in/enrolment/send":                  m{"ticket": "none", "method": "email", "contact": "a@b.example"},
		"POST /sign-in/enrolment/totp":                  m{"ticket": "none"},
		"POST /sign-in/enrolment":                       m{"ticket": "none", "method": "email", "code": "000000"},
		"POST /sign-in/phone":                           m{"number": "+819012345678"},
		"POST /sign-in/phone/message":                   m{"ticket": "none"},
		"POST /sign-in/phone/code":                      m{"ticket": "none", "code": "000000"},
		"POST /reauthenticate/phone/code":               m{"ticket": "none", "code": "000000"},
		"POST /me/phone-link":                           m{"number": "+819012345678"},
		"POST /me/phone-link/confirm":                   m{"ticket": "none", "code": "000000"},
		"POST /forgotten-password":                      m{"login": by.address, "channel": "email"},
		"POST /forgotten-password/code":                 m{"ticket": "none", "code": "000000"},
		"POST /forgotten-password/password":             m{"ticket": "none", "new_password": "another-word-2"},
		"POST /forgotten-address":                       m{"contact": "+819012345678"},
		"POST /reauthenticate":                          m{"password": by.password},
		"PUT /me/password":                              m{"current": by.password, "new": "another-word-2"},
		"POST /me/app-passwords":                        m{"name": "Laptop"},
		"PUT /me/app-passwords/option":                  m{"enabled": true},
		"PUT /me/two-step":                              m{"enabled": false},
		"POST /me/two-step/app/confirm":                 m{"code": "000000"},
		"POST /me/contacts":                             m{"kind": "email", "value": "own@mail.example"},
		"POST /me/contacts/{id}/verify":                 m{"code": "000000"},
		"PUT /me/messages/{id}/read":                    m{"read": true},
		"PUT /me/language":                              m{"language": "ja"},
		"POST /me/api-tokens":                           m{"name": "Deploy", "scopes": []string{"read"}},
		"POST /domains":                                 m{"name": "third.example"},
		"PATCH /domains/{domain} doors":                 m{"doors": []string{"imap"}},
		"PATCH /domains/{domain} closed":                m{"closed": true},
		"PATCH /domains/{domain} created_at":            m{"created_at": "2019-01-01T00:00:00Z"},
		"PATCH /domains/{domain} upstreams":             m{"upstreams": m{"imap": "test"}},
		"POST /domains/{domain}/members":                m{"address": "fresh@" + r.target},
		"POST /domains/{domain}/members administrator":  m{"address": "fresh@" + r.target, "role": "administrator"},
		"PATCH /members/{address}":                      m{"name": "New Name"},
		"PUT /members/{address}/denied-ways":            m{"ways": []string{"line"}},
		"POST /me/links/{provider}/callback":            m{"ticket": "none", "state": "none", "code": "none"},
		"POST /sign-in/oidc/{provider}/callback":        m{"ticket": "none", "state": "none", "code": "none"},
		"POST /reauthenticate/oidc/{provider}/callback": m{"ticket": "none", "state": "none", "code": "none"},
		"PATCH /members/{address} role":                 m{"role": "administrator"},
		"PUT /domains/{domain}/policy": m{
			"password": m{"format": "letters_numbers", "min_length": 9, "expires_after_days": 0, "no_reuse_of_last": 1, "max_failures": 5,
				"refuse_sequences": false, "refuse_common": true},
			"third_party": m{"app_passwords": "required", "two_step_at_doors": "app_passwords_only", "max_app_passwords": 5},
			"sign_in":     m{"two_step": "optional", "line": "deny", "phone": "deny", "quick": "deny", "passkey": "deny", "trust_browser": false},
			"sessions":    m{"idle_hours": 24, "absolute_days": 30}, "profile_managed_externally": false,
		},
	}
	maps.Copy(bodies, keyBodies())
	bodies["POST /domains/{domain}/policy/preview"] = bodies["PUT /domains/{domain}/policy"]
	key := strings.TrimSpace(r.method + " " + r.path + " " + r.variant)
	if r.path == "/domains/{domain}/policy" && r.method == "PUT" {
		headers = []string{"If-Match", "*"}
	}
	return bodies[key], headers
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	shared := settle(t) // for what is refused, which changes nothing
	before := shared.records(t)
	for _, r := range matrix(t) {
		for i, actor := range actors {
			name := strings.Join([]string{r.method, r.path, r.variant, r.target, "by", actor}, " ")
			t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
				w := shared
				if r.want[i] < 300 || strings.HasPrefix(r.path, "/sign-in") {
					w = settle(t)
				}
				if a := w.try(t, r, actor); a.status != r.want[i] {
					t.Errorf("%s: status %d, want %d: %s", name, a.status, r.want[i], a.body)
				}
			})
		}
	}
	if after := shared.records(t); !slices.Equal(before, after) {
		t.Errorf("what was refused changed records:\nbefore %v\nafter  %v", before, after)
	}
}

// records lists every record of the two domains with its revision.
func (w *world) records(t *testing.T) []string {
	var l []string
	for _, who := range []string{"admin", "foreign"} {
		a, err := w.Session(t.Context(), secret.New(w.people[who].token), authtest.Client())
		if err != nil {
			t.Fatal(err)
		}
		recs, err := w.Records.List(t.Context(), member.Partition(a.Domain), store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			l = append(l, r.Name+" "+strconv.FormatInt(r.Revision, 10))
		}
	}
	return l
}

// TestMatrixIsComplete asks for a row of every operation, and of every target of those that have one.
func TestMatrixIsComplete(t *testing.T) {
	p, err := api.Document(self.Register, admin.Register)
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(p, &d); err != nil {
		t.Fatal(err)
	}
	rows := matrix(t)
	for path, operations := range d.Paths {
		targets := []string{""}
		switch {
		case strings.Contains(path, "{address}"):
			targets = []string{"self", "member", "administrator", "operator", "other"}
		case strings.Contains(path, "{domain}"):
			targets = []string{"old.example", "new.example"}
		}
		for method := range operations {
			for _, target := range targets {
				if !slices.ContainsFunc(rows, func(r row) bool {
					return r.path == path && r.method == strings.ToUpper(method) && (target == "" || r.target == target)
				}) {
					t.Errorf("no row for %s %s %s", strings.ToUpper(method), path, target)
				}
			}
		}
	}
}
