package console

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is the text of the package's files, without its tests.
func source(t *testing.T) string {
	t.Helper()
	names, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// templateTexts are the files of the templates, by name.
func templateTexts(t *testing.T) map[string]string {
	t.Helper()
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d templates, %v", len(names), err)
	}
	all := map[string]string{}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[path.Base(name)] = string(text)
	}
	return all
}

// found are the first groups of all matches, without doubles.
func found(pattern, text string) []string {
	var l []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		l = append(l, m[1])
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// Every class that a page names is styled, and every class that is styled stands somewhere: in a template, in what Go
// draws, or in the script. Values that a template computes are Go's to name.
func TestEveryClassIsStyledAndUsed(t *testing.T) {
	t.Parallel()
	style, script := "", ""
	for at, b := range shared().assets.files {
		switch path.Ext(at) {
		case ".css":
			style = string(b)
		case ".js":
			script = string(b)
		}
	}
	style = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(style, "")
	styled := found(`\.([a-z][a-z0-9-]*)`, regexp.MustCompile(`\{[^{}]*\}`).ReplaceAllString(style, " "))
	var pages strings.Builder
	for name, text := range templateTexts(t) {
		pages.WriteString(text)
		for _, classes := range found(`class="([^"]*)"`, text) {
			for _, c := range strings.Fields(regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(classes, " ")) {
				if c != "c" && !slices.Contains(styled, c) { // c{{$i}} is c0 to c6
					t.Errorf("%s: class %q is not styled", name, c)
				}
			}
		}
	}
	used := found(`([a-z][a-z0-9-]*)`, strings.Join(found(`class="([^"]*)"`, pages.String()), " ")+script+source(t))
	for _, c := range styled {
		if !slices.Contains(used, c) && !regexp.MustCompile(`^c[0-6]$`).MatchString(c) {
			t.Errorf("console.css styles %q, which stands nowhere", c)
		}
	}
}

// Every template is shown by the code or by another template.
func TestEveryTemplateIsShown(t *testing.T) {
	t.Parallel()
	all := templateTexts(t)
	goes := source(t)
	calls := ""
	for _, text := range all {
		calls += text
	}
	calls = regexp.MustCompile(`\bdefine "`).ReplaceAllString(calls, "")
	for name, text := range all {
		if name != "parts.html" && !strings.Contains(goes, `"`+name+`"`) {
			t.Errorf("nothing shows %s", name)
		}
		for _, part := range found(`\bdefine "([^"]+)"`, text) {
			if !strings.Contains(calls, `template "`+part+`"`) && !strings.Contains(calls, `block "`+part+`"`) && !strings.Contains(goes, `"`+part+`"`) {
				t.Errorf("%s: nothing draws its part %q", name, part)
			}
		}
	}
}

// Every sentence after a change has a word of its own, and something says it.
func TestEverySayingIsSaid(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("sayings.go")
	if err != nil {
		t.Fatal(err)
	}
	rest := strings.Replace(source(t), string(file), "", 1)
	words := regexp.MustCompile(`\t"([a-z_]+)": `).FindAllStringSubmatch(string(file), -1)
	if len(words) != len(sayings()) {
		t.Errorf("%d sentences have %d words", len(words), len(sayings()))
	}
	for _, w := range words {
		if !strings.Contains(rest, `"`+w[1]+`"`) {
			t.Errorf("nothing says %q", w[1])
		}
	}
}
