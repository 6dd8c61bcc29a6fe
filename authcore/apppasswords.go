package authcore

import (
	"context"
	"errors"

	"latchkey/authcore/apppass"
	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
)

// AppPassword is one app password as lists show it: never with its secret.
type AppPassword struct {
	apppass.Item
	Use *apppass.Use // nil: never used
}

// changeTries bounds how often a read, decide, write meets another's write before it gives up as broken.
const changeTries = 64

// AppPasswords lists the actor's own.
func (c *Core) AppPasswords(ctx context.Context, a Actor) ([]AppPassword, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return nil, err
	}
	return c.listApps(ctx, t)
}

// AppPasswordsOf lists a member's for an administrator.
func (c *Core) AppPasswordsOf(ctx context.Context, a Actor, address string) ([]AppPassword, error) {
	t, err := c.memberFor(ctx, a, address, readMember)
	if err != nil {
		return nil, err
	}
	return c.listApps(ctx, t)
}

func (c *Core) listApps(ctx context.Context, t target) ([]AppPassword, error) {
	r, _, err := cache.ReadDirect[apppass.Record](ctx, c.o.Records, apppass.Key(t.domain(), t.person.ID))
	if err != nil || r == nil {
		return nil, err
	}
	l := make([]AppPassword, len(r.Items))
	for i, it := range r.Items {
		use, _, err := cache.ReadDirect[apppass.Use](ctx, c.o.Records, apppass.UseKey(t.domain(), t.person.ID, it.ID))
		if err != nil {
			return nil, err
		}
		l[i] = AppPassword{Item: it, Use: use}
	}
	return l, nil
}

// CreateAppPassword makes one for the actor and answers its secret, which is never seen again. The message to his inbox
// is written in the same batch.
func (c *Core) CreateAppPassword(ctx context.Context, a Actor, w apppass.Wish) (AppPassword, secret.String, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return AppPassword{}, secret.String{}, err
	}
	if err := c.confirmed(a); err != nil {
		return AppPassword{}, secret.String{}, err
	}
	return c.createApp(ctx, a, t, w)
}

// CreateAppPasswordFor makes one for a member by a command on the server: for the people of a demo, which begins with
// some. No administrator can do this.
func (c *Core) CreateAppPasswordFor(ctx context.Context, a Actor, address string, w apppass.Wish) (AppPassword, secret.String, error) {
	if !a.command {
		return AppPassword{}, secret.String{}, deny(Forbidden, "")
	}
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return AppPassword{}, secret.String{}, err
	}
	return c.createApp(ctx, a, t, w)
}

// SetAppPasswordOptionFor switches a member's option by a command on the server.
func (c *Core) SetAppPasswordOptionFor(ctx context.Context, a Actor, address string, on bool) error {
	if !a.command {
		return deny(Forbidden, "")
	}
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return err
	}
	return c.switchOption(ctx, a, &t, on)
}

// madeApp is a new app password with its secret.
type madeApp struct {
	Item   apppass.Item
	Secret string
}

func (c *Core) createApp(ctx context.Context, a Actor, t target, w apppass.Wish) (AppPassword, secret.String, error) {
	it, plain, mistakes := apppass.Make(c.o.Keys, w, a.From(), c.now())
	if len(mistakes) > 0 {
		return AppPassword{}, secret.String{}, invalid(mistakes...)
	}
	made, err := once(ctx, c, a, member.Partition(t.domain()), func() (madeApp, error) {
		m := madeApp{it, plain.Reveal()}
		return m, c.writeApp(ctx, a, t, m)
	})
	if err != nil {
		return AppPassword{}, secret.String{}, err
	}
	return AppPassword{Item: made.Item}, secret.New(made.Secret), nil
}

func (c *Core) writeApp(ctx context.Context, a Actor, t target, made madeApp) error {
	key, it := apppass.Key(t.domain(), t.person.ID), made.Item
	return c.retry(func() error {
		old, rev, err := cache.ReadDirect[apppass.Record](ctx, c.o.Records, key)
		if err != nil {
			return err
		}
		still, err := c.stillStands(ctx, a)
		if err != nil {
			return err
		}
		next, err := old.With(it, t.tenant.Policy.ThirdParty.MaxAppPasswords)
		if errors.Is(err, apppass.ErrLimit) {
			return deny(AppPasswordLimit, "delete one that is not used any more")
		}
		ops, err := c.keepAnswer(ctx, a, key.Partition, made)
		if err != nil {
			return err
		}
		entry := c.entry(a, t, audit.AppPasswordCreate)
		entry.Kind, entry.Credential, entry.Name = kindOf(it.ID), it.ID, it.Name
		ops = append(ops, c.notice(t.person.Member, notify.Event{Kind: notify.AppPasswordCreated, Name: it.Name, At: c.now(), From: a.From()})...)
		ops = append(ops, still...)
		ops = append(ops, member.PutOp(key, next, rev), unchanged(member.Key(t.domain(), t.person.ID), t.person.Revision), audit.Op(entry))
		return c.apply(ctx, t.domain(), ops...)
	}, func() error { return c.again(ctx, &t) })
}

