// Package otp makes and checks what a second step asks for: one-time codes that are sent, those of an authenticator app
// (RFC 6238), and recovery codes. It refuses a code that was used, is too old or was tried too often, keeps none in clear,
// and grants no comparison without counting it first: how many codes and wrong ones a day has is a record, and survives.
package otp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// Bounds of one code that is sent.
const (
	For         = 5 * time.Minute // how long it is good
	Tries       = 5               // how often it may be tried, right or wrong
	ResendAfter = time.Minute     // between two codes for one ticket
	Digits      = 6
	macLabel    = "one-time code"
	partition   = "code" // of the ephemeral keys
)

// Purpose says what a code is for: a code for one opens nothing else. The set only grows.
type Purpose string

// The purposes; they are also what the audit says of a code that was sent.
const (
	ForTwoStep  Purpose = "two_step"
	ForContact  Purpose = "contact"
	ForPhone    Purpose = "phone_sign_in"
	ForLink     Purpose = "phone_link"
	ForPassword Purpose = "password_forgotten"
	ForAddress  Purpose = "address_forgotten"
)

// Ticket is what a code belongs to. One ticket has one code of a purpose at a time.
type Ticket struct {
	Purpose Purpose
	ID      string // of who asks: the hash of his ticket's token, never the token; at most 200 bytes
}

func (t Ticket) key(what string) store.Key {
	return store.Key{Partition: partition, Name: what + "/" + string(t.Purpose) + "/" + t.ID}
}

// Codes keeps the codes that were sent. Losing them all voids them, and allows nothing: the day's limits are records.
type Codes struct {
	Ephemeral store.Ephemeral
	Keys      *secret.Keys
	Now       func() time.Time
}

// sent is what is kept of a code.
type sent struct {
	ID    string    `json:"id"` // of this code: its tries are counted under it
	KeyID string    `json:"key_id"`
	MAC   []byte    `json:"mac"`
	Until time.Time `json:"until"`
	Note  string    `json:"note,omitempty"`
}

// Issue makes a code for a ticket. The one that the ticket had is void. note is handed back to who spends it.
func (c *Codes) Issue(ctx context.Context, t Ticket, note string) (secret.String, error) {
	plain := random()
	s := sent{ID: rand.Text()[:16], Until: c.Now().Add(For), Note: note}
	s.KeyID, s.MAC = c.Keys.MAC(macLabel, s.parts(t, plain)...)
	p, err := json.Marshal(s)
	if err != nil {
		return secret.String{}, fmt.Errorf("keep code: %w", err)
	}
	if err := c.Ephemeral.Put(ctx, t.key("sent"), p, For); err != nil {
		return secret.String{}, fmt.Errorf("keep code: %w", err)
	}
	return secret.New(plain), nil
}

// Drop voids the code of a ticket: it could not be sent.
func (c *Codes) Drop(ctx context.Context, t Ticket) error {
	if err := c.Ephemeral.Delete(ctx, t.key("sent")); err != nil {
		return fmt.Errorf("drop code: %w", err)
	}
	return nil
}

// Spend says whether typed is the code of the ticket, and spends it then: of many who come with the right one at the same
// time one is answered true. Every call is one of the code's tries.
func (c *Codes) Spend(ctx context.Context, t Ticket, typed secret.String) (note string, right bool, err error) {
	p, err := c.Ephemeral.Get(ctx, t.key("sent"))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", false, fmt.Errorf("read code: %w", err)
	}
	s := parse(p)
	n, err := c.Ephemeral.Add(ctx, t.key("tries/"+s.ID), rand.Text()[:16], 2*For)
	if err != nil {
		return "", false, fmt.Errorf("count a try: %w", err)
	}
	right = c.is(s, t, typed)
	if !right || n > Tries {
		return "", false, nil
	}
	p, err = c.Ephemeral.Take(ctx, t.key("sent"))
	if errors.Is(err, store.ErrNotFound) {
		return "", false, nil // another request was faster
	}
	if err != nil {
		return "", false, fmt.Errorf("spend code: %w", err)
	}
	return s.Note, parse(p).ID == s.ID, nil // a new code came in between: both are void
}

// parse reads what is kept; nothing is a code that no text matches.
func parse(p []byte) sent {
	var s sent
	if p == nil || json.Unmarshal(p, &s) != nil {
		return sent{ID: "none"}
	}
	return s
}

// is compares in constant time, also where there is no code.
func (c *Codes) is(s sent, t Ticket, typed secret.String) bool {
	plain, ok := Normalise(typed, Digits)
	mac, known := c.Keys.MACUnder(s.KeyID, macLabel, s.parts(t, plain)...)
	if !known {
		_, mac = c.Keys.MAC(macLabel, s.parts(t, plain)...)
	}
	return hmac.Equal(mac, s.MAC) && ok && known && c.Now().Before(s.Until)
}

func (s sent) parts(t Ticket, plain string) []string {
	return []string{string(t.Purpose), t.ID, s.ID, plain}
}

func random() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(fmt.Sprintf("otp: %v", err)) // crypto/rand never fails since Go 1.24
	}
	return fmt.Sprintf("%0*d", Digits, n)
}

// maxTyped is what is read of a code that somebody typed, with spaces and hyphens.
const maxTyped = 64

// Normalise undoes what people do to a number they copy: spaces, hyphens, and the wide digits of East Asian keyboards.
// False when the rest is not that many digits.
func Normalise(typed secret.String, digits int) (string, bool) {
	s := typed.Reveal()
	if len(s) > maxTyped {
		return "", false
	}
	b := make([]byte, 0, digits)
	for _, r := range s {
		switch {
		case r == ' ' || r == '-' || r == '\u3000' || r == '\u00a0':
			continue
		case r >= '０' && r <= '９':
			r -= '０' - '0'
		}
		if r < '0' || r > '9' || len(b) == digits {
			return "", false
		}
		b = append(b, byte(r))
	}
	return string(b), len(b) == digits
}
