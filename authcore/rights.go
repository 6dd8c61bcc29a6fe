package authcore

import (
	"context"

	"latchkey/authcore/member"
	"latchkey/authcore/session"
)

// operation is what an actor wants to do; the matrix below says who may. Nobody acts on a member with more rights than
// his own, and operators are managed by operators only.
type operation uint8

const (
	ownSecurity     operation = iota + 1 // one's own account: password, app passwords, sessions, messages
	readDomain                           // a domain, its policy, its audit
	changeDomain                         // policy, doors, third_party
	readTenants                          // what is of no domain: the installation's audit
	changeTenant                         // create, close, created_at, upstreams
	readMember                           // a member, his sessions and app passwords
	changeMember                         // create, update, delete, suspend, lift, reset, sign out, delete app passwords
	giveOperator                         // the operator's right
	makeAppPassword                      // the secret is the member's alone
	readSelf                             // who one is
)

// may says whether actor may do op in domain to a target of that role; target is empty for what concerns no member.
func (a Actor) may(op operation, domain member.DomainID, who member.ID, target member.Role) bool {
	return a.entitled(op, domain, who, target) && a.scoped(op, domain, who, target)
}

// entitled is may by the actor's role alone.
func (a Actor) entitled(op operation, domain member.DomainID, who member.ID, target member.Role) bool {
	own := a.is(domain, who)
	switch op {
	case ownSecurity, makeAppPassword, readSelf:
		return own
	case readTenants, changeTenant, giveOperator:
		return a.Role == member.RoleOperator
	case readDomain, changeDomain:
		return a.Role == member.RoleOperator || a.Role == member.RoleAdministrator && a.Domain == domain
	case readMember, changeMember:
		if a.Role == member.RoleOperator {
			return true
		}
		return a.Role == member.RoleAdministrator && a.Domain == domain && target.Rank() <= a.Role.Rank()
	default:
		return false
	}
}

// scoped says whether what the actor showed is good for op: a session for everything, an API token for what it was made
// for, and never for the security of the account that it acts for, or whoever finds it would own the account. One for
// some domains changes no operator who lives in them, or whoever finds it would own the others too.
func (a Actor) scoped(op operation, domain member.DomainID, who member.ID, target member.Role) bool {
	if !a.IsToken() {
		return true
	}
	switch op {
	case readSelf:
		return true
	case readTenants, readDomain, readMember:
		return a.web.Has(session.Read) && a.web.Covers(domain)
	case changeDomain, changeTenant, changeMember:
		if target == member.RoleOperator && !a.web.Covers("") {
			return false
		}
		return a.web.Has(session.Write) && a.web.Covers(domain) && !a.is(domain, who)
	default:
		return false
	}
}

// IsToken says that the actor showed an API token, and no session.
func (a Actor) IsToken() bool { return a.web != nil && a.web.IsToken() }

// is says that the actor is that member.
func (a Actor) is(domain member.DomainID, who member.ID) bool {
	return a.Domain == domain && a.Member == who && a.Member != ""
}

// refusal is what an actor is told who may not do op: that he may not, or that what he showed is not good for it.
func (a Actor) refusal(op operation, domain member.DomainID, who member.ID, target member.Role) error {
	if a.IsToken() && a.entitled(op, domain, who, target) {
		return deny(ScopeMissing, "")
	}
	return deny(Forbidden, "")
}

// domainFor answers the domain when the actor may do op to it. A domain that he may not know of is not found.
func (c *Core) domainFor(ctx context.Context, a Actor, name string, op operation) (*member.Tenant, error) {
	canonical, err := member.ParseDomain(name)
	if err != nil {
		return nil, deny(NotFound, "")
	}
	t, err := c.dir.Tenant(ctx, canonical)
	if err != nil {
		return nil, err
	}
	if t == nil || !a.may(readDomain, t.Domain.ID, "", "") {
		if a.Role == member.RoleMember {
			return nil, deny(Forbidden, "")
		}
		return nil, deny(NotFound, "")
	}
	if !a.may(op, t.Domain.ID, "", "") {
		return nil, a.refusal(op, t.Domain.ID, "", "")
	}
	return t, nil
}

// target is a member with his domain and role.
type target struct {
	tenant *member.Tenant
	person member.Person
	role   member.Role
}

func (t target) domain() member.DomainID { return t.tenant.Domain.ID }

// memberFor answers the member with this address when the actor may do op to him.
func (c *Core) memberFor(ctx context.Context, a Actor, address string, op operation) (target, error) {
	missing := deny(NotFound, "")
	if a.Role == member.RoleMember {
		missing = deny(Forbidden, "")
	}
	n, err := member.ParseName(address, "")
	if err != nil {
		return target{}, missing
	}
	t, err := c.dir.Tenant(ctx, n.Domain)
	if err != nil {
		return target{}, err
	}
	if t == nil || !a.may(readDomain, t.Domain.ID, "", "") {
		return target{}, missing
	}
	p, err := c.dir.Person(ctx, t.Domain.ID, n)
	if err != nil {
		return target{}, err
	}
	if p.Member == nil {
		return target{}, deny(NotFound, "")
	}
	role, err := c.dir.Role(ctx, p.Member)
	if err != nil {
		return target{}, err
	}
	if !a.may(op, t.Domain.ID, p.ID, role) {
		return target{}, a.refusal(op, t.Domain.ID, p.ID, role)
	}
	return target{tenant: t, person: p, role: role}, nil
}

// self is the actor as a target of his own security.
func (c *Core) self(ctx context.Context, a Actor) (target, error) {
	return c.selfFor(ctx, a, ownSecurity)
}

func (c *Core) selfFor(ctx context.Context, a Actor, op operation) (target, error) {
	if !a.may(op, a.Domain, a.Member, a.Role) {
		return target{}, a.refusal(op, a.Domain, a.Member, a.Role)
	}
	t, err := c.dir.TenantByID(ctx, a.Domain)
	if err != nil {
		return target{}, err
	}
	p, err := c.dir.PersonByID(ctx, a.Domain, a.Member)
	if err != nil {
		return target{}, err
	}
	if t == nil || p.Member == nil {
		return target{}, deny(NotSignedIn, "")
	}
	return target{tenant: t, person: p, role: a.Role}, nil
}
