package authcore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// DomainView is a domain as the API shows it.
type DomainView struct {
	Domain     *member.Domain
	ThirdParty policy.ThirdParty
	Born       bool // created at or after the cutoff
	Revision   int64
}

// NewDomain is what an operator asks for.
type NewDomain struct {
	Name      string
	CreatedAt time.Time // zero: now
	Doors     []string  // nil: all
	Upstreams map[string]string
}

// DomainChange is a partial change; nil leaves a field as it is.
type DomainChange struct {
	Closed    *bool
	CreatedAt *time.Time
	Doors     *[]string         // all that are to be open
	OpenDoors []string          // to be open beside whatever is: two who switch different doors at once do not undo each other
	ShutDoors []string          // not to be open
	Upstreams map[string]string // entries given replace; an empty value removes
}

func (c *Core) view(t *member.Tenant) DomainView {
	return DomainView{Domain: t.Domain, ThirdParty: t.Policy.ThirdParty, Born: t.Domain.BornRequired(c.o.Cutoff), Revision: t.Revision}
}

// CreateDomain makes a domain.
func (c *Core) CreateDomain(ctx context.Context, a Actor, n NewDomain) (DomainView, error) {
	if !a.may(changeTenant, "", "", "") {
		return DomainView{}, a.refusal(changeTenant, "", "", "")
	}
	d := member.Domain{ID: member.NewDomainID(), CreatedAt: n.CreatedAt.UTC(), Doors: n.Doors, Upstreams: map[string]string{}, Epoch: 1}
	var mistakes []policy.Mistake
	name, err := member.ParseDomain(n.Name)
	if err != nil {
		mistakes = append(mistakes, policy.Mistake{Field: "name", Reason: "must be the name of a mail domain, like example.org"})
	}
	d.Name = name
	if n.CreatedAt.IsZero() {
		d.CreatedAt = c.now().UTC().Truncate(time.Second)
	}
	if n.Doors == nil {
		d.Doors = policy.Doors()
	}
	mistakes = append(mistakes, c.takeUpstreams(&d, n.Upstreams)...)
	mistakes = append(mistakes, doorMistakes(d.Doors)...)
	if len(mistakes) > 0 {
		return DomainView{}, invalid(mistakes...)
	}
	return c.createDomain(ctx, a, d)
}

// madeDomain is the name of a new domain.
type madeDomain struct{ Name string }

func (c *Core) createDomain(ctx context.Context, a Actor, d member.Domain) (DomainView, error) {
	made, err := once(ctx, c, a, member.Root, func() (madeDomain, error) { return madeDomain{d.Name}, c.writeDomain(ctx, a, d) })
	if err != nil {
		return DomainView{}, err
	}
	return c.Domain(ctx, a, made.Name)
}

// writeDomain writes the domain in its own partition first, and then its name: a name never leads nowhere.
func (c *Core) writeDomain(ctx context.Context, a Actor, d member.Domain) error {
	taken, err := c.dir.Tenant(ctx, d.Name)
	if err != nil {
		return err
	}
	if taken != nil {
		return deny(DomainTaken, "")
	}
	kept, err := c.keepAnswer(ctx, a, member.Root, madeDomain{d.Name})
	if err != nil {
		return err
	}
	t := &member.Tenant{Domain: &d, Policy: policy.Default()}
	ops := []store.Op{member.PutOp(member.DomainKey(d.ID), d, 0), audit.Op(c.entry(a, target{tenant: t}, audit.DomainCreate))}
	if d.BornRequired(c.o.Cutoff) {
		t.Policy.ThirdParty.AppPasswords = policy.Required
		ops = append(ops, member.PutOp(member.PolicyKey(d.ID), t.Policy, 0))
	}
	if err := c.apply(ctx, d.ID, ops...); err != nil {
		return err
	}
	kept = append(kept, member.PutOp(member.DomainNameKey(d.Name), member.DomainName{ID: d.ID}, 0))
	if _, err = c.records.Apply(ctx, member.Root, kept...); errors.Is(err, store.ErrConflict) {
		return deny(DomainTaken, "")
	}
	return err
}

func doorMistakes(doors []string) (m []policy.Mistake) {
	for _, d := range doors {
		if !slices.Contains(policy.Doors(), d) {
			m = append(m, policy.Mistake{Field: "doors", Reason: fmt.Sprintf("%q is no door: use %s", d, strings.Join(policy.Doors(), ", "))})
		}
	}
	return m
}

