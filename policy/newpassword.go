package policy

import "unicode"

// Rule names one rule that a new account password broke.
type Rule string

// The rules, in the order in which they are told.
const (
	TooShort      Rule = "too_short"
	TooLong       Rule = "too_long"
	NeedsLetter   Rule = "needs_letter"
	NeedsDigit    Rule = "needs_digit"
	NeedsSpecial  Rule = "needs_special"
	NotAllowed    Rule = "character_not_allowed"
	SameAsCurrent Rule = "same_as_current" // told by who knows the current one: a temporary password is never kept
)

// MaxLength bounds a new account password in code points: long enough for any passphrase, short enough that preparing
// and hashing it costs nothing worth attacking (NIST SP 800-63B section 5.1.1.2 asks for 64 at least).
const MaxLength = 128

// Check names every rule that password breaks. It is counted in code points as it is stored (after PRECIS OpaqueString);
// letters and digits are the ASCII ones, other letters are allowed and count toward the length.
func (p Password) Check(password string) []Rule {
	var letter, digit, special, forbidden bool
	n := 0
	for _, r := range password {
		n++
		switch {
		case r < 0x80 && unicode.IsLetter(r):
			letter = true
		case r < 0x80 && unicode.IsDigit(r):
			digit = true
		case unicode.IsControl(r) || r == unicode.ReplacementChar:
			forbidden = true
		case !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r):
			special = true
		}
	}
	var broken []Rule
	add := func(is bool, r Rule) {
		if is {
			broken = append(broken, r)
		}
	}
	add(n < p.MinLength, TooShort)
	add(n > MaxLength, TooLong)
	add(!letter, NeedsLetter)
	add(!digit, NeedsDigit)
	add(p.Format == LettersNumbersSpecial && !special, NeedsSpecial)
	add(forbidden, NotAllowed)
	return broken
}
