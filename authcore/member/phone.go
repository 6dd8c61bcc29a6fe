package member

import (
	"time"

	"latchkey/authcore/store"
)

// PhoneLink is the number that a member proved and signs in with. It is kept here in clear, like the contacts of his
// profile, and shown to nobody but, masked, to himself; its claim names it by a hash alone.
type PhoneLink struct {
	Number string    `json:"number"` // E.164
	Since  time.Time `json:"since"`
}

// ClaimPhone is the kind of claim that keeps a linked number one member's.
const ClaimPhone = "phone"

// PhoneLinkKey names the record.
func PhoneLinkKey(d DomainID, id ID) store.Key {
	return store.Key{Partition: Partition(d), Name: "phone-link/" + string(id)}
}
