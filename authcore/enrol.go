package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// NewApp is the secret of an authenticator app, shown once.
type NewApp struct {
	Secret secret.String // base32
	URL    secret.String // otpauth://, what a QR code shows
}

// beginApp makes the secret of an authenticator app, which counts once confirmApp saw a code of it.
func (c *Core) beginApp(ctx context.Context, e enrolling) (NewApp, error) {
	t, m, err := c.enroller(ctx, e)
	if err != nil {
		return NewApp{}, err
	}
	if !e.proven {
		return NewApp{}, deny(ReauthenticationRequired, "")
	}
	key, url, err := otp.NewApp(t.Domain.Name, m.Address())
	if err != nil {
		return NewApp{}, err
	}
	p, err := json.Marshal(otp.Seal(c.o.Keys, e.domain, e.member, key, c.now()))
	if err != nil {
		return NewApp{}, broken("keep the secret of an app", err)
	}
	if err := c.o.Ephemeral.Put(ctx, e.pendingKey("app", ""), p, TicketFor); err != nil {
		return NewApp{}, broken("keep the secret of an app", err)
	}
	return NewApp{Secret: key, URL: url}, nil
}

// confirmApp takes the app that beginApp made into use, by a code that it shows. It goes in the place of another one.
func (c *Core) confirmApp(ctx context.Context, e enrolling, code secret.String) error {
	if _, err := c.pendingApp(ctx, e); err != nil {
		return err // nothing to compare with, and nothing to count
	}
	err := c.guess(ctx, e.domain, e.member, func(ctx context.Context) (bool, []store.Op, error) {
		app, err := c.pendingApp(ctx, e)
		if err != nil {
			return false, nil, err
		}
		next, err := app.Spend(c.o.Keys, e.domain, e.member, code, c.now())
		if errors.Is(err, otp.ErrWrong) {
			return false, nil, nil
		}
		if err != nil {
			return false, nil, err
		}
		ops, err := c.methodOps(ctx, e, "app_added", func(m *otp.Methods) error {
			if m.HasApp() && slices.Equal(m.App.Secret.Box, next.Secret.Box) {
				return deny(BadCode, "") // a second request with the same code
			}
			m.App = &next
			return nil
		})
		return true, ops, err
	})
	if err != nil {
		return err
	}
	if err := c.o.Ephemeral.Delete(ctx, e.pendingKey("app", "")); err != nil {
		c.log.Warn("forget the secret of an app", "error", err) // it is in use, and runs out there by itself
	}
	return nil
}

func (c *Core) pendingApp(ctx context.Context, e enrolling) (app otp.App, err error) {
	p, err := c.o.Ephemeral.Get(ctx, e.pendingKey("app", ""))
	if errors.Is(err, store.ErrNotFound) || err == nil && json.Unmarshal(p, &app) != nil {
		return app, deny(BadCode, "There is no app that waits for its first code, or it waited too long: begin again.")
	}
	if err != nil {
		return app, broken("read the secret of an app", err)
	}
	return app, nil
}

// methodOps are the steps that change a member's methods and tell of it. What they change is read here.
func (c *Core) methodOps(ctx context.Context, e enrolling, what string, change func(*otp.Methods) error) ([]store.Op, error) {
	key := otp.Key(e.domain, e.member)
	methods, rev, err := readDirect[otp.Methods](ctx, c, key)
	if err != nil {
		return nil, err
	}
	next := methods.Copy()
	if err := change(&next); err != nil {
		return nil, err
	}
	ops, err := c.passedOps(ctx, secondTry{client: e.client, domain: e.domain, member: e.member}, nil)
	if err != nil {
		return nil, err
	}
	_, m, err := c.enroller(ctx, e)
	if err != nil {
		return nil, err
	}
	entry := c.webEntry(m, e.client, audit.TwoStepMethod)
	entry.Detail = what
	ops = append(ops, member.PutOp(key, next, rev), audit.Op(entry))
	return append(ops, c.notice(m, notify.Event{Kind: notify.MethodChanged, Name: what, At: c.now(), From: e.client.From()})...), nil
}

// BeginApp begins the enrolment of an authenticator app of the actor.
func (c *Core) BeginApp(ctx context.Context, a Actor) (NewApp, error) {
	e, err := c.enrollingSelf(ctx, a)
	if err != nil {
		return NewApp{}, err
	}
	return c.beginApp(ctx, e)
}

// ConfirmApp ends it.
func (c *Core) ConfirmApp(ctx context.Context, a Actor, code secret.String) (TwoStepView, error) {
	e, err := c.enrollingSelf(ctx, a)
	if err != nil {
		return TwoStepView{}, err
	}
	if err := c.confirmApp(ctx, e, code); err != nil {
		return TwoStepView{}, err
	}
	return c.MyTwoStep(ctx, a)
}

// RemoveApp takes the actor's authenticator app away. It is refused where it is his last method and two-step is asked.
func (c *Core) RemoveApp(ctx context.Context, a Actor) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	if err := c.confirmed(a); err != nil {
		return err
	}
	e := enrolling{client: a.Client, domain: a.Domain, member: a.Member}
	return c.retry(func() error {
		ops, err := c.methodOps(ctx, e, "app_removed", func(m *otp.Methods) error {
			if !m.HasApp() {
				return deny(NotFound, "")
			}
			m.App = nil
			return nil
		})
		if err != nil {
			return err
		}
		held, err := c.othersThanApp(ctx, t)
		if err != nil {
			return err
		}
		return c.apply(ctx, t.domain(), append(ops, held...)...)
	}, func() error { return c.again(ctx, &t) })
}

// NewRecoveryCodes makes ten recovery codes for the actor, shown once; those from before are void.
func (c *Core) NewRecoveryCodes(ctx context.Context, a Actor) ([]secret.String, error) {
	if _, err := c.self(ctx, a); err != nil {
		return nil, err
	}
	if err := c.confirmed(a); err != nil {
		return nil, err
	}
	made, err := once(ctx, c, a, member.Partition(a.Domain), func() ([]string, error) { return c.newRecoveryCodes(ctx, a) })
	var codes []secret.String
	for _, code := range made {
		codes = append(codes, secret.New(code))
	}
	return codes, err
}

func (c *Core) newRecoveryCodes(ctx context.Context, a Actor) ([]string, error) {
	e := enrolling{client: a.Client, domain: a.Domain, member: a.Member}
	var made []string
	err := c.retry(func() error {
		made = nil
		ops, err := c.methodOps(ctx, e, "recovery_codes_made", func(m *otp.Methods) error {
			next, codes := m.NewRecovery(c.o.Keys, a.Domain, a.Member, c.now())
			for _, code := range codes {
				made = append(made, code.Reveal())
			}
			*m = next
			return nil
		})
		if err != nil {
			return err
		}
		kept, err := c.keepAnswer(ctx, a, member.Partition(a.Domain), made)
		if err != nil {
			return err
		}
		return c.apply(ctx, a.Domain, append(ops, kept...)...)
	}, func() error { return nil })
	return made, err
}

// othersThanApp refuses to take the last method from a member of whom two-step is asked. His contacts are held by the check
// of his record that methodOps made before.
func (c *Core) othersThanApp(ctx context.Context, t target) ([]store.Op, error) {
	m, _, err := readDirect[member.Member](ctx, c, member.Key(t.domain(), t.person.ID))
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, deny(NotFound, "")
	}
	if !m.TwoStepOn(t.tenant.Policy) || slices.ContainsFunc(m.Contacts, c.reaches) {
		return nil, nil
	}
	return c.heldPasskey(ctx, t)
}
