package api

import (
	"testing"

	"latchkey/authcore/store"
)

// FuzzRevision: a tag is taken only as it was given, so that no other text, and above all no negative number, stands for
// a revision.
func FuzzRevision(f *testing.F) {
	for _, s := range []string{"", "*", `"0"`, `"7"`, `"-1"`, `"007"`, `W/"7"`, `"7", "8"`, `7`, `"`, `""`, `"9223372036854775808"`, `" 7"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := IfMatch{Match: s}.Revision()
		switch {
		case err != nil:
		case s == "*":
			if n != store.AnyRevision {
				t.Errorf("* is revision %d", n)
			}
		case n < 0 || Tag(n) != s:
			t.Errorf("%q is revision %d", s, n)
		}
	})
}

func TestBearer(t *testing.T) {
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"one":          {[]string{"Bearer abc"}, "abc"},
		"none":         {nil, ""},
		"two":          {[]string{"Bearer abc", "Bearer def"}, ""},
		"other scheme": {[]string{"Basic abc"}, ""},
		"no scheme":    {[]string{"abc"}, ""},
		"spaces":       {[]string{"Bearer   abc "}, "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := bearer(map[string][]string{"Authorization": c.values})
			if got.Reveal() != c.want || ok != (c.want != "") {
				t.Errorf("%q, %v", got.Reveal(), ok)
			}
		})
	}
}
