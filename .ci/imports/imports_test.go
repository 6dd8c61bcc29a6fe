package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "latchkey/"

// engines may be imported by cmd, authtest and tests alone: the core speaks to the contract, so that another engine can keep it.
var engines = []string{"authcore/store/sqlite", "authcore/store/memory", "authcore/store/redis"}

// forTests are imported by tests, and by each other.
var forTests = []string{"authcore/authtest", "authcore/store/storetest", "proxy/proxytest", "proxy/peers"}

// A rule says what of ours a package may import. The first rule whose pattern matches holds; patterns are those of path.Match.
type rule struct {
	pattern string
	may     []string // patterns too
	why     string
}

var rules = []rule{
	{"latchkey", nil, "the root of the module has tests alone"},
	{"policy", nil, "pure values, that any part may hold"},
	{"authcore/secret", nil, "a secret that does not print must not depend on what might print it"},
	{"authcore/store", nil, "the contract of storage knows nobody who stores"},
	{"proxy/wire", nil, "lines and literals, whatever is said in them"},
	{"proxy/relay", []string{"proxy/wire"}, "moves bytes of sessions that somebody else allowed"},
	{"authcore/store/*", []string{"authcore/store", "authcore/secret"}, "an engine keeps records and does not read them"},
	{"authcore/authtest", []string{"policy", "authcore", "authcore/*", "authcore/store/*"}, "builds a ready Core for tests"},
	{"authcore/sample", []string{"policy", "authcore", "authcore/*"}, "fills a store through Core, as an operator would"},
	{"authcore/signin", []string{"policy", "authcore/*"}, "strings the parts together"},
	{"authcore/*", []string{"policy", "authcore/secret", "authcore/store", "authcore/store/cache", "authcore/member"}, "parts never know each other: Core alone knows the order"},
	{"authcore", []string{"policy", "authcore/*", "authcore/store/cache"}, "decides for every door, and knows none"},
	{"proxy/sasl", []string{"authcore", "authcore/secret", "proxy/wire"}, "bytes to a credential"},
	{"proxy/upstream", []string{"authcore", "authcore/secret", "proxy", "proxy/sasl", "proxy/wire"}, "is the Dialer that proxy asks for, and hands back proxy's Leg; doors get it through that interface"},
	{"proxy", []string{"authcore", "authcore/secret", "authcore/member", "authcore/session", "proxy/wire", "proxy/relay"}, "carries any protocol, and knows none"},
	{"proxy/imap", door, "doors never know each other"},
	{"proxy/smtp", door, "doors never know each other"},
	{"proxy/pop3", door, "doors never know each other"},
	{"proxy/dav", door, "doors never know each other"},
	{"proxy/demo", []string{"authcore/secret"}, "stands for somebody else's servers"},
	{"proxy/proxytest", []string{"authcore", "authcore/*", "proxy", "proxy/*"}, "for tests"},
	{"proxy/peers", []string{"configs/examples"}, "for tests, and from outside: it knows protocols, not our code"},
	{"configs/examples", nil, "files"},
	{"configs", []string{"policy", "authcore/secret"}, "the file says what shall be; cmd builds it"},
	{"policy/*", []string{"policy", "policy/api", "authcore", "authcore/*"}, "the API never touches a connection: cmd passes what it shows of doors as plain functions"},
	{"cmd/*", []string{"*", "*/*", "*/*/*"}, "builds and wires everything"},
}

// What a door may hold; of policy, the names of doors.
var door = []string{"policy", "authcore", "authcore/secret", "authcore/member", "authcore/session", "proxy", "proxy/sasl", "proxy/wire", "proxy/relay"}

func TestImports(t *testing.T) {
	packages := list(t)
	if len(packages) == 0 {
		t.Fatal("go list found no package")
	}
	for _, p := range packages {
		i := slices.IndexFunc(rules, func(r rule) bool { return match(r.pattern, p.name) })
		if i < 0 {
			t.Errorf("%s: no rule says what it may import: add one with its why", p.name)
			continue
		}
		for _, imported := range p.imports {
			if why := refused(rules[i], p.name, imported); why != "" {
				t.Errorf("%s imports %s: %s", p.name, imported, why)
			}
		}
	}
}

func TestEngineIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ from, to string }{
		"core to engine":       {"authcore", "authcore/store/sqlite"},
		"part to part":         {"authcore/lockout", "authcore/password"},
		"door to door":         {"proxy/imap", "proxy/smtp"},
		"core to door":         {"authcore", "proxy"},
		"api to door":          {"policy/admin", "proxy"},
		"door to test support": {"proxy/imap", "proxy/proxytest"},
		"program to tests":     {"cmd/latchkey", "proxy/peers"},
		"anyone to configs":    {"proxy", "configs"},
	} {
		i := slices.IndexFunc(rules, func(r rule) bool { return match(r.pattern, c.from) })
		if i < 0 || refused(rules[i], c.from, c.to) == "" {
			t.Errorf("%s: %s may import %s", name, c.from, c.to)
		}
	}
}

// refused returns why from may not import to, or nothing.
func refused(r rule, from, to string) string {
	test := slices.Contains(forTests, from)
	switch {
	case slices.Contains(engines, to) && !strings.HasPrefix(from, "cmd/") && !test:
		return "an engine is for cmd, authtest and tests"
	case slices.Contains(forTests, to) && !test:
		return "it is for tests"
	case !slices.ContainsFunc(r.may, func(pattern string) bool { return match(pattern, to) }):
		return r.why
	}
	return ""
}

func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// A pkg is one package of the module, and what of the module its code imports, tests apart.
type pkg struct {
	name    string
	imports []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		own := pkg{name: strings.TrimPrefix(p.ImportPath, module)}
		for _, name := range p.Imports {
			if rest, ok := strings.CutPrefix(name, module); ok {
				own.imports = append(own.imports, rest)
			}
		}
		packages = append(packages, own)
	}
}
