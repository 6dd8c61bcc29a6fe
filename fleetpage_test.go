package latchkey_test

import (
	"regexp"
	"strings"
	"testing"
)

// Whatever readiness can say stands in the table of docs/fleet.md, with what it means and what to do.
func TestFleetPageHoldsEveryReadinessSentence(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/fleet.md"), "## What a failure looks like")
	table, _, _ = strings.Cut(table, "\n## ")
	said := regexp.MustCompile(`(?:Sentence: +(?:fmt\.Sprintf\()?|\badd\()"(?:%d )?([^":(%.,]+[^":(%., ])`).FindAllStringSubmatch(source(t, "cmd"), -1)
	if len(said) < 10 {
		t.Fatalf("only %d sentences were found", len(said))
	}
	for _, m := range said {
		if !strings.Contains(table, m[1]) {
			t.Errorf("docs/fleet.md does not hold %q", m[1])
		}
	}
}
