package latchkey_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are README.md and docs, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	l := map[string]string{}
	for _, file := range append(files, "README.md") {
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		l[file] = string(p)
	}
	return l
}

var (
	link     = regexp.MustCompile(`\]\(([^)]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.+)$`)
	unlinked = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchor is what a heading is linked by.
func anchor(heading string) string {
	return strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

// Every link of a page leads to a file that is there, and to a heading of it.
func TestLinks(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			file, part, _ := strings.Cut(m[1], "#")
			to := page
			if file != "" {
				to = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(all[to], -1) {
				anchors = append(anchors, anchor(h[1]))
			}
			if part != "" && !slices.Contains(anchors, part) {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
}

// source is the code of a folder, without its tests.
func source(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		p, err := os.ReadFile(file)
		b.Write(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The words that a reader would type or look for are those of the code.
func TestDocumentedWords(t *testing.T) {
	program := source(t, "cmd/latchkey")
	code := program + source(t, "proxy") + source(t, "policy") + source(t, "authcore")
	config, err := os.ReadFile("configs/latchkey.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		pattern string
		found   func(word string) bool
	}{
		"command":  {"`latchkey ([a-z]+)", func(w string) bool { return strings.Contains(program, `{"`+w+`", "`) }},
		"in shell": {`(?m)^ +(?:sudo -u latchkey )?latchkey ([a-z]+) `, func(w string) bool { return strings.Contains(program, `{"`+w+`", "`) }},
		"metric": {"`latchkey_((?:proxy_|api_)?[a-z_]+)", func(w string) bool {
			return strings.Contains(code, `"`+strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(w, "notify_"), "proxy_"), "api_")+`"`)
		}},
		"limit":        {"`limits\\.([a-z_]+)", func(w string) bool { return strings.Contains(string(config), "\n  "+w+": ") }},
		"policy":       {"`(?:password|third_party)\\.([a-z_]+)", func(w string) bool { return strings.Contains(code, "`json:\""+w) }},
		"private path": {"(?m)^\\| `(/[a-z/-]+)`", func(w string) bool { return strings.Contains(code, " "+w+`"`) }},
		"API path":     {`\$API(/[a-z-]+)`, func(w string) bool { return strings.Contains(code, `"`+w) }},
	} {
		seen := 0
		for page, text := range pages(t) {
			for _, m := range regexp.MustCompile(c.pattern).FindAllStringSubmatch(text, -1) {
				if seen++; !c.found(m[1]) {
					t.Errorf("%s: %s %q is not in the code", page, name, m[1])
				}
			}
		}
		if seen == 0 {
			t.Errorf("%s: nothing was found to compare", name)
		}
	}
}
