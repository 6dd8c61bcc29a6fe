// Package member keeps domains, members, their addresses, rights and epochs: the records that say who somebody is and
// what he may do. It refuses names that are not canonical and rights over those who have more of them; it knows nothing
// of passwords.
package member

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// ID names a member for ever: 26 characters of base32 over 128 random bits, never used again.
type ID string

// DomainID names a domain for ever, in the same form as an ID. It is also the name of the domain's partition.
type DomainID string

// NewID makes an ID.
func NewID() ID { return ID(randomName()) }

// NewDomainID makes a DomainID.
func NewDomainID() DomainID { return DomainID(randomName()) }

func randomName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// Epochs are the four counters that a live session was opened under. A session stands while none of them has risen.
type Epochs struct {
	Domain, Door, Member, Credential int64
}

// Covers says whether a session opened under e still stands when the records say now.
func (e Epochs) Covers(now Epochs) bool { return e == now }
