// Package latchkey_test holds the test that says who may import whom, each rule with its why. The module's root has no
// code of its own.
package latchkey_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "latchkey/"

// engines may be imported by cmd, authtest and tests alone: the core speaks to the contract, so that another engine can
// keep it.
var engines = []string{"authcore/store/sqlite", "authcore/store/memory", "authcore/store/redis"}

// forTests are imported by tests, and by each other.
var forTests = []string{"authcore/authtest", "authcore/store/storetest", "authcore/store/redistest", "proxy/proxytest", "proxy/peers"}

// A rule says what of ours a package may import. Patterns are those of path.Match; the first rule that matches holds.
type rule struct {
	pattern string
	may     []string
	why     string
	tests   []string // what its tests may import besides: they always may their own package, engines and forTests
}

// rules are the arrows of the house: downward, the doors apart from each other and from the API.
var rules = []rule{
	{pattern: "policy", why: "pure values, that any part may hold"},
	{pattern: "authcore/secret", why: "a secret that does not print must not depend on what might print it"},
	{pattern: "authcore/store", why: "the contract of storage knows nobody who stores"},
	{pattern: "proxy/wire", why: "lines and literals, whatever is said in them"},
	{pattern: "proxy/http1", why: "sends requests, whatever is asked in them and for whom"},
	{pattern: "proxy/relay", may: []string{"proxy/wire"}, why: "moves bytes of sessions that somebody else allowed"},
	{pattern: "authcore/store/*", may: []string{"authcore/store", "authcore/secret"}, why: "an engine keeps records and does not read them"},
	{pattern: "authcore/authtest", may: []string{"policy", "authcore", "authcore/*", "authcore/store/*"}, why: "builds a ready Core for tests"},
	{pattern: "authcore/sample", may: []string{"policy", "authcore", "authcore/*"}, why: "fills a store through Core, as an operator would"},
	{
		pattern: "authcore/*", may: []string{"policy", "authcore/secret", "authcore/store", "authcore/store/cache", "authcore/member"},
		why: "parts never know each other: Core alone knows the order",
	},
	{
		pattern: "authcore", may: []string{"policy", "authcore/*", "authcore/store/cache"},
		why: "decides for every door, and knows none",
	},
	{pattern: "proxy/sasl", may: []string{"authcore", "authcore/secret", "proxy/wire"}, why: "bytes to a credential"},
	{
		pattern: "proxy/upstream", may: []string{"authcore", "authcore/secret", "proxy", "proxy/http1", "proxy/sasl", "proxy/wire"},
		why: "is the Dialer that proxy asks for, and hands back proxy's Leg; doors get it through that interface",
	},
	{
		pattern: "proxy", may: []string{"authcore", "authcore/secret", "authcore/member", "authcore/session", "proxy/wire", "proxy/relay"},
		why:   "carries any protocol, and knows none",
		tests: []string{"authcore/store"}, // a fleet's nodes are tested over one store that fails
	},
	{pattern: "proxy/imap", may: door, why: doorsWhy},
	{pattern: "proxy/smtp", may: door, why: doorsWhy},
	{pattern: "proxy/pop3", may: door, why: doorsWhy},
	{pattern: "proxy/dav", may: door, why: doorsWhy, tests: []string{"proxy/http1"}}, // by which its requests go in earnest
	{pattern: "proxy/demo", may: []string{"authcore/secret"}, why: "stands for somebody else's servers"},
	{pattern: "proxy/proxytest", may: []string{"authcore", "authcore/*", "proxy", "proxy/*"}, why: "a stage for tests of the doors"},
	{pattern: "proxy/peers", may: []string{"configs/examples"}, why: "looks from outside: it knows protocols, not our code"},
	{pattern: "configs/examples", why: "files"},
	{pattern: "configs", may: []string{"policy", "authcore/secret"}, why: "the file says what shall be; cmd builds it"},
	{pattern: "policy/autoconfig", may: []string{"policy", "authcore/secret"}, why: "says where the doors are, to whoever asks"},
	{
		pattern: "policy/console", may: []string{"policy/memberfile", "policy", "policy/api", "policy/autoconfig", "authcore", "authcore/*"},
		why:   "pages over the same operations as the API, and in its server",
		tests: []string{"policy/*"},
	},
	{
		pattern: "policy/memberfile", may: []string{"authcore", "authcore/member", "authcore/secret"},
		why: "reads what the command and the pages import, and makes nobody itself",
	},
	{
		pattern: "policy/*", may: []string{"policy", "policy/api", "authcore", "authcore/*"},
		why:   "the API never touches a connection: cmd passes what it shows of doors as plain functions",
		tests: []string{"policy/*"}, // the API is tested whole
	},
	{pattern: "cmd/*", may: []string{"*", "*/*", "*/*/*"}, why: "builds and wires everything, but no server runs on what is made for tests"},
}

