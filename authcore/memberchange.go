package authcore

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// changeMember changes the record of a member, tries anew while others change it, and ends his sessions when an epoch
// rose.
func (c *Core) changeMember(ctx context.Context, a Actor, t *target, action audit.Action, change func(*member.Member) error, more ...store.Op) error {
	return c.retry(func() error {
		m := *t.person.Member
		if err := change(&m); err != nil {
			return err
		}
		entry := c.entry(a, *t, action)
		entry.Changes = memberChanges(*t.person.Member, m)
		ops := []store.Op{member.PutOp(member.Key(t.domain(), m.ID), m, t.person.Revision), audit.Op(entry)}
		ops = append(ops, administratorOps(t.domain(), m.ID, t.person.Member.Role, m.Role)...)
		ops = append(ops, more...)
		hinted, err := c.hintContacts(ctx, t.domain(), m.ID, t.person.Member.Contacts, m.Contacts)
		if err != nil {
			return err
		}
		if err := c.writeChanged(ctx, t, m, ops); err != nil {
			return err
		}
		c.clear(context.WithoutCancel(ctx), hinted)
		return nil
	}, func() (err error) {
		t.person, err = c.dir.PersonByID(ctx, t.domain(), t.person.ID)
		if err == nil && t.person.Member == nil {
			err = deny(NotFound, "")
		}
		return err
	})
}

func (c *Core) writeChanged(ctx context.Context, t *target, m member.Member, ops []store.Op) error {
	if m.AtDoors() != t.person.Member.AtDoors() {
		return c.revoke(ctx, Revocation{Domain: t.domain(), Member: m.ID}, ops...)
	}
	return c.apply(ctx, t.domain(), ops...)
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
		if err := c.setMustChange(ctx, a, t, *ch.MustChange); err != nil {
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
	if ch.Name == nil && ch.Aliases == nil && ch.Role == nil && ch.Contacts == nil && ch.ClosedDoors == nil && ch.Language == nil {
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
	roles, err := c.roleOps(ctx, a, *t, ch)
	if err != nil {
		return err
	}
	told, err := c.takeContacts(a, *t, &ch)
	if err != nil {
		return err
	}
	was := t.person.Member.Contacts
	return c.changeMember(ctx, a, t, audit.MemberUpdate, func(m *member.Member) error {
		if err := over(*t, ifRevision); err != nil {
			return err
		}
		if ch.Contacts != nil && !slices.Equal(m.Contacts, was) {
			return deny(RevisionMismatch, "the contacts were changed meanwhile: read again")
		}
		set(&m.Role, ch.Role)
		set(&m.Contacts, ch.Contacts)
		if ch.Aliases != nil {
			m.Addresses = next
		}
		if ch.Language != nil {
			if l := languageMistakes(*ch.Language); len(l) > 0 {
				return invalid(l...)
			}
			m.Language = *ch.Language
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
	}, slices.Concat(addresses, roles, told)...)
}

// roleOps is what goes with taking the administrator's role away: another one must stay, and tokens end, for they would be
// good again if the member ever got the role again.
func (c *Core) roleOps(ctx context.Context, a Actor, t target, ch MemberChange) ([]store.Op, error) {
	if ch.Role == nil || *ch.Role == member.RoleAdministrator {
		return nil, nil
	}
	ops, err := c.notLast(ctx, a, t)
	if err != nil || t.person.Member.Role != member.RoleAdministrator {
		return ops, err
	}
	tokens, err := c.withoutTokens(ctx, t.domain(), t.person.ID)
	return append(ops, tokens...), err
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

func (c *Core) setMustChange(ctx context.Context, a Actor, t target, must bool) error {
	key := password.Key(t.domain(), t.person.ID)
	return c.retry(func() error {
		p, rev, err := readDirect[password.Record](ctx, c, key)
		if err != nil || p == nil || p.MustChange == must {
			return err
		}
		entry := c.entry(a, t, audit.MemberUpdate)
		entry.Changes = []audit.Change{{Field: "must_change_password", Before: strconv.FormatBool(p.MustChange), After: strconv.FormatBool(must)}}
		p.MustChange = must
		return c.apply(ctx, t.domain(), member.PutOp(key, p, rev), audit.Op(entry))
	}, func() error { return nil })
}
