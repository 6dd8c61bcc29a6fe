package authcore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// NewMember is what an administrator, an import or a command asks for.
type NewMember struct {
	Address      string
	Name         string
	Aliases      []string
	Role         member.Role // empty: member
	Contacts     []member.Contact
	ConfirmReuse bool // the address was a deleted member's: the new one inherits nothing
	// Password sets the account password instead of a temporary one; commands and imports only.
	Password      secret.String
	PasswordSetAt time.Time // of Password; zero: now
	TwoStep       bool      // commands and imports only
}

// MemberChange is a partial change; nil leaves a field as it is.
type MemberChange struct {
	Name        *string
	Aliases     *[]string
	Role        *member.Role
	Contacts    *[]member.Contact
	ClosedDoors *[]string
	MustChange  *bool // a password change at the next sign-in
	Restore     bool  // a deleted member, within member.RestorableFor
}

// Bounds of a member's record.
const (
	maxAliases  = 50 // each is a record of its own in the batch that writes the member
	maxContacts = 10
	maxNameLen  = 100
)

// CreateMember makes a member and answers the temporary password, to be shown once; it is empty where n carries one.
func (c *Core) CreateMember(ctx context.Context, a Actor, domain string, n NewMember) (Profile, secret.String, error) {
	t, err := c.domainFor(ctx, a, domain, changeDomain)
	if err != nil {
		return Profile{}, secret.String{}, err
	}
	if n.Role == "" {
		n.Role = member.RoleMember
	}
	if !a.command && (!n.Password.Empty() || n.TwoStep) {
		return Profile{}, secret.String{}, deny(Forbidden, "")
	}
	m := member.Member{ID: member.NewID(), Name: strings.TrimSpace(n.Name), Role: n.Role, Status: member.Active, CreatedAt: c.now().UTC().Truncate(time.Second),
		Contacts: n.Contacts, TwoStep: n.TwoStep, Epoch: 1}
	names, mistakes := takeAddresses(t.Domain.Name, append([]string{n.Address}, n.Aliases...))
	mistakes = append(mistakes, memberMistakes(m)...)
	if len(mistakes) > 0 {
		return Profile{}, secret.String{}, invalid(mistakes...)
	}
	return c.createMember(ctx, a, t, m, names, n)
}

func (c *Core) createMember(ctx context.Context, a Actor, t *member.Tenant, m member.Member, names []member.Name, n NewMember) (Profile, secret.String, error) {
	typed, shown := n.Password, secret.String{}
	if typed.Empty() {
		typed = password.NewTemporary()
		shown = typed
	}
	d := t.Domain.ID
	set, err := c.newPassword(ctx, d, member.Person{ID: m.ID}, typed, wishes{temporary: n.Password.Empty(), setAt: n.PasswordSetAt})
	if err != nil {
		return Profile{}, secret.String{}, err
	}
	m.Addresses = texts(names)
	for range changeTries {
		ops, err := c.addressOps(ctx, d, m.ID, nil, names, n.ConfirmReuse)
		if err != nil {
			return Profile{}, secret.String{}, err
		}
		tg := target{tenant: t, person: member.Person{ID: m.ID, Member: &m}, role: m.Role}
		ops = append(ops, member.PutOp(member.Key(d, m.ID), m, 0), audit.Op(c.entry(a, tg, audit.MemberCreate)))
		ops = append(ops, set.ops...)
		ops = append(ops, administratorOps(d, m.ID, "", m.Role)...)
		if err = c.apply(ctx, d, ops...); err == nil {
			p, err := c.MemberOf(ctx, a, m.Address())
			return p, shown, err
		} else if !errors.Is(err, store.ErrConflict) {
			return Profile{}, secret.String{}, err
		}
	}
	return Profile{}, secret.String{}, broken("create member", store.ErrConflict)
}

func texts(names []member.Name) (l []string) {
	for _, n := range names {
		l = append(l, n.String())
	}
	return l
}