// takeUpstreams puts names into d; what is left open takes the first that the configuration allows.
func (c *Core) takeUpstreams(d *member.Domain, names map[string]string) (m []policy.Mistake) {
	for _, door := range policy.Doors() {
		name, given := names[door]
		if c.o.Upstreams == nil {
			if given {
				d.Upstreams[door] = name
			}
			continue
		}
		allowed := c.o.Upstreams(d.Name, door)
		switch {
		case given && name != "" && !slices.Contains(allowed, name):
			m = append(m, policy.Mistake{Field: "upstreams." + door,
				Reason: fmt.Sprintf("the configuration allows this domain no upstream %q for %s: %s", name, door, orNone(allowed))})
		case given && name != "":
			d.Upstreams[door] = name
		case given:
			delete(d.Upstreams, door)
		case d.Upstreams[door] == "" && len(allowed) > 0:
			d.Upstreams[door] = allowed[0]
		}
	}
	for door := range names {
		m = append(m, doorMistakes([]string{door})...)
	}
	return m
}

func orNone(l []string) string {
	if len(l) == 0 {
		return "there is none"
	}
	return "use " + strings.Join(l, ", ")
}

// Domain answers one domain.
func (c *Core) Domain(ctx context.Context, a Actor, name string) (DomainView, error) {
	t, err := c.domainFor(ctx, a, name, readDomain)
	if err != nil {
		return DomainView{}, err
	}
	return c.view(t), nil
}

// Domains lists those that the actor may read, by name, and where to go on.
func (c *Core) Domains(ctx context.Context, a Actor, after string, limit int) ([]DomainView, string, error) {
	if a.Role == member.RoleAdministrator && a.may(readDomain, a.Domain, "", "") {
		t, err := c.dir.TenantByID(ctx, a.Domain)
		if err != nil || t == nil {
			return nil, "", err
		}
		return []DomainView{c.view(t)}, "", nil
	}
	if a.Role != member.RoleOperator {
		return nil, "", deny(Forbidden, "")
	}
	prefix := member.DomainNameKey("").Name
	q := store.Query{Prefix: prefix, Limit: limit}
	if after != "" {
		q.After = prefix + after
	}
	recs, err := c.o.Records.List(ctx, member.Root, q)
	if err != nil {
		return nil, "", err
	}
	var l []DomainView
	next := ""
	for _, r := range recs {
		next = strings.TrimPrefix(r.Name, prefix)
		t, err := c.dir.Tenant(ctx, next)
		if err != nil {
			return nil, "", err
		}
		if t != nil && a.may(readDomain, t.Domain.ID, "", "") { // an API token may be for some of them
			l = append(l, c.view(t))
		}
	}
	if len(recs) < limit {
		next = ""
	}
	return l, next, nil
}

// UpdateDomain changes doors (an administrator's) and the rest (an operator's). Closing a door or the domain ends the
// sessions there.
func (c *Core) UpdateDomain(ctx context.Context, a Actor, name string, ch DomainChange) (DomainView, error) {
	t, err := c.domainFor(ctx, a, name, changeDomain)
	if err != nil {
		return DomainView{}, err
	}
	if (ch.Closed != nil || ch.CreatedAt != nil || ch.Upstreams != nil) && !a.may(changeTenant, "", "", "") {
		if a.IsToken() {
			return DomainView{}, a.refusal(changeTenant, "", "", "")
		}
		return DomainView{}, deny(Forbidden, "closing a domain, its date of creation and its upstreams are the operator's")
	}
	id := t.Domain.ID
	err = c.retry(func() error {
		d, cut, err := c.changed(t.Domain, ch)
		if err != nil {
			return err
		}
		entry := c.entry(a, target{tenant: t}, audit.DomainUpdate)
		entry.Changes = audit.Changes(auditedDomain(*t.Domain), auditedDomain(d))
		ops := []store.Op{member.PutOp(member.DomainKey(id), d, t.Revision), audit.Op(entry)}
		if cut {
			return c.revoke(ctx, Revocation{Domain: id}, ops...)
		}
		return c.apply(ctx, id, ops...)
	}, func() (err error) { t, err = c.dir.TenantByID(ctx, id); return err })
	if err != nil {
		return DomainView{}, err
	}
	return c.Domain(ctx, a, name)
}

// doors are those that are to be open; nil: as they are.
func (ch DomainChange) doors(old []string) []string {
	if ch.Doors == nil && len(ch.OpenDoors) == 0 && len(ch.ShutDoors) == 0 {
		return nil
	}
	if ch.Doors != nil {
		old = *ch.Doors
	}
	next := []string{}
	for _, door := range append(slices.Clone(old), ch.OpenDoors...) {
		if !slices.Contains(next, door) && !slices.Contains(ch.ShutDoors, door) {
			next = append(next, door)
		}
	}
	return next
}

