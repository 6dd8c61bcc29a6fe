package member

import (
	"errors"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// ErrContact: the text is neither an e-mail address nor a mobile number.
var ErrContact = errors.New("not an e-mail address or a mobile number")

// maxContact bounds what is read of a contact: an e-mail address has at most 254 bytes (RFC 5321 section 4.5.3.1.3).
const maxContact = 254

// ParseMobile reads a number as people write it and answers it in E.164. One without "+" is of region, an ISO 3166 code
// like JP; without a region it must have the "+".
func ParseMobile(text, region string) (string, error) {
	if len(text) > maxContact {
		return "", ErrContact
	}
	n, err := phonenumbers.Parse(text, region)
	if err != nil || n.GetExtension() != "" || !phonenumbers.IsValidNumber(n) {
		return "", ErrContact
	}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE, phonenumbers.PERSONAL_NUMBER, phonenumbers.UNKNOWN:
		return oneName(phonenumbers.Format(n, phonenumbers.E164))
	}
	return "", ErrContact // a land line receives no text message, and a premium one costs whoever sends it
}

// maxE164 is 15 digits with the +: the library lets more through.
const maxE164 = 16

// oneName refuses a number that reads as another one once it is written: zeros that are taken away one by one. A number
// must have one name, for it is looked up by it.
func oneName(e164 string) (string, error) {
	n, err := phonenumbers.Parse(e164, phonenumbers.UNKNOWN_REGION)
	if err != nil || len(e164) > maxE164 || phonenumbers.Format(n, phonenumbers.E164) != e164 {
		return "", ErrContact
	}
	return e164, nil
}

// Country answers the calling code of a number in E.164; empty when it is none.
func Country(e164 string) string {
	if !strings.HasPrefix(e164, "+") {
		return ""
	}
	n, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return ""
	}
	return strconv.Itoa(int(n.GetCountryCode()))
}
