package authcore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
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
	// Password sets the account password instead of a temporary one; commands only.
	Password      secret.String
	PasswordHash  secret.String // of an account password that the member has elsewhere and keeps, as password.ParseHash takes it; imports only
	PasswordSetAt time.Time     // of either; zero, or up to a day ahead: now
	TwoStep       bool          // commands only
}

// MemberChange is a partial change; nil leaves a field as it is.
type MemberChange struct {
	Name        *string
	Aliases     *[]string
	Role        *member.Role
	Contacts    *[]member.Contact
	ClosedDoors *[]string
	Language    *string
	MustChange  *bool // a password change at the next sign-in
	Restore     bool  // a deleted member, within member.RestorableFor
}

// Bounds of a member's record.
const (
	maxAliases  = 50 // each is a record of its own in the batch that writes the member
	maxContacts = 10
	maxNameLen  = 100
	// today: a password set up to so much ahead was set now. A day without a time is read as that of UTC, and has begun in
	// the east up to 14 hours before; the clock of who wrote the file may be ahead.
	today = 24 * time.Hour
)

// CreateMember makes a member and answers the temporary password, to be shown once; it is empty where n carries one.
func (c *Core) CreateMember(ctx context.Context, a Actor, domain string, n NewMember) (Profile, secret.String, error) {
	if !a.command && !n.PasswordHash.Empty() {
		return Profile{}, secret.String{}, deny(Forbidden, "")
	}
	return c.ImportMember(ctx, a, domain, n)
}

// ImportMember is CreateMember for a row of a file: the member may bring the hash of a password that he keeps. It says no
// more than a temporary one would: whoever makes a member may sign in as him, until the member sets a password himself.
func (c *Core) ImportMember(ctx context.Context, a Actor, domain string, n NewMember) (Profile, secret.String, error) {
	t, m, names, err := c.takeMember(ctx, a, domain, &n)
	if err != nil {
		return Profile{}, secret.String{}, err
	}
	return c.createMember(ctx, a, t, m, names, n)
}

// CheckNewMember says whether ImportMember would make the member, and makes nobody.
func (c *Core) CheckNewMember(ctx context.Context, a Actor, domain string, n NewMember) error {
	t, m, names, err := c.takeMember(ctx, a, domain, &n)
	if err != nil {
		return err
	}
	_, err = c.addressOps(ctx, t.Domain.ID, m.ID, nil, names, n.ConfirmReuse)
	return err
}

// takeMember checks what is asked for, and makes the hash what a record keeps.
func (c *Core) takeMember(ctx context.Context, a Actor, domain string, n *NewMember) (*member.Tenant, member.Member, []member.Name, error) {
	t, err := c.domainFor(ctx, a, domain, changeDomain)
	if err != nil {
		return nil, member.Member{}, nil, err
	}
	if n.Role == "" {
		n.Role = member.RoleMember
	}
	if !a.command && (!n.Password.Empty() || n.TwoStep) || a.IsToken() && !n.PasswordHash.Empty() {
		return nil, member.Member{}, nil, deny(Forbidden, "")
	}
	m := member.Member{ID: member.NewID(), Name: strings.TrimSpace(n.Name), Role: n.Role, Status: member.Active, CreatedAt: c.now().UTC().Truncate(time.Second),
		Contacts: keepVerified(nil, c.readContacts(n.Contacts), a.command), Epoch: 1}
	if n.TwoStep {
		m.TwoStep = member.ByMember
	}
	names, mistakes := takeAddresses(t.Domain.Name, append([]string{n.Address}, n.Aliases...))
	mistakes = append(mistakes, memberMistakes(m)...)
	if !n.PasswordHash.Empty() {
		hash, err := password.ParseHash(n.PasswordHash.Reveal())
		if err != nil {
			mistakes = append(mistakes, policy.Mistake{Field: "password_hash", Reason: err.Error()})
		}
		n.PasswordHash = secret.New(hash)
	}
	if now := c.now(); n.PasswordSetAt.After(now.Add(today)) {
		mistakes = append(mistakes, policy.Mistake{Field: "password_set_at", Reason: "lies in the future"})
	} else if n.PasswordSetAt.After(now) {
		n.PasswordSetAt = now
	}
	if len(mistakes) > 0 {
		return nil, m, nil, invalid(mistakes...)
	}
	return t, m, names, nil
}

