package latchkey_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each benchmark that docs/performance.md names is there.
func TestPerformancePageNamesBenchmarks(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\|.*\\| `([A-Za-z\\\\|]+)` \\| `\\./([a-z/]+)` \\|$").FindAllStringSubmatch(read(t, "docs/performance.md"), -1)
	if len(rows) < 8 {
		t.Fatalf("only %d rows were found", len(rows))
	}
	for _, m := range rows {
		files, err := filepath.Glob(filepath.Join(m[2], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var code strings.Builder
		for _, file := range files {
			code.WriteString(read(t, file))
		}
		for word := range strings.SplitSeq(m[1], `\|`) { // a table's cell cannot hold the mark itself
			if !regexp.MustCompile(`func Benchmark[A-Za-z]*` + word).MatchString(code.String()) {
				t.Errorf("no benchmark %s in %s", word, m[2])
			}
		}
	}
}
