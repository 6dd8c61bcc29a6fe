package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// Quick login and passkeys go in two steps: begin answers a challenge and a ticket, finish takes both back, once. What is
// lost in between makes somebody begin again.

// CeremonyFor is how long a challenge may be answered: what a member needs to find his finger.
const CeremonyFor = 2 * time.Minute

// purpose says what a challenge may be answered for, and nothing else.
type purpose string

const (
	quickRegister   purpose = "quick_register"
	quickBiometric  purpose = "quick_biometric"
	quickSignIn     purpose = "quick_sign_in"
	passkeyRegister purpose = "passkey_register"
	passkeySignIn   purpose = "passkey_sign_in"
	passkeyStep     purpose = "passkey_step"
)

// ceremony is what is remembered between begin and finish.
type ceremony struct {
	For    purpose     `json:"for"`
	Bound  string      `json:"bound"`            // to the browser or device, or to the session, that began
	Device string      `json:"device,omitempty"` // its id, known or not
	State  quick.State `json:"state"`
}

// Ceremony is what a client gets at the beginning.
type Ceremony struct {
	Ticket    secret.String // for the end, once
	Device    string        // the id of a device that is to be registered
	Challenge string        // base64url
	Options   json.RawMessage
	ExpiresAt time.Time
}

func ceremonyKey(ticket string) store.Key { return store.Key{Partition: "ceremony", Name: ticket} }

// keepCeremony remembers k under session.Hash of a ticket's token.
func (c *Core) keepCeremony(ctx context.Context, ticket string, k ceremony) error {
	p, err := json.Marshal(k)
	if err != nil {
		return broken("keep a challenge", err)
	}
	if err := c.o.Ephemeral.Put(ctx, ceremonyKey(ticket), p, CeremonyFor); err != nil {
		return broken("keep a challenge", err)
	}
	return nil
}

// begun answers the beginning of a ceremony that is kept under a ticket of its own. d makes the ticket look like others.
func (c *Core) begun(ctx context.Context, d member.DomainID, k ceremony, options json.RawMessage) (Ceremony, error) {
	t := session.NewToken(d)
	if err := c.keepCeremony(ctx, session.Hash(t), k); err != nil {
		return Ceremony{}, err
	}
	return Ceremony{Ticket: t, Device: k.Device, Challenge: k.State.Challenge, Options: options, ExpiresAt: c.now().Add(CeremonyFor)}, nil
}

// takeCeremony answers what was remembered, and forgets it: a challenge is answered once, rightly or not.
func (c *Core) takeCeremony(ctx context.Context, ticket string, what purpose, bound string) (ceremony, error) {
	p, err := c.o.Ephemeral.Take(ctx, ceremonyKey(ticket))
	if errors.Is(err, store.ErrNotFound) {
		return ceremony{}, deny(TicketInvalid, "")
	}
	if err != nil {
		return ceremony{}, broken("take a challenge", err)
	}
	var k ceremony
	if json.Unmarshal(p, &k) != nil || k.For != what || k.Bound != bound {
		return ceremony{}, deny(TicketInvalid, "")
	}
	return k, nil
}

// party is this installation as a relying party.
func (c *Core) party() (*quick.Party, error) {
	if c.o.Party == nil {
		return nil, deny(WayDenied, "this installation does not offer it")
	}
	return c.o.Party, nil
}
