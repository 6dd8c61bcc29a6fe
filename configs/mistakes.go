package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing wrong with the file, where it stands, and the mend.
type Mistake struct {
	File string
	Line int    // 0: the file as a whole
	Key  string // with dots: upstreams.mail.tls.mode
	Text string // what is wrong, and the mend
}

func (m Mistake) Error() string {
	var parts []string
	switch {
	case m.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d", m.File, m.Line))
	case m.File != "": // a configuration that a program made has none
		parts = append(parts, m.File)
	}
	if m.Key != "" {
		parts = append(parts, m.Key)
	}
	return strings.Join(append(parts, m.Text), ": ")
}

// Mistakes are all of a file, in the order of its lines.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	l := make([]string, len(m))
	for i, x := range m {
		l[i] = x.Error()
	}
	return strings.Join(l, "\n")
}

// With answers m and those of more that are about keys of which m says nothing yet: a value that could not be read is not
// also out of bounds.
func (m Mistakes) With(more Mistakes) Mistakes {
	all := slices.Clone(m)
	for _, x := range more {
		if !m.about(x.Key) {
			all = append(all, x)
		}
	}
	slices.SortStableFunc(all, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	return all
}

// about says whether a mistake concerns the key, or a key around it. Keys are told apart from each other by "." and "[".
func (m Mistakes) about(key string) bool {
	return slices.ContainsFunc(m, func(x Mistake) bool {
		rest, ok := strings.CutPrefix(key, x.Key)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}
