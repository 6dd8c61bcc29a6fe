package console

import (
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/member"
)

// viewOf is the view of a page at a path, for somebody of old.example.
func viewOf(role member.Role, path, domain string) *view {
	l := shared().languages["en"]
	r := httptest.NewRequest("GET", path, nil)
	r.SetPathValue("domain", domain)
	me := &authcore.Profile{Role: role, Domain: &member.Domain{Name: "old.example"}, Member: &member.Member{Addresses: []string{"a@old.example"}}}
	return &view{p: &page{server: &server{core: new(authcore.Core)}, r: r, me: me, lang: l}}
}

// The menu is of the domain that the page is about, marks the page, and opens the group that it is in.
func TestMenu(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, path, domain string
		role               member.Role
		current            string // "" is none
		members            string
		opened             bool
	}{
		{"administrator", "/domains/old.example/members", "old.example", member.RoleAdministrator, "Members", "/domains/old.example/members", false},
		{"behind an entry", "/domains/old.example/members/import", "old.example", member.RoleAdministrator, "Members", "/domains/old.example/members", false},
		{"one member", "/members/b@old.example", "", member.RoleAdministrator, "Members", "/domains/old.example/members", false},
		{"in a group", "/domains/old.example/account-security", "old.example", member.RoleAdministrator, "Account Security", "/domains/old.example/members", true},
		{"another page", "/security", "", member.RoleAdministrator, "", "/domains/old.example/members", false},
		{"begins alike", "/domains/old.example/membership", "old.example", member.RoleAdministrator, "", "/domains/old.example/members", false},
		{"operator in another domain", "/domains/new.example/audit", "new.example", member.RoleOperator, "Audit", "/domains/new.example/members", true},
		{"administrator in another's path", "/domains/new.example/audit", "new.example", member.RoleAdministrator, "", "/domains/old.example/members", false},
		{"all domains", "/domains", "", member.RoleOperator, "Domains", "/domains/old.example/members", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var current []string
			opened := false
			menu := viewOf(tc.role, tc.path, tc.domain).Menu()
			for _, e := range menu {
				opened = opened || e.Opened()
				for _, i := range append([]entry{e}, e.Items...) {
					if i.Current {
						current = append(current, i.Label)
					}
				}
			}
			if got := strings.Join(current, ","); got != tc.current || opened != tc.opened || menu[0].Href != tc.members {
				t.Errorf("current %q, opened %v, members at %s; want %q, %v, %s", got, opened, menu[0].Href, tc.current, tc.opened, tc.members)
			}
		})
	}
}

// The menu stands behind a button without a script too, and a screen reader hears which page it is.
func TestTheMenuIsThereWithoutAScript(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	p := s.signedIn("admin").get("/language").is(200, "Members")
	if !strings.Contains(p.body, `<details class="burger">`) {
		t.Error("there is no button for the menu")
	}
	at := s.signedIn("admin").get("/domains/old.example/account-security").is(200)
	if !strings.Contains(at.body, `href="/domains/old.example/account-security" aria-current="page"`) {
		t.Error("the menu does not mark the page")
	}
	if m := s.signedIn("account").get("/language").is(200); strings.Contains(m.body, `class="left"`) {
		t.Error("a member has an administrator's menu")
	}
}