// takeAddresses makes canonical names of a primary address and aliases, all of the domain.
func takeAddresses(domain string, addresses []string) (names []member.Name, m []policy.Mistake) {
	if len(addresses) > maxAliases+1 {
		return nil, []policy.Mistake{{Field: "aliases", Reason: fmt.Sprintf("must be at most %d", maxAliases)}}
	}
	for i, s := range addresses {
		field := "aliases"
		if i == 0 {
			field = "address"
		}
		n, err := member.ParseName(s, "")
		switch {
		case err != nil:
			m = append(m, policy.Mistake{Field: field, Reason: fmt.Sprintf("%q is not an address like name@%s", s, domain)})
		case n.Domain != domain:
			m = append(m, policy.Mistake{Field: field, Reason: fmt.Sprintf("%q is not in the domain %s", s, domain)})
		case !slices.Contains(names, n):
			names = append(names, n)
		}
	}
	return names, m
}

func memberMistakes(m member.Member) (l []policy.Mistake) {
	if len([]rune(m.Name)) > maxNameLen || strings.ContainsFunc(m.Name, unicode.IsControl) {
		l = append(l, policy.Mistake{Field: "name", Reason: fmt.Sprintf("must have at most %d characters and no control characters", maxNameLen)})
	}
	if m.Role != member.RoleMember && m.Role != member.RoleAdministrator {
		l = append(l, policy.Mistake{Field: "role", Reason: "must be \"member\" or \"administrator\""})
	}
	if len(m.Contacts) > maxContacts {
		l = append(l, policy.Mistake{Field: "contacts", Reason: fmt.Sprintf("must be at most %d", maxContacts)})
	}
	for _, k := range m.Contacts {
		if !goodContact(k) {
			l = append(l, policy.Mistake{Field: "contacts", Reason: fmt.Sprintf("%q is neither an e-mail address nor a mobile number like +819012345678", k.Value)})
		}
	}
	return append(l, doorMistakes(m.ClosedDoors)...)
}

func goodContact(k member.Contact) bool {
	switch k.Kind {
	case "email":
		_, err := member.ParseName(k.Value, "")
		return err == nil
	case "mobile": // E.164: up to 15 digits
		digits, ok := strings.CutPrefix(k.Value, "+")
		return ok && len(digits) >= 7 && len(digits) <= 15 && strings.Trim(digits, "0123456789") == "" && digits[0] != '0'
	default:
		return false
	}
}

// addressOps give the names in next to the member and take away those in old that are not in next.
func (c *Core) addressOps(ctx context.Context, d member.DomainID, id member.ID, old, next []member.Name, reuse bool) ([]store.Op, error) {
	var ops []store.Op
	for i, n := range next {
		key := member.AddressKey(d, n)
		rev, err := c.addressFree(ctx, d, id, n, reuse)
		if err != nil {
			return nil, err
		}
		ops = append(ops, member.PutOp(key, member.Address{Member: id, Primary: i == 0}, rev))
	}
	for _, n := range old {
		if !slices.Contains(next, n) {
			ops = append(ops, store.Op{Kind: store.Delete, Name: member.AddressKey(d, n).Name, IfRevision: store.AnyRevision})
		}
	}
	return ops, nil
}

// addressFree answers the revision over which the address may be written.
func (c *Core) addressFree(ctx context.Context, d member.DomainID, id member.ID, n member.Name, reuse bool) (int64, error) {
	a, rev, err := readDirect[member.Address](ctx, c, member.AddressKey(d, n))
	if err != nil || a == nil || a.Member == id {
		return rev, err
	}
	holder, _, err := readDirect[member.Member](ctx, c, member.Key(d, a.Member))
	if err != nil {
		return 0, err
	}
	switch {
	case holder == nil:
		return rev, nil
	case holder.Status != member.Deleted:
		return 0, deny(AddressTaken, n.String())
	case c.now().Sub(holder.DeletedAt) < member.RestorableFor:
		return 0, deny(AddressTaken, n.String()+" belongs to a deleted member who can still be restored")
	case !reuse:
		return 0, deny(AddressWasUsed, n.String()+" was a deleted member's: confirm that the new one shall have it; nothing is inherited")
	}
	return rev, nil
}

func administratorOps(d member.DomainID, id member.ID, was, is member.Role) []store.Op {
	name := member.AdministratorKey(d, id).Name
	switch {
	case was != member.RoleAdministrator && is == member.RoleAdministrator:
		return []store.Op{{Kind: store.Put, Name: name, Value: []byte("{}"), IfRevision: store.AnyRevision}}
	case was == member.RoleAdministrator && is != member.RoleAdministrator:
		return []store.Op{{Kind: store.Delete, Name: name, IfRevision: store.AnyRevision}}
	default:
		return nil
	}
}

