package console

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"latchkey/authcore/notify"
)

// Every sentence that a page says has its translation in every language, with the same values in it; and no translation
// is left over. A sentence is what {{t "…"}} has in a template, what p.t("…") or en("…") has in the code, what sayings
// answers, and what Core and the API tell (toldSentences).
func TestEverySentenceIsTranslated(t *testing.T) {
	t.Parallel()
	said, mentioned := sentencesOfConsole(t)
	told := toldSentences(t)
	if len(said) < 20 || len(told) < 80 {
		t.Fatalf("only %d and %d sentences were found", len(said), len(told))
	}
	for _, code := range notify.Languages() {
		if code == "en" {
			continue
		}
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			have := translationsOf(t, code)
			for s, where := range said {
				if _, ok := have[s]; !ok {
					t.Errorf("lang/%s lacks %q (%s)", code, s, where)
				}
			}
			for s, where := range told {
				if _, ok := have[s]; !ok {
					t.Errorf("lang/%s/told.json lacks %q (%s)", code, s, where)
				}
			}
			for s, translated := range have {
				if said[s] == "" && told[s] == "" && !mentioned[s] {
					t.Errorf("lang/%s has %q, which nobody says", code, s)
				}
				if got, want := verbs(translated), verbs(s); !slices.Equal(got, want) && !ordered(translated, len(want)) {
					t.Errorf("lang/%s: %q has the values %v, its translation %v", code, s, want, got)
				}
				if strings.TrimSpace(translated) == "" {
					t.Errorf("lang/%s: %q is translated by nothing", code, s)
				}
			}
		})
	}
}

func verbs(s string) []string { return regexp.MustCompile(`%[a-z]`).FindAllString(s, -1) }

// ordered says that a translation takes its values in another order, each by its number.
func ordered(s string, n int) bool {
	l := regexp.MustCompile(`%\[(\d)\][a-z]`).FindAllStringSubmatch(s, -1)
	seen := map[string]bool{}
	for _, m := range l {
		seen[m[1]] = true
	}
	return n > 0 && len(seen) == n && len(verbs(s)) == 0
}

// translationsOf reads a language; a sentence that two files have must be the same in both.
func translationsOf(t *testing.T, code string) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, err := fs.Glob(files, "lang/"+code+"/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var one map[string]string
		if err := json.Unmarshal(b, &one); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for s, is := range one {
			if was, ok := all[s]; ok && was != is {
				t.Errorf("%s says %q as %q, another file as %q", name, s, is, was)
			}
			all[s] = is
		}
	}
	return all
}

// sentencesOfConsole answers what the pages say, by the place that says it, and every text that the code mentions: a table
// may hold a sentence that is said later.
func sentencesOfConsole(t *testing.T) (said map[string]string, mentioned map[string]bool) {
	said, mentioned = map[string]string{}, map[string]bool{}
	inTemplate := regexp.MustCompile(`\bt ("(?:[^"\\]|\\.)*"|` + "`[^`]*`)")
	for _, name := range glob(t, "templates/*.html") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inTemplate.FindAllStringSubmatch(string(b), -1) {
			s, err := strconv.Unquote(m[1])
			if err != nil {
				t.Fatalf("%s: %s: %v", name, m[1], err)
			}
			said[s] = name
		}
	}
	for _, name := range glob(t, "*.go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(parse(t, name), func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CallExpr:
				if f := called(x); (f == "t" || f == "en") && len(x.Args) > 0 {
					if s, whole := text(x.Args[0]); whole {
						said[s] = name
					}
				}
			case *ast.BasicLit:
				if s, err := strconv.Unquote(x.Value); err == nil && x.Kind == token.STRING {
					mentioned[s] = true
				}
			}
			return true
		})
	}
	for _, s := range sayings() {
		said[s] = "sayings.go"
	}
	for _, s := range brokenRules() {
		said[s] = "told.go"
	}
	return said, mentioned
}

