package peers

import (
	"strings"
	"testing"

	"latchkey/configs/examples"
)

// example returns a configuration as the documentation shows it, with test values put in: each pair of old and new
// stands for one place at least, and a pair that no longer fits the file fails the test, so that the two stay together.
func example(t testing.TB, name string, pairs ...string) string {
	t.Helper()
	b, err := examples.Files.ReadFile(name)
	if err != nil {
		t.Fatalf("read the example %s: %v", name, err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(b), pairs[i]) {
			t.Fatalf("configs/examples/%s has no %q", name, pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(string(b))
}