const doorsWhy = "doors never know each other, an upstream or the API"

// door is what a door may hold; of policy, the names of doors.
var door = []string{
	"policy", "authcore", "authcore/secret", "authcore/member", "authcore/session", "proxy", "proxy/sasl", "proxy/wire", "proxy/relay",
}

func TestImports(t *testing.T) {
	tree := imports(t, ".")
	used := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		r := ruleFor(name)
		if r == nil {
			t.Errorf("%s: no rule says what it may import: add one with its why", name)
			continue
		}
		used[r.pattern] = true
		for _, i := range tree[name] {
			if why := r.refuses(name, i.to, i.test); why != "" {
				t.Errorf("%s imports %s: %s", i.file, i.to, why)
			}
		}
	}
	for _, r := range rules {
		if !used[r.pattern] {
			t.Errorf("the rule for %s is for no package: remove it", r.pattern)
		}
		if r.why == "" {
			t.Errorf("the rule for %s has no why", r.pattern)
		}
	}
}

// The rules refuse what they are there for.
func TestImportsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		test     bool
	}{
		"core to engine":        {"authcore", "authcore/store/sqlite", false},
		"part to part":          {"authcore/lockout", "authcore/password", false},
		"part to core":          {"authcore/lockout", "authcore", false},
		"core to door":          {"authcore", "proxy", false},
		"core to API":           {"authcore", "policy/api", false},
		"door to door":          {"proxy/imap", "proxy/smtp", false},
		"door to upstream":      {"proxy/imap", "proxy/upstream", false},
		"door to API":           {"proxy/dav", "policy/self", false},
		"API to door":           {"policy/admin", "proxy", false},
		"API to API":            {"policy/admin", "policy/self", false},
		"engine to engine":      {"authcore/store/backup", "authcore/store/sqlite", false},
		"door to test support":  {"proxy/imap", "proxy/proxytest", false},
		"program to tests":      {"cmd/latchkey", "proxy/peers", false},
		"door to configs":       {"proxy", "configs", false},
		"core to configs":       {"authcore", "configs", false},
		"anyone to the program": {"authcore", "cmd/latchkey", false},
		"test of door to door":  {"proxy/imap", "proxy/smtp", true},
		"test of core to door":  {"authcore", "proxy", true},
		"test of wire to core":  {"proxy/wire", "authcore", true},
	} {
		r := ruleFor(c.from)
		if r == nil || r.refuses(c.from, c.to, c.test) == "" {
			t.Errorf("%s: %s may import %s", name, c.from, c.to)
		}
	}
	for name, c := range map[string]struct{ from, to string }{
		"engine":       {"authcore", "authcore/store/sqlite"},
		"test support": {"proxy/imap", "proxy/proxytest"},
		"itself":       {"proxy/imap", "proxy/imap"},
	} {
		if why := ruleFor(c.from).refuses(c.from, c.to, true); why != "" {
			t.Errorf("%s: a test of %s may not import %s: %s", name, c.from, c.to, why)
		}
	}
}

func ruleFor(name string) *rule {
	i := slices.IndexFunc(rules, func(r rule) bool { return match(r.pattern, name) })
	if i < 0 {
		return nil
	}
	return &rules[i]
}

// refuses returns why from may not import to, or nothing.
func (r *rule) refuses(from, to string, test bool) string {
	if test && (to == from || slices.Contains(engines, to) || slices.Contains(forTests, to) || matchAny(r.tests, to)) {
		return ""
	}
	support := slices.Contains(forTests, from)
	switch {
	case slices.Contains(engines, to) && !strings.HasPrefix(from, "cmd/") && !support:
		return "an engine is for cmd, authtest and tests"
	case slices.Contains(forTests, to) && !support:
		return "it is for tests"
	case !matchAny(r.may, to):
		return r.why
	}
	return ""
}

func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// An arrow is an import of a package of ours.
type arrow struct {
	file, to string
	test     bool
}

// imports reads the head of every file of the module, whatever its build tags, and answers the arrows by package.
func imports(t *testing.T, root string) map[string][]arrow {
	t.Helper()
	tree := map[string][]arrow{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && file != root && (name == "testdata" || name[0] == '.' || name[0] == '_'):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || filepath.Dir(file) == root:
			return nil
		}
		from := filepath.ToSlash(filepath.Dir(file))
		l, err := arrows(file)
		tree[from] = append(tree[from], l...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func arrows(file string) (l []arrow, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		if to, ok := strings.CutPrefix(name, module); ok {
			l = append(l, arrow{file: file, to: to, test: strings.HasSuffix(file, "_test.go")})
		}
	}
	return l, nil
}
