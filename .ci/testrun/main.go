// Command testrun runs the tests in named groups, prints go test's own closing lines as they come, the output of what
// failed, and at the end the time of each group and by name what was skipped and why. With CI=true a skip is a failure.
//
// A test belongs to a group by its name: TestPeers… needs real servers, TestDrill… kills and restarts, TestSoak… runs long;
// every other test runs under the race detector.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	only := flag.String("only", "", "run this group alone")
	budget := flag.Duration("budget", 25*time.Minute, "end everything after this time")
	figures := flag.Bool("figures", false, "print what the tests that passed have logged, too")
	fuzztime := flag.Duration("fuzztime", 10*time.Second, "how long each fuzz target runs in the group fuzz")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, *budget, fmt.Errorf("the budget of %v is used up", *budget))
	defer cancel()

	r := &runner{goTool: goTool(), budget: *budget, figures: *figures, fuzztime: *fuzztime, strict: os.Getenv("CI") == "true"}
	todo, err := choose(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(2)
	}
	for _, g := range todo {
		r.run(ctx, g)
	}
	if !r.summary(ctx) {
		os.Exit(1)
	}
}

func goTool() string {
	if name := os.Getenv("GO"); name != "" {
		return name
	}
	return "go"
}

// A group is run in order with the others; one that fails does not stop the next.
type group struct {
	name   string
	inTest bool // part of `make test`
	run    func(context.Context, *runner, *result)
}

var groups = []group{
	{"check", true, makeTarget("check")},
	{"build", true, makeTarget("build")},
	{"race", true, tests("-race", "-skip", "^Test(Peers|Drill|Soak)")},
	{"peers", true, tests("-run", "^TestPeers")},
	{"drills", true, tests("-run", "^TestDrill")},
	{"soak", false, tests("-run", "^TestSoak")},
	{"fuzz", false, fuzz},
}

func choose(only string) ([]group, error) {
	if only == "" {
		return slices.DeleteFunc(slices.Clone(groups), func(g group) bool { return !g.inTest }), nil
	}
	i := slices.IndexFunc(groups, func(g group) bool { return g.name == only })
	if i < 0 {
		return nil, fmt.Errorf("no group %q", only)
	}
	return groups[i : i+1], nil
}

// A result is what a group came to.
type result struct {
	name    string
	took    time.Duration
	passed  int
	failed  []string // by name, or what went wrong
	skipped []skip
}

type skip struct{ test, why string }

type runner struct {
	goTool   string
	budget   time.Duration
	figures  bool // what passes says what it found
	fuzztime time.Duration
	strict   bool // a skip is a failure
	results  []*result
}

func (r *runner) run(ctx context.Context, g group) {
	res := &result{name: g.name}
	r.results = append(r.results, res)
	fmt.Printf("== %s\n", g.name)
	start := time.Now()
	if ctx.Err() != nil {
		res.failed = append(res.failed, fmt.Sprintf("not begun: %v", context.Cause(ctx)))
		return
	}
	g.run(ctx, r, res)
	res.took = time.Since(start)
}

// command is ended with everything it started when ctx ends: first politely, so that test servers are stopped.
func (r *runner) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func makeTarget(target string) func(context.Context, *runner, *result) {
	return func(ctx context.Context, r *runner, res *result) {
		cmd := r.command(ctx, "make", "--no-print-directory", target, "GO="+r.goTool)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			res.failed = append(res.failed, fmt.Sprintf("make %s: %v", target, err))
			return
		}
		res.passed++
	}
}

// summary prints the table and returns whether all is well.
func (r *runner) summary(ctx context.Context) bool {
	well := ctx.Err() == nil
	var total time.Duration
	fmt.Printf("\n%-8s %8s %7s %7s %8s\n", "group", "seconds", "passed", "failed", "skipped")
	for _, res := range r.results {
		fmt.Printf("%-8s %8.1f %7d %7d %8d\n", res.name, res.took.Seconds(), res.passed, len(res.failed), len(res.skipped))
		total += res.took
		well = well && len(res.failed) == 0 && (!r.strict || len(res.skipped) == 0)
	}
	fmt.Printf("%-8s %8.1f\n", "total", total.Seconds())
	for _, res := range r.results {
		for _, s := range res.skipped {
			fmt.Printf("skipped: %s: %s: %s\n", res.name, s.test, s.why)
		}
	}
	for _, res := range r.results {
		for _, f := range res.failed {
			fmt.Printf("failed: %s: %s\n", res.name, f)
		}
	}
	if ctx.Err() != nil {
		fmt.Printf("failed: %v\n", context.Cause(ctx))
	}
	fmt.Println(map[bool]string{true: "all well", false: "FAILED"}[well])
	return well
}
