package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestListen(t *testing.T) {
	for name, c := range map[string]struct {
		events  string
		passed  int
		failed  []string
		skipped []skip
	}{
		"pass": {
			events: `{"Action":"run","Package":"latchkey/a","Test":"TestX"}
{"Action":"pass","Package":"latchkey/a","Test":"TestX"}
{"Action":"pass","Package":"latchkey/a"}`,
			passed: 1,
		},
		"skip with its reason": {
			events: `{"Action":"output","Package":"latchkey/a","Test":"TestX","Output":"=== RUN   TestX\n"}
{"Action":"output","Package":"latchkey/a","Test":"TestX","Output":"    x_test.go:7: mbsync is not installed\n"}
{"Action":"output","Package":"latchkey/a","Test":"TestX","Output":"--- SKIP: TestX (0.00s)\n"}
{"Action":"skip","Package":"latchkey/a","Test":"TestX"}`,
			skipped: []skip{{"a TestX", "x_test.go:7: mbsync is not installed"}},
		},
		"a failed test is told once, not again with its package": {
			events: `{"Action":"fail","Package":"latchkey/a","Test":"TestX"}
{"Action":"fail","Package":"latchkey/a"}`,
			failed: []string{"a TestX"},
		},
		"a package that does not build": {
			events: `{"Action":"build-output","ImportPath":"latchkey/a","Output":"a.go:1: no\n"}
{"Action":"fail","Package":"latchkey/a"}`,
			failed: []string{"a"},
		},
		"a package without tests is no skip": {
			events: `{"Action":"skip","Package":"latchkey/a"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			res := &result{}
			l := &listener{res: res, output: map[string]*strings.Builder{}, failedIn: map[string]bool{}}
			if err := l.listen(strings.NewReader(c.events + "\n")); err != nil {
				t.Fatal(err)
			}
			if res.passed != c.passed || !reflect.DeepEqual(res.failed, c.failed) || !reflect.DeepEqual(res.skipped, c.skipped) {
				t.Errorf("got %+v, want passed %d, failed %q, skipped %q", *res, c.passed, c.failed, c.skipped)
			}
		})
	}
}

// Each group that tests says how long a package may take: go test's own limit is too short for the longest.
func TestGroupsSayTheirTimeout(t *testing.T) {
	const want = "-timeout 20m0s"
	for _, name := range []string{"race", "peers", "drills", "soak"} {
		todo, err := choose(name)
		if err != nil {
			t.Fatal(err)
		}
		asked := filepath.Join(t.TempDir(), "asked")
		tool := filepath.Join(t.TempDir(), "go")
		if err := os.WriteFile(tool, []byte("#!/bin/sh\necho \"$*\" >'"+asked+"'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		r := &runner{goTool: tool, budget: 25 * time.Minute}
		r.run(t.Context(), todo[0])
		if got, err := os.ReadFile(asked); err != nil || !strings.Contains(string(got), " "+want+" ") {
			t.Errorf("%s asks go %q (%v), want %s", name, got, err, want)
		}
	}
}

func TestFiguresAreWhatTestsLogged(t *testing.T) {
	const output = "=== RUN   TestDrillX\nredis: a library speaks\n    x_test.go:7: 36 kills\n        none lost\n        time=x level=INFO\n--- PASS: TestDrillX (1.00s)\n    --- PASS: TestDrillX/a (1.00s)\n"
	if got, want := logged(output), "    x_test.go:7: 36 kills\n        none lost\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
