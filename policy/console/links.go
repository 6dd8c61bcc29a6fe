package console

import (
	"slices"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
)

// "Login with LINE" and other providers. Connecting begins here and goes the way of provider.go: to the provider, and
// back to this page with words. Nothing of the account there is shown.

// linkRow is one provider.
type linkRow struct {
	Name     string // in the configuration
	Label    string
	Since    time.Time // zero: not connected
	Approved bool
}

// providerLinks lists what is approved, and what is connected though it is not approved any more.
func (p *page) providerLinks() error { return p.providerLinksAfter(nil) }

func (p *page) providerLinksAfter(err error) error {
	rows, failed := p.providerRows()
	if failed != nil {
		return failed
	}
	return p.after(err, "links.html", rows)
}

func (p *page) providerRows() ([]linkRow, error) {
	links, err := p.core.Links(p.ctx, p.actor)
	if err != nil {
		return nil, err
	}
	ways, err := p.approvedWays()
	if err != nil {
		return nil, err
	}
	var rows []linkRow
	for _, i := range p.core.Providers() {
		r := linkRow{Name: i.Name, Label: p.providerLabel(i.Name, i.Way), Approved: slices.Contains(ways, i.Way)}
		if n := slices.IndexFunc(links, func(l authcore.Link) bool { return l.Provider == i.Name }); n >= 0 {
			r.Since = links[n].Since
			links = slices.Delete(links, n, n+1)
		}
		if r.Approved || !r.Since.IsZero() {
			rows = append(rows, r)
		}
	}
	for _, l := range links { // of providers that the configuration does not name any more
		rows = append(rows, linkRow{Name: l.Provider, Label: p.providerLabel(l.Provider, l.Provider), Since: l.Since})
	}
	return rows, nil
}

func (p *page) providerLabel(name, way string) string {
	if way == policy.WayLINE {
		return p.t("Login with LINE")
	}
	return p.t("Login with %s", strings.TrimSpace(name))
}

// linkConnect goes to the provider; its answer comes back to this page.
func (p *page) linkConnect() error {
	name := p.form("provider")
	step, err := p.core.LinkProvider(p.ctx, p.actor, name)
	if err != nil {
		return p.providerLinksAfter(err)
	}
	return p.toProvider(way{Next: "/security/links"}, toLink, name, step)
}

func (p *page) linkDisconnect() error {
	if err := p.core.Unlink(p.ctx, p.actor, p.form("provider")); err != nil {
		return p.providerLinksAfter(err)
	}
	return p.redirect("/security/links", "link_disconnected")
}
