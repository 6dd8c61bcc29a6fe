package console

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
)

// rightsRow is a route about the old domain, and what it answers to each: a member of it, an administrator of it, an
// administrator of the other domain, an operator.
type rightsRow struct {
	route, form                    string
	member, admin, other, operator int
}

// rightsOfPeople go through every route of people and services. A redirect is 303.
func rightsOfPeople() []rightsRow {
	return []rightsRow{
		{"GET /domains/{domain}/members", "", 403, 200, 404, 200},
		{"GET /domains/{domain}/members/new", "", 403, 200, 404, 200},
		{"POST /domains/{domain}/members/new", "once=0123456789abcdef&address=fresh&role=member", 403, 200, 404, 200},
		{"GET /domains/{domain}/members/import", "", 403, 200, 404, 200},
		{"POST /domains/{domain}/members/import", "once=0123456789abcdef", 403, 422, 404, 422}, // no file
		{"GET /members/{address}", "", 403, 200, 404, 200},
		{"GET /members/{address}/edit", "", 403, 200, 404, 200},
		{"POST /members/{address}/edit", "name=New", 403, 412, 404, 412}, // no revision
		{"POST /members/{address}/doors", "imap=on", 403, 412, 404, 412},
		{"POST /members/{address}/ways", "line=deny", 403, 412, 404, 412},
		{"GET /members/{address}/suspend", "", 403, 200, 404, 200},
		{"POST /members/{address}/suspend", "", 403, 303, 404, 303},
		{"POST /members/{address}/lift", "", 403, 303, 404, 303},
		{"GET /members/{address}/sign-out", "", 403, 200, 404, 200},
		{"POST /members/{address}/sign-out", "", 403, 303, 404, 303},
		{"GET /members/{address}/reset-two-step", "", 403, 200, 404, 200},
		{"POST /members/{address}/reset-two-step", "", 403, 303, 404, 303},
		{"POST /members/{address}/ask-change", "", 403, 303, 404, 303},
		{"GET /members/{address}/app-passwords/{id}/delete", "", 403, 200, 404, 200},
		{"POST /members/{address}/app-passwords/{id}/delete", "", 403, 303, 404, 303},
		{"GET /members/{address}/passkeys/{id}/delete", "", 403, 404, 404, 404}, // there is none
		{"POST /members/{address}/passkeys/{id}/delete", "", 403, 404, 404, 404},
		{"GET /members/{address}/quick-devices/{id}/delete", "", 403, 404, 404, 404},
		{"POST /members/{address}/quick-devices/{id}/delete", "", 403, 404, 404, 404},
		{"POST /members/{address}/sessions/{id}/end", "", 403, 404, 404, 404},
		{"GET /members/{address}/reset-password", "", 403, 200, 404, 200},
		{"POST /members/{address}/reset-password", "once=0123456789abcdef", 403, 200, 404, 200},
		{"GET /members/{address}/delete", "", 403, 200, 404, 200},
		{"POST /members/{address}/delete", "", 403, 303, 404, 303},
		{"POST /members/{address}/restore", "", 403, 409, 404, 409}, // he is not deleted
		{"GET /domains/{domain}/doors", "", 403, 200, 404, 200},
		{"GET /domains/{domain}/doors/{door}/close", "", 403, 200, 404, 200},
		{"POST /domains/{domain}/doors/{door}/close", "", 403, 303, 404, 303},
		{"POST /domains/{domain}/doors/{door}/open", "", 403, 303, 404, 303},
		{"POST /domains/{domain}/doors/{door}/upstream", "upstream=" + authtest.Upstream, 403, 403, 404, 303},
		{"GET /domains/{domain}/sessions", "", 403, 200, 404, 200},
		{"POST /domains/{domain}/sessions/{id}/end", "address=target@old.example", 403, 404, 404, 404},
		{"GET /domains", "", 403, 200, 200, 200}, // of an administrator: his own
		{"GET /domains/new", "", 403, 403, 403, 200},
		{"POST /domains/new", "name=fresh.example", 403, 403, 403, 303},
		{"GET /domains/{domain}/close", "", 403, 403, 403, 200},
		{"POST /domains/{domain}/close", "", 403, 403, 404, 303},
		{"POST /domains/{domain}/reopen", "", 403, 403, 404, 303},
		{"GET /nodes", "", 403, 403, 403, 404}, // there is no fleet
	}
}

func TestRightsOfPeopleAndServices(t *testing.T) {
	t.Parallel()
	for _, r := range rightsOfPeople() {
		t.Run(r.route, func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{}, nil)
			s.make("target", member.RoleMember)
			app, _, err := s.CreateAppPasswordFor(t.Context(), authtest.Operator(), "target@old.example", apppass.Wish{Name: "Phone"})
			if err != nil {
				t.Fatal(err)
			}
			role := member.RoleAdministrator
			if _, err := s.UpdateMember(t.Context(), authtest.Operator(), "app-only@new.example", authcore.MemberChange{Role: &role}, 0); err != nil {
				t.Fatal(err)
			}
			method, path, _ := strings.Cut(r.route, " ")
			path = strings.NewReplacer("{domain}", sample.Old, "{address}", "target@old.example", "{id}", app.ID, "{door}", "pop3").Replace(path)
			form, _ := url.ParseQuery(r.form)
			if method == "GET" {
				form = nil
			} else if len(form) == 0 {
				form = url.Values{"x": {""}}
			}
			for _, c := range []struct {
				state string
				want  int
			}{{"account", r.member}, {"app-only", r.other}, {"admin", r.admin}} {
				if got := s.still(c.state, method, path, form); got != c.want {
					t.Errorf("%s: %d, want %d", c.state, got, c.want)
				}
			}
			fresh := open(t, Options{}, nil) // as if the administrator had done nothing
			fresh.make("target", member.RoleMember)
			again, _, err := fresh.CreateAppPasswordFor(t.Context(), authtest.Operator(), "target@old.example", apppass.Wish{Name: "Phone"})
			if err != nil {
				t.Fatal(err)
			}
			if got := fresh.still("operator", method, strings.ReplaceAll(path, app.ID, again.ID), form); got != r.operator {
				t.Errorf("operator: %d, want %d", got, r.operator)
			}
			if p := s.browser().send(method, path, form); !strings.HasPrefix(p.at.Path, "/sign-in") {
				t.Errorf("nobody: %d at %s", p.status, p.at)
			}
		})
	}
}

// still is the status of the first answer, before any redirect.

func (s *stage) still(state, method, path string, form url.Values) int {
	b := s.signedIn(state)
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b.send(method, path, form).status
}

// Every route that stands in the code stands in the table.
func TestRightsNameEveryRoute(t *testing.T) {
	t.Parallel()
	var listed []string
	for _, r := range rightsOfPeople() {
		listed = append(listed, r.route)
	}
	literal := regexp.MustCompile(`"((?:GET|POST) /[^"]*[^/"])", `)
	for _, name := range []string{"people.go", "person.go", "personacts.go", "import.go", "services.go", "livesessions.go", "domains.go", "nodes.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllStringSubmatch(string(b), -1) {
			if !slices.Contains(listed, m[1]) {
				t.Errorf("%s: %s is in no row", name, m[1])
			}
		}
	}
}
