package member

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/store"
)

// ProviderLinks are the accounts at OpenID providers, LINE among them, that a member signs in with: one at a provider.
type ProviderLinks struct {
	Items []ProviderLink `json:"items"`
}

// ProviderLink is one of them. Of the account it keeps a hash of its subject and nothing else: it is used for signing in
// and shown to nobody.
type ProviderLink struct {
	Provider string    `json:"provider"` // the configuration's name
	Issuer   string    `json:"issuer"`
	Subject  string    `json:"subject"` // HashSubject
	Since    time.Time `json:"since"`
}

// HashSubject is what stands for an account at a provider, here and in its claim.
func HashSubject(issuer, subject string) string {
	h := sha256.Sum256([]byte(issuer + "\x00" + subject))
	return hex.EncodeToString(h[:])
}

// ProviderLinksKey names the record.
func ProviderLinksKey(d DomainID, id ID) store.Key {
	return store.Key{Partition: Partition(d), Name: "provider-links/" + string(id)}
}

// claimProvider begins the kind of the claims that keep an account one member's; the issuer follows.
const claimProvider = "oidc:"

// ClaimProvider is the kind of claim on the accounts of an issuer.
func ClaimProvider(issuer string) string { return claimProvider + issuer }

// ClaimedProvider answers the issuer of such a kind.
func ClaimedProvider(kind string) (issuer string, ok bool) {
	return strings.CutPrefix(kind, claimProvider)
}

// Names says whether the account is among l, which may be nil.
func (l *ProviderLinks) Names(issuer, subject string) bool {
	return l != nil && slices.ContainsFunc(l.Items, func(i ProviderLink) bool { return i.Issuer == issuer && i.Subject == subject })
}

// At answers the link at a provider of this name or issuer.
func (l *ProviderLinks) At(provider, issuer string) *ProviderLink {
	if l == nil {
		return nil
	}
	for i := range l.Items {
		if l.Items[i].Provider == provider || l.Items[i].Issuer == issuer {
			return &l.Items[i]
		}
	}
	return nil
}

// Without answers what is left of l.
func (l *ProviderLinks) Without(gone ProviderLink) ProviderLinks {
	return ProviderLinks{Items: slices.DeleteFunc(slices.Clone(l.Items), func(i ProviderLink) bool { return i == gone })}
}