// MemberOf answers one member for an administrator.
func (c *Core) MemberOf(ctx context.Context, a Actor, address string) (Profile, error) {
	t, err := c.memberFor(ctx, a, address, readMember)
	if err != nil {
		return Profile{}, err
	}
	return c.profile(ctx, t)
}

// Members lists a domain's members by primary address, those whose address or name holds text (in lower case), and where
// to go on.
func (c *Core) Members(ctx context.Context, a Actor, domain, text, after string, limit int) ([]Profile, string, error) {
	t, err := c.domainFor(ctx, a, domain, readDomain)
	if err != nil {
		return nil, "", err
	}
	d := t.Domain.ID
	q := store.Query{Prefix: member.AddressPrefix, Limit: store.MaxListLimit}
	if after != "" {
		q.After = member.AddressPrefix + after
	}
	var l []Profile
	for {
		recs, err := c.o.Records.List(ctx, member.Partition(d), q)
		if err != nil {
			return nil, "", err
		}
		for _, r := range recs {
			q.After = r.Name
			p, ok, err := c.listed(ctx, t, r, text)
			if err != nil {
				return nil, "", err
			}
			if ok {
				l = append(l, p)
			}
			if len(l) == limit {
				return l, strings.TrimPrefix(r.Name, member.AddressPrefix), nil
			}
		}
		if len(recs) < store.MaxListLimit {
			return l, "", nil
		}
	}
}

// listed answers the member of an address record, once: at his primary address.
func (c *Core) listed(ctx context.Context, t *member.Tenant, r store.Record, text string) (Profile, bool, error) {
	var ad member.Address
	if err := decode(r, &ad); err != nil || !ad.Primary {
		return Profile{}, false, err
	}
	m, rev, err := readDirect[member.Member](ctx, c, member.Key(t.Domain.ID, ad.Member))
	if err != nil || m == nil || m.Address() != strings.TrimPrefix(r.Name, member.AddressPrefix) {
		return Profile{}, false, err
	}
	if text != "" && !strings.Contains(strings.ToLower(strings.Join(m.Addresses, "\n")+"\n"+m.Name), text) {
		return Profile{}, false, nil
	}
	role, err := c.dir.Role(ctx, m)
	if err != nil {
		return Profile{}, false, err
	}
	p, err := c.profile(ctx, target{tenant: t, person: member.Person{ID: m.ID, Member: m, Revision: rev}, role: role})
	return p, err == nil, err
}

// changeMember changes the record of a member, tries anew while others change it, and ends his sessions when an epoch
// rose.
func (c *Core) changeMember(ctx context.Context, a Actor, t *target, action audit.Action, change func(*member.Member) error, more ...store.Op) error {
	return c.retry(func() error {
		m := *t.person.Member
		if err := change(&m); err != nil {
			return err
		}
		ops := []store.Op{member.PutOp(member.Key(t.domain(), m.ID), m, t.person.Revision), audit.Op(c.entry(a, *t, action))}
		ops = append(ops, administratorOps(t.domain(), m.ID, t.person.Member.Role, m.Role)...)
		ops = append(ops, more...)
		if m.AtDoors() != t.person.Member.AtDoors() {
			return c.revoke(ctx, Revocation{Domain: t.domain(), Member: m.ID}, ops...)
		}
		return c.apply(ctx, t.domain(), ops...)
	}, func() (err error) {
		t.person, err = c.dir.PersonByID(ctx, t.domain(), t.person.ID)
		if err == nil && t.person.Member == nil {
			err = deny(NotFound, "")
		}
		return err
	})
}

// UpdateMember changes what is given.
func (c *Core) UpdateMember(ctx context.Context, a Actor, address string, ch MemberChange, ifRevision int64) (Profile, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return Profile{}, err
	}
	if err := over(t, ifRevision); err != nil {
		return Profile{}, err
	}
	if ch.Restore {
		if err := c.restore(ctx, a, &t, ifRevision); err != nil {
			return Profile{}, err
		}
		ifRevision = 0 // it held, and the revision has risen by this very change
	}
	if err := c.updateMember(ctx, a, &t, ch, ifRevision); err != nil {
		return Profile{}, err
	}
	if ch.MustChange != nil {
		if err := c.setMustChange(ctx, t, *ch.MustChange); err != nil {
			return Profile{}, err
		}
	}
	fresh, err := c.dir.PersonByID(ctx, t.domain(), t.person.ID)
	if err != nil || fresh.Member == nil {
		return Profile{}, err
	}
	return c.MemberOf(ctx, a, fresh.Member.Address())
}

