package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Web is a session on the web or the API, kept under the hash of its token.
type Web struct {
	ID          ID                `json:"id"`
	Member      member.ID         `json:"member"`
	Name        string            `json:"name,omitempty"`    // of an API token
	Scopes      []Scope           `json:"scopes,omitempty"`  // of an API token
	Domains     []member.DomainID `json:"domains,omitempty"` // of an API token: those that it is for
	CreatedAt   time.Time         `json:"created_at"`
	ConfirmedAt time.Time         `json:"confirmed_at"` // sign-in or re-authentication: the ten minutes count from here
	UsedAt      time.Time         `json:"used_at"`      // written at most every UsedEvery
	ExpiresAt   time.Time         `json:"expires_at"`
	IdleFor     time.Duration     `json:"idle_for,omitempty"` // it ends so long after its last use; zero: WebIdle
	From        string            `json:"from,omitempty"`
	Agent       string            `json:"agent,omitempty"`
	Epochs      member.Epochs     `json:"epochs"` // Domain, Member, and the account password's as Credential
}

// Lifetimes of web sessions where no policy set them.
const (
	WebFor       = 30 * 24 * time.Hour
	WebIdle      = 7 * 24 * time.Hour
	UsedEvery    = 5 * time.Minute
	ConfirmedFor = 10 * time.Minute
)

// Index is the record that lists a session with its member: it names the session's own record.
type Index struct {
	Hash string `json:"hash"`
}

// WebKey names a session by its token's hash.
func WebKey(d member.DomainID, hash string) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "session/" + hash}
}

// IndexPrefix begins the names of a member's Index records.
func IndexPrefix(id member.ID) string { return "member-session/" + string(id) + "/" }

// IndexKey names one of them.
func IndexKey(d member.DomainID, id member.ID, s ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: IndexPrefix(id) + string(s)}
}

const tokenPrefix = "lk_"

// NewToken makes a token: lk_<domain id>_<256 bits>. Only its hash is ever stored.
func NewToken(d member.DomainID) secret.String {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return secret.New(tokenPrefix + string(d) + "_" + base64.RawURLEncoding.EncodeToString(b[:]))
}

// ErrToken: the text is no token.
var ErrToken = errors.New("not a token")

// ParseToken answers the domain that a token belongs to and the hash that it is stored under.
func ParseToken(t secret.String) (member.DomainID, string, error) {
	rest, ok := strings.CutPrefix(t.Reveal(), tokenPrefix)
	d, bits, ok2 := strings.Cut(rest, "_")
	if !ok || !ok2 || len(d) != 26 || len(bits) != 43 || strings.Trim(d, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", "", ErrToken
	}
	return member.DomainID(d), Hash(t), nil
}

// Hash is what a token is stored under. It needs no key and no salt: a token has 256 random bits.
func Hash(t secret.String) string {
	h := sha256.Sum256([]byte(t.Reveal()))
	return hex.EncodeToString(h[:])
}

// Live says whether the session may be used now, its epochs aside.
func (w *Web) Live(now time.Time) bool {
	idle := w.IdleFor
	if idle <= 0 {
		idle = WebIdle
	}
	return now.Before(w.ExpiresAt) && (w.Name != "" || now.Sub(w.UsedAt) < idle)
}

// Lasts gives the session the lifetimes of a policy, which it keeps whatever becomes of the policy.
func (w *Web) Lasts(p policy.Sessions) {
	w.ExpiresAt = w.CreatedAt.AddDate(0, 0, p.AbsoluteDays)
	w.IdleFor = time.Duration(p.IdleHours) * time.Hour
}

// Confirmed says whether the member proved himself within the last ten minutes. What lies further ahead a clock wrote that
// was far off.
func (w *Web) Confirmed(now time.Time) bool { return now.Sub(w.ConfirmedAt).Abs() < ConfirmedFor }
