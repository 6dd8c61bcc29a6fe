package policy

import (
	_ "embed" // the list below
	"sort"
	"strings"
)

// common is a list of common passwords, as NIST SP 800-63B section 5.1.1.2 and OWASP's Authentication Cheat Sheet ask to
// compare new ones with: nearly 18 000, one a line, lower-cased, of eight characters and more, sorted by bytes. It comes
// from @zxcvbn-ts/language-common 4.1.3 (MIT, see common.LICENSE), which took it from the frequencies of passwords in
// public leaks. It is not compressed: what is searched as it lies in the program needs no memory and no state.
//
//go:embed common.txt
var common string

// isCommon says whether the folded password is on the list.
func isCommon(folded string) bool {
	if folded == "" {
		return false
	}
	lineAt := func(i int) string { // the line that byte i lies in
		begin := strings.LastIndexByte(common[:i], '\n') + 1
		end := begin + strings.IndexByte(common[begin:], '\n')
		return common[begin:end]
	}
	i := sort.Search(len(common), func(i int) bool {
		return lineAt(i) >= folded
	})
	return i < len(common) && lineAt(i) == folded
}
