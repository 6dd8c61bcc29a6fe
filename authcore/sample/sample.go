// Package sample makes two domains with people in every state, for the demo and for tests. It refuses to touch a store
// that has a domain of the same name.
package sample

import (
	"context"
	"fmt"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

// The two domains: one born with app passwords required, one from before.
const (
	New = "new.example"
	Old = "old.example"
)

// Personal ends the personal e-mail address of who has one: behind his local part.
const Personal = "@personal.example"

// Person is one of them.
type Person struct {
	Address      string
	Domain       string
	Role         member.Role
	State        string // "app-only", "account", …: the local part says it too
	Account      secret.String
	AppPasswords []AppPassword
}

// AppPassword is one app password with its secret.
type AppPassword struct {
	ID, Name string
	Secret   secret.String
}

type wish struct {
	local   string
	domain  string
	role    member.Role
	app     bool // has one app password
	option  bool
	twoStep bool
	expired bool
	suspend bool
}

func wishes() []wish {
	return []wish{
		{local: "app-only", domain: New, app: true},
		{local: "account", domain: Old},
		{local: "opted-in", domain: Old, app: true, option: true},
		{local: "two-step", domain: Old, app: true, twoStep: true},
		{local: "suspended", domain: Old, suspend: true},
		{local: "expired", domain: Old, expired: true},
		{local: "admin", domain: Old, role: member.RoleAdministrator},
		{local: "operator", domain: New, role: member.RoleOperator},
	}
}

// Make makes them all, in a fixed order. upstreams, by door, are given to both domains.
func Make(ctx context.Context, c *authcore.Core, upstreams map[string]string) ([]Person, error) {
	a := authcore.CommandActor("sample")
	for name, born := range map[string]time.Time{
		New: time.Date(2023, 5, 1, 0, 0, 0, 0, time.UTC),
		Old: time.Date(2020, 1, 15, 0, 0, 0, 0, time.UTC),
	} {
		if _, err := c.CreateDomain(ctx, a, authcore.NewDomain{Name: name, CreatedAt: born, Upstreams: upstreams}); err != nil {
			return nil, fmt.Errorf("make domain %s: %w", name, err)
		}
	}
	p := policy.Default()
	p.Password.ExpiresAfterDays = 365
	if _, err := c.SetPolicy(ctx, a, Old, p, 0); err != nil {
		return nil, fmt.Errorf("set policy of %s: %w", Old, err)
	}
	var people []Person
	for _, w := range wishes() {
		person, err := w.make(ctx, c, a)
		if err != nil {
			return nil, fmt.Errorf("make %s@%s: %w", w.local, w.domain, err)
		}
		people = append(people, person)
	}
	return people, nil
}

func (w wish) make(ctx context.Context, c *authcore.Core, a authcore.Actor) (Person, error) {
	p := Person{Address: w.local + "@" + w.domain, Domain: w.domain, Role: w.role, State: w.local, Account: password.NewTemporary()}
	n := authcore.NewMember{Address: p.Address, Role: w.role, Password: p.Account, TwoStep: w.twoStep}
	if w.twoStep {
		n.Contacts = []member.Contact{{Kind: member.Email, Value: w.local + Personal, Verified: true}}
	}
	if w.role == "" {
		p.Role = member.RoleMember
	}
	if w.role == member.RoleOperator {
		n.Role = member.RoleMember
	}
	if w.expired {
		n.PasswordSetAt = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if _, _, err := c.CreateMember(ctx, a, w.domain, n); err != nil {
		return p, err
	}
	if w.app {
		made, plain, err := c.CreateAppPasswordFor(ctx, a, p.Address, apppass.Wish{Name: "Demo"})
		if err != nil {
			return p, err
		}
		p.AppPasswords = []AppPassword{{ID: made.ID, Name: made.Name, Secret: plain}}
	}
	return p, w.finish(ctx, c, a, p.Address)
}

func (w wish) finish(ctx context.Context, c *authcore.Core, a authcore.Actor, address string) error {
	if w.option {
		if err := c.SetAppPasswordOptionFor(ctx, a, address, true); err != nil {
			return err
		}
	}
	if w.suspend {
		if _, err := c.Suspend(ctx, a, address); err != nil {
			return err
		}
	}
	if w.role == member.RoleOperator {
		_, err := c.CreateOperator(ctx, a, address)
		return err
	}
	return nil
}
