package console

import (
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
)

// Domains: an operator's list, a new one, closing and reopening. An administrator sees his own.

func (s *server) domainRoutes() {
	s.signedIn("GET /domains", (*page).domains)
	s.signedIn("GET /domains/new", (*page).domainWanted)
	s.signedIn("POST /domains/new", (*page).domainCreated)
	s.signedIn("GET /domains/{domain}/close", (*page).domainCloseWanted)
	s.signedIn("POST /domains/{domain}/close", func(p *page) error { return p.domainShut(true) })
	s.signedIn("POST /domains/{domain}/reopen", func(p *page) error { return p.domainShut(false) })
}

type domainRow struct {
	Name, Created, Doors string
	Closed, AppsOnly     bool
}

type domainsPage struct {
	Sought   string
	Operates bool
	Rows     []domainRow
	Paging   paging
}

// maxLook bounds how many domains one search goes through: past it the next page looks further.
const maxLook = 10_000

func (p *page) domains() error {
	after, err := p.mark()
	if err != nil {
		return err
	}
	v := domainsPage{Sought: strings.TrimSpace(p.r.URL.Query().Get("q")), Operates: p.operates()}
	l, next, err := p.domainsNamed(strings.ToLower(v.Sought), after)
	if err != nil {
		return err
	}
	for _, d := range l {
		row := domainRow{Name: d.Domain.Name, Created: p.day(d.Domain.CreatedAt), Closed: d.Domain.Closed, AppsOnly: d.Born || d.ThirdParty.AppPasswords == policy.Required}
		var doors []string
		for _, name := range policy.Doors() {
			if d.Domain.Open(name) {
				doors = append(doors, door(name))
			}
		}
		row.Doors = strings.Join(doors, ", ")
		v.Rows = append(v.Rows, row)
	}
	v.Paging = p.paging("after", next)
	return p.show("domains.html", v)
}

// domainsNamed answers a page of the domains whose name holds text, and where to go on.
func (p *page) domainsNamed(text, after string) (found []authcore.DomainView, next string, err error) {
	limit := perPage
	if text != "" {
		limit = 200 // most are passed over
	}
	for looked := 0; looked < maxLook; looked += limit {
		l, more, err := p.core.Domains(p.ctx, p.actor, after, limit)
		if err != nil {
			return nil, "", err
		}
		for _, d := range l {
			if strings.Contains(d.Domain.Name, text) {
				found = append(found, d)
			}
			if len(found) == perPage && text != "" {
				return found, d.Domain.Name, nil
			}
		}
		if after = more; after == "" || text == "" {
			break
		}
	}
	return found, after, nil
}

// day is a day of creation, where the cutoff is: its date is the one that decides.
func (p *page) day(at time.Time) string {
	return at.In(p.core.Cutoff().Location()).Format(time.DateOnly)
}

type newDomainForm struct{ Name, Created, Cutoff string }

func (p *page) domainWanted() error {
	if !p.operates() {
		return &authcore.Denial{Reason: authcore.Forbidden}
	}
	return p.show("domainnew.html", newDomainForm{Cutoff: p.day(p.core.Cutoff())})
}

func (p *page) domainCreated() error {
	f := newDomainForm{Name: p.form("name"), Created: p.form("created_at"), Cutoff: p.day(p.core.Cutoff())}
	n := authcore.NewDomain{Name: f.Name}
	if f.Created != "" {
		day, err := time.ParseInLocation(time.DateOnly, f.Created, p.core.Cutoff().Location())
		if err != nil {
			return p.again("domainnew.html", f, &authcore.Denial{Reason: authcore.Invalid,
				Mistakes: []policy.Mistake{{Field: "created_at", Reason: "must be a day like 2019-05-01"}}})
		}
		n.CreatedAt = day
	}
	d, err := p.core.CreateDomain(p.ctx, p.actor, n)
	if err != nil {
		return p.again("domainnew.html", f, err)
	}
	return p.redirect(domainPath(d.Domain.Name, "members"), "domain_created")
}

func (p *page) domainCloseWanted() error {
	if !p.operates() {
		return &authcore.Denial{Reason: authcore.Forbidden}
	}
	d, err := p.core.Domain(p.ctx, p.actor, p.r.PathValue("domain"))
	if err != nil {
		return err
	}
	name := d.Domain.Name
	return p.confirm(confirmation{
		Title: p.t("Close the domain %s?", name),
		Sentences: []string{
			p.t("All its members are signed out of everything within a second, and none of them can sign in until you reopen it. Only operators among them can."),
			p.t("Nothing is deleted: members, passwords and policy are kept."),
		},
		Action: domainPath(name, "close"), Button: p.t("Close the domain"), Back: "/domains",
	})
}

func (p *page) domainShut(shut bool) error {
	if _, err := p.core.UpdateDomain(p.ctx, p.actor, p.r.PathValue("domain"), authcore.DomainChange{Closed: &shut}); err != nil {
		return err
	}
	if shut {
		return p.redirect("/domains", "domain_closed")
	}
	return p.redirect("/domains", "domain_reopened")
}
