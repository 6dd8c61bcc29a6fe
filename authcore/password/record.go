package password

import (
	"crypto/rand"
	"math/big"
	"time"

	"golang.org/x/text/secure/precis"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Record is a member's account password. A member without one cannot sign in with it.
type Record struct {
	Hash           string    `json:"hash"`
	SetAt          time.Time `json:"set_at"`
	Temporary      bool      `json:"temporary,omitempty"`       // made by an administrator: good on the web only, to set one's own
	TemporaryUntil time.Time `json:"temporary_until,omitzero"`  // with Temporary
	MustChange     bool      `json:"must_change,omitempty"`     // an administrator asks for a change at the next sign-in
	Epoch          int64     `json:"epoch"`                     // rises with every new password: its number
	ResetBy        string    `json:"reset_by,omitempty"`        // the kind of contact whose code let the member set it, until he has signed in
	Previous       []string  `json:"previous_hashes,omitempty"` // newest first, at most five, for the rule on reuse
}

// Bounds of a Record.
const (
	KeptHashes       = 5
	TemporaryFor     = 72 * time.Hour
	temporaryLetters = "abcdefghijkmnpqrstuvwxyz"
	temporaryDigits  = "23456789"
)

// Key names the record.
func Key(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "password/" + string(id)}
}

// State says what a right password is good for.
type State uint8

// The states; the zero one lets nobody in.
const (
	Gone       State = iota // there is none, or a temporary one whose time is over: not even verified
	Good                    // signs in
	MustChange              // must be changed before anything else, on the web
	Expired                 // the same, by time
)

// State judges the record by the policy of now.
func (r *Record) State(p policy.Password, now time.Time) State {
	switch {
	case r == nil || r.Hash == "" || r.Temporary && !now.Before(r.TemporaryUntil):
		return Gone
	case r.Temporary || r.MustChange:
		return MustChange
	}
	if at := r.ExpiresAt(p); !at.IsZero() && !now.Before(at) {
		return Expired
	}
	return Good
}

// ExpiresAt is when the policy asks for a new password; zero: never.
func (r *Record) ExpiresAt(p policy.Password) time.Time {
	if p.ExpiresAfterDays <= 0 {
		return time.Time{}
	}
	return r.SetAt.AddDate(0, 0, p.ExpiresAfterDays)
}

// Next is the record after a new password with this hash. r may be nil.
func (r *Record) Next(hash string, now time.Time) Record {
	n := Record{Hash: hash, SetAt: now.UTC(), Epoch: 1}
	if r == nil {
		return n
	}
	n.Epoch = r.Epoch + 1
	n.Previous = r.Previous
	if r.Hash != "" && !r.Temporary {
		n.Previous = append([]string{r.Hash}, r.Previous...)
	}
	n.Previous = n.Previous[:min(len(n.Previous), KeptHashes)]
	return n
}

// NextTemporary is Next for a password that an administrator hands out.
func (r *Record) NextTemporary(hash string, now time.Time) Record {
	n := r.Next(hash, now)
	n.Temporary, n.TemporaryUntil = true, now.Add(TemporaryFor).UTC()
	return n
}

// Upgraded is the record with another hash of the same password: nothing else changes, so no session ends.
func (r *Record) Upgraded(hash string) Record {
	n := *r
	n.Hash = hash
	return n
}

// Last answers the hashes of the last n passwords that the member set, the current one first. A temporary one is none of
// them: he never set it.
func (r *Record) Last(n int) []string {
	if r == nil {
		return nil
	}
	l := r.Previous
	if r.Hash != "" && !r.Temporary {
		l = append([]string{r.Hash}, l...)
	}
	return l[:min(len(l), n)]
}

// Prepare makes of what was typed what is hashed: PRECIS OpaqueString (RFC 8265 section 4.2). False when it cannot be a
// password, which is then simply wrong.
func Prepare(typed secret.String) (secret.String, bool) {
	s := typed.Reveal()
	if len(s) > 4*policy.MaxLength {
		return secret.String{}, false
	}
	p, err := precis.OpaqueString.String(s)
	if err != nil {
		return secret.String{}, false
	}
	return secret.New(p), true
}

// NewTemporary makes a temporary password that every policy takes: 20 random characters in groups.
func NewTemporary() secret.String {
	var b []byte
	for i := range 20 {
		if i > 0 && i%5 == 0 {
			b = append(b, '-')
		}
		set := temporaryLetters
		if i%5 == 4 {
			set = temporaryDigits
		}
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(set))))
		if err != nil {
			panic(err) // crypto/rand never fails since Go 1.24
		}
		b = append(b, set[n.Int64()])
	}
	return secret.New(string(b))
}
