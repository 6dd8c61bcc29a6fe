package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
)

// A ticket leads from one step of a sign-in to the next: good for one step, once, for ten minutes, in the browser or
// device that began, and only as long as nothing ended the member's sessions. It may be lost: then the sign-in begins
// again. It is never written anew, so that what was taken cannot come back.

// TicketFor is how long a step may take.
const TicketFor = 10 * time.Minute

type ticket struct {
	Domain     member.DomainID `json:"domain"`
	Member     member.ID       `json:"member"`
	State      signin.State    `json:"state"`  // the step that it is for
	Epochs     member.Epochs   `json:"epochs"` // a change of member, password or domain voids it
	Began      member.Epochs   `json:"began"`  // those of the first factor: a new password in between changes Epochs
	Bound      string          `json:"bound"`  // to the browser or device that began
	Factor     signin.Factor   `json:"factor"`
	Credential string          `json:"credential,omitempty"` // of the factor
	Called     string          `json:"called,omitempty"`     // the credential's name
	Done       signin.Progress `json:"done"`
	Method     signin.Method   `json:"method,omitempty"`   // that passed the second step
	Name       string          `json:"name,omitempty"`     // print of the name that was typed: whose source is forgiven in the end
	Again      string          `json:"again,omitempty"`    // hash of the token whose session is confirmed; empty: a new one is opened
	Borrowed   bool            `json:"borrowed,omitempty"` // another session of the member's was enough for the factor
	Trust      bool            `json:"trust,omitempty"`    // the member wants the browser spared the next time
}

func ticketKey(t secret.String) store.Key {
	return store.Key{Partition: "ticket", Name: session.Hash(t)}
}

// bound names the browser or device. A source is a network: whoever changes it begins again.
func (c *Core) bound(client Client) string {
	return c.print("ticket", lockout.Source(client.Addr), client.Agent)
}

// underway is a sign-in between two steps: what its ticket carries, and what the records say now.
type underway struct {
	ticket
	token           secret.String // of the ticket
	tenant          *member.Tenant
	person          member.Person
	account         *password.Record
	accountRevision int64
	methods         []SecondMethod
	facts           signin.Facts
	next            signin.Step
}

// look reads the records anew. TicketInvalid when the member may not sign in any more, or something ended his sessions.
func (c *Core) look(ctx context.Context, u *underway) error {
	over := deny(TicketInvalid, "")
	ctx = c.anew(ctx)
	tenant, err := c.dir.TenantByID(ctx, u.Domain)
	if err != nil {
		return err
	}
	person, epochs, err := c.webEpochs(ctx, u.Domain, u.Member)
	if err != nil {
		return err
	}
	if tenant == nil || person.Member == nil || person.Member.Status != member.Active || epochs != u.Epochs {
		return over
	}
	u.tenant, u.person = tenant, person
	if err := c.wayStands(ctx, u); err != nil {
		return err
	}
	u.account, u.accountRevision, err = cache.Read[password.Record](ctx, c.records, password.Key(u.Domain, u.Member))
	if err != nil {
		return err
	}
	if u.facts, err = c.facts(ctx, u); err != nil {
		return err
	}
	u.next = signin.Next(u.facts, u.Done)
	return nil
}

// facts is what the machine is told.
func (c *Core) facts(ctx context.Context, u *underway) (f signin.Facts, err error) {
	u.methods, err = c.secondMethods(ctx, u.Domain, u.person.Member)
	if err != nil {
		return signin.Facts{}, err
	}
	keys, _, err := cache.Read[quick.Passkeys](ctx, c.records, quick.PasskeysKey(u.Domain, u.Member))
	if err != nil {
		return signin.Facts{}, err
	}
	return signin.Facts{
		Factor: u.Factor, MustChange: u.account.State(u.tenant.Policy.Password, c.now()) != password.Good,
		TwoStepAsked: u.person.Member.TwoStepOn(u.tenant.Policy), Methods: kinds(u.methods),
		Proven: provenOnce(u.person.Member, len(keys.Credentials()) > 0), Reset: resetBy(u.account),
		Managed: u.tenant.Policy.ProfileManagedExternally || u.Borrowed, Enrollable: c.enrollable(),
	}, nil
}

// resetBy is the channel by which the member made his password after he forgot it.
func resetBy(account *password.Record) signin.Method {
	if account == nil {
		return ""
	}
	return signin.Method(account.ResetBy)
}

// at answers the sign-in that stands at a step, by its ticket. What the records ask for by now comes first: a ticket whose
// step is not the next one any more is over.
func (c *Core) at(ctx context.Context, client Client, tk secret.String, step signin.State) (*underway, error) {
	over := deny(TicketInvalid, "")
	p, err := c.o.Ephemeral.Get(ctx, ticketKey(tk))
	if errors.Is(err, store.ErrNotFound) {
		return nil, over
	}
	if err != nil {
		return nil, broken("read ticket", err)
	}
	u := &underway{token: tk}
	if json.Unmarshal(p, &u.ticket) != nil || u.State != step || u.Bound != c.bound(client) {
		return nil, over
	}
	if err := c.look(ctx, u); err != nil {
		return nil, err
	}
	if u.next == nil || u.next.State() != step {
		return nil, over
	}
	return u, nil
}

// spend takes the ticket: of many who come with it one goes on.
func (c *Core) spend(ctx context.Context, u *underway, e signin.Event) error {
	over := deny(TicketInvalid, "")
	done, err := signin.Do(u.State, e, u.facts, u.Done)
	if err != nil {
		return over
	}
	if _, err := c.o.Ephemeral.Take(ctx, ticketKey(u.token)); errors.Is(err, store.ErrNotFound) {
		return over
	} else if err != nil {
		return broken("take ticket", err)
	}
	u.Done = done
	return nil
}

// keep makes the ticket of the next step.
func (c *Core) keep(ctx context.Context, u *underway, step signin.State) (secret.String, time.Time, error) {
	tk := session.NewToken(u.Domain)
	t := u.ticket
	t.State = step
	p, err := json.Marshal(t)
	if err != nil {
		return secret.String{}, time.Time{}, broken("keep ticket", err)
	}
	if err := c.o.Ephemeral.Put(ctx, ticketKey(tk), p, TicketFor); err != nil {
		return secret.String{}, time.Time{}, broken("keep ticket", err)
	}
	return tk, c.now().Add(TicketFor), nil
}
