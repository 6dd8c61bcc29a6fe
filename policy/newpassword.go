package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// Rule names one rule that a new account password broke.
type Rule string

// The rules, in the order in which they are told. Reused and SameAsCurrent are told by who has the hashes to compare with.
const (
	TooShort      Rule = "too_short"
	TooLong       Rule = "too_long"
	NeedsLetter   Rule = "needs_letter"
	NeedsDigit    Rule = "needs_digit"
	NeedsSpecial  Rule = "needs_special"
	NotAllowed    Rule = "character_not_allowed"
	HasSequence   Rule = "has_sequence"        // aaa, abc, 321
	TooCommon     Rule = "too_common"          // on the list of common passwords
	HoldsName     Rule = "contains_login_name" // the member's own address, an alias, or the part of one before the @
	Reused        Rule = "reused"              // one of the last N
	SameAsCurrent Rule = "same_as_current"     // the temporary one, which is never kept
)

// Rules lists them all, in the order in which they are told.
func Rules() []Rule {
	return []Rule{TooShort, TooLong, NeedsLetter, NeedsDigit, NeedsSpecial, NotAllowed, HasSequence, TooCommon, HoldsName, Reused, SameAsCurrent}
}

// MaxLength bounds a new account password in code points: long enough for any passphrase, short enough that preparing
// and hashing it costs nothing worth attacking (NIST SP 800-63B section 5.1.1.2 asks for 64 at least).
const MaxLength = 128

// shortestName is how long the part of an address before the @ is at least to be looked for in passwords: shorter ones
// are in half of all words. shortestRun is how many characters make a sequence.
const (
	shortestName = 3
	shortestRun  = 3
)

// Check names every rule that password breaks, which is to be that of a member with these login names. It is counted in
// code points as it is stored (after PRECIS OpaqueString); letters and digits are the ASCII ones, other letters are
// allowed and count toward the length.
func (p Password) Check(password string, names ...string) []Rule {
	k := kindsOf(password)
	var broken []Rule
	add := func(is bool, r Rule) {
		if is {
			broken = append(broken, r)
		}
	}
	n := utf8.RuneCountInString(password)
	folded := cases.Fold().String(password)
	add(n < p.MinLength, TooShort)
	add(n > MaxLength, TooLong)
	add(!k.letter, NeedsLetter)
	add(!k.digit, NeedsDigit)
	add(p.Format == LettersNumbersSpecial && !k.special, NeedsSpecial)
	add(k.forbidden, NotAllowed)
	add(p.RefuseSequences && hasSequence(folded), HasSequence)
	add(p.RefuseCommon && isCommon(folded), TooCommon)
	add(p.RefuseCommon && holdsName(folded, names), HoldsName)
	return broken
}

// kinds of characters that a password has.
type kinds struct{ letter, digit, special, forbidden bool }

func kindsOf(password string) (k kinds) {
	for _, r := range password {
		switch {
		case r < 0x80 && unicode.IsLetter(r):
			k.letter = true
		case r < 0x80 && unicode.IsDigit(r):
			k.digit = true
		case unicode.IsControl(r) || r == unicode.ReplacementChar:
			k.forbidden = true
		case !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r):
			k.special = true
		}
	}
	return k
}

// hasSequence says whether three characters in a row are the same, or ASCII letters or digits that follow one another, up
// or down. Case makes no difference: the text is folded.
func hasSequence(folded string) bool {
	var last rune
	step, run := rune(0), 1
	for i, r := range folded {
		d := r - last
		switch {
		case i == 0, d != 0 && !neighbours(last, r):
			run = 1
		case run > 1 && d == step:
			run++
		default:
			step, run = d, 2
		}
		if run == shortestRun {
			return true
		}
		last = r
	}
	return false
}

func neighbours(a, b rune) bool {
	if d := a - b; d != 1 && d != -1 {
		return false
	}
	digits := min(a, b) >= '0' && max(a, b) <= '9'
	return digits || min(a, b) >= 'a' && max(a, b) <= 'z'
}

func holdsName(folded string, names []string) bool {
	for _, n := range names {
		n = cases.Fold().String(n)
		local, _, _ := strings.Cut(n, "@")
		if utf8.RuneCountInString(local) >= shortestName && strings.Contains(folded, local) || n != "" && strings.Contains(folded, n) {
			return true
		}
	}
	return false
}
