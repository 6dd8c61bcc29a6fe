package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/policy/admin"
	"latchkey/policy/api"
	"latchkey/policy/self"
)

var update = flag.Bool("update", false, "rewrite docs/openapi.json")

const committed = "../../docs/openapi.json"

func TestDocumentIsTheCommittedOne(t *testing.T) {
	got, err := api.Document(self.Register, admin.Register)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(committed, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code describes: run go test ./policy/api -run Document -update and commit it", committed)
	}
}

func TestDocument(t *testing.T) {
	p, err := api.Document(self.Register, admin.Register)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		OpenAPI string
		Servers []struct{ URL string }
		Paths   map[string]map[string]struct {
			OperationID string
			Security    []map[string][]string
			Responses   map[string]struct{ Content map[string]any }
		}
	}
	if err := json.Unmarshal(p, &d); err != nil {
		t.Fatal(err)
	}
	if d.OpenAPI != "3.1.0" || len(d.Servers) != 1 || d.Servers[0].URL != api.Prefix {
		t.Errorf("version %q at %v", d.OpenAPI, d.Servers)
	}
	seen := map[string]bool{}
	for path, operations := range d.Paths {
		for method, o := range operations {
			if o.OperationID == "" || seen[o.OperationID] {
				t.Errorf("%s %s: operation id %q is missing or another's", method, path, o.OperationID)
			}
			seen[o.OperationID] = true
			if open := len(o.Security) == 0; open != (strings.HasPrefix(path, "/sign-in") || strings.HasPrefix(path, "/forgotten-")) {
				t.Errorf("%s %s: open is %v", method, path, open)
			}
			if o.Responses["default"].Content["application/problem+json"] == nil {
				t.Errorf("%s %s: no problem is described", method, path)
			}
		}
	}
	for _, leaked := range []string{"ErrorModel", "$schema"} {
		if bytes.Contains(p, []byte(leaked)) {
			t.Errorf("the document holds %s", leaked)
		}
	}
}

// Each part of a path in braces is a parameter that the operation reads: huma leaves one out silently when the struct that
// holds it is not exported.
func TestDocumentPathParameters(t *testing.T) {
	p, err := api.Document(self.Register, admin.Register)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(p, &d); err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, operations := range d.Paths {
		for method, o := range operations {
			for _, part := range inBraces.FindAllStringSubmatch(path, -1) {
				n++
				if !slices.ContainsFunc(o.Parameters, func(q struct{ Name, In string }) bool { return q.In == "path" && q.Name == part[1] }) {
					t.Errorf("%s %s does not read %s", method, path, part[0])
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d parameters were found", n)
	}
}

var inBraces = regexp.MustCompile(`\{([a-z]+)\}`)
