package member

import (
	"errors"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"

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

// ErrNumber: the text is no mobile number with its country.
var ErrNumber = errors.New("not a phone number with its country, like +81 90 1234 5678")

// maxNumber bounds what is parsed: 15 digits (E.164) with whatever people put between them.
const maxNumber = 40

const maxE164 = 16 // with the +

// ParseNumber makes E.164 of a number that begins with + and its country.
func ParseNumber(s string) (string, error) {
	if len(s) > maxNumber {
		return "", ErrNumber
	}
	n, err := phonenumbers.Parse(s, phonenumbers.UNKNOWN_REGION)
	if err != nil || !phonenumbers.IsPossibleNumber(n) || n.GetExtension() != "" {
		return "", ErrNumber
	}
	e164 := phonenumbers.Format(n, phonenumbers.E164)
	if len(e164) > maxE164 {
		return "", ErrNumber
	}
	again, err := phonenumbers.Parse(e164, phonenumbers.UNKNOWN_REGION)
	if err != nil || phonenumbers.Format(again, phonenumbers.E164) != e164 {
		return "", ErrNumber // zeros that are taken away one by one: a number must have one name
	}
	return e164, nil
}

// MaskNumber shows of a number in E.164 as much as its owner knows it by.
func MaskNumber(e164 string) string {
	if len(e164) < 6 {
		return strings.Repeat("*", len(e164))
	}
	return e164[:3] + strings.Repeat("*", len(e164)-5) + e164[len(e164)-2:]
}
