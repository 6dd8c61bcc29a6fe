package audit

import (
	"reflect"
	"strings"
	"testing"

	"latchkey/policy"
)

func TestChanges(t *testing.T) {
	type inner struct {
		Size int      `json:"size"`
		Tags []string `json:"tags,omitempty"`
	}
	type value struct {
		On    bool              `json:"on"`
		Inner inner             `json:"inner"`
		Names map[string]string `json:"names,omitempty"`
	}
	for name, c := range map[string]struct {
		was, is value
		want    []Change
	}{
		"nothing":   {value{On: true}, value{On: true}, nil},
		"a switch":  {value{}, value{On: true}, []Change{{"on", "false", "true"}}},
		"nested":    {value{Inner: inner{Size: 8}}, value{Inner: inner{Size: 12}}, []Change{{"inner.size", "8", "12"}}},
		"a list":    {value{Inner: inner{Tags: []string{"a", "b"}}}, value{}, []Change{{"inner.tags", "a, b", ""}}},
		"a key":     {value{Names: map[string]string{"x": "1"}}, value{Names: map[string]string{"y": "2"}}, []Change{{"names.x", "1", ""}, {"names.y", "", "2"}}},
		"in order":  {value{}, value{On: true, Inner: inner{Size: 1}}, []Change{{"inner.size", "0", "1"}, {"on", "false", "true"}}},
		"very long": {value{}, value{Inner: inner{Tags: []string{strings.Repeat("é", 400)}}}, []Change{{"inner.tags", "", strings.Repeat("é", 250) + "…"}}},
	} {
		if got := Changes(c.was, c.is); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	p := policy.Default()
	p.Password.MinLength = 12
	if got := Changes(policy.Default(), p); len(got) != 1 || got[0].Field != "password.min_length" {
		t.Errorf("a policy: %v", got)
	}
}
