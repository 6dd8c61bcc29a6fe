package session

import (
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// Trust spares one browser of one member the second step. It is kept under the hash of a token that only the browser has.
type Trust struct {
	ID        string        `json:"id"` // the beginning of Hash, which tells nothing of the token
	Hash      string        `json:"hash"`
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt time.Time     `json:"expires_at"`
	From      string        `json:"from,omitempty"`
	Agent     string        `json:"agent,omitempty"`
	Epochs    member.Epochs `json:"epochs"` // a change of password, suspension and signing out everywhere end it
}

// TrustFor is how long a browser is spared; MaxTrust bounds how many a member has: those of a household.
const (
	TrustFor = 30 * 24 * time.Hour
	MaxTrust = 20
)

// TrustIDOf answers the id of a token's hash.
func TrustIDOf(hash string) string { return hash[:min(len(hash), 16)] }

// TrustPrefix begins the names of a member's Trust records.
func TrustPrefix(id member.ID) string { return "trust/" + string(id) + "/" }

// TrustKey names one of them.
func TrustKey(d member.DomainID, m member.ID, id string) store.Key {
	return store.Key{Partition: member.Partition(d), Name: TrustPrefix(m) + id}
}

// Stands says whether the browser is spared now, under the epochs of now.
func (t *Trust) Stands(now time.Time, e member.Epochs) bool {
	return t != nil && now.Before(t.ExpiresAt) && t.Epochs.Covers(e)
}