// madeMember is a new member with his temporary password.
type madeMember struct{ Address, Secret string }

func (c *Core) createMember(ctx context.Context, a Actor, t *member.Tenant, m member.Member, names []member.Name, n NewMember) (Profile, secret.String, error) {
	m.Addresses = texts(names)
	made, err := once(ctx, c, a, member.Partition(t.Domain.ID), func() (madeMember, error) {
		set, shown, err := c.firstPassword(ctx, t.Domain.ID, &m, n)
		if err != nil {
			return madeMember{}, err
		}
		made := madeMember{Address: m.Address(), Secret: shown.Reveal()}
		return made, c.writeMember(ctx, a, t, m, made, names, n.ConfirmReuse, set.ops)
	})
	if err != nil {
		return Profile{}, secret.String{}, err
	}
	p, err := c.MemberOf(ctx, a, made.Address)
	return p, secret.New(made.Secret), err
}

func (c *Core) writeMember(ctx context.Context, a Actor, t *member.Tenant, m member.Member, made madeMember, names []member.Name, confirmReuse bool, more []store.Op) error {
	d := t.Domain.ID
	for range changeTries {
		ops, err := c.addressOps(ctx, d, m.ID, nil, names, confirmReuse)
		if err != nil {
			return err
		}
		kept, err := c.keepAnswer(ctx, a, member.Partition(d), made)
		if err != nil {
			return err
		}
		if _, err := c.hintContacts(ctx, d, m.ID, nil, m.Contacts); err != nil {
			return err
		}
		tg := target{tenant: t, person: member.Person{ID: m.ID, Member: &m}, role: m.Role}
		ops = append(ops, member.PutOp(member.Key(d, m.ID), m, 0), audit.Op(c.entry(a, tg, audit.MemberCreate)))
		ops = append(ops, kept...)
		ops = append(ops, more...)
		ops = append(ops, administratorOps(d, m.ID, "", m.Role)...)
		if err = c.apply(ctx, d, ops...); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return broken("create member", store.ErrConflict)
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

// MemberOf answers one member for an administrator.
func (c *Core) MemberOf(ctx context.Context, a Actor, address string) (Profile, error) {
	t, err := c.memberFor(ctx, a, address, readMember)
	if err != nil {
		return Profile{}, err
	}
	return c.profile(ctx, t)
}

// maxSought bounds how many addresses one call of Members looks at: a domain may have a million, and every keystroke may
// ask.
const maxSought = 5_000

// Members lists a domain's members by primary address, those whose address or name holds text (in lower case), and where
// to go on: a page may hold fewer than limit, even nobody, and not be the last.
func (c *Core) Members(ctx context.Context, a Actor, domain, text, after string, limit int) ([]Profile, string, error) {
	t, err := c.domainFor(ctx, a, domain, readDomain)
	if err != nil {
		return nil, "", err
	}
	d := t.Domain.ID
	q := store.Query{Prefix: member.AddressPrefix, Limit: store.MaxListLimit}
	if text == "" {
		q.Limit = max(1, min(limit, q.Limit)) // a page is nearly as many addresses; further ones are asked for again
	}
	if after != "" {
		q.After = member.AddressPrefix + after
	}
	var l []Profile
	for looked := 0; looked < maxSought; {
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
		if len(recs) < q.Limit {
			return l, "", nil
		}
		looked += len(recs)
	}
	return l, strings.TrimPrefix(q.After, member.AddressPrefix), nil
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
