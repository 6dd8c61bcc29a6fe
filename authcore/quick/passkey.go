package quick

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// Passkeys lists a member's: one record, so that their number and counters are exact under a race.
type Passkeys struct {
	Items []Named `json:"items"`
}

// Named is one passkey.
type Named struct {
	ID         string     `json:"id"` // ours; the authenticator's is the credential's
	Name       string     `json:"name"`
	Credential Credential `json:"credential"`
	CreatedAt  time.Time  `json:"created_at"`
	From       string     `json:"from,omitempty"`
	UsedAt     time.Time  `json:"used_at,omitzero"`
	UsedFrom   string     `json:"used_from,omitempty"`
}

// PasskeysKey names the Passkeys of a member.
func PasskeysKey(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "passkeys/" + string(id)}
}

// NewPasskeyID makes an id.
func NewPasskeyID() string { return rand.Text()[:16] }

// Credentials are those of all items. r may be nil.
func (r *Passkeys) Credentials() []Credential {
	if r == nil {
		return nil
	}
	var l []Credential
	for _, p := range r.Items {
		l = append(l, p.Credential)
	}
	return l
}

// With is the record with one more passkey, at most MaxPasskeys. r may be nil.
func (r *Passkeys) With(p Named) (Passkeys, error) {
	var items []Named
	if r != nil {
		items = slices.Clone(r.Items)
	}
	if len(items) >= MaxPasskeys {
		return Passkeys{}, ErrLimit
	}
	return Passkeys{Items: append(items, p)}, nil
}

// Find answers a passkey; nil when there is none. r may be nil.
func (r *Passkeys) Find(is func(Named) bool) *Named {
	if r == nil {
		return nil
	}
	if i := slices.IndexFunc(r.Items, is); i >= 0 {
		return &r.Items[i]
	}
	return nil
}

// Without is the record without a passkey.
func (r *Passkeys) Without(id string) Passkeys {
	return Passkeys{Items: slices.DeleteFunc(slices.Clone(r.Items), func(p Named) bool { return p.ID == id })}
}

// Used is the record after a credential signed somebody in.
func (r *Passkeys) Used(c Credential, at time.Time, from string) Passkeys {
	items := slices.Clone(r.Items)
	for i := range items {
		if bytes.Equal(items[i].Credential.ID, c.ID) {
			items[i].Credential, items[i].UsedAt, items[i].UsedFrom = c, at.UTC(), from
		}
	}
	return Passkeys{Items: items}
}

// handles of passkeys are the ids of domain and member: 256 random bits that are nobody's name and never used again, so
// that no record has to be kept that leads from one to the other (WebAuthn Level 3 section 14.6.1 asks for an opaque one).
var ids = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// PasskeyHandle is the user handle of a member's passkeys.
func PasskeyHandle(d member.DomainID, id member.ID) []byte {
	domain, e1 := ids.DecodeString(string(d))
	m, e2 := ids.DecodeString(string(id))
	if e1 != nil || e2 != nil {
		return nil
	}
	return append(domain, m...)
}

const idBytes = 16

// ParseHandle answers whose passkey a handle may be.
func ParseHandle(h []byte) (member.DomainID, member.ID, bool) {
	if len(h) != 2*idBytes {
		return "", "", false
	}
	return member.DomainID(ids.EncodeToString(h[:idBytes])), member.ID(ids.EncodeToString(h[idBytes:])), true
}

// BiometricHandle is the user handle of a device's biometrics: another one than the member's passkeys have, for an
// authenticator keeps one credential for each handle.
func BiometricHandle(device string) []byte {
	h := sha256.Sum256([]byte(strings.Join([]string{"latchkey quick biometric", device}, "\n")))
	return h[:]
}
