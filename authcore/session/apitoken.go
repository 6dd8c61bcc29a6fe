package session

import (
	"slices"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// Scope says what an API token may do. Writing includes reading: what a change answers shows what there is.
type Scope string

// The scopes. A token without one may do nothing.
const (
	Read  Scope = "read"
	Write Scope = "write"
)

// AllDomains, among the domains of an operator's token, is every domain there is or will be, and making them.
const AllDomains member.DomainID = "*"

// Bounds of API tokens.
const (
	TokenFor    = 90 * 24 * time.Hour // until it ends, where its maker does not say
	MaxTokenFor = 365 * 24 * time.Hour
	MaxTokens   = 20 // of one member: he lists them, and knows what each is for
)

// IsToken says that it is an API token: it signs in by itself, and proves nobody.
func (w *Web) IsToken() bool { return w.Name != "" }

// Covers says whether an API token is for a domain; an empty one is all of them.
func (w *Web) Covers(d member.DomainID) bool {
	return slices.Contains(w.Domains, AllDomains) || d != "" && slices.Contains(w.Domains, d)
}

// Has says whether an API token has a scope.
func (w *Web) Has(s Scope) bool {
	return slices.Contains(w.Scopes, s) || s == Read && slices.Contains(w.Scopes, Write)
}

// Tokens lists a member's API tokens: one record, so that their number is exact under a race. Each is a Web under its
// hash; one that ended is listed until the next change.
type Tokens struct {
	Hashes []string `json:"hashes"`
}

// TokensKey names it.
func TokensKey(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "api-tokens/" + string(id)}
}
