package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Change is one field of what was changed, before and after. Both are empty where the values are nobody else's: the field
// alone says what happened.
type Change struct {
	Field  string `json:"field"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Bounds of what one entry tells: a policy has some thirty fields, and the longest list is that of aliases.
const (
	maxChanges = 100
	maxValue   = 500 // bytes
)

// Changes compares two values field by field, by the names that their JSON has. Nothing secret may be in them.
func Changes(before, after any) []Change {
	was, is := fields(before), fields(after)
	names := slices.Sorted(maps.Keys(was))
	for name := range is {
		if _, ok := was[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var l []Change
	for _, name := range names {
		if was[name] != is[name] && len(l) < maxChanges {
			l = append(l, Change{Field: name, Before: short(was[name]), After: short(is[name])})
		}
	}
	return l
}

func short(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return strings.ToValidUTF8(s[:maxValue], "") + "…"
}

// fields are the leaves of v by their paths: password.min_length.
func fields(v any) map[string]string {
	p, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("audit: %T cannot be compared: %v", v, err)) // a record's type, which is written as JSON
	}
	d := json.NewDecoder(strings.NewReader(string(p)))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		panic(fmt.Sprintf("audit: %T cannot be compared: %v", v, err))
	}
	m := map[string]string{}
	leaves(m, "", tree)
	return m
}

func leaves(m map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			leaves(m, strings.TrimPrefix(path+"."+name, "."), child)
		}
	case []any:
		l := make([]string, len(v))
		for i := range v {
			l[i] = fmt.Sprint(v[i])
		}
		m[path] = strings.Join(l, ", ")
	case nil:
		m[path] = ""
	default:
		m[path] = fmt.Sprint(v)
	}
}
