package console

import (
	"slices"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
)

// The doors of a domain and the servers behind them. Its live sessions are in livesessions.go, domains in domains.go, the
// nodes of a fleet in nodes.go.

func (s *server) serviceRoutes() {
	s.signedIn("GET /domains/{domain}/doors", (*page).domainDoors)
	s.signedIn("GET /domains/{domain}/doors/{door}/close", (*page).doorCloseWanted)
	s.signedIn("POST /domains/{domain}/doors/{door}/close", (*page).doorClosed)
	s.signedIn("POST /domains/{domain}/doors/{door}/open", (*page).doorOpened)
	s.signedIn("POST /domains/{domain}/doors/{door}/upstream", (*page).upstreamChosen)
	s.liveSessionRoutes()
	s.domainRoutes()
	s.nodeRoutes()
}

// domainDoor is a door of the domain with the upstream behind it.
type domainDoor struct {
	Name, Protocol, Words string
	Open                  bool
	Upstream              string // by its name; empty: none is chosen
	Known                 bool   // its health is
	Health                Upstream
	Choice                []string // of an operator
}

type doorsPage struct {
	Domain   string
	Closed   bool
	Operates bool
	Doors    []domainDoor
}

func (p *page) domainDoors() error {
	v, err := p.doorsPage()
	if err != nil {
		return err
	}
	return p.show("doors.html", v)
}

func (p *page) doorsPage() (doorsPage, error) {
	d, err := p.core.Domain(p.ctx, p.actor, p.r.PathValue("domain"))
	if err != nil {
		return doorsPage{}, err
	}
	v := doorsPage{Domain: d.Domain.Name, Closed: d.Domain.Closed, Operates: p.operates()}
	var choice map[string][]string
	if v.Operates {
		if choice, err = p.core.UpstreamsFor(p.ctx, p.actor, v.Domain); err != nil {
			return v, err
		}
	}
	health := p.upstreams()
	for _, name := range policy.Doors() {
		row := domainDoor{Name: name, Protocol: door(name), Words: p.doorFor(name), Open: slices.Contains(d.Domain.Doors, name), Upstream: d.Domain.Upstreams[name], Choice: choice[name]}
		if u, ok := health[row.Upstream]; ok {
			row.Known, row.Health = true, u
		}
		v.Doors = append(v.Doors, row)
	}
	return v, nil
}

func (p *page) operates() bool { return (&view{p: p}).Operates() }

// upstreams are how the servers are, by name: addresses and what is wrong for operators alone.
func (p *page) upstreams() map[string]Upstream {
	l := map[string]Upstream{}
	if p.o.Upstreams == nil {
		return l
	}
	for _, u := range p.o.Upstreams() {
		if !p.operates() {
			u.Addresses, u.Trouble = nil, ""
		}
		l[u.Name] = u
	}
	return l
}

// doorHere is the one in the path.
func (p *page) doorHere() (string, error) {
	d := p.r.PathValue("door")
	if !slices.Contains(policy.Doors(), d) {
		return "", &authcore.Denial{Reason: authcore.NotFound}
	}
	return d, nil
}

func (p *page) doorCloseWanted() error {
	which, err := p.doorHere()
	if err != nil {
		return err
	}
	d, err := p.core.Domain(p.ctx, p.actor, p.r.PathValue("domain"))
	if err != nil {
		return err
	}
	name := d.Domain.Name
	return p.confirm(confirmation{
		Title: p.t("Close %s for %s?", door(which), name),
		Sentences: []string{
			p.t("Every program that is connected there is signed out within a second, for all members of the domain."),
			p.t("Nobody of the domain can sign in there until you open it again. Passwords and app passwords are kept."),
		},
		Action: domainPath(name, "doors", which, "close"), Button: p.t("Close"), Back: domainPath(name, "doors"),
	})
}

func (p *page) doorClosed() error {
	which, err := p.doorHere()
	if err != nil {
		return err
	}
	return p.doorsChanged(authcore.DomainChange{ShutDoors: []string{which}}, "door_closed")
}

func (p *page) doorOpened() error {
	which, err := p.doorHere()
	if err != nil {
		return err
	}
	return p.doorsChanged(authcore.DomainChange{OpenDoors: []string{which}}, "door_opened")
}

// upstreamChosen is an operator's. It holds for whoever signs in from now on.
func (p *page) upstreamChosen() error {
	which, err := p.doorHere()
	if err != nil {
		return err
	}
	return p.doorsChanged(authcore.DomainChange{Upstreams: map[string]string{which: p.form("upstream")}}, "saved")
}

func (p *page) doorsChanged(ch authcore.DomainChange, said string) error {
	d, err := p.core.UpdateDomain(p.ctx, p.actor, p.r.PathValue("domain"), ch)
	if err == nil {
		return p.redirect(domainPath(d.Domain.Name, "doors"), said)
	}
	if p.mistakes(err) == nil {
		return err
	}
	v, broken := p.doorsPage()
	if broken != nil {
		return err // who may not even see the page
	}
	return p.again("doors.html", v, err)
}

// Upstream is the health of one server behind the doors.
type Upstream struct {
	Name, Protocol string
	Well           bool
	Since          time.Time // when it became so; zero: nobody has looked yet
	Trouble        string    // what the last look failed at; operators see it. It holds no secret
	Addresses      []UpstreamAddress
}

// UpstreamAddress is how one of its addresses is; operators see it.
type UpstreamAddress struct {
	Address string
	Well    bool
	Since   time.Time
	Trouble string
}
