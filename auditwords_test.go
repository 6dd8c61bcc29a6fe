package latchkey_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/authcore/audit"
)

// words are what a pattern's first group finds, in order, each once.
func words(text, pattern string) []string {
	var l []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		l = append(l, m[1])
	}
	slices.Sort(l)
	return slices.Compact(l)
}

func read(t *testing.T, file string) string {
	t.Helper()
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// The audit has one vocabulary: every action is a word of audit's list, is written somewhere, and stands in the
// administrators' table; every reason of a sign-in stands there too.
func TestAuditWords(t *testing.T) {
	list := read(t, "authcore/audit/audit.go")
	page := read(t, "docs/administrators.md")
	_, table, _ := strings.Cut(page, "| `action` |")
	table, _, _ = strings.Cut(table, "\n\n")
	var documented []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			documented = append(documented, words(cells[1], "`([a-z_]+)`")...)
		}
	}
	slices.Sort(documented)
	const declaration = `(?m)^\t%s +(?:Action +)?= "([a-z_]+)"`
	actions := words(list, strings.Replace(declaration, "%s", "[A-Z][A-Za-z]+", 1))
	if len(actions) < 30 || !slices.Equal(actions, documented) {
		t.Errorf("actions\n%v\ndocumented\n%v", actions, documented)
	}
	var listed []string
	for _, a := range audit.Actions() {
		listed = append(listed, string(a))
	}
	if slices.Sort(listed); !slices.Equal(listed, actions) {
		t.Errorf("audit.Actions lists\n%v\nand there are\n%v", listed, actions)
	}
	code := source(t, "authcore") + source(t, "policy") + source(t, "cmd")
	for _, name := range words(list, `(?m)^\t([A-Z][A-Za-z]+) +(?:Action +)?= "`) {
		if !regexp.MustCompile(`audit\.` + name + `\b`).MatchString(code) {
			t.Errorf("nothing writes audit.%s", name)
		}
	}
	beside := regexp.MustCompile(`Action: +"`).FindString(source(t, "authcore")) +
		regexp.MustCompile(`audit\.Entry\{[^{}]*Action: +"|audit\.Action\("`).FindString(code) // others have actions of forms
	if beside != "" {
		t.Errorf("an action beside the list: %s", beside)
	}
	for _, reason := range words(read(t, "authcore/reason.go"), `Reason = "([a-z_]+)"`) {
		if !strings.Contains(page, "`"+reason+"`") {
			t.Errorf("docs/administrators.md does not tell of the reason %s", reason)
		}
	}
}