// toldSentences are what Core, its parts and the API tell people: the details of Denials, what is wrong with fields, and the
// sentence of each reason. Their values are %s.
func toldSentences(t *testing.T) map[string]string {
	told := map[string]string{ // put together in the code
		"There is no method for the second step of this sign-in. Ask your administrator.":                                "authcore/proved.go",
		"There is no method for the second step of this sign-in. Ask your administrator, or sign in by another way: %s.": "authcore/proved.go",
	}
	add := func(e ast.Expr, name string) {
		if s, _ := text(e); strings.Contains(s, " ") && s != "%s" {
			told[anyVerb.ReplaceAllString(s, "%s")] = name
		}
	}
	for _, dir := range []string{"../../authcore/*.go", "../../authcore/apppass/*.go", "../../authcore/quick/*.go", "../../authcore/password/foreign.go", "../memberfile/*.go", "../*.go", "../api/*.go", "*.go"} {
		for _, name := range glob(t, dir) {
			if !strings.HasSuffix(name, "_test.go") {
				tellers(parse(t, name), filepath.Base(name), func(e ast.Expr) { add(e, name) })
			}
		}
	}
	maps.DeleteFunc(told, func(s, _ string) bool { return slices.Contains(notForPages(), s) })
	return told
}

// notForPages are what only programs are told.
func notForPages() []string {
	return []string{
		"must be one word of 16 to 64 characters, like a UUID",                         // an idempotency key
		"is a private key: it must never leave the device; make a new one",             // the app's registration of a device
		"must be a P-256 public key, as SubjectPublicKeyInfo in base64url or as a JWK", // the same
		"is not where this service is", "is not the device key's over this challenge",  // the same
		"does not answer this challenge, or the user was not verified", // the same
		"no more are allowed", "the answer of the authenticator does not hold", "the counter of the authenticator went back", // for Core
		"This idempotency key was used for another request.", "This API token is not for that.",
	}
}

var anyVerb = regexp.MustCompile(`%[.0-9]*[a-z]`)

// tellers calls add for each expression of a file that people are told.
func tellers(f *ast.File, name string, add func(ast.Expr)) {
	for _, d := range f.Decls {
		fn, _ := d.(*ast.FuncDecl)
		if fn == nil || fn.Name.Name != "answers" && (fn.Name.Name != "Sentence" || name != "reason.go") {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			if r, ok := n.(*ast.ReturnStmt); ok && name == "reason.go" {
				add(r.Results[0])
			}
			if l, ok := n.(*ast.BasicLit); ok && name == "problem.go" {
				add(l)
			}
			return true
		})
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.KeyValueExpr:
			if k, ok := x.Key.(*ast.Ident); ok && (k.Name == "Reason" || k.Name == "Detail") && name != "serve.go" {
				add(x.Value)
			}
		case *ast.CallExpr:
			what := called(x)
			switch {
			case (what == "bad" || what == "deny") && len(x.Args) > 1:
				add(x.Args[1])
			case (name == "foreign.go" || name == "key.go" || name == "rows.go" || name == "passwdfile.go") && (what == "New" || what == "Errorf"):
				add(x.Args[0])
			}
		}
		return true
	})
}

// text is what an expression says, with %s for what only the running program knows; whole says that there is none of that.
func text(e ast.Expr) (s string, whole bool) {
	switch x := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(x.Value)
		return s, err == nil
	case *ast.ParenExpr:
		return text(x.X)
	case *ast.BinaryExpr:
		a, one := text(x.X)
		b, two := text(x.Y)
		return a + b, one && two
	case *ast.CallExpr:
		if called(x) == "Sprintf" {
			s, _ := text(x.Args[0])
			return s, false
		}
	}
	return "%s", false
}

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	l, err := filepath.Glob(pattern)
	if err != nil || len(l) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(l), err)
	}
	return l
}

func parse(t *testing.T, name string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestEveryPage: one that cannot be parsed ends the test here, and not its first reader's request.
func TestEveryPage(t *testing.T) {
	for code, l := range newLanguages(newAssets()) {
		for _, name := range glob(t, "templates/*.html") {
			if page := l.pages[path.Base(name)]; page == nil || page().Lookup("layout.html") == nil {
				t.Errorf("%s in %s: there is no such page", name, code)
			}
		}
	}
}
