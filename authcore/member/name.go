package member

import (
	"errors"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
)

// Name is a canonical address: the local part after PRECIS UsernameCaseMapped (RFC 8265 section 3.3), the domain in
// lower case as A-labels (RFC 5891). Two names of the same mailbox are equal.
type Name struct{ Local, Domain string }

// String joins both parts.
func (n Name) String() string { return n.Local + "@" + n.Domain }

// ErrName: the text is not an address that this product keeps. It is told to administrators only; at a door a bad name
// is an unknown one.
var ErrName = errors.New("not a valid address")

// MaxName bounds what is prepared: RFC 5321 section 4.5.3.1 gives 64 and 255 octets to the parts, and preparing may
// shrink a text.
const MaxName = 1024

// ParseName makes a canonical name. A bare local part takes defaultDomain and is refused when that is empty. There are
// no plus-tags, no quoted local parts and no comments: a sign-in name is a word, not a mail header.
func ParseName(s, defaultDomain string) (Name, error) {
	if len(s) > MaxName {
		return Name{}, ErrName
	}
	at := strings.LastIndexByte(s, '@')
	local, domain := s, defaultDomain
	if at >= 0 {
		local, domain = s[:at], s[at+1:]
	}
	l, err := prepared(local)
	if err != nil || l == "" || len(l) > 64 || strings.ContainsAny(l, "@\"(),:;<>[]\\/") || strings.HasPrefix(l, ".") ||
		strings.HasSuffix(l, ".") || strings.Contains(l, "..") {
		return Name{}, ErrName
	}
	d, err := ParseDomain(domain)
	if err != nil {
		return Name{}, err
	}
	return Name{Local: l, Domain: d}, nil
}

// prepared is a local part as RFC 8265 section 3.3 prepares a name. Most are so already.
func prepared(local string) (string, error) {
	if plain(local) {
		return local, nil
	}
	return precis.UsernameCaseMapped.String(local)
}

// plain says of a text of lower-case letters, digits and single "." and "-" between them that no preparation changes it.
// Two hyphens are none of it: they may begin an A-label.
func plain(s string) bool {
	between := true // what comes next must be a letter or a digit
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			between = false
		case (c == '.' || c == '-') && !between:
			between = true
		default:
			return false
		}
	}
	return !between
}

// ParseDomain makes the canonical name of a mail domain.
func ParseDomain(s string) (string, error) {
	if plain(s) && len(s) <= 63 { // so long may a label be: RFC 1035 section 2.3.4
		return s, nil
	}
	d, err := idna.Lookup.ToASCII(s)
	if again, e := idna.Lookup.ToASCII(d); e != nil || again != d {
		return "", ErrName // bytes that are no UTF-8 come out as A-labels that no one could look up
	}
	if err != nil || d == "" || len(d) > 253 || strings.HasSuffix(d, ".") || strings.Contains(d, "..") {
		return "", ErrName
	}
	return d, nil
}