// changed is the domain after the change, and whether sessions end by it.
func (c *Core) changed(old *member.Domain, ch DomainChange) (d member.Domain, cut bool, err error) {
	d = *old
	d.Upstreams, d.DoorEpochs = maps.Clone(old.Upstreams), maps.Clone(old.DoorEpochs)
	if d.DoorEpochs == nil {
		d.DoorEpochs = map[string]int64{}
	}
	if d.Upstreams == nil {
		d.Upstreams = map[string]string{}
	}
	var mistakes []policy.Mistake
	if doors := ch.doors(old.Doors); doors != nil {
		mistakes = doorMistakes(doors)
		for _, door := range old.Doors {
			if !slices.Contains(doors, door) {
				d.DoorEpochs[door]++
				cut = true
			}
		}
		d.Doors = doors
	}
	if ch.Upstreams != nil {
		mistakes = append(mistakes, c.takeUpstreams(&d, ch.Upstreams)...)
	}
	if ch.CreatedAt != nil {
		d.CreatedAt = ch.CreatedAt.UTC()
	}
	if ch.Closed != nil && *ch.Closed != old.Closed {
		d.Closed = *ch.Closed
		d.Epoch++
		cut = true
	}
	if len(mistakes) > 0 {
		return d, false, invalid(mistakes...)
	}
	return d, cut, nil
}

// Policy answers a domain's policy and its revision; 0 is the default, which nobody has saved yet.
func (c *Core) Policy(ctx context.Context, a Actor, name string) (policy.Policy, int64, error) {
	t, err := c.domainFor(ctx, a, name, readDomain)
	if err != nil {
		return policy.Policy{}, 0, err
	}
	return t.Policy, t.PolicyRevision, nil
}

// SetPolicy saves a whole policy over the revision that the actor has seen. It signs nobody out.
func (c *Core) SetPolicy(ctx context.Context, a Actor, name string, p policy.Policy, ifRevision int64) (int64, error) {
	t, err := c.domainFor(ctx, a, name, changeDomain)
	if err != nil {
		return 0, err
	}
	if m := p.Validate(t.Domain.BornRequired(c.o.Cutoff)); len(m) > 0 {
		return 0, invalid(m...)
	}
	var rev int64
	err = c.retry(func() error {
		was, seen, err := c.dir.PolicyDirect(ctx, t.Domain.ID)
		if err != nil {
			return err
		}
		if ifRevision != store.AnyRevision && ifRevision != seen {
			return deny(RevisionMismatch, "the policy was changed meanwhile: read it again")
		}
		entry := c.entry(a, target{tenant: t}, audit.PolicyUpdate)
		entry.Changes = audit.Changes(was, p)
		ops := []store.Op{member.PutOp(member.PolicyKey(t.Domain.ID), p, seen), audit.Op(entry)}
		ops = append(ops, c.announceWays(t.Domain, a, was.SignIn, p.SignIn)...)
		ops = append(ops, c.offerTwoStep(t.Domain, a, was.SignIn, p.SignIn)...)
		if rev, err = c.records.Apply(ctx, member.Partition(t.Domain.ID), ops...); err == nil {
			c.hint(ctx, t.Domain.ID, ops)
		}
		return err
	}, func() error { return nil })
	return rev, err
}

// InstallationAudit answers the entries that are of no domain: what was done to the installation's keys, and the attempts
// of those whom no domain knows. They are the operators'.
func (c *Core) InstallationAudit(ctx context.Context, a Actor, f audit.Filter, after string, limit int) ([]audit.Entry, string, error) {
	if !a.may(readTenants, "", "", "") {
		return nil, "", a.refusal(readTenants, "", "", "")
	}
	return audit.List(ctx, c.o.Records, member.Root, f, after, limit)
}

// RecordKeys puts into the installation's audit what a command is about to do to the server keys: word, and their ids.
func (c *Core) RecordKeys(ctx context.Context, a Actor, word, ids string) error {
	e := c.entry(a, target{}, audit.KeysRotate)
	e.Door, e.Target, e.Detail = "", ids, word
	if _, err := c.records.Apply(ctx, member.Root, audit.Op(e)); err != nil {
		return broken("record a change of the server keys", err)
	}
	return nil
}

// maxMissing bounds what an entry says of a rollback.
const maxMissing = 1 << 10

// RecordRollback puts into the installation's audit that the nodes go on with a store that lost what they missed.
func (c *Core) RecordRollback(ctx context.Context, a Actor, missing string) error {
	e := c.entry(a, target{}, audit.RollbackAccept)
	e.Door, e.Target, e.Detail = "", "store", missing[:min(len(missing), maxMissing)]
	if _, err := c.records.Apply(ctx, member.Root, audit.Op(e)); err != nil {
		return broken("record that a rollback was accepted", err)
	}
	return nil
}

// Audit answers a domain's entries, newest first, and where to go on.
func (c *Core) Audit(ctx context.Context, a Actor, name string, f audit.Filter, after string, limit int) ([]audit.Entry, string, error) {
	t, err := c.domainFor(ctx, a, name, readDomain)
	if err != nil {
		return nil, "", err
	}
	return audit.List(ctx, c.o.Records, member.Partition(t.Domain.ID), f, after, limit)
}
