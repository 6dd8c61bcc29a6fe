package console

import "strings"

// The menu at the left, for administrators: of the domain that the page is about, or else of one's own. Below 720 px the
// same menu stands behind a button.

// entry is one line of the menu: a page, or a group of pages.
type entry struct {
	Href, Label, Icon string
	Current           bool // the page is this one, or one behind it
	Items             []entry
}

// Menu is what the reader may open.
func (v *view) Menu() []entry {
	d := "/domains/" + v.MenuDomain()
	menu := []entry{
		{Href: d + "/members", Label: v.p.t("Members"), Icon: "people"},
		{Label: v.p.t("Security"), Icon: "shield", Items: []entry{
			{Href: d + "/account-security", Label: v.p.t("Account Security")},
			{Href: d + "/audit", Label: v.p.t("Audit")},
			{Href: "/api-tokens", Label: v.p.t("API tokens")},
		}},
		{Href: d + "/doors", Label: v.p.t("Doors"), Icon: "door"},
		{Href: d + "/dns", Label: v.p.t("DNS records"), Icon: "globe"},
		{Href: d + "/sessions", Label: v.p.t("Sessions"), Icon: "laptop"},
	}
	if v.Operates() {
		menu = append(menu, entry{Href: "/domains", Label: v.p.t("Domains"), Icon: "globe"})
		if v.HasFleet() {
			menu = append(menu, entry{Href: "/nodes", Label: v.p.t("Nodes"), Icon: "laptop"})
		}
	}
	mark(menu, v.Path())
	return menu
}

// MenuDomain is the domain that the menu is of: the one that the path names. Whether the reader may see it is the page's to say.
func (v *view) MenuDomain() string {
	if d := v.p.r.PathValue("domain"); d != "" && v.Operates() {
		return d
	}
	if _, d, ok := strings.Cut(v.p.r.PathValue("address"), "@"); ok && v.Operates() {
		return d
	}
	return v.Domain()
}

// mark finds the one entry that the page is, or stands behind: the longest one, for /domains is before all of a domain.
func mark(menu []entry, path string) {
	var best *entry
	for i := range menu {
		for _, e := range append([]*entry{&menu[i]}, pointers(menu[i].Items)...) {
			if e.Href != "" && e.leadsTo(path) && (best == nil || len(e.Href) > len(best.Href)) {
				best = e
			}
		}
	}
	if best != nil {
		best.Current = true
	}
}

func pointers(l []entry) (p []*entry) {
	for i := range l {
		p = append(p, &l[i])
	}
	return p
}

// leadsTo says whether the page stands behind the entry. One member's page has no domain in its path.
func (e entry) leadsTo(path string) bool {
	return path == e.Href || strings.HasPrefix(path, e.Href+"/") || e.Icon == "people" && strings.HasPrefix(path, "/members/")
}

// Opened says whether the group is open: the page is in it.
func (e entry) Opened() bool {
	for _, i := range e.Items {
		if i.Current {
			return true
		}
	}
	return false
}