// over refuses a change that is meant over another revision than t's; 0 is meant over any. It is asked anew whenever t was
// read anew.
func over(t target, ifRevision int64) error {
	if ifRevision != 0 && ifRevision != t.person.Revision {
		return deny(RevisionMismatch, "the member was changed meanwhile: read again")
	}
	return nil
}

func (c *Core) updateMember(ctx context.Context, a Actor, t *target, ch MemberChange, ifRevision int64) error {
	if ch.Name == nil && ch.Aliases == nil && ch.Role == nil && ch.Contacts == nil && ch.ClosedDoors == nil {
		return nil
	}
	var addresses []store.Op
	var next []string
	if ch.Aliases != nil {
		old, _ := takeAddresses(t.tenant.Domain.Name, t.person.Member.Addresses)
		names, mistakes := takeAddresses(t.tenant.Domain.Name, append([]string{t.person.Member.Address()}, *ch.Aliases...))
		if len(mistakes) > 0 {
			return invalid(mistakes...)
		}
		var err error
		if addresses, err = c.addressOps(ctx, t.domain(), t.person.ID, old, names, false); err != nil {
			return err
		}
		next = texts(names)
	}
	if ch.Role != nil && *ch.Role != member.RoleAdministrator {
		others, err := c.notLast(ctx, a, *t)
		if err != nil {
			return err
		}
		addresses = append(addresses, others...)
	}
	return c.changeMember(ctx, a, t, audit.MemberUpdate, func(m *member.Member) error {
		if err := over(*t, ifRevision); err != nil {
			return err
		}
		set(&m.Role, ch.Role)
		set(&m.Contacts, ch.Contacts)
		if ch.Aliases != nil {
			m.Addresses = next
		}
		if ch.Name != nil {
			m.Name = strings.TrimSpace(*ch.Name)
		}
		if ch.ClosedDoors != nil {
			if slices.ContainsFunc(*ch.ClosedDoors, func(d string) bool { return !slices.Contains(m.ClosedDoors, d) }) {
				m.DoorsEpoch++
			}
			m.ClosedDoors = *ch.ClosedDoors
		}
		return asInvalid(memberMistakes(*m))
	}, addresses...)
}

func asInvalid(m []policy.Mistake) error {
	if len(m) == 0 {
		return nil
	}
	return invalid(m...)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// notLast refuses to take the last active administrator away from a domain; an operator may. Its steps hold that another
// one is still there when the batch is written.
func (c *Core) notLast(ctx context.Context, a Actor, t target) ([]store.Op, error) {
	if a.Role == member.RoleOperator || t.person.Member.Role != member.RoleAdministrator || t.person.Member.Status != member.Active {
		return nil, nil
	}
	others, err := c.dir.OtherActiveAdministrators(ctx, t.domain(), t.person.ID)
	if err != nil {
		return nil, err
	}
	if len(others) == 0 {
		return nil, deny(LastAdministrator, "the domain would be left without an administrator")
	}
	return []store.Op{unchanged(member.Key(t.domain(), others[0].ID), others[0].Revision)}, nil
}

func (c *Core) setMustChange(ctx context.Context, t target, must bool) error {
	key := password.Key(t.domain(), t.person.ID)
	return c.retry(func() error {
		p, rev, err := readDirect[password.Record](ctx, c, key)
		if err != nil || p == nil || p.MustChange == must {
			return err
		}
		p.MustChange = must
		return c.apply(ctx, t.domain(), member.PutOp(key, p, rev))
	}, func() error { return nil })
}

// Suspend suspends a member and ends all his sessions.
func (c *Core) Suspend(ctx context.Context, a Actor, address string) (Profile, error) {
	return c.act(ctx, a, address, audit.MemberSuspend, true, func(m *member.Member) error {
		if m.Status == member.Deleted {
			return deny(NotFound, "")
		}
		m.Status, m.SuspendedReason, m.SuspendedAt, m.SuspendedBy = member.Suspended, member.ByAdministrator, c.now().UTC(), a.Address
		m.Epoch++
		return nil
	})
}

// Lift lifts a suspension and clears the count of wrong passwords.
func (c *Core) Lift(ctx context.Context, a Actor, address string) (Profile, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return Profile{}, err
	}
	clear := store.Op{Kind: store.Delete, Name: lockout.Key(t.domain(), t.person.ID).Name, IfRevision: store.AnyRevision}
	err = c.changeMember(ctx, a, &t, audit.MemberLift, func(m *member.Member) error {
		if m.Status == member.Deleted {
			return deny(NotFound, "")
		}
		m.Status, m.SuspendedReason, m.SuspendedAt, m.SuspendedBy = member.Active, "", time.Time{}, ""
		return nil
	}, clear)
	if err != nil {
		return Profile{}, err
	}
	return c.MemberOf(ctx, a, address)
}

