package latchkey_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
)

// docs/help-pages.md goes through the help pages line by line. Every line names at least one test, and every test that it
// names is there.
func TestHelpPagesNameTheirTests(t *testing.T) {
	p, err := os.ReadFile("docs/help-pages.md")
	if err != nil {
		t.Fatal(err)
	}
	there, rows := testsOfTheTree(t), 0
	for i, line := range strings.Split(string(p), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| The page") || strings.HasPrefix(line, "| ---") {
			continue
		}
		rows++
		named := testName.FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("docs/help-pages.md:%d names no test: %s", i+1, line)
		}
		for _, m := range named {
			if !there[m[1]] {
				t.Errorf("docs/help-pages.md:%d names %s, which does not exist", i+1, m[1])
			}
		}
	}
	if rows < 40 {
		t.Errorf("only %d rows were found", rows)
	}
}

func testsOfTheTree(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		p, err := os.ReadFile(file)
		for _, m := range testFunc.FindAllStringSubmatch(string(p), -1) {
			there[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}