// retry does a read, decide, write anew while it conflicts; between, the target is read anew.
func (c *Core) retry(do, again func() error) error {
	for range changeTries {
		if err := do(); !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := again(); err != nil {
			return err
		}
	}
	return deny(RevisionMismatch, "something changed meanwhile: try again")
}

func (c *Core) again(ctx context.Context, t *target) error {
	p, err := c.dir.PersonByID(ctx, t.domain(), t.person.ID)
	if err != nil {
		return err
	}
	if p.Member == nil || p.Member.Status == member.Deleted {
		return deny(NotFound, "")
	}
	tenant, err := c.dir.TenantByID(ctx, t.domain())
	if err != nil {
		return err
	}
	t.person, t.tenant = p, tenant
	return nil
}

// DeleteAppPassword deletes one of the actor's own; its live sessions are cut. It needs no re-authentication.
func (c *Core) DeleteAppPassword(ctx context.Context, a Actor, id string) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	return c.deleteApp(ctx, a, t, id)
}

// DeleteAppPasswordOf deletes a member's for an administrator.
func (c *Core) DeleteAppPasswordOf(ctx context.Context, a Actor, address, id string) error {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return err
	}
	return c.deleteApp(ctx, a, t, id)
}

func (c *Core) deleteApp(ctx context.Context, a Actor, t target, id string) error {
	key := apppass.Key(t.domain(), t.person.ID)
	return c.retry(func() error {
		old, rev, err := cache.ReadDirect[apppass.Record](ctx, c.o.Records, key)
		if err != nil {
			return err
		}
		next, was := old.Without(id)
		if !was {
			return deny(NotFound, "")
		}
		entry := c.entry(a, t, audit.AppPasswordDelete)
		entry.Kind, entry.Credential = kindOf(id), id
		return c.revoke(ctx, Revocation{Domain: t.domain(), Member: t.person.ID}, member.PutOp(key, next, rev),
			store.Op{Kind: store.Delete, Name: apppass.UseKey(t.domain(), t.person.ID, id).Name, IfRevision: store.AnyRevision}, audit.Op(entry))
	}, func() error { return nil })
}

// withoutApps are the steps that delete all app passwords of a member, and what is kept of their use.
func (c *Core) withoutApps(ctx context.Context, d member.DomainID, id member.ID) ([]store.Op, error) {
	key := apppass.Key(d, id)
	r, rev, err := cache.ReadDirect[apppass.Record](ctx, c.o.Records, key)
	if err != nil || r == nil {
		return []store.Op{unchanged(key, 0)}, err
	}
	ops := []store.Op{{Kind: store.Delete, Name: key.Name, IfRevision: rev}}
	for _, it := range r.Items {
		ops = append(ops, store.Op{Kind: store.Delete, Name: apppass.UseKey(d, id, it.ID).Name, IfRevision: store.AnyRevision})
	}
	return ops, nil
}

// SetAppPasswordOption switches the member's "use a third-party app password". It ends his sessions at the doors, not those
// on the web, and is refused where the domain leaves no choice.
func (c *Core) SetAppPasswordOption(ctx context.Context, a Actor, on bool) (Profile, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return Profile{}, err
	}
	if t.tenant.Policy.ThirdParty.OnlyAppPasswords(t.tenant.Domain.BornRequired(c.o.Cutoff), c.now()) {
		return Profile{}, deny(OptionFixed, "in this domain third-party programs always need an app password")
	}
	if !on { // the weaker way in asks for more
		if err := c.confirmed(a); err != nil {
			return Profile{}, err
		}
	}
	if err := c.switchOption(ctx, a, &t, on); err != nil {
		return Profile{}, err
	}
	return c.Me(ctx, a)
}

func (c *Core) switchOption(ctx context.Context, a Actor, t *target, on bool) error {
	return c.changeMember(ctx, a, t, audit.AppPasswordOption, func(m *member.Member) error {
		if m.AppPasswords != on {
			m.AppPasswords = on
			m.DoorsEpoch++
		}
		return nil
	})
}
