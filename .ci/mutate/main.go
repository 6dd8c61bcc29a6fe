// Command mutate takes one security check after the other out of a copy of the module and asks that a test turns red.
// Each testdata/mutations/*.patch is a unified diff below a header that says which check it takes away, and the package and
// the tests that must notice. The checkout itself is never touched. A patch that does not apply or compile is refused: it
// proves nothing. With -check it only sees that every patch applies and compiles.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// testFor bounds the tests of one mutation: some hang without the check that was taken away, which is red enough.
const testFor = 2 * time.Minute

// A mutation is one patch with its header.
type mutation struct {
	name, file    string
	check         string // what it takes away
	packages, run string
}

func main() {
	only := flag.String("run", "", "only patches whose name matches this regular expression")
	check := flag.Bool("check", false, "see that every patch applies and compiles, and run no test")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := mutate(ctx, *only, *check); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func mutate(ctx context.Context, only string, check bool) error {
	l, err := mutations(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "latchkey-mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := runner{dir: dir, goCommand: goCommand()}
	if err := r.copyModule(ctx); err != nil {
		return err
	}
	if check {
		return r.checkAll(ctx, l)
	}
	return r.runAll(ctx, l)
}

func goCommand() string {
	if g := os.Getenv("GO"); g != "" {
		return g
	}
	return "go"
}

// mutations reads the patches, by name.
func mutations(only string) (l []mutation, err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob("testdata/mutations/*.patch")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		m := mutation{name: strings.TrimSuffix(filepath.Base(file), ".patch")}
		if !wanted.MatchString(m.name) {
			continue
		}
		if m.file, err = filepath.Abs(file); err != nil {
			return nil, err
		}
		p, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := m.header(string(p)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		l = append(l, m)
	}
	if len(l) == 0 {
		return nil, errors.New("there is no such patch")
	}
	return l, nil
}

func (m *mutation) header(patch string) error {
	for line := range strings.Lines(patch) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "Check":
			m.check = value
		case "Package":
			m.packages = value
		case "Run":
			m.run = value
		}
		if strings.HasPrefix(line, "--- ") {
			break
		}
	}
	if m.check == "" || m.packages == "" || m.run == "" {
		return errors.New("the header needs Check, Package and Run")
	}
	return nil
}

// runner works on a copy of the module.
type runner struct{ dir, goCommand string }

// copyModule copies what git knows or would add: no build, no data.
func (r runner) copyModule(ctx context.Context) error {
	list, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("list the module's files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		p, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not yet committed
		}
		if err != nil {
			return err
		}
		to := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(to, p, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// command runs something in the copy and answers what it says.
func (r runner) command(ctx context.Context, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = r.dir
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}

func (r runner) apply(ctx context.Context, m mutation, args ...string) error {
	out, err := r.command(ctx, "git", append(append([]string{"apply"}, args...), m.file)...)
	if err != nil {
		return fmt.Errorf("%s does not apply: %s", m.name, strings.TrimSpace(out))
	}
	return nil
}

// runAll runs the tests of every mutation and tells of each.
func (r runner) runAll(ctx context.Context, l []mutation) error {
	bad := 0
	for _, m := range l {
		began := time.Now()
		verdict, err := r.try(ctx, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			bad++
			verdict = err.Error()
		}
		fmt.Printf("%-34s %-8s %5.1fs  %s\n", m.name, first(verdict), time.Since(began).Seconds(), m.check)
		if err != nil {
			fmt.Printf("    %v\n", err)
		}
	}
	fmt.Printf("%d mutations, %d found by no test or broken\n", len(l), bad)
	if bad > 0 {
		return fmt.Errorf("%d of %d", bad, len(l))
	}
	return nil
}

func first(verdict string) string {
	if verdict == "red" {
		return verdict
	}
	return "SURVIVED"
}

// try answers red when a test fails as it must.
func (r runner) try(ctx context.Context, m mutation) (string, error) {
	if err := r.apply(ctx, m); err != nil {
		return "", err
	}
	defer func() { _ = r.apply(context.WithoutCancel(ctx), m, "-R") }() // it applied, so it goes back
	args := append([]string{"test", "-count=1", "-timeout", testFor.String(), "-run", m.run}, strings.Fields(m.packages)...)
	out, err := r.command(ctx, r.goCommand, args...)
	switch {
	case strings.Contains(out, "[build failed]"), strings.Contains(out, "[setup failed]"):
		return "", fmt.Errorf("%s does not compile:\n%s", m.name, out)
	case err == nil && strings.Count(out, "no tests to run") == len(strings.Fields(m.packages)):
		return "", fmt.Errorf("no test is called %s in %s", m.run, m.packages)
	case err == nil:
		return "", fmt.Errorf("nobody misses it: %s in %s stays green", m.run, m.packages)
	case !strings.Contains(out, "--- FAIL") && !strings.Contains(out, "panic:"):
		return "", fmt.Errorf("%s failed without a failing test: %v\n%s", m.name, err, out)
	}
	return "red", nil
}

// checkAll compiles the mutations in as few rounds as it can: many go together. When a round does not compile, each of
// its mutations is compiled alone, to name the one.
func (r runner) checkAll(ctx context.Context, l []mutation) error {
	for len(l) > 0 {
		var round, rest []mutation
		for _, m := range l {
			if err := r.apply(ctx, m); err == nil {
				round = append(round, m)
			} else if len(round) == 0 {
				return err
			} else {
				rest = append(rest, m)
			}
		}
		err := r.compile(ctx, round)
		for i := len(round) - 1; i >= 0; i-- {
			if err := r.apply(ctx, round[i], "-R"); err != nil {
				return err
			}
		}
		if err != nil {
			if err := r.checkEach(ctx, round); err != nil {
				return err
			}
		}
		l = rest
	}
	return nil
}

func (r runner) checkEach(ctx context.Context, l []mutation) error {
	for _, m := range l {
		if err := r.apply(ctx, m); err != nil {
			return err
		}
		if err := r.compile(ctx, []mutation{m}); err != nil {
			return fmt.Errorf("%s does not compile: %w", m.name, err)
		}
		if err := r.apply(ctx, m, "-R"); err != nil {
			return err
		}
	}
	return nil
}

func (r runner) compile(ctx context.Context, l []mutation) error {
	args := []string{"build"}
	for _, m := range l {
		args = append(args, strings.Fields(m.packages)...)
	}
	if out, err := r.command(ctx, r.goCommand, args...); err != nil {
		return errors.New(out)
	}
	return nil
}
