package authcore

import (
	"context"

	"latchkey/authcore/member"
	"latchkey/policy"
)

// What a page asks before it shows a button. The operation itself asks again.

// MayRead says whether the actor may look at a member and what he is signed in to; MayChange whether he may act on him.
func (a Actor) MayRead(p Profile) bool {
	return a.may(readMember, p.Domain.ID, p.Member.ID, p.Role)
}

// MayChange is as MayRead.
func (a Actor) MayChange(p Profile) bool {
	return a.may(changeMember, p.Domain.ID, p.Member.ID, p.Role)
}

// Spared says whether the domain has another active administrator, or needs none beside this member: else nobody but an
// operator may suspend or delete him, or take the role from him.
func (c *Core) Spared(ctx context.Context, a Actor, p Profile) (bool, error) {
	_, err := c.notLast(ctx, a, target{tenant: &member.Tenant{Domain: p.Domain}, person: member.Person{ID: p.Member.ID, Member: p.Member}})
	if isDenied(err, LastAdministrator) {
		return false, nil
	}
	return err == nil, err
}

// HasFleet says whether other processes may share the records.
func (c *Core) HasFleet() bool { return c.fleet != nil }

// UpstreamsFor answers, by door, the names of the upstreams that the configuration allows a domain: for operators, who
// choose. nil: any name.
func (c *Core) UpstreamsFor(ctx context.Context, a Actor, domain string) (map[string][]string, error) {
	t, err := c.domainFor(ctx, a, domain, readDomain)
	if err != nil {
		return nil, err
	}
	if !a.may(changeTenant, "", "", "") {
		return nil, a.refusal(changeTenant, "", "", "")
	}
	if c.o.Upstreams == nil {
		return nil, nil
	}
	l := map[string][]string{}
	for _, door := range policy.Doors() {
		l[door] = c.o.Upstreams(t.Domain.Name, door)
	}
	return l, nil
}