// SignOutEverywhere ends all sessions of a member, on the web and at the doors.
func (c *Core) SignOutEverywhere(ctx context.Context, a Actor, address string) (Profile, error) {
	return c.act(ctx, a, address, audit.SignOutEverywhere, false, func(m *member.Member) error { m.Epoch++; return nil })
}

// DeleteMember deletes a member: he can be restored for member.RestorableFor.
func (c *Core) DeleteMember(ctx context.Context, a Actor, address string) error {
	_, err := c.act(ctx, a, address, audit.MemberDelete, true, func(m *member.Member) error {
		if m.Status == member.Deleted {
			return deny(NotFound, "")
		}
		m.Status, m.DeletedAt = member.Deleted, c.now().UTC()
		m.Epoch++
		return nil
	})
	return err
}

func (c *Core) act(ctx context.Context, a Actor, address string, action audit.Action, keepsOne bool, change func(*member.Member) error) (Profile, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return Profile{}, err
	}
	var others []store.Op
	if keepsOne {
		if others, err = c.notLast(ctx, a, t); err != nil {
			return Profile{}, err
		}
	}
	if err := c.changeMember(ctx, a, &t, action, change, others...); err != nil {
		return Profile{}, err
	}
	return c.MemberOf(ctx, a, address)
}

func (c *Core) restore(ctx context.Context, a Actor, t *target, ifRevision int64) error {
	return c.changeMember(ctx, a, t, audit.MemberRestore, func(m *member.Member) error {
		if err := over(*t, ifRevision); err != nil {
			return err
		}
		if m.Status != member.Deleted || c.now().Sub(m.DeletedAt) >= member.RestorableFor {
			return deny(NotDeleted, "only a member deleted within 7 days can be restored")
		}
		m.Status, m.DeletedAt = member.Active, time.Time{}
		if !m.SuspendedAt.IsZero() { // only lifting ends a suspension
			m.Status = member.Suspended
		}
		return nil
	})
}

// ResetPassword gives a member a temporary password, to be shown once. keepApps keeps his app passwords, which else are
// deleted.
func (c *Core) ResetPassword(ctx context.Context, a Actor, address string, keepApps bool) (secret.String, time.Time, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return secret.String{}, time.Time{}, err
	}
	if t.person.Member.Status == member.Deleted {
		return secret.String{}, time.Time{}, deny(NotFound, "")
	}
	temporary := password.NewTemporary()
	err = c.retry(func() error {
		set, err := c.newPassword(ctx, t.domain(), t.person, temporary, wishes{temporary: true})
		if err != nil {
			return err
		}
		ops := append(set.ops, audit.Op(c.entry(a, t, audit.PasswordReset)), notify.Op(t.person.ID, notify.Password(true, a.From(), c.now())))
		if !keepApps {
			apps, err := c.withoutApps(ctx, t.domain(), t.person.ID)
			if err != nil {
				return err
			}
			ops = append(ops, apps...)
		}
		return c.revoke(ctx, Revocation{Domain: t.domain(), Member: t.person.ID}, ops...)
	}, func() error { return c.again(ctx, &t) })
	if err != nil {
		return secret.String{}, time.Time{}, err
	}
	return temporary, c.now().Add(password.TemporaryFor), nil
}
