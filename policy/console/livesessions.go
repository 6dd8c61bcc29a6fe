package console

import (
	"net/url"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/policy"
)

// Who of a domain is signed in at its doors now, on all nodes.

func (s *server) liveSessionRoutes() {
	s.signedIn("GET /domains/{domain}/sessions", (*page).liveSessions)
	s.signedIn("POST /domains/{domain}/sessions/{id}/end", (*page).liveSessionEnded)
}

type liveSessionsPage struct {
	Domain, Member, Door string // what is asked for
	Doors                []doorOfMember
	Sessions             []liveSession
	Silent               string // names of nodes that did not answer
	Paging               paging
}

type liveSession struct {
	session.Door
	Address, Path, Protocol, Credential string
}

func (p *page) liveSessions() error { return p.liveSessionsAfter(nil) }

// liveSessionsAfter is the list, and what was refused before it.
func (p *page) liveSessionsAfter(refused error) error {
	after, err := p.mark()
	if err != nil {
		return err
	}
	v := liveSessionsPage{Domain: p.r.PathValue("domain"), Member: p.asked("member"), Door: p.asked("door")}
	for _, d := range policy.Doors() {
		v.Doors = append(v.Doors, doorOfMember{Name: d, Words: door(d)})
	}
	l, err := p.core.DomainSessions(p.ctx, p.actor, v.Domain, authcore.DoorSessions{Address: v.whole(), Door: v.Door}, after, perPage)
	switch {
	case v.Member != "" && deniedFor(err, authcore.NotFound):
		return p.noSuchMember(v)
	case err != nil:
		return err
	}
	for _, s := range l.Sessions {
		row := liveSession{Door: s.Door, Address: s.Address, Path: memberPath(s.Address), Protocol: door(s.Door.Door), Credential: p.t("Account password")}
		if s.Door.Credential != authcore.AccountCredential {
			row.Credential = s.CredentialName
		}
		v.Sessions = append(v.Sessions, row)
	}
	v.Silent, v.Paging = strings.Join(l.Silent, ", "), p.paging("after", l.Next)
	if refused != nil {
		return p.again("livesessions.html", v, refused)
	}
	return p.show("livesessions.html", v)
}

// noSuchMember tells that of a domain that the reader may see.
func (p *page) noSuchMember(v liveSessionsPage) error {
	if _, err := p.core.Domain(p.ctx, p.actor, v.Domain); err != nil {
		return err
	}
	return p.again("livesessions.html", v, &authcore.Denial{Reason: authcore.Invalid,
		Mistakes: []policy.Mistake{{Field: "member", Reason: "There is no member with this address."}}})
}

// whole is the address that is asked for: a bare name is of the domain.
func (v liveSessionsPage) whole() string {
	if v.Member == "" || strings.Contains(v.Member, "@") {
		return v.Member
	}
	return v.Member + "@" + v.Domain
}

// asked is a value of the query, or of the form that repeats it.
func (p *page) asked(name string) string {
	v := strings.TrimSpace(p.r.FormValue(name))
	return v[:min(len(v), maxMark)]
}

func (p *page) liveSessionEnded() error {
	err := p.core.EndSession(p.ctx, p.actor, p.form("address"), session.ID(p.r.PathValue("id")))
	if err != nil {
		if p.mistakes(err) == nil {
			return err
		}
		return p.liveSessionsAfter(err)
	}
	back := url.Values{}
	for _, name := range []string{"member", "door"} {
		if v := p.asked(name); v != "" {
			back.Set(name, v)
		}
	}
	return p.redirect((&url.URL{Path: domainPath(p.r.PathValue("domain"), "sessions"), RawQuery: back.Encode()}).String(), "door_session_ended")
}
