package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// An event is a line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Output     string
}

// tests runs go test over the whole module with more flags.
func tests(flags ...string) func(context.Context, *runner, *result) {
	return func(ctx context.Context, r *runner, res *result) {
		r.goTest(ctx, res, append(flags, "./...")...)
		if res.passed+len(res.failed)+len(res.skipped) == 0 {
			res.failed = append(res.failed, "no test ran")
		}
	}
}

// goTest adds what one go test -json said to res. A package that hangs ends with the stacks of its goroutines while the budget
// is not used up yet: go test's own 10 minutes are too short for the longest.
func (r *runner) goTest(ctx context.Context, res *result, args ...string) {
	timeout := (r.budget * 4 / 5).String()
	cmd := r.command(ctx, r.goTool, append([]string{"test", "-json", "-count=1", "-timeout", timeout}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		res.failed = append(res.failed, fmt.Sprintf("go test: %v", err))
		return
	}
	failedBefore := len(res.failed)
	l := &listener{res: res, figures: r.figures, output: map[string]*strings.Builder{}, failedIn: map[string]bool{}}
	readErr := l.listen(out)
	if err := errors.Join(readErr, cmd.Wait()); err != nil && len(res.failed) == failedBefore {
		res.failed = append(res.failed, fmt.Sprintf("go test: %v", err))
	}
}

// A listener keeps each test's output until its end: it is printed if the test failed, and gives a skip its reason.
type listener struct {
	res      *result
	figures  bool                        // what passes says what it logged
	output   map[string]*strings.Builder // by package and test
	failedIn map[string]bool             // packages in which a test failed
}

// maxKept bounds the output kept of one test: the end of a log says most, but a test that floods must not fill the memory.
const maxKept = 1 << 20

func (l *listener) listen(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				os.Stdout.Write(line) // not of test2json: show it as it is
			} else {
				l.hear(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the output of go test: %w", err)
		}
	}
}

func (l *listener) hear(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		l.keep(key, e)
	case "build-output":
		fmt.Print(e.Output)
	case "pass", "skip", "fail":
		l.end(key, e)
		delete(l.output, key)
	}
}

func (l *listener) keep(key string, e event) {
	if e.Test == "" && closing(e.Output) {
		fmt.Print(e.Output)
		return
	}
	b := l.output[key]
	if b == nil {
		b = new(strings.Builder)
		l.output[key] = b
	}
	if b.Len()+len(e.Output) <= maxKept {
		b.WriteString(e.Output)
	}
}

// closing says whether a package's line is go test's verdict on it. Packages without tests are left out.
func closing(line string) bool {
	return strings.HasPrefix(line, "ok  \t") && !strings.Contains(line, "[no tests to run]") || strings.HasPrefix(line, "FAIL\t")
}

func (l *listener) end(key string, e event) {
	output := ""
	if b := l.output[key]; b != nil {
		output = b.String()
	}
	name := strings.TrimPrefix(strings.TrimSpace(key), "latchkey/")
	switch {
	case e.Action == "fail" && e.Test != "":
		fmt.Print(output)
		l.failedIn[e.Package] = true
		l.res.failed = append(l.res.failed, name)
	case e.Action == "fail" && !l.failedIn[e.Package]: // the package itself: it did not build, or panicked, or ran out of time
		fmt.Print(output)
		l.res.failed = append(l.res.failed, name)
	case e.Action == "skip" && e.Test != "":
		l.res.skipped = append(l.res.skipped, skip{name, reason(output)})
	case e.Action == "pass" && e.Test != "":
		l.res.passed++
		if said := logged(output); l.figures && said != "" {
			fmt.Printf("%s\n%s", name, said)
		}
	}
}

// reason takes what a skipped test said out of what go test wrote around it.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		said = append(said, line)
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}

// logged are the lines that a test logged itself: go test puts them in by four spaces, and what libraries print not. The logs
// of processes are left out.
func logged(output string) string {
	var said strings.Builder
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "    ") && !strings.HasPrefix(strings.TrimSpace(line), "--- ") && !strings.Contains(line, " level=") {
			said.WriteString(line)
		}
	}
	return said.String()
}

// fuzz runs every fuzz target of the module for a while, one after the other, as go test allows.
func fuzz(ctx context.Context, r *runner, res *result) {
	list := r.command(ctx, r.goTool, "test", "-json", "-run", "^$", "-list", "^Fuzz", "./...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil { // a package does not build; the others are fuzzed all the same
		res.failed = append(res.failed, fmt.Sprintf("list the fuzz targets: %v", err))
	}
	for line := range strings.Lines(string(out)) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || ctx.Err() != nil {
			continue
		}
		if e.Action == "build-output" {
			fmt.Print(e.Output)
		}
		if !strings.HasPrefix(e.Output, "Fuzz") {
			continue
		}
		target := strings.TrimSpace(e.Output)
		fmt.Printf("%s %s\n", e.Package, target)
		r.goTest(ctx, res, "-run", "^$", "-fuzz", "^"+target+"$", "-fuzztime", r.fuzztime.String(), e.Package)
	}
	if res.passed+len(res.failed) == 0 {
		res.failed = append(res.failed, "no fuzz target ran")
	}
}
