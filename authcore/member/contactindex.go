package member

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"latchkey/authcore/store"
)

// Whose profile names a contact is found through hints: records in a partition of the contact, across domains. A hint is
// written before the member's record names the contact and taken away after it does not, so a member who has it always
// has the hint; one that was left behind by a crash is harmless, for the member's record is read before it is believed.

// Hint is the record that says who may have a contact.
type Hint struct {
	Domain DomainID `json:"domain"`
	Member ID       `json:"member"`
}

// HintPrefix begins the names of a contact's hints.
const HintPrefix = "hint/"

// HintKey names the hint of a member at a contact. The hash only makes a name of bounded length: it hides nothing.
func HintKey(k Contact, d DomainID, id ID) store.Key {
	return store.Key{Partition: k.Partition(), Name: HintPrefix + string(d) + "/" + string(id)}
}

// Partition is where the hints of a contact lie.
func (k Contact) Partition() string {
	h := sha256.Sum256([]byte(k.Kind + "\x00" + k.canonical()))
	return "k:" + hex.EncodeToString(h[:])
}

// Same says that both are one contact, however they are written.
func (k Contact) Same(o Contact) bool { return k.Kind == o.Kind && k.canonical() == o.canonical() }

func (k Contact) canonical() string {
	switch k.Kind {
	case Email:
		if n, err := ParseName(k.Value, ""); err == nil {
			return n.String()
		}
	case Mobile:
		if n, err := ParseMobile(k.Value, ""); err == nil {
			return n
		}
	}
	return strings.ToLower(k.Value)
}

// ParseContact reads what somebody typed as an e-mail address or a mobile number, of region when it has no "+".
func ParseContact(typed, region string) (Contact, error) {
	if strings.Contains(typed, "@") {
		n, err := ParseName(strings.TrimSpace(typed), "")
		return Contact{Kind: Email, Value: n.String()}, err
	}
	n, err := ParseMobile(typed, region)
	return Contact{Kind: Mobile, Value: n}, err
}
